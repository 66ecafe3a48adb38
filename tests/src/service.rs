//! An application and its main server.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{Client, Target};
use crate::generation::{Exit, Generation};
use crate::load::{Load, Style};
use crate::patience::{PATIENCE, eventually};
use crate::process::{App, Launch, bin};
use crate::scratch::Scratch;

/// A running application, and the target of the first server of its plan.
#[derive(Debug)]
pub struct Service {
    /// All its generations.
    pub app: App,
    /// The first server of the plan.
    pub target: Target,
    /// Holds the plan of later generations. It is the last field, so the application ends first.
    pub scratch: Scratch,
}

impl Service {
    /// Starts one with this plan.
    pub async fn new(plan: &str) -> Self {
        Self::with(plan, |launch| launch).await
    }

    /// Starts one with this plan and this change of its launch.
    pub async fn with(plan: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let launch = Launch::app(&scratch, plan);
        Self::begin(scratch, plan, change(launch)).await
    }

    /// Starts a copy of the program, which a test may [replace](Self::install).
    pub async fn installed(plan: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let program = scratch.install(&bin("app"), "app");
        let launch = Launch::program(program).plan(&scratch, plan);
        Self::begin(scratch, plan, change(launch)).await
    }

    async fn begin(scratch: Scratch, plan: &str, launch: Launch) -> Self {
        let app = launch.spawn();
        let target = app.target(plan.split_whitespace().nth(1).expect("a server in the plan")).await;
        Self { app, target, scratch }
    }

    /// The next generation is this program of the tests.
    pub fn install(&self, program: &str) {
        self.scratch.install(&bin(program), "app");
    }

    /// A shell starts the next generation, with `words` before the program's name.
    pub fn next_starts_by(&self, words: &str) {
        let real = self.scratch.install(&bin("app"), "real");
        let script = format!("#!/bin/sh\n{words} {} \"$@\"\n", real.display());
        let script = self.scratch.write("script", script);
        let installed = self.scratch.install(&script, "app");
        std::fs::set_permissions(installed, Permissions::from_mode(0o755)).expect("a file of this test");
    }

    /// Waits for an error with one of these reasons.
    pub async fn error_since(&self, start: usize, reasons: &[&str]) {
        let matches =
            |line: &str| line.contains("ERROR") && reasons.iter().any(|reason| line.contains(reason));
        self.app.log.find(start, PATIENCE, &format!("an error with one of {reasons:?}"), matches).await;
    }

    /// Clients of all kinds that notice any fault.
    pub fn load(&self) -> Load {
        Load::on(&self.target).clients(3, Style::Get).clients(2, Style::Post).clients(2, Style::Fresh)
    }

    /// Restarts, and waits for an error with one of these reasons.
    pub async fn fails_to_restart(&self, reasons: &[&str]) {
        let start = self.app.log.end();
        self.app.signal(Signal::USR2);
        self.error_since(start, reasons).await;
    }

    /// Restarts into a fault twice. Each time it expects an error with one of `reasons`, and a predecessor that serves on
    /// and leaks nothing. Then it calls `repair`, and restarts once more. No client notices.
    pub async fn keeps_serving(&self, reasons: &[&str], repair: impl FnOnce(&Scratch)) {
        let serving = self.app.current();
        let load = self.load();
        load.answers(20).await;
        let descriptors =
            || serving.descriptor_names().iter().filter(|name| !name.contains("socket")).count();
        let mut before = None;
        for attempt in 1..=2 {
            load.mark(format!("restart into the fault, {attempt}"));
            self.fails_to_restart(reasons).await;
            load.answers(30).await;
            eventually("the successor to be reaped", || serving.children().is_empty()).await;
            assert_eq!(self.app.pid(), serving.pid(), "no successor took over\n{}", self.app.log);
            // The first failure may open descriptors that stay open, such as a handle on children; the second must
            // open none.
            let before = *before.get_or_insert_with(descriptors);
            eventually("as many descriptors as before", || descriptors() <= before).await;
        }
        repair(&self.scratch);
        load.mark("restart after the repair");
        self.restart().await;
        load.answers(30).await;
        load.stop().await.assert_unnoticed();
        assert_eq!(serving.exit().await, Exit::Code(0));
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
