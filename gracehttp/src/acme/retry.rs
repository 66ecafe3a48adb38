//! How long to wait after a failure.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// After the first failure that was no refusal.
const FIRST_AFTER_FAULT: Duration = Duration::from_secs(5);

/// After the first refusal: authorities allow few of them an hour.
const FIRST_AFTER_REFUSAL: Duration = Duration::from_secs(60);

const LONGEST_AFTER_FAULT: Duration = Duration::from_secs(60 * 60);
const LONGEST_AFTER_REFUSAL: Duration = Duration::from_secs(6 * 60 * 60);

/// Whose failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The disk's, the network's, or that of an authority which is down.
    Fault,
    /// The authority has refused something.
    Refusal,
    /// The authority has refused it because it does not know the account.
    UnknownAccount,
}

/// The failures in a row.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
}

impl Retry {
    /// How long to wait now: as long as is `wanted`; else twice as long each time. With jitter, since the authority may have
    /// failed for all of its clients at once. After several failures there is a growing least
    /// pause, too, since each attempt costs several requests.
    pub(super) fn pause(&mut self, kind: Kind, wanted: Option<Duration>) -> Duration {
        let (first, longest) = match kind {
            Kind::Fault => (FIRST_AFTER_FAULT, LONGEST_AFTER_FAULT),
            Kind::Refusal | Kind::UnknownAccount => (FIRST_AFTER_REFUSAL, LONGEST_AFTER_REFUSAL),
        };
        let doubled = |first: Duration, failures: u32| first.saturating_mul(1 << failures.min(16));
        let before = self.failures;
        self.failures += 1;
        let Some(wanted) = wanted else {
            let pause = doubled(first, before).min(longest);
            return pause + jitter(pause / 4);
        };
        // A moment later than it says: clocks count in whole seconds.
        let pause = wanted + jitter(wanted / 10) + Duration::from_millis(100);
        match before {
            0 => pause,
            before => pause.max(doubled(FIRST_AFTER_FAULT, before - 1).min(LONGEST_AFTER_FAULT)),
        }
    }

    /// It has gone well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Any duration up to this one.
pub(super) fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1024;
    most.mul_f64(random as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_begin_anew() {
        let mut retry = Retry::default();
        let between = |pause: Duration, least: u64, most: u64| {
            assert!((least..=most).contains(&pause.as_secs()), "{pause:?}");
        };
        between(retry.pause(Kind::Refusal, None), 60, 75);
        between(retry.pause(Kind::Refusal, None), 120, 150);
        for _ in 0..40 {
            retry.pause(Kind::Refusal, None);
        }
        between(retry.pause(Kind::Refusal, None), 6 * 3600, 27_000);
        between(retry.pause(Kind::Fault, None), 3600, 4500);
        retry.reset();
        between(retry.pause(Kind::Fault, None), 5, 6);
        between(retry.pause(Kind::Refusal, Some(Duration::from_secs(100))), 100, 111);
    }

    #[test]
    fn an_authority_that_wants_no_pause_is_asked_ever_more_rarely() {
        for kind in [Kind::Fault, Kind::Refusal] {
            let mut retry = Retry::default();
            let mut pause = || retry.pause(kind, Some(Duration::ZERO)).as_secs();
            assert_eq!([pause(), pause(), pause(), pause()], [0, 5, 10, 20]);
            assert_eq!((0..40).map(|_| pause()).last(), Some(3600));
            // What it wants is still the least.
            let day = Duration::from_secs(24 * 60 * 60);
            assert!(retry.pause(kind, Some(day)) >= day);
        }
    }
}
