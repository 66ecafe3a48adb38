//! The framework's messages to its operator, in three levels. An application may take over each level.
//!
//! Messages are `tracing` events with the target `gracehttp`; a notice is a `WARN`. A callback for a level receives the
//! messages of that level instead. If the application installs no subscriber, a plain one writes to standard error. It
//! follows `RUST_LOG` (targets and levels, such as `gracehttp=warn,my_app=debug`). The default is `info` for the
//! framework and for the application, and errors for all other crates.
//!
//! Logging neither blocks nor ends the process. A separate thread calls the callbacks, gives the events to the
//! subscriber and writes to standard error, in the order of the messages. Undelivered messages wait in a queue of
//! 1 MiB. If the queue is full, further messages are counted, and their number is logged. If a callback or subscriber
//! panics, or standard error is closed or full, at most the message is lost.
//!
//! A client may be able to trigger a notice or an error again and again. So each place in the code logs at most 20 in
//! ten seconds. Further ones are counted, and the last of them is logged with their number.

mod format;
#[cfg(any(feature = "admin", feature = "cli"))]
mod history;
mod json;
mod panics;
mod plain;
mod queue;
mod repeats;
mod structured;
mod writer;

use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;
use tracing::Span;
use tracing::dispatcher::{self, Dispatch};
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use format::LogFormat;
pub(crate) use format::{LogChoice, choose, is_chosen_by_rust_log, is_json, levels};
#[cfg(any(feature = "admin", feature = "cli"))]
pub(crate) use history::{Passed, Recorded, continue_from, for_successor, history};
pub(crate) use json::{Fields, Value};
pub(crate) use panics::install_hook;
pub(crate) use structured::about;
#[cfg(feature = "admin")]
pub(crate) use writer::lost;
pub(crate) use writer::{FLUSH_LIMIT, flush, flush_until};

use writer::Entry;

type Callback = Arc<dyn Fn(&str) + Send + Sync>;
type Slot = RwLock<Option<Callback>>;

static INFO: Slot = RwLock::new(None);
static NOTICE: Slot = RwLock::new(None);
static ERROR: Slot = RwLock::new(None);

/// Sets the callback for messages of level info. From now on it receives them instead of `tracing`.
///
/// It is called on a separate thread. While it runs, further messages wait.
///
/// ```
/// gracehttp::log::set_info(|message| println!("info: {message}"));
/// ```
pub fn set_info(callback: impl Fn(&str) + Send + Sync + 'static) {
    set(&INFO, callback);
}

/// Sets the callback for messages of level notice (`WARN` in `tracing`); see [`set_info`].
pub fn set_notice(callback: impl Fn(&str) + Send + Sync + 'static) {
    set(&NOTICE, callback);
}

/// Sets the callback for messages of level error; see [`set_info`].
pub fn set_error(callback: impl Fn(&str) + Send + Sync + 'static) {
    set(&ERROR, callback);
}

fn set(slot: &Slot, callback: impl Fn(&str) + Send + Sync + 'static) {
    *slot.write() = Some(Arc::new(callback));
}

/// Logs a step of normal operation.
pub(crate) fn info(message: fmt::Arguments<'_>) {
    emit(Level::Info, None, message);
}

/// Logs a fact that the operator should know. Repetitions are limited.
#[track_caller]
pub(crate) fn notice(message: fmt::Arguments<'_>) {
    emit(Level::Notice, Some(Location::caller()), message);
}

/// Logs a failure. Repetitions are limited.
#[track_caller]
pub(crate) fn error(message: fmt::Arguments<'_>) {
    emit(Level::Error, Some(Location::caller()), message);
}

/// Gives a line of the access log to the subscriber of the process. Only a thread of its own may wait for that.
pub(crate) fn access(line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let _ = catch_unwind(AssertUnwindSafe(|| tracing::info!(target: "gracehttp::access", "{line}")));
}

