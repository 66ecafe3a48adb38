//! The control socket: its commands as an operator runs them, and its protocol as a script speaks it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::patience::{PATIENCE, eventually};
use tests::process::bin;
use tests::{App, Client, Exit, Launch, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// Returns the normal number, or with `GRACEHTTP_LONG` the long one.
fn count(normal: u32, long: u32) -> u32 {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { long } else { normal }
}

/// An application with a control socket.
struct Stage {
    app: App,
    web: Target,
    scratch: Scratch,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|launch| launch).await
    }

    async fn with(change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch));
        let app = change(launch).spawn();
        Self { web: app.target("web").await, app, scratch }
    }

    fn socket(&self) -> PathBuf {
        self.scratch.join("control.sock")
    }

    fn plan(&self, plan: &str) {
        self.scratch.write("plan", plan);
    }

    /// A command of the same program, as an operator runs it.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(bin("app"));
        command.args(args).env("GRACEHTTP_CONTROL", address(&self.scratch));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output().expect("the command")).await;
        Ran::from(output.expect("the command"))
    }

    fn script(&self) -> Script {
        Script::new(&self.socket())
    }

    async fn client(&self) -> Client {
        Client::connect(&self.web).await.expect("a connection")
    }

    async fn stop(self) {
        assert_eq!(self.app.stop().await, Exit::Code(0), "{}", self.app.log);
        assert!(!self.socket().exists(), "the file of the control socket is left");
    }
}

/// A program without the settings of the test run.
fn program(path: PathBuf) -> Command {
    let mut command = Command::new(path);
    let ours = std::env::vars_os().map(|(name, _)| name);
    ours.filter(|name| name.to_string_lossy().starts_with("GRACEHTTP_")).for_each(|name| {
        command.env_remove(name);
    });
    command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "0");
    command
}

fn address(scratch: &Scratch) -> String {
    format!("unix:{}", scratch.join("control.sock").display())
}

/// How a command ended, and what it has printed.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// The errors, without time and target.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        let lines =
            self.err.lines().map(|line| line.split_once("gracehttp: ").map_or(line, |(_, text)| text));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A script that speaks the protocol, as with `socat`.
struct Script {
    lines: BufReader<UnixStream>,
}

impl Script {
    fn new(path: &std::path::Path) -> Self {
        let stream = UnixStream::connect(path).expect("the control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self { lines: BufReader::new(stream) }
    }

    fn send(&self, line: &str) {
        self.lines.get_ref().write_all(format!("{line}\n").as_bytes()).expect("sent");
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, line: &str) -> Value {
        self.send(line);
        self.read()
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.lines.read_line(&mut String::new()), Ok(0) | Err(_))
    }
}

#[tokio::test]
async fn an_operator_asks_restarts_and_stops() {
    let stage = Stage::new().await;
    assert_eq!(stage.socket().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = stage.client().await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));

    let status = stage.run(&["status"]).await.succeeded();
    assert!(status.starts_with(&format!("generation 1, pid {}: serving", stage.app.pid())), "{status}");
    assert!(status.contains("1 of "), "{status}");
    let report: Value = serde_json::from_str(&stage.run(&["status", "--json"]).await.succeeded()).unwrap();
    assert_eq!((&report["version"], &report["process"]["generation"]), (&json!(1), &json!(1)));
    assert_eq!(report["servers"][0]["connections"]["held"], 1);

    let told = stage.run(&["restart", "--wait"]).await.succeeded();
    for step in ["starts", "is ready", "serves; pid", "can't take over again", "1 connections: 1 moved"] {
        assert!(told.contains(step), "{step} is missing in\n{told}");
    }
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    let status = stage.run(&["status"]).await.succeeded();
    assert!(status.starts_with("generation 2"), "{status}");
    assert!(status.contains("last restart, of generation 1: 1 connections: 1 moved"), "{status}");

    let messages = stage.run(&["logs", "--minutes", "5"]).await.succeeded();
    assert!(messages.contains("INFO serving web on http://"), "{messages}");
    // Those of the predecessor have come along.
    let earlier = messages.lines().find(|line| line.contains("generation 1, pid "));
    assert!(earlier.is_some() && messages.lines().next() == earlier, "{messages}");

    let told = stage.run(&["stop", "--wait"]).await.succeeded();
    assert!(told.contains("stops\n") && told.trim_end().ends_with("has stopped"), "{told}");
    assert_eq!(stage.app.current().exit().await, Exit::Code(0));
    let told = stage.run(&["status"]).await.failed();
    assert!(told.contains("there is no such socket: the program does not run"), "{told}");
}

