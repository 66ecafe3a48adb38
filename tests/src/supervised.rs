//! An application under its supervisor.

use std::sync::Arc;

use rustix::process::Signal;

use crate::client::{Target, get_once};
use crate::generation::{Exit, Generation};
use crate::process::{App, Launch};
use crate::scratch::Scratch;

/// The plan of one server.
pub const WEB: &str = "server web 127.0.0.1:0";

/// The binary `app` with this plan, under a supervisor.
pub fn supervised(scratch: &Scratch, plan: &str) -> Launch {
    Launch::app(scratch, plan).env("GRACEHTTP_SUPERVISE", "always")
}

/// The pid of the process that answers a new connection. That it is refused, or not answered, is a failure.
pub async fn answering(target: &Target) -> u32 {
    let reply = get_once(target, "/ping").await.expect("no new client is refused");
    reply.pid().expect("the answer names the process")
}

/// A service, its address, and its supervisor.
#[derive(Debug)]
pub struct Supervised {
    /// All its processes.
    pub app: App,
    /// Its server `web`.
    pub target: Target,
    /// The process that was started.
    pub supervisor: Arc<Generation>,
}

impl Supervised {
    /// Starts it, and waits until it serves.
    pub async fn start(launch: Launch) -> Self {
        let app = launch.start("web").await;
        let (target, supervisor) = (app.target("web").await, app.first());
        Self { app, target, supervisor }
    }

    /// The worker that answers.
    pub async fn worker(&self) -> Arc<Generation> {
        self.app.hold(answering(&self.target).await)
    }

    /// Sends a signal to the pid that was started.
    pub fn signal(&self, signal: Signal) {
        self.supervisor.signal(signal);
    }

    /// Restarts, and waits until the new generation serves.
    pub async fn restart(&self) -> Arc<Generation> {
        let start = self.app.log.end();
        self.signal(Signal::USR2);
        let successor = self.app.successor_since(start).await;
        self.app.serves(&self.target, &successor).await;
        successor
    }

    /// The worker that serves once the supervisor has seen a crash of the one before.
    pub async fn fresh(&self, before: &Generation) -> Arc<Generation> {
        loop {
            // A client that was accepted by the dying process may lose its connection.
            match get_once(&self.target, "/ping").await {
                Ok(reply) if reply.pid() != Some(before.pid()) => {
                    return self.app.hold(reply.pid().expect("a pid"));
                }
                Ok(_) => {}
                Err(failure) => {
                    assert!(!failure.to_string().contains("refused"), "{failure}\n{}", self.app.log);
                }
            }
        }
    }

    /// Ends the service as an operator does, and checks that it ends cleanly.
    pub async fn stops(&self) {
        self.signal(Signal::TERM);
        assert_eq!(self.supervisor.exit().await, Exit::Code(0), "{}", self.app.log);
    }
}
