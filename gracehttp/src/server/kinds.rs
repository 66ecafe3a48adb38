//! The kinds of values that ordinary keys have. A kind says what the builder's method takes, what the options keep,
//! and which values fit. How values are written in text is the business of `config`.

use std::fmt::Display;
use std::time::Duration;

/// The longest of all durations that can be set. A longer one is a mistake, or means "no limit", as
/// [`Duration::MAX`] does; a deadline that is computed from it could overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The kernel counts the idle time before its probes in 15 bits, and refuses more.
pub(crate) const LONGEST_KEEPALIVE: Duration = Duration::from_secs(32_767);

pub(crate) trait Kind {
    /// What the builder's method takes.
    type Argument;
    /// What the options keep.
    type Value;

    /// The value to keep. An error reads on from "KEY is ".
    fn accept(&self, argument: Self::Argument) -> Result<Self::Value, String>;
}

/// `true` or `false`.
pub(crate) struct Flag;

/// A whole number from 1 to `most`.
pub(crate) struct Count<N> {
    pub(crate) most: N,
}

/// A number of bytes from `least` on.
pub(crate) struct Size<N> {
    pub(crate) least: N,
}

/// A duration that may be zero.
pub(crate) struct Period;

/// A duration above zero, since zero would leave no time.
pub(crate) struct Timeout;

/// A duration above zero, or no limit.
pub(crate) struct OptionalTimeout;

/// The idle time before the kernel's probes, or no probes.
pub(crate) struct Keepalive;

impl Kind for Flag {
    type Argument = bool;
    type Value = bool;

    fn accept(&self, on: bool) -> Result<bool, String> {
        Ok(on)
    }
}

impl<N: Copy + Display + PartialOrd + From<u8>> Kind for Count<N> {
    type Argument = N;
    type Value = N;

    fn accept(&self, number: N) -> Result<N, String> {
        let fits = number >= N::from(1) && number <= self.most;
        fits.then_some(number)
            .ok_or_else(|| format!("{number}: valid is a whole number from 1 to {}", self.most))
    }
}

impl<N: Copy + Display + PartialOrd + TryInto<u64>> Kind for Size<N> {
    type Argument = N;
    type Value = N;

    fn accept(&self, bytes: N) -> Result<N, String> {
        let least = || self.least.try_into().unwrap_or(u64::MAX);
        let fits = bytes >= self.least;
        fits.then_some(bytes).ok_or_else(|| format!("{bytes}: valid is a size from {} on", in_words(least())))
    }
}

fn in_words(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

impl Kind for Period {
    type Argument = Duration;
    type Value = Duration;

    fn accept(&self, period: Duration) -> Result<Duration, String> {
        Ok(period.min(LONGEST))
    }
}

impl Kind for Timeout {
    type Argument = Duration;
    type Value = Duration;

    fn accept(&self, limit: Duration) -> Result<Duration, String> {
        let fits = !limit.is_zero();
        fits.then_some(limit.min(LONGEST)).ok_or_else(|| "0: valid is a duration above zero".to_owned())
    }
}

impl Kind for OptionalTimeout {
    type Argument = Duration;
    type Value = Option<Duration>;

    fn accept(&self, limit: Duration) -> Result<Option<Duration>, String> {
        Timeout.accept(limit).map(Some)
    }
}

impl Kind for Keepalive {
    type Argument = Duration;
    type Value = Option<Duration>;

    fn accept(&self, idle: Duration) -> Result<Option<Duration>, String> {
        Ok((!idle.is_zero()).then_some(idle.min(LONGEST_KEEPALIVE)))
    }
}
