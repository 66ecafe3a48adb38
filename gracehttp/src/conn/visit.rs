//! A connection as the access log and the spans of its server see it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use http::StatusCode;

use crate::access_log::{AccessLog, Client, Outcome};
use crate::conn::cause::Cause;
use crate::conn::info::ConnectionInfo;

/// The process ends, and with it all requests that are open.
static PROCESS_ENDS: AtomicBool = AtomicBool::new(false);

/// What ends the requests that a connection has in flight at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CutBy {
    Client,
    /// The deadline of the drain.
    Deadline,
    /// The client took too long, and is told nothing.
    Timeout,
    /// The client took too long with its request, and gets the status 408.
    RequestTimeout,
    /// The end of the process.
    Exit,
}

impl CutBy {
    const ALL: [Self; 5] = [Self::Client, Self::Deadline, Self::Timeout, Self::RequestTimeout, Self::Exit];

    /// Its name where programs read it.
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client_gone",
            Self::Deadline => "deadline",
            Self::Timeout => "timed_out",
            Self::RequestTimeout => Cause::RequestTimedOut.name(),
            Self::Exit => "exit",
        }
    }
}

/// The process is about to end. A request that ends from now on without another cause ends because of that, and not because
/// its client has left.
pub(crate) fn note_exit() {
    PROCESS_ENDS.store(true, Ordering::Relaxed);
}

/// What the access log and the spans keep of a connection. Only a server with one of them has it.
#[derive(Debug)]
pub(crate) struct Visit {
    /// None if the server has spans and no access log.
    client: Option<Client>,
    cut_by: AtomicU8,
    /// The request in flight has a line already, with the answer that ends the connection.
    has_last_line: AtomicBool,
}

impl Visit {
    pub(super) fn new(client: Option<Client>) -> Self {
        Self { client, cut_by: AtomicU8::new(CutBy::Client as u8), has_last_line: AtomicBool::new(false) }
    }
}

impl ConnectionInfo {
    /// From now on, requests that end without a whole response do so for this reason.
    pub(crate) fn note_cut_by(&self, cut_by: CutBy) {
        if let Some(visit) = &self.visit {
            visit.cut_by.store(cut_by as u8, Ordering::Relaxed);
        }
    }

    /// The status that a request without a response gets after all, and why it was cut. The status is a 408 for one request at
    /// most. That request's line is the connection's last: [`log_unread`](Self::log_unread) writes none after it.
    pub(crate) fn cut(&self) -> (Option<StatusCode>, &'static str) {
        let Some(visit) = &self.visit else { return (None, "") };
        let number = visit.cut_by.load(Ordering::Relaxed);
        let cut_by = CutBy::ALL.into_iter().find(|cut_by| *cut_by as u8 == number).unwrap_or(CutBy::Client);
        let cut_by = match cut_by {
            CutBy::Client if PROCESS_ENDS.load(Ordering::Relaxed) => CutBy::Exit,
            cut_by => cut_by,
        };
        let is_told = cut_by == CutBy::RequestTimeout && !visit.has_last_line.swap(true, Ordering::Relaxed);
        (is_told.then_some(StatusCode::REQUEST_TIMEOUT), cut_by.name())
    }

    /// Logs a request whose head could not be read, and its answer, unless its line is there already.
    pub(crate) fn log_unread(&self, cause: &'static str, status: Option<StatusCode>) {
        if let Some((log, client)) = self.log()
            && !self.visit.as_ref().is_some_and(|visit| visit.has_last_line.load(Ordering::Relaxed))
        {
            let status = status.map(|status| status.as_u16());
            log.write(client, None, &Outcome::unread(status, cause));
        }
    }

    /// The access log of its server, and the client as it stands there.
    pub(crate) fn log(&self) -> Option<(&AccessLog, &Client)> {
        self.context.access_log.as_ref().zip(self.visit.as_ref()?.client.as_ref())
    }
}
