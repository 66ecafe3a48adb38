//! The predecessor while it can still take over again: it keeps a duplicate of every plain connection that it gave
//! away, and watches the successor.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::conn::{Context, Leaving, Resting};
use crate::handoff::batch::Duplicate;
use crate::handoff::heartbeat::Heartbeat;
use crate::handoff::suspension::SuspensionWatch;
use crate::handoff::version::Version;
use crate::ledger::{Ledger, Mark};
use crate::socket::{Socket, Stage, Untaken};

/// Ends when its time is over *and* the successor has answered a ping sent after that. A successor that hangs has not
/// taken our place, even if it said *ready*.
#[derive(Debug)]
pub(super) struct Standby {
    until: Instant,
    /// Sorted by the number of the connection. Nearly all are confirmed in this order.
    kept: Vec<(u32, Kept)>,
    /// How many TLS connections the successor was given. They can't come back: only the successor knows how many records
    /// were sealed with their keys.
    sessions: usize,
    suspension: SuspensionWatch,
    /// Where the successor marks the connections, if it was sent a ledger.
    ledger: Option<Ledger>,
    /// None with a successor of version 1, which answers no pings.
    heartbeat: Option<Heartbeat>,
    /// The number of the ping whose pong ends the standby.
    last_ping: Option<u32>,
}

/// A connection that can come back.
#[derive(Debug)]
struct Kept {
    context: Arc<Context>,
    duplicate: Duplicate,
    /// It had a request in flight when the restart came.
    has_answered: bool,
    /// What the successor has reported of it.
    reported: Mark,
}

/// What is due in the standby.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// A ping with this number.
    Ping(u32),
    /// It is over.
    Over,
    /// The successor counts as dead.
    Unresponsive,
}

impl Standby {
    /// Has to be called within a runtime.
    pub(super) fn begin(until: Instant, version: Version, ledger: Option<Ledger>) -> Self {
        Self {
            until,
            kept: Vec::new(),
            sessions: 0,
            suspension: SuspensionWatch::begin(),
            ledger,
            heartbeat: version.pings().then(|| Heartbeat::begin(Instant::now())),
            last_ping: None,
        }
    }

    /// When to look again at what is [due](Self::due).
    pub(super) fn due_at(&self) -> Instant {
        let Some(heartbeat) = &self.heartbeat else { return self.until };
        let due_at = heartbeat.due_at(self.suspension.awake_since());
        if self.last_ping.is_some() { due_at } else { due_at.min(self.until) }
    }

    /// What has to be done now.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let is_time_over = now >= self.until;
        let Some(heartbeat) = &mut self.heartbeat else {
            return if is_time_over { Due::Over } else { Due::Nothing };
        };
        if heartbeat.is_unresponsive(now, self.suspension.awake_since()) {
            return Due::Unresponsive;
        }
        let is_last = is_time_over && self.last_ping.is_none();
        if !is_last && !heartbeat.is_ping_due(now) {
            return Due::Nothing;
        }
        let number = heartbeat.ping(now);
        self.last_ping = self.last_ping.or(is_last.then_some(number));
        Due::Ping(number)
    }

    /// The last ping could not be sent.
    pub(super) fn note_unsent(&mut self, now: Instant) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.note_unsent(now);
        }
    }

    /// A message of the successor has come.
    pub(super) fn note_message(&mut self, now: Instant) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.note_message(now);
        }
    }

    /// The successor has answered a ping. Returns whether the standby is over.
    pub(super) fn note_pong(&mut self, number: u32, now: Instant) -> bool {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.note_pong(number, now);
        }
        self.last_ping.is_some_and(|last| number >= last)
    }

    /// Keeps a duplicate of the connection with this number, which the successor has.
    pub(super) fn keep(
        &mut self,
        number: u32,
        context: Arc<Context>,
        has_answered: bool,
        duplicate: Duplicate,
        may_be_busy: bool,
    ) {
        let reported = if may_be_busy { Mark::Busy } else { Mark::Untouched };
        let kept = (number, Kept { context, duplicate, has_answered, reported });
        match self.kept.last() {
            Some((last, _)) if *last > number => {
                let place = self.kept.partition_point(|(known, _)| *known < number);
                self.kept.insert(place, kept);
            }
            Some(_) | None => self.kept.push(kept),
        }
    }

    /// The successor has one more TLS connection.
    pub(super) fn note_session(&mut self) {
        self.sessions += 1;
    }

    /// How many TLS connections end if the successor dies.
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    /// Notes what the successor reports of a connection.
    pub(super) fn note_report(&mut self, number: u32, mark: Mark) {
        if let Ok(place) = self.kept.binary_search_by_key(&number, |(known, _)| *known) {
            self.kept[place].1.reported = mark;
        }
    }

    /// How many plain connections it was given.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// In which state a dead successor has left a connection: as the ledger says, or else as it has reported.
    pub(super) fn mark(&self, number: u32, reported: Mark) -> Mark {
        match self.ledger.as_ref().and_then(|ledger| ledger.mark(number)) {
            Some(mark) => mark,
            // We may have missed a report.
            None if self.suspension.was_suspended() => Mark::Busy,
            None => reported,
        }
    }

    /// The connections that were idle in a successor that is dead now, and how many of the others can't come back.
    pub(super) fn take_back(mut self) -> (Vec<Leaving>, usize) {
        let kept = std::mem::take(&mut self.kept);
        let count = kept.len();
        let back: Vec<Leaving> = kept
            .into_iter()
            .filter_map(|(number, kept)| {
                let mark = self.mark(number, kept.reported);
                kept.take_back(mark)
            })
            .collect();
        let busy = count - back.len();
        (back, busy)
    }
}

