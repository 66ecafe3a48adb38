//! Whether a server logs its requests, in which form, and where to.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The form of a server's access log, which has one line for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccessLog {
    /// No access log.
    #[default]
    Off,
    /// The Common Log Format: client, time, request line, status, bytes.
    Common,
    /// The Common Log Format with referer and user agent, as web servers write it by default.
    Combined,
    /// One JSON object a line, with all that is known.
    Json,
}

impl AccessLog {
    pub(crate) const ALL: [Self; 4] = [Self::Off, Self::Common, Self::Combined, Self::Json];

    /// Its name in attributes, files and variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Json => "json",
        }
    }
}

/// Where the lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum AccessLogTo {
    #[default]
    Stdout,
    Stderr,
    /// Events of the target `gracehttp::access`.
    Tracing,
    File(PathBuf),
}

impl AccessLogTo {
    pub(crate) fn of(text: PathBuf) -> Self {
        match text.to_str() {
            Some("stdout") => Self::Stdout,
            Some("stderr") => Self::Stderr,
            Some("tracing") => Self::Tracing,
            _ => Self::File(text),
        }
    }
}

impl FromStr for AccessLogTo {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::of(text.into()))
    }
}

impl fmt::Display for AccessLogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::Tracing => f.write_str("tracing"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
