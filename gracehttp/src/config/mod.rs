//! The configuration: the file overrides the attribute (or the builder), and the environment overrides both.

#[cfg(feature = "tls")]
mod acme_keys;
mod contents;
mod contradictions;
mod draft;
mod early;
pub(crate) mod env;
mod file;
mod keys;
mod merged;
#[cfg(feature = "cli")]
pub(crate) mod report;
mod said;
mod section;
#[cfg(feature = "cli")]
mod socket_place;
mod text;
#[cfg(feature = "tls")]
mod tls_keys;
mod unknown_keys;
pub(crate) mod value;
mod without_effect;
mod words;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use draft::{Draft, Fault, Place};
pub(crate) use early::Early;
pub(crate) use env::{HANDOFF_VARIABLE, SUPERVISOR_VARIABLE};
use file::File;
use said::Said;
pub(crate) use section::{Section, read_settings, refuse_settings};
#[cfg(feature = "cli")]
pub(crate) use socket_place::settle_socket_place;
pub use unknown_keys::UnknownKeys;

use crate::error::Error;
use crate::lifecycle::{Signal, Supervise};
use crate::log::LogFormat;
#[cfg(feature = "admin")]
use crate::server::Endpoint;
use crate::server::ServerOptions;

/// The most threads that an application can ask for. More would be a mistake.
pub(crate) const MOST_THREADS: usize = 4096;

/// Declares the settings of the process. The ordinary ones come from the table of keys.
macro_rules! settings {
    ($($name:ident: $type:ty = $default:expr),* $(,)?) => {
        /// What can be set about the process as a whole.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct Settings {
            $(pub(crate) $name: $type,)*
            pub(crate) restart_on: Vec<Signal>,
            pub(crate) stop_on: Vec<Signal>,
            pub(crate) worker_threads: Option<usize>,
            pub(crate) pid_file: Option<PathBuf>,
            pub(crate) supervise: Supervise,
            pub(crate) unknown_keys: UnknownKeys,
            /// As whom the process serves, and in which group.
            pub(crate) user: Option<String>,
            pub(crate) group: Option<String>,
            pub(crate) log_format: LogFormat,
            /// Targets with levels.
            pub(crate) log: Option<String>,
            /// Where the control socket is.
            #[cfg(feature = "cli")]
            pub(crate) control: ControlAddress,
            /// The address for operators.
            #[cfg(feature = "admin")]
            pub(crate) admin: Option<Endpoint>,
            /// The keys that the attribute or the builder has set, also those set to the default.
            pub(crate) chosen: Vec<&'static str>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($name: $default,)*
                    restart_on: Signal::RESTART.to_vec(),
                    stop_on: Signal::STOP.to_vec(),
                    worker_threads: None,
                    pid_file: None,
                    supervise: Supervise::Auto,
                    unknown_keys: UnknownKeys::Error,
                    user: None,
                    group: None,
                    log_format: LogFormat::Text,
                    log: None,
                    #[cfg(feature = "cli")]
                    control: ControlAddress::default(),
                    #[cfg(feature = "admin")]
                    admin: None,
                    chosen: Vec::new(),
                }
            }
        }
    };
}

gracehttp_macros::keys!(process.fields => settings);

/// Where the control socket is.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ControlAddress {
    /// Where the environment has a place for it, if the application has a command line.
    #[default]
    Usual,
    Off,
    /// The path of the socket's file.
    At(PathBuf),
}

/// A value that the file or the environment has set, with its origin: for the banner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// `None` for a setting of the process.
    pub(crate) server: Option<String>,
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// A key of the application's section that a variable sets. Its value may be a secret, so none is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppVariable {
    /// The keys, one in the other: `database.url`.
    pub(crate) key: String,
    pub(crate) variable: String,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the file, `Gracehttp.toml:3`.
    Line(String),
    /// A variable of the environment.
    Variable(String),
    /// An argument of the command line.
    Argument(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(place) | Self::Variable(place) => place,
            Self::Argument(argument) => argument,
        })
    }
}

/// The configuration, when every value is settled.
pub(crate) struct Settled<A> {
    /// The application's own settings.
    pub(crate) app: A,
    /// The values that the file or the environment has set.
    pub(crate) provenance: Vec<Provenance>,
    /// The keys of the application's section that variables set.
    pub(crate) app_variables: Vec<AppVariable>,
    /// One for each key that this program does not have and that it may pass over, and for each that has no effect.
    pub(crate) notices: Vec<String>,
    /// The path of the file as it was given, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The files from which the application's secrets were read.
    pub(crate) secret_files: Vec<PathBuf>,
}

/// Where the configuration comes from, beside the builder.
pub(crate) struct Sources<'a> {
    pub(crate) environment: &'a [(OsString, OsString)],
    /// The file that the application names itself.
    pub(crate) chosen: Option<&'a Path>,
    /// Whether the command line asks to pass over unknown keys.
    pub(crate) is_lenient: bool,
}

/// Whether there is a file to read, or a fault in what names it.
pub(crate) fn names_file(environment: &[(OsString, OsString)], chosen: Option<&Path>) -> bool {
    !File::is_absent(environment, chosen)
}

/// Reads the file and the environment, and settles every value. All faults come as one error: those of the file, of
/// the environment, and of values that contradict each other.
///
/// `read_app` gets the application's section of the file.
pub(crate) fn settle<A>(
    sources: &Sources<'_>,
    settings: &mut Settings,
    servers: &mut [&mut ServerOptions],
    read_app: impl FnOnce(&Section<'_>) -> Result<A, Error>,
) -> Result<Settled<A>, Error> {
    let Sources { environment, chosen, is_lenient } = *sources;
    let mut draft = Draft::new(settings, servers);
    let found = File::find(environment, chosen);
    let file = found.as_ref().ok().and_then(Option::as_ref);
    // `None`: the file is not TOML.
    let of_file = file.map_or(Some(None), |file| file.apply(&mut draft));
    let faults_before_app = draft.faults.len();
    env::apply(environment, &mut draft);
    if is_lenient {
        // It can't fail: the key has this value.
        let _ = draft.set(Place::Process(&keys::UNKNOWN_KEYS), "warn", Origin::Argument("--lenient"));
    }

    let mut faults_of_app = Vec::new();
    let said =
        Said::by(env::of_app(environment)).map_err(|fault| faults_of_app.push(fault)).unwrap_or_default();
    let (passed_over, secret_files) = (RefCell::default(), RefCell::default());
    let app = match (&found, of_file) {
        (Ok(file), Some(value)) => {
            let section = Section::of(file.as_ref(), value);
            let section = section.with_variables(&said, draft.is_lenient().then_some(&passed_over));
            let section = section.noting_secret_files(&secret_files);
            read_app(&section).map_err(|fault| faults_of_app.push(fault)).ok()
        }
        _ => None,
    };
    let file = found.map_err(|fault| faults_of_app.push(fault)).ok().flatten();
    draft.faults.splice(faults_before_app..faults_before_app, faults_of_app.into_iter().map(Fault::Wrong));
    let (app, provenance, mut notices) = draft.finish(app)?;
    notices.extend(passed_over.into_inner());
    Ok(Settled {
        app,
        provenance,
        app_variables: said.variables(),
        notices,
        file: file.map(|file| file.path),
        secret_files: secret_files.into_inner(),
    })
}
