//! The access log: one line for each request. No worker thread waits for a disk to write it.
//!
//! A request makes an [`Entry`] from its head, with the client's texts escaped already. At its end the entry becomes a
//! line in a buffer of its target, one for each processor. A thread of the target gathers the buffers and writes them:
//! several lines at once, but never part of one.

mod date;
mod entry;
mod escape;
mod file;
#[cfg(feature = "tls")]
mod handshake;
mod line;
mod number;
mod queue;
mod sink;
mod target;
mod writer;

use std::sync::Arc;

pub(crate) use entry::{Entry, Request, Sender};
#[cfg(feature = "tls")]
pub(crate) use handshake::FailedHandshake;
pub(crate) use line::{Client, Outcome, Times, UNKNOWN};
#[cfg(feature = "cli")]
pub(crate) use target::check;
#[cfg(feature = "admin")]
pub(crate) use target::lost;
pub(crate) use target::{close, follow_names, reopen};

use crate::access_log::escape::Style;
use crate::access_log::target::Target;
use crate::error::Error;
use crate::server::{self, ServerOptions};

/// The access log of one server.
pub(crate) struct AccessLog {
    form: Form,
    /// Whether lines show queries, which may hold secrets.
    with_query: bool,
    #[cfg(feature = "tls")]
    with_handshakes: bool,
    /// The server's name.
    server: Box<str>,
    target: Arc<Target>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Common,
    Combined,
    Json,
}

impl Form {
    fn style(self) -> Style {
        match self {
            Self::Common | Self::Combined => Style::Hex,
            Self::Json => Style::Json,
        }
    }
}

impl AccessLog {
    /// The access log that the options of a server ask for. Opens its target, which servers share.
    pub(crate) fn of(options: &ServerOptions) -> Result<Option<Self>, Error> {
        let form = match options.access_log {
            server::AccessLog::Off => return Ok(None),
            server::AccessLog::Common => Form::Common,
            server::AccessLog::Combined => Form::Combined,
            server::AccessLog::Json => Form::Json,
        };
        let target =
            Target::shared(&options.access_log_to).map_err(|error| Error::of_server(&options.name, error))?;
        Ok(Some(Self {
            form,
            with_query: options.access_log_query,
            #[cfg(feature = "tls")]
            with_handshakes: options.access_log_handshakes,
            server: options.name.as_str().into(),
            target,
        }))
    }

    /// Whether a line says how long its request took. Otherwise it has only a date, to the second.
    pub(crate) fn has_durations(&self) -> bool {
        self.form == Form::Json
    }

    /// Whether failed TLS handshakes have a line, too.
    #[cfg(feature = "tls")]
    pub(crate) fn has_handshakes(&self) -> bool {
        self.with_handshakes
    }
}
