//! The thread that delivers the messages. No other thread waits for their readers.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use parking_lot::{Mutex, MutexGuard};

use super::json::Fields;
use super::queue::{Next, Queue};
use super::repeats::{Place, Repeats};
use super::{Level, Message, format, structured};
use crate::sys;

/// The most bytes of messages that may wait.
const CAPACITY: usize = 1 << 20;

/// How long the process waits at its end for the delivery of its last messages, and for the last lines of its access logs
/// before.
pub(crate) const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// The pause after a write that would block, which happens only if standard error is non-blocking.
const RETRY: Duration = Duration::from_millis(20);

static QUEUE: Queue<Entry> = Queue::new(CAPACITY);
static REPEATS: Mutex<Repeats<Entry>> = Mutex::new(Repeats::new());

/// A message that waits for delivery.
#[derive(Debug)]
pub(super) enum Entry {
    /// A line for standard error, with its newline.
    Line(Vec<u8>),
    Panic(Panic),
    /// For a callback, or for the application's own subscriber.
    Message(Message),
}

/// The message of a panic, with its backtrace. The writer looks up the names in it, because that takes long.
#[derive(Debug)]
pub(super) struct Panic {
    pub(super) text: String,
    pub(super) fields: Fields,
    pub(super) backtrace: Backtrace,
}

impl Panic {
    fn deliver(self) {
        let Self { text, mut fields, backtrace } = self;
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        if format::is_json() {
            fields.extend(backtrace.map(|backtrace| ("backtrace", backtrace.into())));
            return write(&structured::line(SystemTime::now(), "ERROR", text.trim(), &fields));
        }
        match backtrace {
            Some(backtrace) => write(format!("{text}stack backtrace:\n{backtrace}").as_bytes()),
            None => write(text.as_bytes()),
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        let text = match self {
            Self::Line(line) => line.len(),
            Self::Panic(panic) => panic.text.len(),
            Self::Message(message) => message.text.len(),
        };
        size_of::<Self>() + text
    }

    /// Keeps the framework's messages for operators who ask. Not at their delivery, which may have to wait.
    #[cfg(any(feature = "admin", feature = "cli"))]
    fn keep(&self) {
        match self {
            Self::Line(_) => {}
            Self::Panic(panic) => super::history::note_panic(&panic.text),
            Self::Message(message) => super::history::note(message),
        }
    }

    #[cfg(not(any(feature = "admin", feature = "cli")))]
    fn keep(&self) {}

    fn deliver(self) {
        match self {
            Self::Line(line) => write(&line),
            Self::Panic(panic) => panic.deliver(),
            Self::Message(message) => message.deliver(),
        }
    }

    /// The same entry, as the last of `count` repetitions.
    fn repeated(self, count: u64) -> Self {
        let times = format!(" (repeated {count} times)");
        let with = |text: &str| match text.trim_end() {
            "" => times.clone(),
            text => format!("{text}{times}\n"),
        };
        match self {
            Self::Line(line) => Self::Line(with(&String::from_utf8_lossy(&line)).into_bytes()),
            // The first panics from this place have shown the backtrace.
            Self::Panic(Panic { text, mut fields, .. }) => {
                fields.push(("repeated", count.into()));
                Self::Panic(Panic { text: with(&text), fields, backtrace: Backtrace::disabled() })
            }
            Self::Message(mut message) => {
                message.text.push_str(&times);
                message.fields.push(("repeated", count.into()));
                Self::Message(message)
            }
        }
    }
}

/// Puts an entry in the queue.
pub(super) fn push(entry: Entry) {
    entry.keep();
    if IS_WRITER.get() || !is_started() {
        // A message from inside a callback is delivered at once, before the waiting ones. If the system refuses the
        // thread, the process is about to end.
        return entry.deliver();
    }
    QUEUE.push(entry.size(), entry);
}

/// Puts an entry in the queue unless its place in the code has repeated itself too often.
pub(super) fn push_limited(place: Place, entry: Entry) {
    let admitted = repeats().admit(place, entry, Instant::now());
    match admitted {
        Some(entry) => push(entry),
        // The first counted entry of a place sets a time at which the writer has to wake up.
        None if is_started() => QUEUE.nudge(),
        None => {}
    }
}

/// Waits until all messages are delivered, at most for `limit`. If the writer is stuck, only the first call waits.
pub(super) fn settle(limit: Duration) {
    if is_started() && !IS_WRITER.get() {
        QUEUE.settle(limit);
    }
}

/// Delivers all messages, within a limit.
pub(crate) fn flush() {
    flush_until(Instant::now() + FLUSH_LIMIT);
}

/// Delivers all messages that can be delivered by then.
pub(crate) fn flush_until(end: Instant) {
    // `REPEATS` is unlocked before the queue is locked: the writer locks the two in the other order.
    let rest = repeats().rest(Instant::now());
    rest.into_iter().for_each(|(entry, count)| push(entry.repeated(count)));
    settle(end.saturating_duration_since(Instant::now()));
}

fn flush_at_exit(begun: Instant) {
    flush_until(begun + FLUSH_LIMIT);
}

/// How many messages found no room in the queue.
#[cfg(feature = "admin")]
pub(crate) fn lost() -> u64 {
    QUEUE.lost()
}

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Starts the writer thread on the first call. Returns false if the system refuses the thread.
fn is_started() -> bool {
    static STARTED: OnceLock<bool> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let started = thread::Builder::new().name("gracehttp-log".to_owned()).spawn(work).is_ok();
        if started {
            // Covers an application that calls `process::exit`.
            sys::at_exit(flush_at_exit);
        }
        started
    })
}

fn work() {
    IS_WRITER.set(true);
    loop {
        match QUEUE.next(|| repeats().due_at()) {
            Next::Item(entry) => entry.deliver(),
            Next::Lost(count) => {
                let plural = if count == 1 { "" } else { "s" };
                let text = format!(
                    "{count} message{plural} lost: standard error, a callback or the subscriber was too slow"
                );
                super::deliver_now(Level::Notice, text);
            }
            Next::TimeIsUp => {
                let due = repeats().due(Instant::now());
                due.into_iter().map(|(entry, count)| entry.repeated(count)).for_each(|entry| {
                    entry.keep();
                    entry.deliver();
                });
            }
        }
    }
}

fn repeats() -> MutexGuard<'static, Repeats<Entry>> {
    REPEATS.lock()
}

/// Writes to standard error. If it is closed or full, the message is lost.
fn write(mut bytes: &[u8]) {
    // Not through `io::Stderr`: a blocked write would hold its lock.
    while !bytes.is_empty() {
        match nix::unistd::write(io::stderr(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => thread::sleep(RETRY),
            Err(_) => return,
        }
    }
}
