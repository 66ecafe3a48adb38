//! A service whose metrics are read.

use std::sync::Arc;
use std::time::Duration;

use tests::client::{Reply, get_once};
use tests::patience::{PATIENCE, within};
use tests::{App, Client, Generation, Launch, Scratch, Signal, Target};

use crate::exposition::{Exposition, Samples};

pub(crate) const PROMETHEUS: &str = "text/plain";
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

pub(crate) struct Stage {
    pub(crate) app: App,
    pub(crate) api: Target,
    pub(crate) legacy: Target,
    /// Where the metrics are read.
    pub(crate) operator: Target,
    pub(crate) scratch: Scratch,
}

impl Stage {
    /// The service shows its metrics on a port of its own.
    pub(crate) async fn new(change: impl FnOnce(Launch) -> Launch) -> Self {
        let mut stage = Self::launch(change).await;
        stage.operator = stage.app.target("operator").await;
        stage
    }

    /// They are read at the address for operators.
    pub(crate) async fn with_admin(admin: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        let mut stage = Self::launch(|launch| change(launch.env("GRACEHTTP_ADMIN", admin))).await;
        let line = stage.app.log.line(0, "status page on ").await;
        let url = line.split("status page on ").nth(1).and_then(|url| url.split_whitespace().next());
        stage.operator = Target::from_url(url.expect("a URL"));
        stage
    }

    async fn launch(change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let launch = Launch::bin("measured")
            .listen("api", "127.0.0.1:0")
            .env("MEASURED_METRICS", scratch.join("metrics"))
            .directory(scratch.path());
        let app = change(launch).spawn();
        let (api, legacy) = (app.target("api").await, app.target("legacy").await);
        Self { app, operator: api.clone(), api, legacy, scratch }
    }

    /// What the next generation registers, beside what it always does: see `measured`.
    pub(crate) fn next_registers(&self, lines: &str) {
        self.scratch.write("metrics", lines);
    }

    pub(crate) async fn reply(&self, accept: &str) -> Reply {
        let mut client = Client::connect(&self.operator).await.expect("a connection");
        let request = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
        client.send(request).await.expect("sent");
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{failure}\n{}", self.app.log));
        assert_eq!(reply.status, 200);
        reply
    }

    /// The text in one of the forms.
    pub(crate) async fn text(&self, accept: &str) -> String {
        self.reply(accept).await.text()
    }

    /// All counters, read in both forms: no strict reader finds a fault in either.
    pub(crate) async fn counters(&self) -> Samples {
        let first = Exposition::of_open_metrics(&self.text(OPEN_METRICS).await).counters();
        let counters = Exposition::of_prometheus(&self.text(PROMETHEUS).await).counters();
        assert_grown(&first, &counters);
        counters
    }

    /// Waits until the counters say so: a response is counted at its end, a moment after its client has it.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Samples) -> bool) -> Samples {
        within(PATIENCE, what, async {
            loop {
                let counters = self.counters().await;
                if holds(&counters) {
                    return counters;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Waits until a gauge has such a value, or is not there.
    pub(crate) async fn until_gauge(&self, name: &str, holds: impl Fn(Option<f64>) -> bool) {
        within(PATIENCE, name, async {
            while !holds(Exposition::of_prometheus(&self.text(PROMETHEUS).await).samples.get(name).copied()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    pub(crate) async fn restart(&self) -> Arc<Generation> {
        let successor = self.app.restart().await;
        self.app.serves(&self.api, &successor).await;
        successor
    }

    /// Restarts by a signal to the pid that was started: a supervisor.
    pub(crate) async fn restart_by_supervisor(&self) -> Arc<Generation> {
        let start = self.app.log.end();
        self.app.first().signal(Signal::USR2);
        let successor = self.app.successor_since(start).await;
        self.app.serves(&self.api, &successor).await;
        successor
    }

    /// The process that serves.
    pub(crate) async fn worker(&self) -> Arc<Generation> {
        let reply = get_once(&self.api, "/ping").await.expect("an answer");
        self.app.hold(reply.pid().expect("a pid"))
    }

    /// Kills the process that serves, and waits until its supervisor has replaced it.
    pub(crate) async fn crash(&self, worker: &Generation) {
        worker.signal(Signal::KILL);
        within(PATIENCE, "a fresh process to serve", async {
            // A client that the killed process had accepted is lost.
            while !get_once(&self.api, "/ping").await.is_ok_and(|reply| reply.pid() != Some(worker.pid())) {}
        })
        .await;
    }
}

/// The sum of the samples whose names and labels contain all these parts.
pub(crate) fn sum(samples: &Samples, parts: &[&str]) -> f64 {
    let fits = |name: &str| parts.iter().all(|part| name.contains(part));
    samples.iter().filter(|(name, _)| fits(name)).map(|(_, value)| value).sum()
}

/// How many requests of the server `api` were answered by a route.
pub(crate) fn answered(samples: &Samples, route: &str) -> f64 {
    let route = format!("http_route=\"{route}\"");
    sum(samples, &["http_server_request_duration_seconds_count", "server=\"api\"", &route])
}

/// No counter is gone, and none has decreased.
pub(crate) fn assert_grown(before: &Samples, after: &Samples) {
    for (name, value) in before {
        let now = after.get(name).unwrap_or_else(|| panic!("{name} is gone; it was {value}"));
        assert!(now >= value, "{name} was {value} and is {now}");
    }
}
