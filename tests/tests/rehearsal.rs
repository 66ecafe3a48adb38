//! The rehearsal of a restart: a successor is started up to ready and discarded, and nothing changes. And the receipts,
//! which travel from process to process.

use std::path::PathBuf;

use serde_json::Value;
use tests::client::{get, get_once};
use tests::patience::{PATIENCE, eventually, within};
use tests::process::bin;
use tests::{App, Client, Exit, Launch, Scratch, Signal, Target};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

const PLAN: &str = "server web 127.0.0.1:0\nserver tls 127.0.0.1:0 tls=self_signed";

struct Stage {
    app: App,
    web: Target,
    tls: Target,
    control: PathBuf,
    scratch: Scratch,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|launch| launch).await
    }

    async fn with(change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let control = scratch.join("control.sock");
        let launch = Launch::program(scratch.install(&bin("app"), "app")).plan(&scratch, PLAN);
        let endpoint = format!("unix:{}", control.display());
        let launch = launch.env("GRACEHTTP_CONTROL", endpoint).env("GRACEHTTP_STANDBY", "300ms");
        let app = change(launch).spawn();
        let (web, tls) = (app.target("web").await, app.target("tls").await);
        eventually("the control socket", || control.exists()).await;
        Self { app, web, tls, control, scratch }
    }

    /// Asks over the control socket, and returns all replies up to the first of this type.
    async fn ask(&self, command: &str, last: &str) -> Vec<Value> {
        let mut socket = BufReader::new(UnixStream::connect(&self.control).await.expect("a control socket"));
        let request = format!("{{\"version\":1,\"command\":\"{command}\"}}\n");
        socket.write_all(request.as_bytes()).await.expect("an open socket");
        let mut replies = Vec::new();
        within(PATIENCE, "the replies", async {
            loop {
                let mut line = String::new();
                assert_ne!(
                    socket.read_line(&mut line).await.expect("an open socket"),
                    0,
                    "{replies:?}\n{}",
                    self.app.log
                );
                let reply: Value = serde_json::from_str(&line).expect("a JSON line");
                let is_last = reply["type"] == last;
                replies.push(reply);
                if is_last {
                    return;
                }
            }
        })
        .await;
        replies
    }

    /// The outcome of a rehearsal.
    async fn rehearse(&self) -> Value {
        self.ask("rehearse", "done").await.pop().expect("an outcome")
    }

    async fn idle(&self, target: &Target) -> Client {
        let mut client = Client::connect(target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        client
    }
}

/// The names of all descriptors, without the numbers of sockets.
fn descriptors(app: &App) -> Vec<String> {
    let mut names = app.first().descriptor_names();
    names.sort();
    names
}

#[tokio::test]
async fn rehearsals_change_nothing() {
    let rehearsals = if std::env::var_os("GRACEHTTP_LONG").is_some() { 100 } else { 15 };
    let stage = Stage::new().await;
    let old = stage.app.first();
    let (mut idle, mut secure) = (stage.idle(&stage.web).await, stage.idle(&stage.tls).await);
    let mut busy = Client::connect(&stage.web).await.unwrap();
    busy.send(get("/slow?ms=2000")).await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    // Whatever is made only once, the first rehearsal makes.
    assert_eq!(stage.rehearse().await["ok"], true, "{}", stage.app.log);
    eventually("the rehearsal's end", || old.children().is_empty()).await;
    let before = descriptors(&stage.app).len();
    for _ in 0..rehearsals {
        let outcome = stage.rehearse().await;
        assert_eq!(outcome["ok"], true, "{outcome} {}", stage.app.log);
        assert!(old.children().is_empty(), "it was reaped before the outcome was told");
    }
    assert_eq!(busy.reply().await.unwrap().pid(), Some(old.pid()));
    for client in [&mut idle, &mut secure, &mut busy] {
        let reply = client.get("/ping").await.unwrap();
        assert!(!reply.closes() && reply.pid() == Some(old.pid()), "{reply:?}");
    }
    eventually("as many descriptors as before", || descriptors(&stage.app).len() <= before).await;
    assert_eq!(stage.app.log.count(0, "serving web on"), 1, "no other process came to serve");
    assert_eq!(stage.app.log.count(0, "ERROR") + stage.app.log.count(0, "WARN"), 0, "{}", stage.app.log);
    // A restart in earnest moves all of them.
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    let successor = stage.app.successor_since(start).await;
    for client in [&mut idle, &mut secure, &mut busy] {
        client.moves_to(successor.pid()).await;
    }
    assert_eq!(old.exit().await, Exit::Code(0));
}

