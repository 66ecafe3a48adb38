//! A whole application under test: its generations, and what they write.

use std::fmt;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long an application may take for each thing that a test waits for. A test that passes never waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a predecessor writes once it has started its successor.
const RESTARTED: &str = "start new process success, pid ";

/// What it writes where it could not.
const FAILED: &str = "start new process failed";

/// Standard output and standard error.
const STREAMS: usize = 2;

/// A running application. Dropped, it is killed with all its generations.
pub(super) struct Application {
    first: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Application {
    pub(super) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut first = command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} can't be started: {error}", command.as_std().get_program()));
        let output = Arc::new(Output::default());
        if let Some(pid) = first.id() {
            output.hold(pid);
        }
        let mut readers = Vec::new();
        if let (Some(stdout), Some(stderr)) = (first.stdout.take(), first.stderr.take()) {
            readers.push(tokio::spawn(output.clone().follow(stdout)));
            readers.push(tokio::spawn(output.clone().follow(stderr)));
        }
        Self { first, output, readers }
    }

    /// The URL in the banner of `server`.
    pub(super) async fn url(&self, server: &str) -> String {
        let words = format!("serving {server} on ");
        let line = self.output.line(0, &words).await;
        let rest = line.split_once(&words).map_or("", |(_, rest)| rest);
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// Restarts, and waits until the successor serves.
    pub(super) async fn restart(&self) {
        let start = self.output.lines().len();
        self.output.signal_newest(Signal::USR2);
        self.output.line(start, RESTARTED).await;
    }

    /// Stops, and waits until every generation has ended.
    pub(super) async fn stop(mut self) {
        self.output.signal_newest(Signal::TERM);
        // A stream ends with the last process that could write to it.
        for reader in self.readers.drain(..) {
            if timeout(PATIENCE, reader).await.is_err() {
                panic!("it has not ended within {PATIENCE:?}\n{}", self.output);
            }
        }
        match timeout(PATIENCE, self.first.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => panic!("the first generation ended with {status}\n{}", self.output),
            Ok(Err(error)) => panic!("the end of the first generation can't be seen: {error}"),
            Err(_) => panic!("the first generation has not ended within {PATIENCE:?}\n{}", self.output),
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        for generation in self.output.generations().iter() {
            // Gone already is as good.
            let _ = pidfd_send_signal(generation, Signal::KILL);
        }
    }
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.output.fmt(f)
    }
}

/// The output of all generations, and the generations that it names.
#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    grown: watch::Sender<usize>,
    /// How many streams have ended: no process can write to them any more.
    ended: AtomicUsize,
    /// Held by pidfd: a signal never reaches a stranger with the same pid.
    generations: Mutex<Vec<OwnedFd>>,
}

impl Output {
    async fn follow(self: Arc<Self>, source: impl AsyncRead + Unpin) {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if let Some(pid) = successor_in(&text) {
                self.hold(pid);
            }
            self.lines().push(text);
            self.grown.send_modify(|count| *count += 1);
        }
        self.ended.fetch_add(1, Ordering::Release);
        self.grown.send_modify(|count| *count += 1);
    }

    /// Whether no process is left that could write to them.
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) == STREAMS
    }

    fn hold(&self, pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // One that is gone already needs no one to hold it.
        let generation = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        self.generations().extend(generation);
    }

    fn signal_newest(&self, signal: Signal) {
        let sent = self.generations().last().map(|newest| pidfd_send_signal(newest, signal));
        if !matches!(sent, Some(Ok(()))) {
            panic!("the application ended on its own\n{self}");
        }
    }

    /// The first line at or after `start` with these words.
    async fn line(&self, start: usize, words: &str) -> String {
        let mut grown = self.grown.subscribe();
        let search = async {
            loop {
                grown.borrow_and_update();
                // Before the lines are read: all lines from before the end are there then.
                let has_ended = self.has_ended();
                for line in self.lines().iter().skip(start) {
                    if line.contains(words) {
                        return Some(line.clone());
                    }
                    assert!(!line.contains(FAILED), "the restart failed: {line}");
                }
                if has_ended {
                    return None;
                }
                // The sender lives as long as `self`: this waits, it does not fail.
                let _ = grown.changed().await;
            }
        };
        match timeout(PATIENCE, search).await {
            Ok(Some(line)) => line,
            Ok(None) => panic!("it ended without a line with `{words}`\n{self}"),
            Err(_) => panic!("there was no line with `{words}` within {PATIENCE:?}\n{self}"),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock()
    }

    fn generations(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.generations.lock()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("--- what the application wrote:\n")?;
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn successor_in(line: &str) -> Option<u32> {
    let (_, pid) = line.split_once(RESTARTED)?;
    pid.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_of_a_successor_is_read_from_its_line() {
        let line = "2026-11-23T10:02:16Z  INFO gracehttp: start new process success, pid 4789.";
        assert_eq!(successor_in(line), Some(4789));
        assert_eq!(successor_in("start new process failed, pid 4789: it crashed"), None);
    }
}
