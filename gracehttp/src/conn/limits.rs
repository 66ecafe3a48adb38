//! The time limit of bodies, for both protocols: how long a client may take to send or to take one.

use std::time::Duration;

use tokio::time::Instant;

/// How long a request body or a response may stand still.
pub(super) const STALLED: Duration = Duration::from_secs(30);

/// How many bytes of its body a client has to send each second, on average, once it has used up [`STALLED`].
///
/// Kestrel has the same limit: a modem of 2400 baud reaches it, so every client of today does.
const LEAST_RATE: u64 = 240;

/// How long we still wait for a client that sends or takes a body. Waiting uses the time up, and each byte brings some
/// of it back.
#[derive(Debug)]
pub(crate) struct Patience {
    left: Duration,
    at: Instant,
    /// The bytes moved by then.
    moved: u64,
}

impl Patience {
    pub(crate) fn new(moved: u64, now: Instant) -> Self {
        Self { left: STALLED, at: now, moved }
    }

    /// The client was waited for until now, and this is what has moved.
    pub(crate) fn note(&mut self, moved: u64, now: Instant) {
        self.spend(now - self.at, moved, now);
    }

    /// The client is waited for from now on.
    pub(crate) fn resume(&mut self, moved: u64, now: Instant) {
        self.spend(Duration::ZERO, moved, now);
    }

    fn spend(&mut self, spent: Duration, moved: u64, now: Instant) {
        let earned = Duration::from_millis((moved - self.moved).saturating_mul(1000) / LEAST_RATE);
        self.left = self.left.saturating_add(earned).saturating_sub(spent).min(STALLED);
        (self.at, self.moved) = (now, moved);
    }

    /// The bytes moved at the last note.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// When it comes to its end, if nothing moves any more.
    pub(crate) fn end(&self) -> Instant {
        self.at + self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn patience_ends_after_thirty_seconds_of_nothing() {
        let start = Instant::now();
        let mut patience = Patience::new(5, start);
        patience.note(1_000_005, start + 29 * SECOND);
        assert_eq!(patience.end(), start + 59 * SECOND, "much at once is not saved up");
    }

    #[test]
    fn patience_ends_with_a_body_that_drips() {
        let start = Instant::now();
        let mut patience = Patience::new(0, start);
        for second in 1..=60 {
            patience.note(u64::from(second) * LEAST_RATE, start + second * SECOND);
        }
        assert_eq!(patience.end(), start + 90 * SECOND, "just fast enough");
        for second in 61..=90 {
            patience.note(60 * LEAST_RATE + second, start + second as u32 * SECOND);
        }
        assert!(patience.end() <= start + 91 * SECOND, "a byte a second is as good as nothing");
    }

    #[test]
    fn patience_is_not_used_up_by_others() {
        let start = Instant::now();
        let mut patience = Patience::new(0, start);
        patience.note(0, start + 10 * SECOND);
        patience.resume(0, start + 60 * SECOND);
        assert_eq!(patience.end(), start + 80 * SECOND);
    }
}