/// The lines of the metrics. What time alone changes is left out, and the cost of the process itself.
async fn metrics(operator: &Target) -> Vec<String> {
    let reply = get_once(operator, "/metrics").await.expect("a reply");
    assert_eq!(reply.status, 200);
    let text = reply.text();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn rehearsals_leave_the_metrics_as_they_were() {
    let rehearsals = if std::env::var_os("GRACEHTTP_LONG").is_some() { 100 } else { 5 };
    let stage = Stage::with(|launch| launch.env("GRACEHTTP_ADMIN", "127.0.0.1:0")).await;
    let line = stage.app.log.line(0, "status page on http://").await;
    let operator = Target::from_url(line.split("status page on ").nth(1).expect("a URL").trim());
    let mut idle = stage.idle(&stage.web).await;
    // One that is counted in this process alone.
    assert_eq!(stage.rehearse().await["ok"], true, "{}", stage.app.log);
    // A response is counted a moment after its client has it.
    let mut before = metrics(&operator).await;
    within(PATIENCE, "metrics at rest", async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let now = metrics(&operator).await;
            if std::mem::replace(&mut before, now.clone()) == now {
                return;
            }
        }
    })
    .await;
    assert!(before.iter().any(|line| line.contains("build_info")) && before.len() > 30, "{before:#?}");
    for _ in 0..rehearsals {
        assert_eq!(stage.rehearse().await["ok"], true, "{}", stage.app.log);
    }
    // One that fails, too.
    stage.scratch.write("plan", format!("{PLAN}\nstart refuse no database"));
    assert_eq!(stage.rehearse().await["ok"], false, "{}", stage.app.log);
    let after = metrics(&operator).await;
    let changed: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(before.len() == after.len() && changed.is_empty(), "{changed:#?}");
    assert_eq!(idle.get("/ping").await.unwrap().pid(), Some(stage.app.first().pid()));
}

#[tokio::test]
async fn a_rehearsal_cleans_up_and_removes_the_socket_files_that_it_has_made() {
    let stage = Stage::new().await;
    let file = stage.scratch.join("extra.sock");
    let extra = format!("{PLAN}\nserver extra unix:{}\ntask heeds\nexit quick", file.display());
    stage.scratch.write("plan", extra);
    let outcome = stage.rehearse().await;
    assert_eq!(outcome["ok"], true, "{outcome} {}", stage.app.log);
    assert!(!file.exists(), "its socket file is gone");
    for line in ["is told", "clean-up of pid", "was a rehearsal and ends"] {
        stage.app.log.line(0, line).await;
    }
    assert!(stage.control.exists());
    let mut client = stage.idle(&stage.web).await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.first().pid()));
}

#[tokio::test]
async fn a_process_that_stops_refuses_a_rehearsal_at_once() {
    let stage = Stage::new().await;
    let mut busy = Client::connect(&stage.web).await.unwrap();
    busy.send(get("/slow?ms=5000")).await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    let mut socket = BufReader::new(UnixStream::connect(&stage.control).await.expect("a control socket"));
    stage.app.signal(Signal::TERM);
    stage.app.log.line(0, "SIG:SIGTERM").await;
    let reply = command(&mut socket, "rehearse").await;
    assert_eq!(reply["type"], "error", "{reply}");
    assert_eq!(busy.reply().await.unwrap().status, 200);
    assert_eq!(stage.app.first().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_restart_that_was_refused_after_a_commit_does_not_count_as_asked_for() {
    let scratch = Scratch::new();
    let control = scratch.join("control.sock");
    let launch = Launch::app(&scratch, PLAN).env("GRACEHTTP_STANDBY", "30s");
    let app = launch.env("GRACEHTTP_CONTROL", format!("unix:{}", control.display())).start("web").await;
    let web = app.target("web").await;
    let first = app.first();
    let mut socket = BufReader::new(UnixStream::connect(&control).await.expect("a control socket"));
    assert_eq!(command(&mut socket, "status").await["type"], "status");
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    assert_eq!(command(&mut socket, "restart").await["type"], "error");
    successor.signal(Signal::KILL);
    app.log.line(0, "serves again").await;
    let start = app.log.end();
    assert_eq!(command(&mut socket, "restart").await["type"], "accepted");
    let successor = app.successor_since(start).await;
    app.serves(&web, &successor).await;
    first.signal(Signal::TERM);
    assert!(app.stop().await.is_clean());
}

/// The first reply to a command on an open connection.
async fn command(socket: &mut BufReader<UnixStream>, command: &str) -> Value {
    let request = format!("{{\"version\":1,\"command\":\"{command}\"}}\n");
    socket.write_all(request.as_bytes()).await.expect("an open socket");
    let mut line = String::new();
    within(PATIENCE, "a reply", socket.read_line(&mut line)).await.expect("an open socket");
    serde_json::from_str(&line).expect("a JSON line")
}

#[tokio::test]
async fn a_rehearsal_that_fails_says_why_and_nothing_changes() {
    let stage = Stage::new().await;
    let mut idle = stage.idle(&stage.web).await;
    stage.scratch.write("plan", format!("{PLAN}\nstart refuse no database"));
    let outcome = stage.rehearse().await;
    assert_eq!(outcome["ok"], false, "{outcome}");
    assert!(outcome.to_string().contains("no database"), "{outcome}");
    // It is logged once: by this process, not by the successor, too.
    stage.app.log.line(0, "no database").await;
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "no database"), 1, "{}", stage.app.log);
    assert_eq!(idle.get("/ping").await.unwrap().pid(), Some(stage.app.first().pid()));
    assert_eq!(stage.app.stop().await, Exit::Code(0));
}

