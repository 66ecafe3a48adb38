//! Asks the successor for signs of life: a process can exist and do nothing (`SIGSTOP`, a debugger, an endless loop).

use std::time::Duration;

use tokio::time::Instant;

/// How long after an answer the next question comes. A question without an answer is repeated after the same time: on a
/// busy channel there may have been no room for the answer.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// How soon a question that could not be sent is repeated.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long the other process may be silent before it counts as dead. Some seconds, for loaded machines. The
/// application can't delay an answer: it comes from the control runtime.
pub(crate) const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(5);

/// The questions, and whether they were answered.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// How many questions were asked: the number of the last one.
    asked: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The last question was answered; the next one is due at `ask_at`.
    Answered { ask_at: Instant },
    /// It was not, and nothing was heard since then. It is repeated at `ask_at`.
    Waits { since: Instant, ask_at: Instant },
}

impl Heartbeat {
    pub(super) fn begin(now: Instant) -> Self {
        Self { asked: 0, state: State::Answered { ask_at: now } }
    }

    /// When there is something to do. This process has been awake since `awake_since`.
    pub(super) fn due_at(&self, awake_since: Instant) -> Instant {
        match self.state {
            State::Answered { ask_at } => ask_at,
            State::Waits { since, ask_at } => ask_at.min(mute_at(since, awake_since)),
        }
    }

    /// Whether a question is due.
    pub(super) fn is_question_due(&self, now: Instant) -> bool {
        let (State::Answered { ask_at } | State::Waits { ask_at, .. }) = self.state;
        now >= ask_at
    }

    /// Whether the successor has been silent for too long.
    pub(super) fn is_unresponsive(&self, now: Instant, awake_since: Instant) -> bool {
        matches!(self.state, State::Waits { since, .. } if now >= mute_at(since, awake_since))
    }

    /// Asks a question, and returns its number.
    pub(super) fn ask(&mut self, now: Instant) -> u32 {
        self.asked = self.asked.wrapping_add(1);
        let since = match self.state {
            State::Answered { .. } => now,
            State::Waits { since, .. } => since,
        };
        self.state = State::Waits { since, ask_at: now + ASK_AFTER };
        self.asked
    }

    /// The last question could not be sent, and is repeated soon. The silence still counts: a successor that is stopped
    /// leaves no room.
    pub(super) fn unsent(&mut self, now: Instant) {
        if let State::Waits { ask_at, .. } = &mut self.state {
            *ask_at = now + ASK_AGAIN;
        }
    }

    /// Something was heard, whatever it was.
    pub(super) fn heard(&mut self, now: Instant) {
        if let State::Waits { since, .. } = &mut self.state {
            *since = now;
        }
    }

    /// The question with this number was answered.
    pub(super) fn answered(&mut self, number: u32, now: Instant) {
        if number == self.asked {
            self.state = State::Answered { ask_at: now + ASK_AFTER };
        }
    }
}

/// When a successor that has been silent `since` then counts as dead. Asleep, this process could hear nothing.
fn mute_at(since: Instant, awake_since: Instant) -> Instant {
    since.max(awake_since) + UNRESPONSIVE_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_question_follows_a_second_after_an_answer() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        assert!(heartbeat.is_question_due(now));
        let number = heartbeat.ask(now);
        heartbeat.answered(number, now);
        assert!(!heartbeat.is_question_due(now) && heartbeat.is_question_due(now + SECOND));
        assert!(!heartbeat.is_unresponsive(now + 100 * SECOND, now));
    }

    #[test]
    fn a_silent_successor_is_mute_after_a_while_and_any_message_postpones_that() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        heartbeat.ask(now);
        assert!(!heartbeat.is_unresponsive(now + 4 * SECOND, now));
        heartbeat.heard(now + 4 * SECOND);
        assert!(!heartbeat.is_unresponsive(now + 8 * SECOND, now));
        assert!(heartbeat.is_unresponsive(now + 9 * SECOND, now));
    }

    #[test]
    fn an_answer_to_an_earlier_question_does_not_count() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        let first = heartbeat.ask(now);
        heartbeat.ask(now + SECOND);
        heartbeat.answered(first, now + SECOND);
        assert!(heartbeat.is_unresponsive(now + UNRESPONSIVE_AFTER, now));
    }

    /// Otherwise a lost question or a lost answer would kill a healthy successor.
    #[test]
    fn a_question_is_repeated_after_a_second_or_soon_if_it_could_not_be_sent() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        heartbeat.ask(now);
        heartbeat.unsent(now);
        assert!(!heartbeat.is_question_due(now) && heartbeat.due_at(now) == now + ASK_AGAIN);
        assert!(heartbeat.is_question_due(now + ASK_AGAIN));
        let number = heartbeat.ask(now + ASK_AGAIN);
        assert!(!heartbeat.is_question_due(now + SECOND), "it is on its way");
        assert!(heartbeat.is_question_due(now + ASK_AGAIN + SECOND), "the answer may be lost");
        assert!(heartbeat.is_unresponsive(now + UNRESPONSIVE_AFTER, now), "the time began with the first");
        heartbeat.answered(number, now + SECOND);
        assert!(!heartbeat.is_unresponsive(now + UNRESPONSIVE_AFTER, now));
    }

    /// Both processes may have been stopped, or the whole machine: the successor gets its time again.
    #[test]
    fn silence_while_we_slept_does_not_count() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        heartbeat.ask(now);
        let woke = now + 60 * SECOND;
        assert!(!heartbeat.is_unresponsive(woke, woke));
        assert!(heartbeat.is_unresponsive(woke + UNRESPONSIVE_AFTER, woke));
    }
}
