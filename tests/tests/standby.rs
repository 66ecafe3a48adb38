//! The time after a commit in which the predecessor could still take over again.

use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once};
use tests::patience::{GLANCE, PATIENCE, within};
use tests::{App, Client, Exit, Generation, Kind, Launch, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";

struct Stage {
    app: App,
    web: Target,
    idle: Vec<Client>,
    scratch: Scratch,
}

impl Stage {
    /// An application with ten idle connections.
    async fn new() -> Self {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, WEB).env("GRACEHTTP_STANDBY", "5s").spawn();
        let web = app.target("web").await;
        let mut idle = Vec::new();
        for _ in 0..10 {
            let mut client = Client::connect(&web).await.expect("a connection");
            client.get("/ping").await.expect("an answer");
            idle.push(client);
        }
        Self { app, web, idle, scratch }
    }

    async fn restart(&self) -> std::sync::Arc<Generation> {
        let successor = self.app.restart().await;
        self.app.serves(&self.web, &successor).await;
        successor
    }

    /// This process answers every connection and a new one; another process may answer briefly before.
    async fn all_are_served_by(&mut self, pid: u32) {
        within(PATIENCE, "the connections to move", async {
            for client in &mut self.idle {
                loop {
                    let reply = client.get("/ping").await;
                    let reply = reply.unwrap_or_else(|failure| panic!("{failure}\n{}", self.app.log));
                    assert!(!reply.closes(), "{reply:?}");
                    if reply.pid() == Some(pid) {
                        break;
                    }
                    assert_eq!(client.pause(GLANCE).await, Pause::Open);
                }
            }
        })
        .await;
        assert_eq!(get_once(&self.web, "/ping").await.expect("an answer").pid(), Some(pid));
    }

    /// Waits until the connections rest: a client that just got an answer may soon send again, and such a connection
    /// dies with its process.
    async fn rest(&mut self) {
        for client in &mut self.idle {
            assert_eq!(client.pause(Duration::from_millis(30)).await, Pause::Open);
        }
        let serving = self.app.current();
        tests::patience::eventually("the process that serves to sleep", || serving.is_asleep()).await;
    }
}

#[tokio::test]
async fn case_7_predecessor_serves_again_when_its_successor_dies_right_after_ready() {
    let mut stage = Stage::new().await;
    let old = stage.app.first();
    stage.scratch.write("plan", format!("{WEB}\nstart leave 300"));
    stage.app.signal(Signal::USR2);
    let matches = |line: &str| line.contains("ERROR") && line.contains("status 3");
    stage.app.log.find(0, PATIENCE, "an error with the successor's status", matches).await;
    stage.app.serves(&stage.web, &old).await;
    stage.all_are_served_by(old.pid()).await;
    assert!(old.children().is_empty());
    // After the repair, a restart succeeds.
    stage.scratch.write("plan", WEB);
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    let successor = stage.app.successor_since(start).await;
    stage.app.serves(&stage.web, &successor).await;
    stage.all_are_served_by(successor.pid()).await;
}

#[tokio::test]
async fn predecessor_serves_again_when_its_successor_is_killed_during_standby() {
    let mut stage = Stage::new().await;
    let old = stage.app.first();
    let successor = stage.restart().await;
    stage.all_are_served_by(successor.pid()).await;
    stage.rest().await;
    let start = stage.app.log.end();
    successor.kill();
    let matches = |line: &str| line.contains("ERROR") && line.contains("SIGKILL");
    stage.app.log.find(start, PATIENCE, "an error with the reason", matches).await;
    stage.app.serves(&stage.web, &old).await;
    stage.all_are_served_by(old.pid()).await;
    old.signal(Signal::TERM);
    assert_eq!(old.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn stop_of_the_successor_during_standby_stops_the_service() {
    let mut stage = Stage::new().await;
    let old = stage.app.first();
    let successor = stage.restart().await;
    stage.all_are_served_by(successor.pid()).await;
    successor.signal(Signal::TERM);
    stage.app.log.line(0, &format!("[PID:{}, SIG:SIGTERM]", successor.pid())).await;
    for client in &mut stage.idle {
        assert_eq!(client.pause(Duration::from_millis(30)).await, Pause::Open, "time for a last request");
        let reply = client.get("/ping").await.unwrap();
        assert!(reply.closes(), "{reply:?}");
        client.closed().await.unwrap();
    }
    assert_eq!(
        old.exit().await,
        Exit::Code(0),
        "the service was stopped: no process takes over\n{}",
        stage.app.log
    );
    successor.exit().await;
    assert_eq!(get_once(&stage.web, "/ping").await.unwrap_err().kind, Kind::Refused);
}

#[tokio::test]
async fn stop_of_the_predecessor_during_standby_ends_only_the_predecessor() {
    let mut stage = Stage::new().await;
    let old = stage.app.first();
    let successor = stage.restart().await;
    let start = Instant::now();
    old.signal(Signal::TERM);
    assert_eq!(old.exit().await, Exit::Code(0));
    assert!(start.elapsed() < Duration::from_secs(4), "took {:?}", start.elapsed());
    stage.all_are_served_by(successor.pid()).await;
    assert!(stage.app.stop().await.is_clean());
}

/// Either process owns a connection that is on its way to the successor, never both: the client gets one more answer,
/// or a close.
#[tokio::test]
async fn stop_of_the_successor_with_connections_in_transit_ends_each_in_order() {
    let mut stage = Stage::new().await;
    let old = stage.app.first();
    let mut busy = Vec::new();
    for number in 1..=10 {
        let mut client = Client::connect(&stage.web).await.unwrap();
        client.send(get("/slow?ms=800")).await.unwrap();
        tests::patience::eventually("a handler", || stage.app.log.count(0, "slow begins") == number).await;
        busy.push(client);
    }
    let successor = stage.restart().await;
    stage.all_are_served_by(successor.pid()).await;
    successor.signal(Signal::STOP);
    for client in &mut busy {
        assert_eq!(client.reply().await.unwrap().pid(), Some(old.pid()));
    }
    successor.signal(Signal::TERM);
    successor.signal(Signal::CONT);
    for client in busy.iter_mut().chain(&mut stage.idle) {
        let reply =
            client.get("/ping").await.unwrap_or_else(|failure| panic!("{failure}\n{}", stage.app.log));
        if reply.closes() {
            client.closed().await.unwrap();
        }
    }
    assert!(successor.exit().await.is_clean(), "{}", stage.app.log);
    assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "ERROR"), 0, "{}", stage.app.log);
}