#[tokio::test]
async fn a_drain_accepts_for_a_while_and_ends() {
    let stage = Stage::with(|launch| launch.env("GRACEHTTP_LAME_DUCK", "0s")).await;
    assert!(stage.run(&["drain"]).await.succeeded().contains("was asked to drain"));
    eventually("the stop begins", || stage.app.log.count(0, "a command asks for a stop") == 1).await;
    let mut client = stage.client().await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    // A second stop does not wait.
    stage.run(&["stop"]).await.succeeded();
    assert_eq!(stage.app.current().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn it_survives_restarts_and_clients_that_say_nothing_or_do_not_read() {
    let stage = Stage::new().await;
    for number in 2..2 + count(6, 20) {
        let silent = stage.script();
        // It asks for more than its socket holds, and reads nothing.
        let unread = stage.script();
        for _ in 0..20 {
            let _ = unread.lines.get_ref().write_all(br#"{"command":"status"}"#);
            let _ = unread.lines.get_ref().write_all(b"\n");
        }
        let told = stage.run(&["restart", "--wait"]).await.succeeded();
        assert!(told.contains(&format!("generation {number}, pid")), "{told}");
        assert_eq!(stage.script().ask(r#"{"command":"status"}"#)["status"]["process"]["generation"], number);
        drop((silent, unread));
    }
    stage.app.predecessors_leave_cleanly().await;
    stage.stop().await;
}

#[tokio::test]
async fn more_clients_than_there_is_room_for_push_out_the_silent_ones() {
    let stage = Stage::new().await;
    let mut silent: Vec<Script> = (0..50).map(|_| stage.script()).collect();
    assert_eq!(stage.script().ask(r#"{"command":"status"}"#)["type"], "status");
    assert!(silent[0].is_closed(), "the first of 50 silent clients is still there");
    assert_eq!(silent[49].ask(r#"{"command":"status"}"#)["type"], "status");
    stage.stop().await;
}

#[tokio::test]
async fn what_a_script_gets_wrong_is_told() {
    let stage = Stage::new().await;
    let mut script = stage.script();
    for (line, told) in [
        ("nonsense", "the request is not understood"),
        (r#"{"command":"reboot"}"#, "this process does not know the command `reboot`: known are status,"),
        (r#"{"version":2,"command":"status"}"#, "this process speaks version 1, not 2"),
        (r#"{"command":"stop","when":"now"}"#, "the command `stop` does not take the field `when`"),
    ] {
        let reply = script.ask(line);
        let error = reply["error"].as_str().unwrap_or_default();
        assert!(reply["type"] == "error" && error.starts_with(told), "{line}: {reply}");
    }
    // The conversation goes on, also with a line that comes in pieces, and an empty one.
    script.lines.get_ref().write_all(b"\n{\"version\":1,").unwrap();
    script.lines.get_ref().write_all(b"\"command\":\"status\"}\n").unwrap();
    assert_eq!(script.read()["status"]["version"], 1);

    let mut huge = stage.script();
    let _ = huge.lines.get_ref().write_all(&vec![b'x'; 1 << 20]);
    assert!(huge.is_closed() || huge.is_closed(), "a line of 1 MiB is read on");
    assert_eq!(script.ask(r#"{"command":"status"}"#)["type"], "status");
    stage.stop().await;
}

#[tokio::test]
async fn a_broken_successor_fails_the_command_with_its_own_words() {
    let stage = Stage::new().await;
    stage.plan(&format!("{WEB}\nstart refuse the_disk_is_full"));
    let told = stage.run(&["restart", "--wait"]).await.failed();
    assert!(told.contains("the start-up code failed: the_disk_is_full"), "{told}");
    let told = stage.run(&["restart", "--rehearse"]).await.failed();
    assert!(told.contains("the start-up code failed: the_disk_is_full"), "{told}");
    stage.plan(&format!("{WEB}\nstart abort"));
    let told = stage.run(&["restart", "--wait"]).await.failed();
    assert!(told.contains("it was killed by SIGABRT"), "{told}");
    let status = stage.run(&["status"]).await.succeeded();
    assert!(status.contains("restarts of this process: 2 failed"), "{status}");
    stage.plan(WEB);
    stage.run(&["restart", "--wait"]).await.succeeded();
    stage.stop().await;
}

#[tokio::test]
async fn the_last_lines_of_a_successor_are_told_where_standard_error_is_a_file() {
    let scratch = Scratch::new();
    let errors = scratch.join("errors.log");
    let words = format!("exec 2>>{};", errors.display());
    let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch)).after(&words);
    let app = launch.spawn();
    let path = scratch.join("control.sock");
    eventually("a control socket", || UnixStream::connect(&path).is_ok()).await;
    scratch.write("plan", format!("{WEB}\nnot in the grammar"));
    let mut script = Script::new(&path);
    script.send(r#"{"command":"restart","wait":true}"#);
    let done = loop {
        let line = script.read();
        if line["type"] == "done" {
            break line;
        }
    };
    assert_eq!(done["ok"], false, "{done}");
    let lines: Vec<&str> = done["stderr"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(lines.iter().any(|line| line.contains("not understood in the plan")), "{done}");
    assert!(!lines.iter().any(|line| line.contains("serves on")), "lines of the predecessor: {done}");
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn two_that_wait_both_learn_of_their_restart() {
    let stage = Stage::new().await;
    // Together: one restart, or one more after it.
    let (one, other) = tokio::join!(stage.run(&["restart", "--wait"]), stage.run(&["restart", "--wait"]));
    one.succeeded();
    other.succeeded();

    // The second comes while the successor of the first starts: the restart goes on there.
    stage.plan(&format!("{WEB}\nstart sleep 700"));
    let mut first = stage.script();
    let generation = first.ask(r#"{"command":"restart","wait":true}"#)["generation"].as_u64().unwrap();
    assert_eq!(first.read()["event"], "started");
    let told = stage.run(&["restart", "--wait"]).await.succeeded();
    assert!(told.contains("restarts once more"), "{told}");
    let serving = stage.script().ask(r#"{"command":"status"}"#)["status"]["process"]["generation"].as_u64();
    assert_eq!(serving, Some(generation + 2), "{told}");
    stage.stop().await;
}

#[tokio::test]
async fn ctrl_c_leaves_the_restart_alone() {
    let stage = Stage::new().await;
    stage.plan(&format!("{WEB}\nstart sleep 3000"));
    let mut command = stage.command(&["restart", "--wait"]).spawn().unwrap();
    let starting = stage.app.log.end();
    eventually("a successor starts", || !stage.app.current().children().is_empty()).await;
    let pid = rustix::process::Pid::from_child(&command);
    // Ctrl-C sends SIGINT, which a shell may have ignored for what it starts in the background.
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(!command.wait().unwrap().success());
    let successor = stage.app.successor_since(starting).await;
    stage.app.serves(&stage.web, &successor).await;
    let status = stage.script().ask(r#"{"command":"status"}"#);
    assert_eq!(status["status"]["process"]["generation"], 2);
    stage.stop().await;
}

#[tokio::test]
async fn a_rehearsal_changes_nothing() {
    let stage = Stage::new().await;
    let mut client = stage.client().await;
    client.get("/ping").await.unwrap();
    stage.run(&["restart", "--rehearse"]).await.succeeded();
    let process = stage.app.current();
    let state = || (process.descriptors(), process.children());
    // The command's own connection ends a moment after the command.
    let mut before = state();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match std::mem::replace(&mut before, state()) {
            earlier if earlier == before => break,
            _ => {}
        }
    }
    for _ in 0..count(4, 100) {
        let told = stage.run(&["restart", "--rehearse"]).await.succeeded();
        assert!(told.contains("a restart would succeed; nothing has changed"), "{told}");
    }
    eventually("the former state", || state() == before).await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    let report = stage.script().ask(r#"{"command":"status"}"#);
    assert_eq!(report["status"]["process"]["generation"], 1);
    assert_eq!(report["status"]["servers"][0]["connections"]["held"], 1);
    stage.stop().await;
}

#[tokio::test]
async fn a_process_without_a_socket_says_how_to_have_one() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let status = |value: Option<&str>, args: &[&str]| {
        let mut command = program(bin("app"));
        command.arg("status").args(args).env_remove("RUNTIME_DIRECTORY");
        command.env_remove("XDG_RUNTIME_DIR").envs(value.map(|value| ("GRACEHTTP_CONTROL", value)));
        Ran::from(command.output().unwrap()).failed()
    };
    let told = status(None, &[]);
    assert!(told.starts_with("where is the control socket?") && told.contains("--control PATH"), "{told}");
    let told = status(Some("off"), &[]);
    assert!(told.starts_with("the control socket is off"), "{told}");
    let told = status(None, &["--control", "/nowhere/app.sock"]);
    assert!(
        told.starts_with("the control socket /nowhere/app.sock can't be reached: there is no such"),
        "{told}"
    );
    let told = status(Some("127.0.0.1:80"), &[]);
    assert!(told.contains("valid is `unix:` and the path of a socket"), "{told}");
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_socket_that_can_not_be_had_keeps_the_process_from_starting() {
    let scratch = Scratch::new();
    let other = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch)).start("web").await;
    let long = format!("unix:/tmp/{}", "x".repeat(200));
    for (control, told) in [
        (address(&scratch).as_str(), "the socket is in use by pid "),
        (
            "unix:/nowhere/app.sock",
            "the directory /nowhere does not exist; create it, or choose another one by `control`",
        ),
        (long.as_str(), "the path is longer than the 107 bytes"),
    ] {
        let app = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", control).spawn();
        assert_eq!(app.current().exit().await, Exit::Code(1), "{}", app.log);
        app.catch_up().await;
        assert_eq!(app.log.count(0, "the control socket cannot listen on unix:"), 1, "{}", app.log);
        assert_eq!(app.log.count(0, told), 1, "{told}\n{}", app.log);
    }
    assert_eq!(other.stop().await, Exit::Code(0));

    // A file that a dead process has left is replaced.
    let killed = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch)).start("web").await;
    killed.current().kill();
    killed.current().exit().await;
    let next = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch)).start("web").await;
    assert_eq!(Script::new(&scratch.join("control.sock")).ask(r#"{"command":"status"}"#)["type"], "status");
    assert_eq!(next.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED another_user_is_refused: only root can become another user");
        return;
    }
    let stage = Stage::new().await;
    std::fs::set_permissions(stage.scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // A copy that the other user can reach.
    let program = stage.scratch.install(&bin("app"), "app");
    let mut command = self::program(program);
    command.args(["status", "--control"]).arg(stage.socket()).uid(65_534).gid(65_534).current_dir("/");
    match command.output() {
        Ok(output) => {
            let told = Ran::from(output).failed();
            assert!(told.contains("permission denied: only the user that runs the process"), "{told}");
        }
        Err(error) => {
            eprintln!("SKIPPED another_user_is_refused: another user can't run the program: {error}");
        }
    }
    stage.stop().await;
}

/// The usual place is the directory that systemd makes.
#[tokio::test]
async fn the_usual_place_is_the_runtime_directory() {
    let scratch = Scratch::new();
    let directory = scratch.join("run");
    std::fs::create_dir(&directory).unwrap();
    let app = Launch::app(&scratch, WEB).env("RUNTIME_DIRECTORY", &directory).start("web").await;
    let mut command = program(bin("app"));
    command.arg("status").env("RUNTIME_DIRECTORY", &directory);
    let told = Ran::from(command.output().unwrap()).succeeded();
    assert!(told.starts_with("generation 1"), "{told}");
    assert!(directory.join("app.sock").exists());
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(!directory.join("app.sock").exists());
}