/// It would wait for a commit that does not come, and then serve beside its predecessor.
#[tokio::test]
async fn a_release_that_knows_no_rehearsal_is_not_rehearsed() {
    let stage = Stage::new().await;
    let mut idle = stage.idle(&stage.web).await;
    stage.scratch.install(&bin("impostor"), "app");
    stage.scratch.write("plan", "impostor courier in version 3");
    let outcome = stage.rehearse().await;
    assert_eq!(outcome["ok"], false, "{outcome}");
    assert!(outcome.to_string().contains("knows no rehearsal"), "{outcome}");
    assert!(stage.app.first().children().is_empty());
    assert_eq!(idle.get("/ping").await.unwrap().pid(), Some(stage.app.first().pid()));
}

#[tokio::test]
async fn a_stop_ends_a_rehearsal_first() {
    let stage = Stage::new().await;
    let old = stage.app.first();
    stage.scratch.write("plan", format!("{PLAN}\nexit quick\nstart hang"));
    let start = stage.app.log.end();
    let rehearsal = stage.ask("rehearse", "done");
    let stop = async {
        stage.app.log.line(start, "start-up code of pid").await;
        old.signal(Signal::TERM);
        assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
    };
    let (replies, ()) = tokio::join!(rehearsal, stop);
    assert_eq!(replies.last().expect("an outcome")["ok"], false, "{replies:?}");
    stage.app.log.line(start, "clean-up of pid").await;
}

#[tokio::test]
async fn receipts_travel_from_process_to_process() {
    let stage = Stage::new().await;
    for generation in 1..=3_u64 {
        let mut idle = stage.idle(&stage.web).await;
        let current = stage.app.current();
        let start = stage.app.log.end();
        current.signal(Signal::USR2);
        let successor = stage.app.successor_since(start).await;
        idle.moves_to(successor.pid()).await;
        assert_eq!(current.exit().await, Exit::Code(0));
        // The predecessor's own receipt comes with its end.
        let mut known = Vec::new();
        within(PATIENCE, "the receipts of all generations", async {
            while known.len() < generation as usize {
                let status = stage.ask("status", "status").await.pop().expect("a status");
                known = status["status"]["receipts"].as_array().expect("receipts").clone();
            }
        })
        .await;
        let generations: Vec<u64> =
            known.iter().filter_map(|receipt| receipt["generation"].as_u64()).collect();
        assert_eq!(generations, (1..=generation).collect::<Vec<_>>(), "{known:?}");
        let last = known.last().expect("a receipt");
        assert_eq!(
            (&last["outcome"], &last["successor"]),
            (&"succeeded".into(), &successor.pid().into()),
            "{last}"
        );
        let web = &last["servers"][0];
        // Under load the restart may begin while the answer is still on its way.
        let moved = ["moved", "answered_and_moved"].map(|end| web["ends"][end].as_u64().unwrap_or(0));
        assert_eq!((&web["before"], moved.iter().sum()), (&1.into(), 1_u64), "{last}");
        idle.moves_to(successor.pid()).await;
        drop(idle);
    }
}
