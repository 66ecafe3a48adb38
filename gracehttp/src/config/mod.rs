//! Where a value comes from: the attribute (or the builder), the file over it, the environment over both.

mod contradictions;
mod draft;
pub(crate) mod env;
mod file;
mod keys;
#[cfg(feature = "cli")]
pub(crate) mod report;
mod value;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use draft::Draft;
pub(crate) use env::HANDOFF_VARIABLE;
use file::File;
pub(crate) use file::{Section, read_settings, refuse_settings};

use crate::error::Error;
use crate::lifecycle::Signal;
use crate::server::ServerOptions;

/// The most threads that an application can ask for: more of them would be a slip of the pen, too.
pub(crate) const MOST_THREADS: usize = 4096;

/// What can be set about the process as a whole, with its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) drain_timeout: Duration,
    pub(crate) ready_timeout: Duration,
    pub(crate) standby: Duration,
    pub(crate) lame_duck: Duration,
    pub(crate) restart_on: Vec<Signal>,
    pub(crate) stop_on: Vec<Signal>,
    pub(crate) worker_threads: Option<usize>,
    /// The keys that the attribute has set, or the builder; also those that it has set to the default.
    pub(crate) chosen: Vec<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(60),
            standby: Duration::from_secs(2),
            lame_duck: Duration::ZERO,
            restart_on: Signal::RESTART.to_vec(),
            stop_on: Signal::STOP.to_vec(),
            worker_threads: None,
            chosen: Vec::new(),
        }
    }
}

/// A value that is not the attribute's, and where it came from: for the banner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// `None` for a setting of the process.
    pub(crate) server: Option<String>,
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Who has set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `Gracehttp.toml:3`.
    Line(String),
    /// Of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Line(place) | Self::Variable(place)) = self;
        f.write_str(place)
    }
}

/// The outcome once every value is settled.
pub(crate) struct Settled<A> {
    /// The application's own settings.
    pub(crate) app: A,
    /// Where each value comes from that is not the attribute's.
    pub(crate) provenance: Vec<Provenance>,
    /// The file, if there is one, as it was named.
    pub(crate) file: Option<PathBuf>,
}

/// Settles what every value is, and tells which are not the attribute's. All that is wrong, in the file, in
/// the environment, and with what they make of the attribute's values, comes as one error.
///
/// `chosen` is the file that the application names itself; `read_app` gets what the file says to it.
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
            // A file that is not TOML can't be read any further.
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
