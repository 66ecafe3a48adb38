//! A program that asks a server: it reads paths, and writes a line for each answer.

use std::process::Stdio;

use tests::patience::{GLANCE, PATIENCE, within};
use tests::process::skipped;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Whether Python has this module; prints a notice if not.
pub(crate) fn python_has(module: &str) -> bool {
    let import = std::process::Command::new("python3").arg("-c").arg(format!("import {module}")).output();
    let there = import.is_ok_and(|output| output.status.success());
    if !there {
        skipped(&format!("Python's module `{module}`, which is not installed"));
    }
    there
}

/// What a program says of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How many connections the program has opened so far.
    pub(crate) opened: usize,
    /// The program's address as the server saw it.
    pub(crate) peer: String,
    body: String,
}

impl Answer {
    fn read(line: &str) -> Self {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        let [status, opened, peer, body] = parts[..] else { panic!("the client says {line:?}") };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("the client says {line:?}"));
        Self { status: number(status), opened: number(opened).into(), peer: peer.into(), body: body.into() }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.body.strip_prefix("pong by pid:")?.parse().ok()
    }
}

#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(command: &[&str], args: &[&str]) -> Self {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let stdin = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, stdin, lines }
    }

    /// Lets it ask for a path.
    pub(crate) async fn send(&mut self, path: &str) {
        self.stdin.write_all(format!("{path}\n").as_bytes()).await.expect("the client reads");
    }

    /// Waits for the next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let line = within(PATIENCE, "the client's answer", self.lines.next_line()).await;
        Answer::read(&line.expect("UTF-8").expect("the client to go on"))
    }

    pub(crate) async fn ask(&mut self, path: &str) -> Answer {
        self.send(path).await;
        self.answer().await
    }

    /// Asks until this process answers; the other one may do so until the connection has moved.
    pub(crate) async fn moves_to(&mut self, pid: u32) {
        within(PATIENCE, "the connection to move", async {
            loop {
                let answer = self.ask("/facts").await;
                assert_eq!((answer.status, answer.opened), (200, 1), "{answer:?}");
                if answer.pid() == Some(pid) {
                    return;
                }
                tokio::time::sleep(GLANCE).await;
            }
        })
        .await;
    }

    /// Closes its input, which ends it.
    pub(crate) async fn ends(mut self) {
        drop(self.stdin);
        let status = within(PATIENCE, "the client's end", self.child.wait()).await.expect("our own child");
        assert!(status.success(), "{status}");
    }
}
