//! Waiting for a time that may be unset.

use tokio::time::{Instant, sleep_until};

/// Resolves at this time; never if there is none.
pub(crate) async fn until_time(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
