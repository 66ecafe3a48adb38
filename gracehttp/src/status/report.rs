//! What operators see of a process: one document for the command `status`, the control socket and the status page.
//!
//! It only grows. Fields that a reader does not know, or that a process does not send, are no fault.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Address, Phase, RestartReceipt};
use crate::log::{self, Recorded};
use crate::status::snapshot::{ProcessPhase, ServerSnapshot, Snapshot};

/// The version of the document.
const VERSION: u32 = 1;

/// The messages in the document: the last of them, from so long ago at most.
const MESSAGES_OF: Duration = Duration::from_secs(15 * 60);
const MOST_MESSAGES: usize = 50;

/// A process at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) version: u32,
    pub(crate) process: ProcessReport,
    pub(crate) servers: Vec<ServerReport>,
    pub(crate) restarts: RestartCounts,
    /// What became of the connections in the last restarts, the newest last. Each has its line of the log as `text`.
    /// They are kept as they were sent: another release may send other fields.
    pub(crate) receipts: Vec<serde_json::Value>,
    /// The last messages of the log.
    pub(crate) messages: Vec<Recorded>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessReport {
    pub(crate) pid: u32,
    pub(crate) generation: u64,
    /// `serving`, `restarting`, `standby`, `draining` or `stopping`.
    pub(crate) phase: String,
    /// The pid of the successor, while there is one.
    pub(crate) successor: Option<i32>,
    /// The predecessor still drains.
    pub(crate) has_predecessor: bool,
    /// When it began to serve, as in RFC 3339.
    pub(crate) since: String,
    pub(crate) uptime_seconds: u64,
    /// The release of gracehttp in it.
    pub(crate) gracehttp: String,
    /// The background tasks that run.
    pub(crate) tasks: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ServerReport {
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) endpoints: Vec<String>,
    /// `serving`, `handing over`, `stopping` and so on.
    pub(crate) phase: String,
    pub(crate) max_conns: usize,
    pub(crate) connections: ConnectionCounts,
    pub(crate) answers: Vec<AnswersReport>,
}

/// Connections by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectionCounts {
    /// Of this process: those that are parked, and those that are awake.
    pub(crate) held: usize,
    pub(crate) parked: usize,
    pub(crate) awake: usize,
    /// Of earlier generations. They count against the limit, too.
    pub(crate) foreign: usize,
}

/// How many responses had one cause and one class of status.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AnswersReport {
    pub(crate) cause: String,
    /// `2xx`.
    pub(crate) status: String,
    pub(crate) count: u64,
}

/// The restarts of this process. One that succeeds is the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RestartCounts {
    /// Those whose successor never came to serve.
    pub(crate) failed: u64,
    /// Those whose successor died in standby.
    pub(crate) taken_back: u64,
}

impl Report {
    pub(super) fn new(
        snapshot: Snapshot,
        since: SystemTime,
        restarts: RestartCounts,
        receipts: &[Arc<RestartReceipt>],
    ) -> Self {
        let mut messages = log::history(Some(MESSAGES_OF));
        messages.drain(..messages.len().saturating_sub(MOST_MESSAGES));
        Self {
            version: VERSION,
            process: ProcessReport {
                pid: snapshot.pid,
                generation: snapshot.generation,
                phase: snapshot.phase.name().to_owned(),
                successor: snapshot.phase.successor().map(nix::unistd::Pid::as_raw),
                has_predecessor: snapshot.has_predecessor,
                since: humantime::format_rfc3339_seconds(since).to_string(),
                uptime_seconds: since.elapsed().unwrap_or_default().as_secs(),
                gracehttp: env!("CARGO_PKG_VERSION").to_owned(),
                tasks: snapshot.tasks.map(|tasks| tasks.to_string()),
            },
            servers: snapshot.servers.into_iter().map(ServerReport::from).collect(),
            restarts,
            receipts: receipts.iter().map(|receipt| with_text(receipt)).collect(),
            messages,
        }
    }
}

impl From<ServerSnapshot> for ServerReport {
    fn from(server: ServerSnapshot) -> Self {
        let ServerSnapshot { name, phase, endpoints, permits, parked, awake, answers, .. } = server;
        let answers = answers.counts.iter().map(|answer| AnswersReport {
            cause: answer.cause.to_owned(),
            status: format!("{}xx", answer.class),
            count: answer.count,
        });
        Self {
            name,
            endpoints: endpoints.iter().map(Address::to_string).collect(),
            phase: phase_in_words(phase).to_owned(),
            max_conns: permits.limit,
            connections: ConnectionCounts { held: permits.held, parked, awake, foreign: permits.foreign },
            answers: answers.collect(),
        }
    }
}

impl ProcessPhase {
    fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Restarting { .. } => "restarting",
            Self::Standby { .. } => "standby",
            Self::Draining { .. } => "draining",
            Self::Stopping => "stopping",
        }
    }

    fn successor(self) -> Option<nix::unistd::Pid> {
        match self {
            Self::Restarting { successor } => successor,
            Self::Standby { successor } | Self::Draining { successor } => Some(successor),
            Self::Serving | Self::Stopping => None,
        }
    }
}

/// A receipt, with its line of the log.
pub(crate) fn with_text(receipt: &RestartReceipt) -> serde_json::Value {
    let mut value = serde_json::to_value(receipt).unwrap_or_default();
    value["text"] = receipt.to_string().into();
    value
}

fn phase_in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Serving => "serving",
        Phase::HandingOver => "handing over",
        Phase::SuccessorFull => "handing over, but the successor is full",
        Phase::Stopping => "stopping",
        Phase::ClosingIdle => "closing idle connections",
        Phase::Cutting => "cutting",
    }
}
