//! An application and its main server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{Client, Target};
use crate::generation::{Exit, Generation};
use crate::process::{App, Launch};
use crate::scratch::Scratch;

/// A running application, and the target of the first server of its plan.
#[derive(Debug)]
pub struct Service {
    /// All its generations.
    pub app: App,
    /// The first server of the plan.
    pub target: Target,
    /// Holds the plan of later generations. It is the last field, so the application ends first.
    _scratch: Scratch,
}

impl Service {
    /// Starts one with this plan.
    pub async fn new(plan: &str) -> Self {
        Self::with(plan, |launch| launch).await
    }

    /// Starts one with this plan and this change of its launch.
    pub async fn with(plan: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let app = change(Launch::app(&scratch, plan)).spawn();
        let target = app.target(plan.split_whitespace().nth(1).expect("a server in the plan")).await;
        Self { app, target, _scratch: scratch }
    }

    /// A new connection.
    pub async fn client(&self) -> Client {
        Client::connect(&self.target).await.expect("a connection")
    }

    /// Restarts, and waits until the new generation serves.
    pub async fn restart(&self) -> Arc<Generation> {
        let successor = self.app.restart().await;
        self.app.serves(&self.target, &successor).await;
        successor
    }

    /// Waits until the first generation ends by itself, within this time: it has nothing to cut.
    pub async fn first_leaves(&self, since: Instant, limit: Duration) {
        assert_eq!(self.app.first().exit().await, Exit::Code(0), "{}", self.app.log);
        assert!(since.elapsed() < limit, "it took {:?}\n{}", since.elapsed(), self.app.log);
        self.app.catch_up().await;
        assert_eq!(self.app.log.count(0, "cutting"), 0, "{}", self.app.log);
    }
}
