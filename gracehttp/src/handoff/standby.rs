//! The predecessor while it can still take over again: it keeps a duplicate of every plain connection that it gave
//! away, and watches the successor.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::conn::{Context, Leaving, Resting};
use crate::handoff::batch::Duplicate;
use crate::handoff::heartbeat::Heartbeat;
use crate::handoff::suspension::SuspensionWatch;
use crate::handoff::wire::Version;
use crate::socket::Stage;

/// Ends when its time is over *and* the successor has answered a ping sent after that. A successor that hangs has not
/// taken our place, even if it said *ready*.
#[derive(Debug)]
pub(super) struct Standby {
    until: Instant,
    /// By the number of the connection.
    kept: HashMap<u32, Kept>,
    /// How many TLS connections the successor was given. They can't come back: only the successor knows how many records
    /// were sealed with their keys.
    sessions: usize,
    suspension: SuspensionWatch,
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
    /// The successor handles a request of it.
    busy: bool,
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
    pub(super) fn begin(until: Instant, version: Version) -> Self {
        Self {
            until,
            kept: HashMap::new(),
            sessions: 0,
            suspension: SuspensionWatch::begin(),
            heartbeat: (version >= Version::Two).then(|| Heartbeat::begin(Instant::now())),
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
        self.kept.insert(number, Kept { context, duplicate, has_answered, busy: false });
        if may_be_busy {
            self.set_busy(number, true);
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

    /// Notes whether the successor handles a request of a connection.
    pub(super) fn set_busy(&mut self, number: u32, busy: bool) {
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.busy = busy;
            // The successor has consumed the bytes that were read ahead.
            kept.duplicate.ahead = Bytes::new();
            kept.duplicate.stage = Stage::Idle;
        }
    }

    /// Whether this process was suspended, and may have missed reports about the connections.
    pub(super) fn was_suspended(&self) -> bool {
        self.suspension.was_suspended()
    }

    /// The connections that were idle in a successor that is dead now, and how many of the others can't come back.
    pub(super) fn take_back(self) -> (impl Iterator<Item = Leaving>, usize) {
        // After a suspension any of them may be busy: we may have missed the report.
        let is_known = !self.suspension.was_suspended();
        let (idle, busy): (Vec<Kept>, Vec<Kept>) =
            self.kept.into_values().partition(|kept| is_known && !kept.busy);
        let back = idle.into_iter().map(
            |Kept { context, duplicate: Duplicate { socket, stage, ahead }, has_answered, .. }| {
                context.ends().take_back(has_answered);
                let permit = context.permits.adopt();
                (context, Resting { socket, stage, ahead, permit, has_answered: false, left_at: None })
            },
        );
        (back, busy.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn it_ends_with_the_pong_to_a_ping_that_was_sent_at_its_end() {
        let now = Instant::now();
        let mut standby = Standby::begin(now + 2 * SECOND, Version::Two);
        let Due::Ping(first) = standby.due(now + SECOND / 10) else { panic!("a ping at once") };
        assert!(!standby.note_pong(first, now + SECOND / 10));
        let Due::Ping(last) = standby.due(now + 2 * SECOND) else { panic!("a last ping") };
        assert_eq!(standby.due(now + 5 * SECOND / 2), Due::Nothing, "not yet repeated");
        assert!(!standby.note_pong(first, now + 3 * SECOND), "it was sent before");
        assert!(standby.note_pong(last, now + 3 * SECOND));
    }

    #[tokio::test]
    async fn a_successor_of_version_1_is_not_pinged() {
        let now = Instant::now();
        let mut standby = Standby::begin(now + 2 * SECOND, Version::One);
        assert_eq!(standby.due(now + SECOND), Due::Nothing);
        assert_eq!(standby.due(now + 2 * SECOND), Due::Over);
    }

    #[tokio::test]
    async fn an_unresponsive_successor_is_noticed_even_after_the_time_is_over() {
        let now = Instant::now();
        let mut standby = Standby::begin(now, Version::Two);
        assert!(matches!(standby.due(now), Due::Ping(_)));
        assert!(matches!(standby.due(now + 4 * SECOND), Due::Ping(_)), "not at once");
        assert_eq!(standby.due(now + 6 * SECOND), Due::Unresponsive);
    }
}
