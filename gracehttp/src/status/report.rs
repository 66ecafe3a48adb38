//! What operators see of a process: one document for the command `status`, the control socket and the status page.
//!
//! It only grows. Fields that a reader does not know, or that a process does not send, are no fault.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Address, Phase, RestartReceipt, generation};
use crate::log::{self, Recorded};
use crate::status::document::{CertificateReport, HealthReport};
use crate::status::drain_report::{DrainReport, DrainingServer};
use crate::status::predecessors::Told;
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
    /// Earlier generations that still drain, the newest first, as they have told it. One of another release may tell
    /// nothing: `has_predecessor`, and the servers' `foreign`, are known in any case.
    pub(crate) predecessors: Vec<PredecessorReport>,
    pub(crate) restarts: RestartCounts,
    /// What became of the connections in the last restarts, the newest last. Each has its line of the log as `text`.
    /// They are kept as they were sent: another release may send other fields.
    pub(crate) receipts: Vec<serde_json::Value>,
    /// The last messages of the log.
    pub(crate) messages: Vec<Recorded>,
    pub(crate) health: HealthReport,
    /// The certificates of the servers that have one.
    pub(crate) certificates: Vec<CertificateReport>,
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
    /// Those of them that speak plain text on a server with TLS.
    pub(crate) plain_endpoints: Vec<String>,
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

/// A process that still drains, and whose successor this one or a later one is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PredecessorReport {
    pub(crate) pid: u32,
    pub(crate) generation: u64,
    /// `standby` or `draining`.
    pub(crate) phase: String,
    pub(crate) drains_for_seconds: f64,
    /// Until it cuts what is left.
    pub(crate) deadline_in_seconds: Option<f64>,
    /// All servers together.
    pub(crate) connections: DrainingCounts,
    pub(crate) servers: Vec<DrainingServerReport>,
    /// The background tasks that it waits for.
    pub(crate) tasks: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DrainingServerReport {
    pub(crate) name: String,
    /// `handing over`, `closing idle connections` and so on.
    pub(crate) phase: String,
    pub(crate) connections: DrainingCounts,
}

/// What became of connections since the successor has taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DrainingCounts {
    /// At that moment.
    pub(crate) before: u64,
    /// Those that have moved to the successor.
    pub(crate) moved: u64,
    /// Those that are left: parked, and awake.
    pub(crate) held: u64,
    pub(crate) parked: u64,
    pub(crate) awake: u64,
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
    /// That of a process that does not serve yet.
    pub(super) fn starting() -> Self {
        let process = ProcessReport {
            pid: std::process::id(),
            generation: generation(),
            phase: "starting".to_owned(),
            gracehttp: env!("CARGO_PKG_VERSION").to_owned(),
            ..ProcessReport::default()
        };
        Self { version: VERSION, process, ..Self::default() }
    }

    /// That of a process that serves, without its health.
    pub(super) fn new(
        snapshot: Snapshot,
        predecessors: &[Told],
        since: SystemTime,
        restarts: RestartCounts,
        receipts: &[Arc<RestartReceipt>],
        certificates: Vec<CertificateReport>,
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
            predecessors: predecessors.iter().map(PredecessorReport::from).collect(),
            restarts,
            receipts: receipts.iter().map(|receipt| with_text(receipt)).collect(),
            messages,
            health: HealthReport::default(),
            certificates,
        }
    }
}

impl From<ServerSnapshot> for ServerReport {
    fn from(server: ServerSnapshot) -> Self {
        let ServerSnapshot {
            name, phase, endpoints, plain_endpoints, permits, parked, awake, answers, ..
        } = server;
        let answers = answers.counts.iter().map(|answer| AnswersReport {
            cause: answer.cause.to_owned(),
            status: format!("{}xx", answer.class),
            count: answer.count,
        });
        Self {
            name,
            endpoints: endpoints.iter().map(Address::to_string).collect(),
            plain_endpoints: plain_endpoints.iter().map(Address::to_string).collect(),
            phase: phase_in_words(phase).to_owned(),
            max_conns: permits.limit,
            connections: ConnectionCounts { held: permits.held, parked, awake, foreign: permits.foreign },
            answers: answers.collect(),
        }
    }
}

impl From<&Told> for PredecessorReport {
    fn from(told: &Told) -> Self {
        let DrainReport { pid, generation, phase, servers, tasks, .. } = told.report();
        let named = servers.iter().map(|server| DrainingServerReport {
            name: server.name.clone(),
            phase: server.phase.clone(),
            connections: server.into(),
        });
        Self {
            pid: *pid,
            generation: *generation,
            phase: phase.clone(),
            drains_for_seconds: tenths(told.began_ago()),
            deadline_in_seconds: told.deadline_in().map(tenths),
            connections: (&told.report().total()).into(),
            servers: named.collect(),
            tasks: tasks.clone(),
        }
    }
}

impl From<&DrainingServer> for DrainingCounts {
    fn from(server: &DrainingServer) -> Self {
        let DrainingServer { before, moved, parked, awake, .. } = *server;
        Self { before, moved, held: parked.saturating_add(awake), parked, awake }
    }
}

/// In seconds, with one digit behind the point.
fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).floor() / 10.0
}

impl ProcessPhase {
    pub(super) fn name(self) -> &'static str {
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

pub(super) fn phase_in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Serving => "serving",
        Phase::HandingOver => "handing over",
        Phase::SuccessorFull => "handing over, but the successor is full",
        Phase::Stopping => "stopping",
        Phase::ClosingIdle => "closing idle connections",
        Phase::Cutting => "cutting",
    }
}
