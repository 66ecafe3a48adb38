//! The receipt of a restart: what became of every connection that the process held, and how long each step took.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::lifecycle::{ConnectionEnd, CutReason, CutWhile, show_roughly};

/// How many receipts are remembered.
const MAX_RECEIPTS: usize = 10;

/// What became of a restart.
///
/// For each server `before` + `accepted` = the sum of all `ends` + `stayed`. In a restart that has succeeded none has
/// stayed.
///
/// Other releases read it: a field is added at its end, and none is changed or taken away. The types of its fields
/// stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestartReceipt {
    /// Of the process that was to be replaced.
    pub(crate) generation: u64,
    pub(crate) pid: u32,
    /// None if no process was started.
    pub(crate) successor: Option<i32>,
    /// When the restart was asked for, in milliseconds since 1970.
    pub(crate) began_at_ms: u64,
    pub(crate) outcome: Outcome,
    /// Why it did not succeed, or what came after its success.
    pub(crate) reason: Option<String>,
    pub(crate) steps: Steps,
    /// The longest time in which a moved connection was in neither process.
    pub(crate) longest_pause_us: Option<u64>,
    pub(crate) servers: Vec<ServerReceipt>,
    /// The first connections that were cut while they were in use.
    pub(crate) cut: Vec<CutConnection>,
    /// How many more there were.
    pub(crate) cut_others: u64,
}

/// What became of a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The successor serves.
    Succeeded,
    /// The successor never came to serve, or died when this process could not take its place any more.
    #[default]
    Failed,
    /// The successor died in standby, and this process serves again.
    TakenBack,
    /// The process was stopped before the successor was ready.
    Stopped,
}

/// How long each step took, in microseconds. A step that was not reached has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Steps {
    /// Until the successor's process ran.
    pub(crate) start_us: Option<u64>,
    /// From then until it was ready.
    pub(crate) ready_us: Option<u64>,
    /// From then until it accepted in place of this process.
    pub(crate) commit_us: Option<u64>,
    /// From then until the last connection had moved.
    pub(crate) move_us: Option<u64>,
    /// From the commit until the end of standby.
    pub(crate) standby_us: Option<u64>,
    /// From the commit until this process held no connection any more, or served again.
    pub(crate) drain_us: Option<u64>,
}

/// What became of the connections of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerReceipt {
    pub(crate) server: String,
    /// How many it held when the successor took over.
    pub(crate) before: u64,
    /// How many it has got since then, from the queues of its listeners or from a predecessor that was still draining.
    pub(crate) accepted: u64,
    /// By the [names](ConnectionEnd::name) of the ends. Those that are 0 are left out.
    pub(crate) ends: BTreeMap<String, u64>,
    /// How many it goes on with.
    pub(crate) stayed: u64,
}

/// A connection that was cut while it was in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CutConnection {
    pub(crate) server: String,
    /// None over a Unix socket.
    pub(crate) peer: Option<String>,
    /// For how long it had been doing what it did.
    pub(crate) age_ms: u64,
    /// Method and path of its request, without the query.
    pub(crate) request: Option<String>,
    pub(crate) doing: CutWhile,
}

impl ServerReceipt {
    /// How many connections had this end.
    pub(crate) fn count(&self, end: ConnectionEnd) -> u64 {
        self.ends.get(end.name()).copied().unwrap_or_default()
    }

    /// Adds connections that had this end.
    pub(crate) fn add(&mut self, end: ConnectionEnd, count: u64) {
        if count > 0 {
            *self.ends.entry(end.name().to_owned()).or_default() += count;
        }
    }
}

impl RestartReceipt {
    /// All servers together.
    pub(crate) fn total(&self) -> ServerReceipt {
        let mut total = ServerReceipt::default();
        for ServerReceipt { before, accepted, ends, stayed, .. } in &self.servers {
            total.before += before;
            total.accepted += accepted;
            total.stayed += stayed;
            for (end, count) in ends {
                *total.ends.entry(end.clone()).or_default() += count;
            }
        }
        total
    }

    /// Whether the successor had taken over, and died when this process could not take its place any more.
    pub(crate) fn failed_after_commit(&self) -> bool {
        self.outcome == Outcome::Failed && self.steps.commit_us.is_some()
    }

    /// How many connections were cut while they were in use.
    pub(crate) fn cut_count(&self) -> u64 {
        let total = self.total();
        [CutReason::Deadline, CutReason::Exit]
            .map(|reason| total.count(ConnectionEnd::Cut(reason)))
            .iter()
            .sum()
    }
}

