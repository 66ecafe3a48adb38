//! Times: waiting for one that may be unset, and durations in words.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Resolves at this time; never if there is none.
pub(crate) async fn until_time(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The same without digits that tell nothing: in whole seconds, milliseconds or microseconds.
pub(crate) fn show_roughly(duration: Duration) -> String {
    let unit = match duration.as_micros() {
        0..10_000 => Duration::from_micros(1),
        10_000..10_000_000 => Duration::from_millis(1),
        _ => Duration::from_secs(1),
    };
    let whole = duration.as_micros() / unit.as_micros();
    show(unit * u32::try_from(whole).unwrap_or(u32::MAX))
}

/// A duration as it is written in attributes, files and variables.
pub(crate) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
