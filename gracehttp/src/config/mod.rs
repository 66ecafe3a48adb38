//! Where a value comes from: the attribute (or the builder), and the environment over it.

pub(crate) mod env;
mod value;

use std::time::Duration;

/// What can be set about the process as a whole, with its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) drain_timeout: Duration,
    pub(crate) ready_timeout: Duration,
    pub(crate) standby: Duration,
    pub(crate) lame_duck: Duration,
    pub(crate) worker_threads: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(60),
            standby: Duration::from_secs(2),
            lame_duck: Duration::ZERO,
            worker_threads: None,
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
    pub(crate) variable: String,
}

/// A duration as it is written in attributes and in the environment.
pub(crate) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
