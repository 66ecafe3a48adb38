//! The predecessor while it can still take over again: it keeps a duplicate of every connection that it gave away,
//! and watches the successor.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::conn::{Context, Leaving, Resting};
use crate::handoff::heartbeat::Heartbeat;
use crate::handoff::suspension::SuspensionWatch;
use crate::handoff::wire::Version;
use crate::socket::{Socket, Stage};

/// Ends when its time is over *and* the successor has shown after that that it lives. A successor that hangs has not
/// taken our place, even if it said *ready*.
#[derive(Debug)]
pub(super) struct Standby {
    until: Instant,
    kept: HashMap<u32, Kept>,
    suspension: SuspensionWatch,
    /// None with a successor of version 1, which answers no questions.
    heartbeat: Option<Heartbeat>,
    /// The number of the question whose answer ends the standby.
    last_question: Option<u32>,
}

/// A connection that the successor has, and of which we keep a duplicate.
#[derive(Debug)]
struct Kept {
    context: Arc<Context>,
    socket: Socket,
    stage: Stage,
    ahead: Bytes,
    /// The successor handles a request of it.
    busy: bool,
}

/// What is due in the standby.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Ask the successor for a sign of life, by this number.
    Ask(u32),
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
            suspension: SuspensionWatch::begin(),
            heartbeat: (version >= Version::Two).then(|| Heartbeat::begin(Instant::now())),
            last_question: None,
        }
    }

    /// When to ask what is [due](Self::due).
    pub(super) fn due_at(&self) -> Instant {
        let Some(heartbeat) = &self.heartbeat else { return self.until };
        let due_at = heartbeat.due_at(self.suspension.awake_since());
        if self.last_question.is_some() { due_at } else { due_at.min(self.until) }
    }

    /// What is to be done now.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let is_time_over = now >= self.until;
        let Some(heartbeat) = &mut self.heartbeat else {
            return if is_time_over { Due::Over } else { Due::Nothing };
        };
        if heartbeat.is_unresponsive(now, self.suspension.awake_since()) {
            return Due::Unresponsive;
        }
        let is_last = is_time_over && self.last_question.is_none();
        if !is_last && !heartbeat.is_question_due(now) {
            return Due::Nothing;
        }
        let number = heartbeat.ask(now);
        self.last_question = self.last_question.or(is_last.then_some(number));
        Due::Ask(number)
    }

    /// The last question could not be sent.
    pub(super) fn unsent(&mut self, now: Instant) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.unsent(now);
        }
    }

    /// The successor said something.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.heard(now);
        }
    }

    /// It answered a question; true if the standby is over with that.
    pub(super) fn answered(&mut self, number: u32, now: Instant) -> bool {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.answered(number, now);
        }
        self.last_question.is_some_and(|last| number >= last)
    }

    /// Keeps a duplicate of the connection with this number, which the successor has.
    pub(super) fn keep(
        &mut self,
        id: u32,
        context: Arc<Context>,
        socket: Socket,
        stage: Stage,
        ahead: Bytes,
    ) {
        self.kept.insert(id, Kept { context, socket, stage, ahead, busy: false });
    }

    /// Notes whether the successor handles a request of a connection.
    pub(super) fn mark(&mut self, id: u32, busy: bool) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.busy = busy;
            // The successor has consumed the bytes that were read ahead.
            kept.ahead = Bytes::new();
            kept.stage = Stage::Idle;
        }
    }

    /// Whether this process slept, and may have missed news of the connections.
    pub(super) fn has_slept(&self) -> bool {
        self.suspension.has_slept()
    }

    /// The connections that were idle in a successor that is dead now.
    pub(super) fn take_back(self) -> impl Iterator<Item = Leaving> {
        // If we slept, it may have read from any of them, and we may have missed that they are busy.
        let is_known = !self.suspension.has_slept();
        let idle = self.kept.into_values().filter(move |kept| is_known && !kept.busy);
        idle.map(|Kept { context, socket, stage, ahead, .. }| {
            let permit = context.permits.adopt();
            (context, Resting { socket, stage, ahead, permit, has_answered: false })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn it_ends_with_an_answer_to_a_question_that_was_asked_at_its_end() {
        let now = Instant::now();
        let mut standby = Standby::begin(now + 2 * SECOND, Version::Two);
        let Due::Ask(first) = standby.due(now + SECOND / 10) else { panic!("a question at once") };
        assert!(!standby.answered(first, now + SECOND / 10));
        let Due::Ask(last) = standby.due(now + 2 * SECOND) else { panic!("a last question") };
        assert_eq!(standby.due(now + 5 * SECOND / 2), Due::Nothing, "not yet repeated");
        assert!(!standby.answered(first, now + 3 * SECOND), "it was asked before");
        assert!(standby.answered(last, now + 3 * SECOND));
    }

    #[tokio::test]
    async fn a_successor_of_version_1_is_not_asked() {
        let now = Instant::now();
        let mut standby = Standby::begin(now + 2 * SECOND, Version::One);
        assert_eq!(standby.due(now + SECOND), Due::Nothing);
        assert_eq!(standby.due(now + 2 * SECOND), Due::Over);
    }

    #[tokio::test]
    async fn a_mute_successor_is_noticed_even_after_the_time_is_over() {
        let now = Instant::now();
        let mut standby = Standby::begin(now, Version::Two);
        assert!(matches!(standby.due(now), Due::Ask(_)));
        assert!(matches!(standby.due(now + 4 * SECOND), Due::Ask(_)), "not at once");
        assert_eq!(standby.due(now + 6 * SECOND), Due::Unresponsive);
    }
}
