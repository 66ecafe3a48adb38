//! How long a test waits for an event that should come at once.
//!
//! The limit is generous, since the machine may be busy; a test that passes never waits that long.

use std::future::Future;
use std::time::Duration;

/// The limit for one event.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a test looks at a source without events, such as `/proc`.
pub const GLANCE: Duration = Duration::from_millis(5);

/// Waits for `event`, and panics with `what` if it does not come.
pub async fn within<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Looks again and again until `holds`, for sources without events, such as `/proc`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    within(PATIENCE, what, async {
        while !holds() {
            tokio::time::sleep(GLANCE).await;
        }
    })
    .await;
}
