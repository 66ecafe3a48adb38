//! What a process that drains tells its successor about itself, so that an operator sees both processes in one place.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::ConnectionEnd;
use crate::status::report::phase_in_words;
use crate::status::snapshot::{Observed, ServerSnapshot};

/// A report has no more bytes than this: a page of memory. Servers that find no room are counted together, without names.
pub(crate) const MOST_BYTES: usize = 4096;

/// What a process holds while it drains.
///
/// Other releases read it. So a new field comes at the end of the report, and no field is changed or taken away. The types
/// of the fields stay as they are, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainReport {
    pub(crate) pid: u32,
    pub(crate) generation: u64,
    /// How many milliseconds ago its successor took its place.
    pub(crate) began_ms_ago: u64,
    /// In how many milliseconds it cuts the connections that are left.
    pub(crate) deadline_in_ms: Option<u64>,
    /// `standby`, in which it could take its place again, or `draining`.
    pub(crate) phase: String,
    pub(crate) servers: Vec<DrainingServer>,
    /// The sum of the servers for whose names the report has no room.
    pub(crate) other_servers: Option<DrainingServer>,
    /// The background tasks that it waits for.
    pub(crate) tasks: Option<String>,
    /// The generations before it that still drain, as far as it knows.
    pub(crate) before_it: Vec<u64>,
}

/// The connections of one server of such a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainingServer {
    pub(crate) name: String,
    /// `handing over`, `closing idle connections` and so on.
    pub(crate) phase: String,
    /// How many it had when the successor took over.
    pub(crate) before: u64,
    /// Those that have moved since then.
    pub(crate) moved: u64,
    /// Those that it still has: in the parking lot, and with a task.
    pub(crate) parked: u64,
    pub(crate) awake: u64,
}

impl DrainReport {
    /// The report of this process. `began_ago` is the age of its drain, `deadline_in` how long that may still take.
    pub(crate) fn of(observed: &Observed, began_ago: Duration, deadline_in: Duration) -> Self {
        let snapshot = observed.snapshot();
        let before = observed.before_drain();
        let servers = snapshot.servers.iter().zip(before).map(|(server, before)| {
            let since = server.ends.since(&before);
            let moved = since.count(ConnectionEnd::Moved) + since.count(ConnectionEnd::AnsweredAndMoved);
            DrainingServer::of(server, before.open(), moved)
        });
        Self {
            pid: snapshot.pid,
            generation: snapshot.generation,
            began_ms_ago: millis(began_ago),
            deadline_in_ms: Some(millis(deadline_in)),
            phase: snapshot.phase.name().to_owned(),
            servers: servers.collect(),
            other_servers: None,
            tasks: snapshot.tasks.map(|tasks| tasks.to_string()),
            before_it: Vec::new(),
        }
    }

    /// Whether more than the times has changed.
    pub(crate) fn differs_from(&self, earlier: &Self) -> bool {
        let Self { began_ms_ago, deadline_in_ms, .. } = *self;
        *self != Self { began_ms_ago, deadline_in_ms, ..earlier.clone() }
    }

    /// The report as it is sent: of [`MOST_BYTES`] at most.
    pub(crate) fn encode(mut self) -> Vec<u8> {
        loop {
            // Never fails: postcard knows all types of the report.
            let data = postcard::to_allocvec(&self).unwrap_or_default();
            if data.len() <= MOST_BYTES {
                return data;
            }
            if self.servers.is_empty() {
                // Without servers only these two can still be long.
                self.tasks = None;
                self.before_it.clear();
                continue;
            }
            let unnamed = self.servers.split_off(self.servers.len() / 2);
            let others = self.other_servers.get_or_insert_default();
            unnamed.iter().for_each(|server| others.add(server));
        }
    }

    /// All servers together.
    pub(crate) fn total(&self) -> DrainingServer {
        let mut total = DrainingServer::default();
        self.servers.iter().chain(&self.other_servers).for_each(|server| total.add(server));
        total
    }
}

impl DrainingServer {
    fn of(server: &ServerSnapshot, before: u64, moved: u64) -> Self {
        Self {
            name: server.name.clone(),
            phase: phase_in_words(server.phase).to_owned(),
            before,
            moved,
            parked: server.parked as u64,
            awake: server.awake as u64,
        }
    }

    /// Counts another server's connections together with these.
    fn add(&mut self, other: &Self) {
        let Self { before, moved, parked, awake, .. } = other;
        for (sum, count) in [
            (&mut self.before, before),
            (&mut self.moved, moved),
            (&mut self.parked, parked),
            (&mut self.awake, awake),
        ] {
            *sum = sum.saturating_add(*count);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str) -> DrainingServer {
        let phase = "handing over".to_owned();
        DrainingServer { name: name.to_owned(), phase, before: 9, moved: 4, parked: 2, awake: 3 }
    }

    fn read(data: &[u8]) -> DrainReport {
        postcard::from_bytes(data).unwrap()
    }

    #[test]
    fn it_has_a_page_at_most_and_counts_all() {
        let small = DrainReport { servers: vec![server("web")], ..DrainReport::default() };
        assert_eq!(read(&small.clone().encode()), small);
        for count in [1, 60, 3000] {
            let servers = (0..count).map(|number| server(&format!("{number:0>200}"))).collect();
            let data = DrainReport { servers, ..DrainReport::default() }.encode();
            assert!(data.len() <= MOST_BYTES, "{}", data.len());
            let report = read(&data);
            assert!(!report.servers.is_empty(), "some have room");
            assert_eq!(report.other_servers.is_some(), count > 1);
            assert_eq!((report.total().before, report.total().awake), (9 * count, 3 * count));
        }
        let huge = DrainReport {
            servers: vec![server(&"a".repeat(MOST_BYTES))],
            tasks: Some("b".repeat(MOST_BYTES)),
            ..DrainReport::default()
        };
        let report = read(&huge.encode());
        assert_eq!((report.servers.len(), report.other_servers.unwrap().awake), (0, 3));
    }

    #[test]
    fn time_alone_makes_no_difference() {
        let report = DrainReport { servers: vec![server("web")], ..DrainReport::default() };
        let later = DrainReport { began_ms_ago: 7, deadline_in_ms: Some(3), ..report.clone() };
        assert!(!later.differs_from(&report));
        let fewer = DrainingServer { awake: 2, ..server("web") };
        assert!(DrainReport { servers: vec![fewer], ..later }.differs_from(&report));
    }
}