/// Logs several faults, one a line, each after `prefix`. None counts as a repetition.
pub(crate) fn errors(prefix: &str, faults: &dyn fmt::Display) {
    for fault in faults.to_string().lines() {
        emit(Level::Error, None, format_args!("{prefix}{fault}"));
    }
}

/// Logs a notice that is said once. It does not count as a repetition.
pub(crate) fn notice_once(message: fmt::Arguments<'_>) {
    emit(Level::Notice, None, message);
}

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Notes the generation of this process, for lines that show it.
pub(crate) fn note_generation(generation: u64) {
    GENERATION.store(generation, Ordering::Relaxed);
}

/// The generation of this process, once it is known.
fn generation() -> Option<u64> {
    Some(GENERATION.load(Ordering::Relaxed)).filter(|generation| *generation > 0)
}

/// A line at level error, as the log would write it, for a process that has none of its own.
pub(crate) fn error_line(message: fmt::Arguments<'_>, fields: &Fields) -> Vec<u8> {
    let now = SystemTime::now();
    if is_json() {
        return structured::line(now, "ERROR", &message.to_string(), fields);
    }
    format!("{} ERROR gracehttp: {message}\n", humantime::format_rfc3339_seconds(now)).into_bytes()
}

/// Notes which crate is the application's, by the name of one of its types.
pub(crate) fn set_own_crate(type_name: &'static str) {
    plain::set_own_crate(type_name);
}

/// Installs the plain subscriber for the whole process, unless the application has one.
///
/// Call it after the start-up code: an application installs its own subscriber there, and a process can have only one.
/// Until then the framework gives its messages to the plain subscriber directly.
pub(crate) fn init() {
    if subscriber_of_application().is_none() {
        // Fails only if the application has installed its own subscriber in the meantime, which is fine.
        let _ = plain::subscriber().clone().try_init();
    }
}

/// The importance of a message.
#[derive(Clone, Copy, Debug)]
enum Level {
    Info,
    Notice,
    Error,
}

impl Level {
    fn slot(self) -> &'static Slot {
        match self {
            Self::Info => &INFO,
            Self::Notice => &NOTICE,
            Self::Error => &ERROR,
        }
    }

    /// The level of this number. One that a later release has counts as an error.
    #[cfg(any(feature = "admin", feature = "cli"))]
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Info,
            1 => Self::Notice,
            _ => Self::Error,
        }
    }

    #[cfg(any(feature = "admin", feature = "cli"))]
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Error => "error",
        }
    }

    /// The callback that replaces `tracing` for this level.
    fn callback(self) -> Option<Callback> {
        self.slot().read().clone()
    }

    fn of_tracing(self) -> tracing::Level {
        match self {
            Self::Info => tracing::Level::INFO,
            Self::Notice => tracing::Level::WARN,
            Self::Error => tracing::Level::ERROR,
        }
    }

    fn event(self, text: &str, span: &Span) {
        match self {
            Self::Info => tracing::info!(target: "gracehttp", parent: span, "{text}"),
            Self::Notice => tracing::warn!(target: "gracehttp", parent: span, "{text}"),
            Self::Error => tracing::error!(target: "gracehttp", parent: span, "{text}"),
        }
    }
}

/// A message, and its receivers at the time when it was logged.
struct Message {
    level: Level,
    text: String,
    /// What it says, in fields.
    fields: Fields,
    written_at: SystemTime,
    callback: Option<Callback>,
    /// The application's own subscriber.
    subscriber: Option<Dispatch>,
    /// The span in which it was logged.
    span: Span,
}

impl Message {
    fn new(level: Level, text: String) -> Self {
        Self {
            level,
            text,
            fields: structured::current_fields(),
            written_at: SystemTime::now(),
            callback: level.callback(),
            subscriber: subscriber_of_application(),
            span: Span::current(),
        }
    }