/// The predecessor keeps a duplicate of each connection, which must not keep the connection open.
#[tokio::test]
async fn connection_closes_when_the_successor_closes_it_during_standby() {
    let mut stage = Stage::new().await;
    stage.restart().await;
    let client = &mut stage.idle[0];
    client.send(get("/ping").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await.unwrap();
    assert!(client.reply().await.unwrap().closes());
    assert_eq!(client.pause(Duration::from_millis(3500)).await, Pause::Closed);
}

#[tokio::test]
async fn restart_during_standby_succeeds() {
    let mut stage = Stage::new().await;
    for _ in 0..4 {
        let successor = stage.restart().await;
        stage.all_are_served_by(successor.pid()).await;
    }
    stage.app.predecessors_leave_cleanly().await;
    let pid = stage.app.pid();
    stage.all_are_served_by(pid).await;
}

/// A connection is idle, and returns, from the end of its last response on.
#[tokio::test]
async fn connection_returns_when_the_successor_dies_just_after_its_answer() {
    let mut stage = Stage::new().await;
    let old = stage.app.first();
    let successor = stage.restart().await;
    stage.all_are_served_by(successor.pid()).await;
    for client in &mut stage.idle {
        client.send(get("/ping")).await.unwrap();
    }
    for client in &mut stage.idle {
        assert_eq!(client.reply().await.unwrap().pid(), Some(successor.pid()));
    }
    // The kill follows at the end of the connection's turn; an awake connection otherwise waits some time for its next
    // request.
    tests::patience::eventually("the successor to sleep", || successor.is_asleep()).await;
    successor.kill();
    stage.app.serves(&stage.web, &old).await;
    stage.all_are_served_by(old.pid()).await;
}

#[tokio::test]
async fn predecessor_drops_its_duplicate_when_a_client_leaves_during_standby() {
    let mut stage = Stage::new().await;
    let old = stage.app.first();
    let successor = stage.restart().await;
    stage.all_are_served_by(successor.pid()).await;
    stage.rest().await;
    stage.idle.truncate(2);
    successor.kill();
    stage.app.serves(&stage.web, &old).await;
    stage.all_are_served_by(old.pid()).await;
    // Their duplicates were the last descriptors of the eight closed connections.
    tests::patience::eventually("eight connections fewer", || {
        old.descriptor_names().iter().filter(|name| name.starts_with("socket:")).count() < 10
    })
    .await;
}

/// Until then the predecessor keeps all of its listeners, even those that the successor does not have.
#[tokio::test]
async fn predecessor_serves_all_endpoints_again_even_those_that_the_successor_removed() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 127.0.0.2:0\nserver admin 127.0.0.1:0")
        .env("GRACEHTTP_STANDBY", "5s")
        .start("admin")
        .await;
    let old = app.first();
    let banners = app.log.since(0);
    let urls = banners.iter().filter_map(|line| line.split(" on ").nth(1)?.split_whitespace().next());
    let targets: Vec<Target> = urls.map(Target::from_url).collect();
    assert_eq!(targets.len(), 3, "{}", app.log);
    scratch.write("plan", "server web 127.0.0.1:0\nstart leave 300");
    app.signal(Signal::USR2);
    app.log.line(0, "serves again").await;
    for target in &targets {
        assert_eq!(get_once(target, "/ping").await.unwrap().pid(), Some(old.pid()), "{target:?}");
    }
}

/// The standby lasts its full time, even if the drain's limit is shorter.
#[tokio::test]
async fn standby_lasts_longer_than_a_shorter_drain_timeout() {
    let scratch = Scratch::new();
    let app = Launch::bin("app")
        .plan(&scratch, WEB)
        .env("GRACEHTTP_STANDBY", "10s")
        .env("GRACEHTTP_DRAIN_TIMEOUT", "300ms")
        .start("web")
        .await;
    let (web, old) = (app.target("web").await, app.first());
    scratch.write("plan", format!("{WEB}\nstart leave 1000"));
    app.signal(Signal::USR2);
    app.log.line(0, "serves again").await;
    assert_eq!(get_once(&web, "/ping").await.unwrap().pid(), Some(old.pid()));
}
