//! When to close the idle connections that stay behind in a restart.
//!
//! If the next request is sent before the close arrives, that request is lost. So a connection stays open for as long
//! as it may still be used: its next response says `Connection: close`, and that loses nothing. In the first half of
//! the time only connections close that have been quiet for a while. The others follow in the second half.
//!
//! In both halves the closes are spread evenly, or all clients would connect to the successor in the same moment.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::conn::recycling::SETTLED;

/// The longest time over which closes are spread.
const LONGEST: Duration = Duration::from_secs(5);

/// A client that has been quiet for so long is unlikely to send a request in the very moment of the close.
const QUIET: Duration = Duration::from_secs(5);

/// 2³² divided by the golden ratio: its multiples spread evenly over a `u32`, however many there are.
const GOLDEN: u32 = 0x9e37_79b9;

/// When one connection closes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// If it has been quiet for a while.
    early: Instant,
    /// Otherwise.
    late: Instant,
}

impl Slot {
    /// When to close a connection whose client is expected to send nothing.
    pub(super) fn early(self) -> Instant {
        self.early
    }

    /// When to close a connection that has been idle since then.
    pub(super) fn close_at(self, idle_since: Instant) -> Instant {
        let if_quiet = self.early.max(idle_since + QUIET);
        if_quiet.min(self.late.max(idle_since + SETTLED))
    }
}

/// Spreads the closes of one server's connections evenly over a time.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    begun: Mutex<Option<(Instant, Duration)>>,
    next: AtomicU32,
}

impl Spread {
    /// Begins now, and takes at most half of `drain_timeout`: the other half is left to busy connections.
    pub(crate) fn begin(&self, drain_timeout: Duration) {
        let begun = (Instant::now(), (drain_timeout / 2).min(LONGEST));
        *self.begun.lock() = Some(begun);
    }

    /// The place of one more connection.
    pub(super) fn slot(&self) -> Slot {
        let (begin, length) = self.begun();
        let half = length / 2;
        let part = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        let early = begin + half.mul_f64(f64::from(part) / f64::from(u32::MAX));
        Slot { early, late: early + half }
    }

    /// When to close the last one.
    pub(in crate::conn) fn end(&self) -> Instant {
        let (begin, length) = self.begun();
        begin + length
    }

    fn begun(&self) -> (Instant, Duration) {
        let begun = *self.begun.lock();
        begun.unwrap_or_else(|| (Instant::now(), Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of 1000 connections close in each tenth of the time.
    fn tenths(idle_before: Duration) -> [usize; 10] {
        let spread = Spread::default();
        // The clock may have begun a moment ago.
        let begin = Instant::now() + 60 * SECOND;
        *spread.begun.lock() = Some((begin, LONGEST));
        let mut tenths = [0; 10];
        for _ in 0..1000 {
            let after = spread.slot().close_at(begin - idle_before) - begin;
            tenths[((after.as_secs_f64() / LONGEST.as_secs_f64() * 10.0) as usize).min(9)] += 1;
        }
        tenths
    }

    #[test]
    fn quiet_connections_are_closed_first_and_evenly() {
        let tenths = tenths(QUIET);
        assert!(tenths[..5].iter().all(|count| (190..=210).contains(count)), "{tenths:?}");
    }

    #[test]
    fn connections_that_were_just_used_are_closed_late_and_evenly() {
        let tenths = tenths(SECOND);
        assert!(tenths[5..8].iter().all(|count| (190..=210).contains(count)), "{tenths:?}");
        assert_eq!(tenths[..5], [0; 5]);
    }

    #[test]
    fn a_connection_that_has_just_answered_is_never_closed() {
        let spread = Spread::default();
        spread.begin(2 * SECOND);
        let now = Instant::now();
        assert!(spread.end() <= now + SECOND);
        assert!(spread.slot().close_at(now + 10 * SECOND) >= now + 10 * SECOND + SETTLED);
    }
}
