//! Commands that come together, or at an awkward moment: each learns of its own outcome, and none spoils a later one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::patience::{PATIENCE, eventually};
use tests::process::bin;
use tests::{App, Exit, Launch, Scratch, Signal};

const WEB: &str = "server web 127.0.0.1:0";

struct Stage {
    app: App,
    scratch: Scratch,
}

impl Stage {
    /// The clean-up of each process lasts a second.
    async fn new() -> Self {
        let scratch = Scratch::new();
        let address = format!("unix:{}", scratch.join("control.sock").display());
        let launch = Launch::app(&scratch, &format!("{WEB}\nexit slow"));
        let app = launch.env("GRACEHTTP_CONTROL", address).env("GRACEHTTP_STANDBY", "4s").start("web").await;
        let path = scratch.join("control.sock");
        eventually("a control socket", || UnixStream::connect(&path).is_ok()).await;
        Self { app, scratch }
    }

    /// The start-up code of the next processes, and of those only.
    fn next_start(&self, what: &str) {
        self.scratch.write("plan", format!("{WEB}\nexit slow\nstart {what}"));
    }

    /// Asks for something, and waits until the process has heard it.
    fn ask(&self, command: &str) -> Asked {
        let mut asked = self.connect();
        asked.send(command);
        assert_eq!(asked.read()["type"], "accepted");
        asked
    }

    fn connect(&self) -> Asked {
        let stream = UnixStream::connect(self.scratch.join("control.sock")).expect("the control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Asked(BufReader::new(stream))
    }

    async fn stop(self) {
        assert_eq!(self.app.stop().await, Exit::Code(0), "{}", self.app.log);
    }
}

/// A client of the control socket.
struct Asked(BufReader<UnixStream>);

impl Asked {
    fn send(&self, command: &str) {
        // A rehearsal has to be waited for.
        let wait = if command == "rehearse" { "" } else { ",\"wait\":true" };
        let line = format!("{{\"command\":\"{command}\"{wait}}}\n");
        self.0.get_ref().write_all(line.as_bytes()).expect("an open socket");
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Reads up to this event.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.read();
            assert_eq!(line["type"], "event", "{line}");
            if line["event"] == name {
                return line;
            }
        }
    }

    /// Why it has failed; none if it has succeeded.
    fn outcome(&mut self) -> Option<String> {
        loop {
            let line = self.read();
            if line["type"] == "done" {
                return line["error"].as_str().map(str::to_owned);
            }
        }
    }
}

#[tokio::test]
async fn a_rehearsal_that_is_asked_for_during_another_one_is_one_more_afterwards() {
    let stage = Stage::new().await;
    stage.next_start("sleep 3000");
    let mut first = stage.ask("rehearse");
    first.event("started");
    stage.app.log.line(0, "[\"sleep\", \"3000\"]").await;
    stage.next_start("sleep 0");
    let (mut second, mut third) = (stage.ask("rehearse"), stage.ask("rehearse"));
    for asked in [&mut first, &mut second, &mut third] {
        assert_eq!(asked.outcome(), None, "{}", stage.app.log);
    }
    assert_eq!(stage.ask("rehearse").outcome(), None, "a later one succeeds as well");
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "was a rehearsal"), 3, "two shared one\n{}", stage.app.log);
    stage.stop().await;
}

#[tokio::test]
async fn whatever_is_asked_for_while_a_rehearsal_cleans_up_has_an_outcome() {
    let stage = Stage::new().await;
    let mut first = stage.ask("rehearse");
    first.event("ready");
    let mut second = stage.ask("rehearse");
    stage.next_start("refuse no coffee");
    let mut restart = stage.ask("restart");
    assert_eq!(first.outcome(), None, "{}", stage.app.log);
    assert!(restart.outcome().is_some_and(|error| error.contains("no coffee")), "{}", stage.app.log);
    let told = second.outcome().expect("the start-up code fails");
    assert!(told.contains("no coffee") || told.contains("try again"), "{told}\n{}", stage.app.log);
    stage.next_start("sleep 0");
    assert_eq!(stage.ask("rehearse").outcome(), None, "a later one succeeds");
    stage.stop().await;
}

#[tokio::test]
async fn a_restart_that_a_stop_overtakes_is_told_so() {
    for first in ["rehearse", "restart"] {
        let stage = Stage::new().await;
        stage.next_start("sleep 30000");
        let mut under_way = stage.ask(first);
        under_way.event("started");
        let mut restart = stage.ask("restart");
        // The process hears both in this order.
        assert_eq!(stage.ask("stop").outcome(), None, "{}", stage.app.log);
        let told = restart.outcome().expect("there is no restart");
        assert!(told.contains("is stopping"), "{told}");
        under_way.outcome().expect("it was given up");
        assert_eq!(stage.app.first().exit().await, Exit::Code(0), "{}", stage.app.log);
    }
}

