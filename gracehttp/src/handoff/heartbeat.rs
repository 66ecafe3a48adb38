//! Pings the successor: a process can exist and do nothing (`SIGSTOP`, a debugger, an endless loop).

use std::time::Duration;

use tokio::time::Instant;

/// How long after a pong the next ping is sent. A ping without a pong is repeated after the same time: on a busy channel
/// there may have been no room for the pong.
const PING_AFTER: Duration = Duration::from_secs(1);

/// How soon a ping that could not be sent is repeated.
const PING_AGAIN: Duration = Duration::from_millis(100);

/// How long the other process may be silent before it counts as dead. Some seconds, for loaded machines. The
/// application can't delay a pong: it comes from the control runtime.
pub(crate) const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(5);

/// The pings of one successor, and whether they were answered.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// The number of the last ping.
    number: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The last ping was answered. The next one is due at `ping_at`.
    Answered { ping_at: Instant },
    /// It was not answered, and no other message has come `since` then. It is repeated at `ping_at`.
    Waiting { since: Instant, ping_at: Instant },
}

impl Heartbeat {
    pub(super) fn begin(now: Instant) -> Self {
        Self { number: 0, state: State::Answered { ping_at: now } }
    }

    /// When to look again: a ping is due, or the successor counts as dead. This process has been awake since `awake_since`.
    pub(super) fn due_at(&self, awake_since: Instant) -> Instant {
        match self.state {
            State::Answered { ping_at } => ping_at,
            State::Waiting { since, ping_at } => ping_at.min(unresponsive_at(since, awake_since)),
        }
    }

    /// Whether a ping is due.
    pub(super) fn is_ping_due(&self, now: Instant) -> bool {
        let (State::Answered { ping_at } | State::Waiting { ping_at, .. }) = self.state;
        now >= ping_at
    }

    /// Whether the successor has been silent for too long.
    pub(super) fn is_unresponsive(&self, now: Instant, awake_since: Instant) -> bool {
        matches!(self.state, State::Waiting { since, .. } if now >= unresponsive_at(since, awake_since))
    }

    /// Notes that a ping is sent, and returns its number.
    pub(super) fn ping(&mut self, now: Instant) -> u32 {
        self.number = self.number.wrapping_add(1);
        let since = match self.state {
            State::Answered { .. } => now,
            State::Waiting { since, .. } => since,
        };
        self.state = State::Waiting { since, ping_at: now + PING_AFTER };
        self.number
    }

    /// The last ping could not be sent, and is repeated soon. The silence still counts: a successor that is stopped
    /// leaves no room in the channel.
    pub(super) fn note_unsent(&mut self, now: Instant) {
        if let State::Waiting { ping_at, .. } = &mut self.state {
            *ping_at = now + PING_AGAIN;
        }
    }

    /// A message has come, of any kind.
    pub(super) fn note_message(&mut self, now: Instant) {
        if let State::Waiting { since, .. } = &mut self.state {
            *since = now;
        }
    }

    /// The ping with this number was answered.
    pub(super) fn note_pong(&mut self, number: u32, now: Instant) {
        if number == self.number {
            self.state = State::Answered { ping_at: now + PING_AFTER };
        }
    }
}

/// When a successor that has been silent `since` then counts as dead. Suspended, this process could receive nothing.
fn unresponsive_at(since: Instant, awake_since: Instant) -> Instant {
    since.max(awake_since) + UNRESPONSIVE_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_ping_follows_a_second_after_a_pong() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        assert!(heartbeat.is_ping_due(now));
        let number = heartbeat.ping(now);
        heartbeat.note_pong(number, now);
        assert!(!heartbeat.is_ping_due(now) && heartbeat.is_ping_due(now + SECOND));
        assert!(!heartbeat.is_unresponsive(now + 100 * SECOND, now));
    }

    #[test]
    fn a_silent_successor_is_unresponsive_after_a_while_and_any_message_postpones_that() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        heartbeat.ping(now);
        assert!(!heartbeat.is_unresponsive(now + 4 * SECOND, now));
        heartbeat.note_message(now + 4 * SECOND);
        assert!(!heartbeat.is_unresponsive(now + 8 * SECOND, now));
        assert!(heartbeat.is_unresponsive(now + 9 * SECOND, now));
    }

    #[test]
    fn a_pong_to_an_earlier_ping_does_not_count() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        let first = heartbeat.ping(now);
        heartbeat.ping(now + SECOND);
        heartbeat.note_pong(first, now + SECOND);
        assert!(heartbeat.is_unresponsive(now + UNRESPONSIVE_AFTER, now));
    }

    /// Otherwise a lost ping or a lost pong would kill a healthy successor.
    #[test]
    fn a_ping_is_repeated_after_a_second_or_soon_if_it_could_not_be_sent() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        heartbeat.ping(now);
        heartbeat.note_unsent(now);
        assert!(!heartbeat.is_ping_due(now) && heartbeat.due_at(now) == now + PING_AGAIN);
        assert!(heartbeat.is_ping_due(now + PING_AGAIN));
        let number = heartbeat.ping(now + PING_AGAIN);
        assert!(!heartbeat.is_ping_due(now + SECOND), "it is on its way");
        assert!(heartbeat.is_ping_due(now + PING_AGAIN + SECOND), "the pong may be lost");
        assert!(heartbeat.is_unresponsive(now + UNRESPONSIVE_AFTER, now), "the time began with the first");
        heartbeat.note_pong(number, now + SECOND);
        assert!(!heartbeat.is_unresponsive(now + UNRESPONSIVE_AFTER, now));
    }

    /// Both processes may have been stopped, or the whole machine: the successor gets its time again.
    #[test]
    fn silence_while_this_process_was_suspended_does_not_count() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::begin(now);
        heartbeat.ping(now);
        let woke = now + 60 * SECOND;
        assert!(!heartbeat.is_unresponsive(woke, woke));
        assert!(heartbeat.is_unresponsive(woke + UNRESPONSIVE_AFTER, woke));
    }
}
