//! How long a test waits for what should happen at once.
//!
//! Generous, since the machine may be busy; a test that passes never waits that long.

use std::future::Future;
use std::time::Duration;

/// For one event.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often something is looked at that tells nobody when it changes, such as `/proc`.
pub const GLANCE: Duration = Duration::from_millis(5);

/// Awaits `event`, and panics with `what` where it does not come.
pub async fn within<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Looks again and again until `holds`, for what lies in `/proc` and sends no event.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    within(PATIENCE, what, async {
        while !holds() {
            tokio::time::sleep(GLANCE).await;
        }
    })
    .await;
}
