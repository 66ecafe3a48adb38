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

/// A duration for a reader, without digits that tell nothing.
pub(crate) fn show_roughly(duration: Duration) -> String {
    let unit = match duration.as_micros() {
        0..1_000 => Duration::from_micros(1),
        1_000..1_000_000 => Duration::from_millis(1),
        1_000_000..60_000_000 => Duration::from_millis(100),
        _ => Duration::from_secs(1),
    };
    let whole = duration.as_micros() / unit.as_micros();
    show(unit * u32::try_from(whole).unwrap_or(u32::MAX))
}

/// A duration as it is written in attributes, files and variables.
pub(crate) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_roughly() {
        let shown = |micros| show_roughly(Duration::from_micros(micros));
        assert_eq!((shown(0), shown(999), shown(2_824)), ("0s".into(), "999us".into(), "2ms".into()));
        assert_eq!((shown(999_999), shown(3_503_000)), ("999ms".into(), "3s 500ms".into()));
        assert_eq!(shown(61_900_000), "1m 1s");
    }
}
