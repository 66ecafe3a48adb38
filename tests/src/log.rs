//! The lines that all generations of an application write, for which tests can wait.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, PipeWriter, Read, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::patience::{PATIENCE, within};

/// Begins a line that the test writes itself; no application writes such a line.
const MARK: &str = "\u{1}mark ";

/// One line, and its time.
#[derive(Debug, Clone)]
pub struct Line {
    /// When the test read it.
    pub at: Instant,
    /// Without its line end.
    pub text: String,
}

/// All lines so far, by any generation, on stdout and stderr.
#[derive(Debug)]
pub struct Log {
    lines: Mutex<Vec<Line>>,
    grown: watch::Sender<usize>,
    /// The newest mark that was read.
    marked: watch::Sender<usize>,
    born: Instant,
}

impl Log {
    /// An empty log.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            lines: Mutex::default(),
            grown: watch::Sender::new(0),
            marked: watch::Sender::new(0),
            born: Instant::now(),
        })
    }

    /// Reads the lines of `source` on a separate thread until its last writer closes it; `seen` gets each line before
    /// any test does.
    pub fn follow(
        self: &Arc<Self>,
        source: impl Read + Send + 'static,
        seen: impl Fn(&str) + Send + 'static,
    ) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                let (text, mark) =
                    text.split_once(MARK).map_or((&*text, None), |(text, mark)| (text, Some(mark)));
                if mark.is_none() || !text.is_empty() {
                    seen(text);
                    log.push(text.to_owned());
                }
                if let Some(number) = mark.and_then(|mark| mark.parse().ok()) {
                    log.marked.send_replace(number);
                }
            }
        });
    }

    fn push(&self, text: String) {
        let mut lines = self.lock();
        lines.push(Line { at: Instant::now(), text });
        let count = lines.len();
        drop(lines);
        self.grown.send_replace(count);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the log has everything that was written to `pipe` before: the last lines of a process that has
    /// ended may still be on their way.
    pub async fn catch_up(&self, pipe: &Mutex<(PipeWriter, usize)>) {
        let number = {
            let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
            pipe.1 += 1;
            let number = pipe.1;
            // The kernel does not mix a single write with those of the application.
            pipe.0.write_all(format!("{MARK}{number}\n").as_bytes()).expect("the log reads it");
            number
        };
        let mut marked = self.marked.subscribe();
        within(PATIENCE, "the log to catch up", async {
            // The sender lives as long as `self`.
            _ = marked.wait_for(|marked| *marked >= number).await;
        })
        .await;
    }

    /// Where the log ends now: later lines come after this point.
    pub fn end(&self) -> usize {
        self.lock().len()
    }

    /// The lines from `start` on.
    pub fn since(&self, start: usize) -> Vec<String> {
        self.lock().iter().skip(start).map(|line| line.text.clone()).collect()
    }

    /// How many lines from `start` on contain `part`.
    pub fn count(&self, start: usize, part: &str) -> usize {
        self.lock().iter().skip(start).filter(|line| line.text.contains(part)).count()
    }

    /// The first line at or after `start` that contains `part`.
    pub async fn line(&self, start: usize, part: &str) -> String {
        self.find(start, PATIENCE, &format!("a line with {part:?}"), |text| text.contains(part)).await.text
    }

    /// The first line at or after `start` that `matches`; panics with the whole log after `limit`.
    pub async fn find(
        &self,
        start: usize,
        limit: Duration,
        what: &str,
        matches: impl Fn(&str) -> bool,
    ) -> Line {
        let mut grown = self.grown.subscribe();
        let mut next = start;
        let search = async {
            loop {
                grown.borrow_and_update();
                let found = {
                    let lines = self.lock();
                    let found = lines.iter().skip(next).find(|line| matches(&line.text)).cloned();
                    next = lines.len().max(start);
                    found
                };
                match found {
                    Some(line) => return line,
                    // The sender lives as long as `self`: this waits, and does not fail.
                    None => _ = grown.changed().await,
                }
            }
        };
        match tokio::time::timeout(limit, search).await {
            Ok(line) => line,
            Err(_) => panic!("waited {limit:?} in vain for {what}; the log:\n{self}"),
        }
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for line in self.lock().iter() {
            writeln!(text, "  {:>9.3} s | {}", (line.at - self.born).as_secs_f64(), line.text)?;
        }
        f.write_str(&text)
    }
}
