//! The configuration: the file overrides the attribute (or the builder), and the environment overrides both.

#[cfg(feature = "tls")]
mod acme_keys;
mod contradictions;
mod draft;
mod early;
pub(crate) mod env;
mod file;
mod keys;
#[cfg(feature = "cli")]
pub(crate) mod report;
mod text;
pub(crate) mod value;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use draft::Draft;
pub(crate) use early::supervise;
pub(crate) use env::{HANDOFF_VARIABLE, SUPERVISOR_VARIABLE};
use file::File;
pub(crate) use file::{Section, read_settings, refuse_settings};

use crate::error::Error;
use crate::lifecycle::{Signal, Supervise};
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

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the file, `Gracehttp.toml:3`.
    Line(String),
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Line(place) | Self::Variable(place)) = self;
        f.write_str(place)
    }
}

/// The configuration, when every value is settled.
pub(crate) struct Settled<A> {
    /// The application's own settings.
    pub(crate) app: A,
    /// The values that the file or the environment has set.
    pub(crate) provenance: Vec<Provenance>,
    /// The path of the file as it was given, if there is one.
    pub(crate) file: Option<PathBuf>,
}

/// Reads the file and the environment, and settles every value. All faults come as one error: those of the file, of
/// the environment, and of values that contradict each other.
///
/// `chosen` is the file that the application names itself; `read_app` gets the application's section of the file.
pub(crate) fn settle<A>(
    environment: &[(OsString, OsString)],
    chosen: Option<&Path>,
    settings: &mut Settings,
    servers: &mut [&mut ServerOptions],
    read_app: impl FnOnce(Section<'_>) -> Result<A, Error>,
) -> Result<Settled<A>, Error> {
    let mut draft = Draft::new(settings, servers);
    let mut path = None;
    let app = match File::find(environment, chosen) {
        Ok(Some(file)) => {
            path = Some(file.path.clone());
            // `None`: the file is not TOML.
            file.apply(&mut draft).map(read_app)
        }
        Ok(None) => Some(read_app(Section::default())),
        Err(fault) => Some(Err(fault)),
    };
    let app = app.and_then(|app| app.map_err(|fault| draft.faults.push(fault)).ok());
    env::apply(environment, &mut draft);
    let (app, provenance) = draft.finish(app)?;
    Ok(Settled { app, provenance, file: path })
}
