//! The thread that says the messages, so that no other one ever waits for whoever reads them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::queue::{Next, Queue};
use super::repeats::{Place, Repeats};
use super::{Level, Message};
use crate::sys;

/// How many bytes of messages wait at most.
const CAPACITY: usize = 1 << 20;

/// How long the process waits at its end for its last messages to be taken.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long after a write that had no room the next is tried. Only a standard error that somebody has made
/// non-blocking says such a thing.
const RETRY: Duration = Duration::from_millis(20);

static QUEUE: Queue<Entry> = Queue::new(CAPACITY);
static REPEATS: Mutex<Repeats<Entry>> = Mutex::new(Repeats::new());

/// What waits to be said.
#[derive(Debug)]
pub(super) enum Entry {
    /// For standard error, line end included.
    Line(Vec<u8>),
    /// The same, with the backtrace of a panic. To find its names takes longer than a panic should.
    Panic(String, Backtrace),
    /// For a callback, or for the application's own subscriber.
    Message(Message),
}

impl Entry {
    fn size(&self) -> usize {
        let text = match self {
            Self::Line(line) => line.len(),
            Self::Panic(text, _) => text.len(),
            Self::Message(message) => message.text.len(),
        };
        size_of::<Self>() + text
    }

    fn say(self) {
        match self {
            Self::Line(line) => write(&line),
            Self::Panic(text, backtrace) => match backtrace.status() {
                BacktraceStatus::Captured => write(format!("{text}stack backtrace:\n{backtrace}").as_bytes()),
                _ => write(text.as_bytes()),
            },
            Self::Message(message) => message.deliver(),
        }
    }

    /// The same, told as the last of many.
    fn repeated(self, count: u64) -> Self {
        let times = format!(" (repeated {count} times)");
        let with = |text: &str| match text.trim_end() {
            "" => times.clone(),
            text => format!("{text}{times}\n"),
        };
        match self {
            Self::Line(line) => Self::Line(with(&String::from_utf8_lossy(&line)).into_bytes()),
            // All of them have told theirs, or none.
            Self::Panic(text, _) => Self::Panic(with(&text), Backtrace::disabled()),
            Self::Message(mut message) => {
                message.text.push_str(&times);
                Self::Message(message)
            }
        }
    }
}

/// Puts it in the queue.
pub(super) fn push(entry: Entry) {
    if IS_WRITER.get() || !is_started() {
        // What a callback logs while it is called comes before what waits; and a process that can't even have
        // this thread is about to end.
        return entry.say();
    }
    QUEUE.push(entry.size(), entry);
}

/// The same, for a message that a client may be able to trigger.
pub(super) fn push_limited(place: Place, entry: Entry) {
    let admitted = repeats().admit(place, entry, Instant::now());
    match admitted {
        Some(entry) => push(entry),
        // The first one to be counted gives the writer a time to wake up at.
        None if is_started() => QUEUE.nudge(),
        None => {}
    }
}

/// Waits until all is said, or for `limit`. In vain at most once for a standard error that nobody reads.
pub(super) fn settle(limit: Duration) {
    if is_started() && !IS_WRITER.get() {
        QUEUE.settle(limit);
    }
}

/// Waits until the last messages are said.
pub(crate) fn flush() {
    // In two steps: the writer asks for the repeats while it holds the queue, so nobody may take the two the other way
    // round.
    let rest = repeats().rest(Instant::now());
    rest.into_iter().for_each(|(entry, count)| push(entry.repeated(count)));
    settle(LAST_WORDS);
}

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Starts the writer with the first message. False if the system has no thread for it.
fn is_started() -> bool {
    static STARTED: OnceLock<bool> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let started = thread::Builder::new().name("gracehttp-log".to_owned()).spawn(work).is_ok();
        if started {
            // Also where the application calls `process::exit`.
            sys::at_exit(flush);
        }
        started
    })
}

fn work() {
    IS_WRITER.set(true);
    loop {
        match QUEUE.next(|| repeats().due_at()) {
            Next::Item(entry) => entry.say(),
            Next::Lost(count) => {
                let plural = if count == 1 { "" } else { "s" };
                let text = format!("{count} message{plural} lost: nobody has taken them in time");
                super::say(Level::Notice, text);
            }
            Next::TimeIsUp => {
                let due = repeats().due(Instant::now());
                due.into_iter().for_each(|(entry, count)| entry.repeated(count).say());
            }
        }
    }
}

fn repeats() -> MutexGuard<'static, Repeats<Entry>> {
    REPEATS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes to standard error. One that is closed or full costs the message, and nothing else.
fn write(mut bytes: &[u8]) {
    // Not through `io::Stderr`: its lock would be held for as long as nobody reads.
    while !bytes.is_empty() {
        match nix::unistd::write(io::stderr(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => thread::sleep(RETRY),
            Err(_) => return,
        }
    }
}