#[tokio::test]
async fn what_was_asked_in_standby_does_not_spoil_the_restarts_of_a_process_that_serves_again() {
    let stage = Stage::new().await;
    // It has connected before the successor has the socket.
    let mut late = stage.connect();
    late.0.get_ref().write_all(b"{\"command\":\"status\"}\n").expect("an open socket");
    late.read();
    let successor = stage.ask("restart").event("committed")["successor"].as_u64().expect("a pid");
    late.send("restart");
    let told = late.read();
    assert_eq!(told["ask_again"], true, "{told}");
    stage.app.hold(successor as u32).signal(Signal::KILL);
    stage.app.log.line(0, "serves again").await;
    let mut restart = stage.ask("restart");
    assert_eq!(restart.outcome(), None, "{}", stage.app.log);
    stage.stop().await;
}

#[tokio::test]
async fn one_more_restart_reaches_a_successor_that_handles_other_signals() {
    let scratch = Scratch::new();
    let address = format!("unix:{}", scratch.join("control.sock").display());
    let file = scratch.write("settings.toml", "restart_on = [\"HUP\"]");
    let launch = Launch::app(&scratch, &format!("{WEB}\nexit slow")).env("GRACEHTTP_CONTROL", address);
    let app = launch.env("GRACEHTTP_CONFIG", file.display().to_string()).start("web").await;
    let path = scratch.join("control.sock");
    eventually("a control socket", || UnixStream::connect(&path).is_ok()).await;
    let stage = Stage { app, scratch };
    stage.next_start("sleep 3000");
    // A process that does not handle SIGHUP is killed by it.
    stage.scratch.write("settings.toml", "restart_on = [\"USR2\"]");
    let mut first = stage.ask("restart");
    first.event("started");
    let mut second = stage.ask("restart");
    second.event("passed_on");
    stage.next_start("sleep 0");
    assert_eq!(first.outcome(), None, "{}", stage.app.log);
    stage.app.log.line(0, "generation 3").await;
    // Its predecessor may name it a moment after its own banner.
    eventually("the third generation to be named", || stage.app.generations() == 3).await;
    assert_eq!(stage.app.log.count(0, "serves again"), 0, "{}", stage.app.log);
    stage.app.current().signal(Signal::TERM);
    stage.app.log.line(0, "stopped, pid").await;
}

/// The command `status` or another one of the same program, with this socket.
fn command(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(bin("app"));
    command.args(arguments).arg("--control").arg(socket).stdin(Stdio::null());
    command.output().expect("the command")
}

#[tokio::test]
async fn a_command_asks_again_if_a_successor_has_just_taken_the_place_of_the_process() {
    let scratch = Scratch::new();
    let path = scratch.join("control.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let replies = std::thread::spawn(move || {
        [
            r#"{"type":"error","error":"replaced","ask_again":true}"#,
            r#"{"type":"accepted","pid":4711}
               {"type":"done","ok":true,"text":"all well"}"#,
        ]
        .map(|reply| {
            let mut asked = Asked(BufReader::new(listener.accept().expect("a client").0));
            let request = asked.read();
            let lines: String = reply.lines().map(|line| format!("{}\n", line.trim())).collect();
            asked.0.get_ref().write_all(lines.as_bytes()).expect("an open socket");
            request["command"].as_str().map(str::to_owned)
        })
    });
    let ran = tokio::task::spawn_blocking(move || command(&path, &["stop", "--wait"])).await.unwrap();
    assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("all well"), "{ran:?}");
    assert_eq!(replies.join().unwrap(), [Some("stop".to_owned()), Some("stop".to_owned())]);
}

#[tokio::test]
async fn a_command_that_no_process_answers_ends_and_says_why() {
    let stage = Stage::new().await;
    let process = stage.app.first();
    process.signal(Signal::STOP);
    eventually("a stopped process", || process.is_stopped()).await;
    let path = stage.scratch.join("control.sock");
    let ran = tokio::task::spawn_blocking(move || command(&path, &["status"])).await.unwrap();
    process.signal(Signal::CONT);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{told}");
    assert!(told.contains("no process has answered within 10s"), "{told}");
    stage.stop().await;
}