/// In one line.
impl fmt::Display for RestartReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        write!(f, "{} connections", total.before)?;
        if total.accepted > 0 {
            write!(f, " and {} accepted meanwhile", total.accepted)?;
        }
        let ends = ConnectionEnd::ALL.into_iter().map(|end| (end, total.count(end)));
        let ends = ends.filter(|(_, count)| *count > 0).map(|(end, count)| format!("{count} {end}"));
        let stayed = (total.stayed > 0).then(|| format!("{} stayed", total.stayed));
        let ends: Vec<String> = ends.chain(stayed).collect();
        if !ends.is_empty() {
            write!(f, ": {}", ends.join(", "))?;
        }
        let Steps { ready_us, move_us, drain_us, .. } = self.steps;
        for (what, took) in [
            ("ready after", ready_us),
            ("moved within", move_us),
            ("longest pause", self.longest_pause_us),
            ("drained within", drain_us),
        ] {
            if let Some(took) = took {
                write!(f, "; {what} {}", show_roughly(Duration::from_micros(took)))?;
            }
        }
        let shown = self.cut.len().min(SHOWN);
        for cut in &self.cut[..shown] {
            write!(f, "; cut: {cut}")?;
        }
        match self.cut_count().saturating_sub(shown as u64) {
            0 => Ok(()),
            others => write!(f, "; and {others} more cut"),
        }
    }
}

/// How many cut connections the log shows.
const SHOWN: usize = 3;

impl fmt::Display for CutConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, peer, age_ms, request, doing } = self;
        let request = request.as_deref().unwrap_or("no request");
        let (peer, age) =
            (peer.as_deref().unwrap_or("a Unix socket"), show_roughly(Duration::from_millis(*age_ms)));
        write!(f, "{request} from {peer} at server {server}, {doing} for {age}")
    }
}

/// The last receipts of this process and of its predecessors, the oldest first. Clones are the same history.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceiptHistory {
    receipts: Arc<Mutex<VecDeque<Arc<RestartReceipt>>>>,
}

impl ReceiptHistory {
    pub(crate) fn add(&self, receipt: Arc<RestartReceipt>) {
        let mut receipts = self.receipts.lock();
        receipts.push_back(receipt);
        // The predecessor's own receipt comes late, perhaps after one of this process.
        receipts.make_contiguous().sort_by_key(|receipt| receipt.began_at_ms);
        while receipts.len() > MAX_RECEIPTS {
            receipts.pop_front();
        }
    }

    /// The receipts, the oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<RestartReceipt>> {
        self.receipts.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(began_at_ms: u64) -> RestartReceipt {
        RestartReceipt { began_at_ms, ..RestartReceipt::default() }
    }

    #[test]
    fn the_history_keeps_the_last_receipts_in_their_order() {
        let history = ReceiptHistory::default();
        let times = || history.list().iter().map(|receipt| receipt.began_at_ms).collect::<Vec<_>>();
        for began_at_ms in [3, 1, 2] {
            history.add(Arc::new(receipt(began_at_ms)));
        }
        assert_eq!(times(), [1, 2, 3]);
        (4..20).for_each(|began_at_ms| history.add(Arc::new(receipt(began_at_ms))));
        assert_eq!(times(), (10..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_says_what_became_of_all_connections() {
        let mut web =
            ServerReceipt { server: "web".to_owned(), before: 9, accepted: 2, ..ServerReceipt::default() };
        web.add(ConnectionEnd::Moved, 7);
        web.add(ConnectionEnd::Cut(CutReason::Deadline), 4);
        web.add(ConnectionEnd::Lost, 0);
        let cut = CutConnection {
            server: "web".to_owned(),
            peer: Some("192.0.2.1:7".to_owned()),
            age_ms: 4200,
            request: Some("GET /slow".to_owned()),
            doing: CutWhile::Handler,
        };
        let steps = Steps { ready_us: Some(250_400), move_us: Some(900), ..Steps::default() };
        let receipt =
            RestartReceipt { servers: vec![web], cut: vec![cut], cut_others: 3, steps, ..receipt(1) };
        assert_eq!(receipt.cut_count(), 4);
        let line = receipt.to_string();
        assert!(
            line.starts_with("9 connections and 2 accepted meanwhile: 7 moved, 4 cut at the deadline; "),
            "{line}"
        );
        assert!(
            line.contains("; ready after 250ms; moved within 900us; cut: GET /slow from 192.0.2.1:7 "),
            "{line}"
        );
        assert!(line.ends_with("; and 3 more cut"), "{line}");
    }
}
