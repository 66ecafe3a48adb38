//! The control socket of an application under test: its commands, as an operator runs them, and its protocol, as a
//! script speaks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::patience::PATIENCE;
use crate::process::bin;
use crate::{App, Client, Exit, Launch, Scratch, Target};

/// The plan of an application with one server.
pub const WEB: &str = "server web 127.0.0.1:0";

/// An application with a control socket.
#[derive(Debug)]
pub struct Stage {
    /// Its generations.
    pub app: App,
    /// Its server.
    pub web: Target,
    /// The socket is in it, and the plan.
    pub scratch: Scratch,
}

impl Stage {
    /// Starts it.
    pub async fn new() -> Self {
        Self::with(|launch| launch).await
    }

    /// Starts it with a change of how it is launched.
    pub async fn with(change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch));
        let app = change(launch).spawn();
        Self { web: app.target("web").await, app, scratch }
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.scratch.join("control.sock")
    }

    /// Changes the plan of later generations.
    pub fn plan(&self, plan: &str) {
        self.scratch.write("plan", plan);
    }

    /// A command of the same program, as an operator runs it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = program(bin("app"));
        command.args(args).env("GRACEHTTP_CONTROL", address(&self.scratch));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output().expect("the command")).await;
        Ran::from(output.expect("the command"))
    }

    /// Connects as a script.
    pub fn script(&self) -> Script {
        Script::new(&self.socket())
    }

    /// A client of its server.
    pub async fn client(&self) -> Client {
        Client::connect(&self.web).await.expect("a connection")
    }

    /// Stops it. Nothing is left of its socket.
    pub async fn stop(self) {
        assert_eq!(self.app.stop().await, Exit::Code(0), "{}", self.app.log);
        assert!(!self.socket().exists(), "the file of the control socket is left");
    }
}

/// A program without the settings of the test run.
pub fn program(path: PathBuf) -> Command {
    let mut command = Command::new(path);
    let ours = std::env::vars_os().map(|(name, _)| name);
    ours.filter(|name| name.to_string_lossy().starts_with("GRACEHTTP_")).for_each(|name| {
        command.env_remove(name);
    });
    command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "0");
    command
}

/// The socket of an application with this scratch directory, as its configuration has it.
pub fn address(scratch: &Scratch) -> String {
    format!("unix:{}", scratch.join("control.sock").display())
}

/// How a command ended, and what it has printed.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; none if a signal has ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Ran {
    /// What it has printed. It must have succeeded.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// The errors, without time and target. It must have failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        let lines =
            self.err.lines().map(|line| line.split_once("gracehttp: ").map_or(line, |(_, text)| text));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A script that speaks the protocol, as with `socat`.
#[derive(Debug)]
pub struct Script {
    /// The connection.
    pub lines: BufReader<UnixStream>,
}

impl Script {
    /// Connects to a socket.
    pub fn new(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self { lines: BufReader::new(stream) }
    }

    /// Sends a line.
    pub fn send(&self, line: &str) {
        self.lines.get_ref().write_all(format!("{line}\n").as_bytes()).expect("sent");
    }

    /// The next reply.
    pub fn read(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Sends a line, and returns the reply.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(line);
        self.read()
    }

    /// The reply that ends what was asked for.
    pub fn done(&mut self) -> Value {
        loop {
            let reply = self.read();
            if reply["type"] == "done" {
                return reply;
            }
        }
    }

    /// Says that no more requests come, and returns all replies.
    pub fn finish(mut self) -> String {
        self.lines.get_ref().shutdown(Shutdown::Write).expect("an open socket");
        let mut replies = String::new();
        self.lines.read_to_string(&mut replies).expect("replies, and their end");
        replies
    }

    /// Whether the process has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.lines.read_line(&mut String::new()), Ok(0) | Err(_))
    }
}
