//! The thread that delivers the messages, so that no other thread waits for their readers.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parking_lot::{Mutex, MutexGuard};

use super::queue::{Next, Queue};
use super::repeats::{Place, Repeats};
use super::{Level, Message};
use crate::sys;

/// How many bytes of messages may wait.
const CAPACITY: usize = 1 << 20;

/// How long the process waits at its end until its last messages are delivered.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long to wait after a write that would block. Only a standard error that was made non-blocking reports that.
const RETRY: Duration = Duration::from_millis(20);

static QUEUE: Queue<Entry> = Queue::new(CAPACITY);
static REPEATS: Mutex<Repeats<Entry>> = Mutex::new(Repeats::new());

/// A message that waits for delivery.
#[derive(Debug)]
pub(super) enum Entry {
    /// A line for standard error, with its line end.
    Line(Vec<u8>),
    /// The same, with the backtrace of a panic. Its names are looked up here, since that takes long.
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

    /// The same, as the last of so many repetitions.
    fn repeated(self, count: u64) -> Self {
        let times = format!(" (repeated {count} times)");
        let with = |text: &str| match text.trim_end() {
            "" => times.clone(),
            text => format!("{text}{times}\n"),
        };
        match self {
            Self::Line(line) => Self::Line(with(&String::from_utf8_lossy(&line)).into_bytes()),
            // The first ones have shown their backtraces, if there are any.
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
        // A message from inside a callback is delivered before those that wait. And a process that can't start this
        // thread is about to end.
        return entry.say();
    }
    QUEUE.push(entry.size(), entry);
}

/// The same, for a message that a client may be able to trigger.
pub(super) fn push_limited(place: Place, entry: Entry) {
    let admitted = repeats().admit(place, entry, Instant::now());
    match admitted {
        Some(entry) => push(entry),
        // The first counted message sets the time at which the writer has to wake up.
        None if is_started() => QUEUE.nudge(),
        None => {}
    }
}

/// Waits until all is delivered, at most for `limit`. If standard error is stuck, only the first call waits.
pub(super) fn settle(limit: Duration) {
    if is_started() && !IS_WRITER.get() {
        QUEUE.settle(limit);
    }
}

/// Waits until the last messages are delivered.
pub(crate) fn flush() {
    // The repeats are unlocked before the queue is used: the writer locks them in the other order.
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
            // Also if the application calls `process::exit`.
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
                let text = format!(
                    "{count} message{plural} lost: standard error, a callback or the subscriber was too slow"
                );
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
    REPEATS.lock()
}

/// Writes to standard error. One that is closed or full costs the message, and nothing else.
fn write(mut bytes: &[u8]) {
    // Not through `io::Stderr`: its lock would be held until somebody reads.
    while !bytes.is_empty() {
        match nix::unistd::write(io::stderr(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => thread::sleep(RETRY),
            Err(_) => return,
        }
    }
}
