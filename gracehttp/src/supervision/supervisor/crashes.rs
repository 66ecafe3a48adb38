//! How often workers have crashed lately, and what follows.

use std::time::Duration;

use crate::supervision::page::{CrashLimits, nanos};

/// The pause after the second crash. It doubles with each one after it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The list of crashes grows no longer than this: more crashes in one window count as so many.
const MOST: usize = 64;

/// The longest words about a worker's end.
const LONGEST_WORDS: usize = 200;

/// The crashes within the window.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    times: Vec<u64>,
    /// How the last worker ended, in the words of the one that reaped it.
    words: Option<String>,
}

/// What follows from a crash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    StartAfter(Duration),
    /// So many crashes in so long: the service ends.
    GiveUp {
        crashes: usize,
        within: Duration,
    },
}

impl Crashes {
    pub(super) fn note(&mut self, now: u64, limits: CrashLimits) -> Verdict {
        let CrashLimits { limit, window, longest_backoff } = limits;
        let oldest = now.saturating_sub(nanos(window));
        self.times.retain(|time| *time >= oldest);
        if self.times.len() == MOST {
            self.times.remove(0);
        }
        self.times.push(now);
        let crashes = self.times.len();
        if crashes as u64 >= limit.min(MOST as u64) {
            return Verdict::GiveUp { crashes, within: window };
        }
        Verdict::StartAfter(match crashes {
            0 | 1 => Duration::ZERO,
            _ => {
                let doublings = u32::try_from(crashes - 2).unwrap_or(u32::MAX).min(30);
                (FIRST_PAUSE * 2_u32.saturating_pow(doublings)).min(longest_backoff)
            }
        })
    }

    /// The pause after a worker could not even be forked.
    pub(super) fn pause_after_failure(&self) -> Duration {
        FIRST_PAUSE * 10
    }

    pub(super) fn note_words(&mut self, how: &[u8]) {
        let how = String::from_utf8_lossy(&how[..how.len().min(LONGEST_WORDS)]);
        self.words = Some(how.into_owned());
    }

    pub(super) fn take_words(&mut self) -> Option<String> {
        self.words.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limits(limit: u64) -> CrashLimits {
        CrashLimits { limit, window: Duration::from_secs(30), longest_backoff: Duration::from_secs(10) }
    }

    #[test]
    fn the_first_crash_costs_nothing_and_the_fifth_within_the_window_ends_the_service() {
        let mut crashes = Crashes::default();
        let pauses = [0, 100, 200, 400].map(Duration::from_millis);
        for (place, pause) in pauses.into_iter().enumerate() {
            assert_eq!(crashes.note(100 * SECOND + place as u64, limits(5)), Verdict::StartAfter(pause));
        }
        let verdict = crashes.note(101 * SECOND, limits(5));
        assert_eq!(verdict, Verdict::GiveUp { crashes: 5, within: Duration::from_secs(30) });
    }

    #[test]
    fn crashes_that_are_long_ago_are_forgotten() {
        let mut crashes = Crashes::default();
        for time in 1..100 {
            assert_eq!(crashes.note(time * 31 * SECOND, limits(5)), Verdict::StartAfter(Duration::ZERO));
        }
    }

    #[test]
    fn a_pause_has_its_longest() {
        let mut crashes = Crashes::default();
        let last = (0..40).map(|place| crashes.note(100 * SECOND + place, limits(60))).last();
        assert_eq!(last, Some(Verdict::StartAfter(Duration::from_secs(10))));
    }
}