/// The stage of a connection that comes back from a dead process with this mark, and the bytes that were read of its next
/// request. None if that process may have read a part of a request.
pub(super) fn left_with(mark: Mark, stage: Stage, ahead: Bytes) -> Option<(Stage, Bytes)> {
    match mark {
        Mark::Untouched => Some((stage, ahead)),
        Mark::Busy => None,
        // It has answered the bytes that were sent along.
        Mark::Idle => Some((Stage::Idle, Bytes::new())),
    }
}

impl Kept {
    /// The connection, unless the successor may have read a part of a request.
    fn take_back(self, mark: Mark) -> Option<Leaving> {
        let Self { context, duplicate, has_answered, .. } = self;
        let Duplicate { socket, stage, ahead } = duplicate;
        let (stage, ahead) = left_with(mark, stage, ahead)?;
        // The successor may have written something.
        let socket = Socket { untaken: Untaken::UNKNOWN, ..socket };
        context.ends().take_back(has_answered);
        let permit = context.permits.adopt();
        Some((context, Resting { socket, stage, ahead, permit, has_answered: false, left_at: None }))
    }
}

#[cfg(all(test, gracehttp_model))]
#[path = "standby_model.rs"]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Family, ProxyHeader};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn it_ends_with_the_pong_to_a_ping_that_was_sent_at_its_end() {
        let now = Instant::now();
        let mut standby = Standby::begin(now + 2 * SECOND, Version::Two, None);
        let Due::Ping(first) = standby.due(now + SECOND / 10) else { panic!("a ping at once") };
        assert!(!standby.note_pong(first, now + SECOND / 10));
        let Due::Ping(last) = standby.due(now + 2 * SECOND) else { panic!("a last ping") };
        assert_eq!(standby.due(now + 5 * SECOND / 2), Due::Nothing, "not yet repeated");
        assert!(!standby.note_pong(first, now + 3 * SECOND), "it was sent before");
        assert!(standby.note_pong(last, now + 3 * SECOND));
    }

    #[cfg(feature = "self-signed")]
    #[tokio::test]
    async fn a_connection_is_known_by_its_number_even_if_it_was_confirmed_late() {
        let context = Arc::new(Context::without_handlers("web", false));
        let mut standby = Standby::begin(Instant::now(), Version::Seven, None);
        for number in [2, 4, 1, 3] {
            let (ours, _) = std::os::unix::net::UnixStream::pair().unwrap();
            let socket = Socket {
                fd: ours.into(),
                family: Family::Unix,
                origin: None,
                listener: None,
                session: None,
                proxy_header: ProxyHeader::AsListed,
                untaken: Untaken::UNKNOWN,
            };
            let duplicate = Duplicate { socket, stage: Stage::Idle, ahead: Bytes::new() };
            standby.keep(number, context.clone(), false, duplicate, false);
        }
        [1, 4, 9].into_iter().for_each(|number| standby.note_report(number, Mark::Busy));
        let reported: Vec<_> = standby.kept.iter().map(|(number, kept)| (*number, kept.reported)).collect();
        let expected = [(1, Mark::Busy), (2, Mark::Untouched), (3, Mark::Untouched), (4, Mark::Busy)];
        assert_eq!(reported, expected);
    }

    #[tokio::test]
    async fn a_successor_of_version_1_is_not_pinged() {
        let now = Instant::now();
        let mut standby = Standby::begin(now + 2 * SECOND, Version::One, None);
        assert_eq!(standby.due(now + SECOND), Due::Nothing);
        assert_eq!(standby.due(now + 2 * SECOND), Due::Over);
    }

    #[tokio::test]
    async fn an_unresponsive_successor_is_noticed_even_after_the_time_is_over() {
        let now = Instant::now();
        let mut standby = Standby::begin(now, Version::Two, None);
        assert!(matches!(standby.due(now), Due::Ping(_)));
        assert!(matches!(standby.due(now + 4 * SECOND), Due::Ping(_)), "not at once");
        assert_eq!(standby.due(now + 6 * SECOND), Due::Unresponsive);
    }
}
