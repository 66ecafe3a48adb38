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

/// A duration as it is written in attributes, files and variables.
pub(crate) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