    /// Gives the message to its receiver. It holds no lock, so a callback may replace itself.
    fn deliver(self) {
        if let Some(callback) = &self.callback
            && catch_unwind(AssertUnwindSafe(|| callback(&self.text))).is_ok()
        {
            return;
        }
        // There is no callback, or it panicked.
        let event = || self.level.event(&self.text, &self.span);
        let _ = catch_unwind(AssertUnwindSafe(|| match &self.subscriber {
            Some(subscriber) => dispatcher::with_default(subscriber, event),
            None if is_json() => self.write_line(),
            None => plain::at(self.written_at, || dispatcher::with_default(plain::subscriber(), event)),
        }));
    }
}

impl Message {
    /// As a line of JSON, if its level is logged.
    fn write_line(&self) {
        let level = self.level.of_tracing();
        if plain::takes(level) {
            let mut fields = self.fields.clone();
            fields.extend(structured::named_server(&self.text).map(|server| ("server", server.into())));
            writer::push(Entry::Line(structured::line(self.written_at, level.as_str(), &self.text, &fields)));
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("level", &self.level)
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// Puts a message in the queue. A message with a place is subject to the limit on repetitions.
fn emit(level: Level, place: Option<&'static Location<'static>>, message: fmt::Arguments<'_>) {
    // The message may contain a value of the application, whose `Display` may panic.
    let Ok(text) = catch_unwind(AssertUnwindSafe(|| message.to_string())) else { return };
    let entry = Entry::Message(Message::new(level, text));
    match place {
        Some(place) => writer::push_limited((place.file().to_owned(), place.line()), entry),
        None => writer::push(entry),
    }
}

/// Delivers a message at once. Only the writer thread may block on that.
fn deliver_now(level: Level, text: String) {
    Message::new(level, text).deliver();
}

/// The subscriber of this thread, or of the process, unless it is the plain one.
///
/// Not `dispatcher::has_been_set`, which stays true after any scoped subscriber, our own included.
fn subscriber_of_application() -> Option<Dispatch> {
    dispatcher::get_default(|current| {
        let is_own = !current.is::<NoSubscriber>() && !plain::is_plain(current);
        is_own.then(|| current.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn message(text: &str, callback: Option<Callback>, subscriber: Option<Dispatch>) -> Message {
        let mut message = Message::new(Level::Info, text.to_owned());
        (message.callback, message.subscriber) = (callback, subscriber);
        message
    }

    /// A subscriber that counts its events, and panics at the second.
    struct Counting(Arc<Mutex<u32>>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Counting {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let count = {
                let mut count = self.0.lock().unwrap();
                *count += 1;
                *count
            };
            assert!(count < 2, "a subscriber's own fault");
        }
    }

    #[test]
    fn a_callback_takes_over_its_level_and_may_be_replaced_at_any_time() {
        static SLOT: Slot = RwLock::new(None);
        static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        set(&SLOT, |message| {
            SEEN.lock().unwrap().push(message.to_owned());
            set(&SLOT, |message| SEEN.lock().unwrap().push(format!("second: {message}")));
        });
        for text in ["one", "two"] {
            let callback = SLOT.read().clone();
            message(text, callback, None).deliver();
        }
        assert_eq!(*SEEN.lock().unwrap(), ["one", "second: two"]);
    }

    #[test]
    fn a_panicking_callback_costs_nothing_and_the_message_reaches_tracing() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let reached = Arc::new(Mutex::new(0));
        let subscriber = Dispatch::new(tracing_subscriber::registry().with(Counting(reached.clone())));
        for text in ["still said", "even if tracing panics"] {
            let callback: Callback = Arc::new(|_| panic!("a callback's own fault"));
            message(text, Some(callback), Some(subscriber.clone())).deliver();
        }
        assert_eq!(*reached.lock().unwrap(), 2);
    }

    #[test]
    fn an_application_can_still_install_its_subscriber_after_our_first_messages() {
        info(format_args!("before the start-up code"));
        assert!(subscriber_of_application().is_none());
        let own = Dispatch::new(tracing_subscriber::registry());
        dispatcher::with_default(&own, || assert!(subscriber_of_application().is_some()));
        dispatcher::with_default(plain::subscriber(), || assert!(subscriber_of_application().is_none()));
    }
}
