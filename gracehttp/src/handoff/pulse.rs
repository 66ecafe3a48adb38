//! Whether the successor lives: a process can be there and do nothing (`SIGSTOP`, a debugger, an endless loop).

use std::time::Duration;

use tokio::time::Instant;

/// How long an answer is good for.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// How long the other process may say nothing before it counts as dead. Seconds, since a loaded machine is no death:
/// what answers is the control runtime alone, which nothing of the application's can hold up.
pub(crate) const MUTE_AFTER: Duration = Duration::from_secs(5);

/// Asks for signs of life.
#[derive(Debug)]
pub(super) struct Pulse {
    /// How many questions were asked; the last one's number.
    asked: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The last question has its answer: when the next one is due.
    Answered { ask_at: Instant },
    /// It has none: since when nothing was heard.
    Waits { since: Instant },
}

impl Pulse {
    pub(super) fn begin(now: Instant) -> Self {
        Self { asked: 0, state: State::Answered { ask_at: now } }
    }

    /// When there is something to do, for a process that has been awake since `awake_since`.
    pub(super) fn due_at(&self, awake_since: Instant) -> Instant {
        match self.state {
            State::Answered { ask_at } => ask_at,
            // While we slept nothing could be heard.
            State::Waits { since } => since.max(awake_since) + MUTE_AFTER,
        }
    }

    /// Whether a question is due.
    pub(super) fn is_question_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Answered { ask_at } if now >= ask_at)
    }

    /// Whether the successor has been waited for in vain.
    pub(super) fn is_mute(&self, now: Instant, awake_since: Instant) -> bool {
        matches!(self.state, State::Waits { .. }) && now >= self.due_at(awake_since)
    }

    /// Asks: the number of the question.
    pub(super) fn ask(&mut self, now: Instant) -> u32 {
        self.asked = self.asked.wrapping_add(1);
        if let State::Answered { .. } = self.state {
            self.state = State::Waits { since: now };
        }
        self.asked
    }

    /// Something was heard, whatever it was.
    pub(super) fn heard(&mut self, now: Instant) {
        if let State::Waits { since } = &mut self.state {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_is_good_for_a_second() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(now);
        assert!(pulse.is_question_due(now));
        let number = pulse.ask(now);
        pulse.answered(number, now);
        assert!(!pulse.is_question_due(now) && pulse.is_question_due(now + SECOND));
        assert!(!pulse.is_mute(now + 100 * SECOND, now));
    }

    #[test]
    fn a_successor_that_says_nothing_is_mute_after_a_while_and_one_that_says_anything_is_not() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(now);
        pulse.ask(now);
        assert!(!pulse.is_mute(now + 4 * SECOND, now));
        pulse.heard(now + 4 * SECOND);
        assert!(!pulse.is_mute(now + 8 * SECOND, now));
        assert!(pulse.is_mute(now + 9 * SECOND, now));
    }

    #[test]
    fn an_answer_to_an_earlier_question_does_not_do() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(now);
        let first = pulse.ask(now);
        pulse.ask(now + SECOND);
        pulse.answered(first, now + SECOND);
        assert!(pulse.is_mute(now + MUTE_AFTER, now));
    }

    /// Both processes may have been stopped, or the whole machine: the successor gets its time again.
    #[test]
    fn what_was_not_heard_in_our_sleep_does_not_count() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(now);
        pulse.ask(now);
        let woke = now + 60 * SECOND;
        assert!(!pulse.is_mute(woke, woke));
        assert!(pulse.is_mute(woke + MUTE_AFTER, woke));
    }
}
