//! When to close the connections that stay behind in a restart: not all at once, or all of their clients would
//! connect to the successor in the same moment.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest time over which closes are spread.
const LONGEST: Duration = Duration::from_secs(5);

/// 2³² divided by the golden ratio: its multiples spread evenly over a `u32`, however many there are.
const GOLDEN: u32 = 0x9e37_79b9;

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
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }

    /// When to close one more connection.
    pub(super) fn moment(&self) -> Instant {
        let (begin, length) = self.begun();
        let part = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        begin + length.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }

    /// When to close the last one.
    pub(super) fn end(&self) -> Instant {
        let (begin, length) = self.begun();
        begin + length
    }

    fn begun(&self) -> (Instant, Duration) {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.unwrap_or_else(|| (Instant::now(), Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_closed_evenly() {
        let spread = Spread::default();
        let begin = Instant::now();
        spread.begin(Duration::from_secs(60));
        let mut tenths = [0; 10];
        for _ in 0..1000 {
            let after = (spread.moment() - begin).as_secs_f64() / LONGEST.as_secs_f64();
            tenths[((after * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (95..=105).contains(count)), "{tenths:?}");
        spread.begin(Duration::from_secs(2));
        assert!(spread.end() <= Instant::now() + Duration::from_secs(1));
    }
}
