//! The subscriber for applications that install none: plain lines on standard error.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::time::SystemTime;

use tracing::Subscriber;
use tracing::dispatcher::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;

use super::format;
use super::structured::Structured;
use super::writer::{self, Entry};

/// Marks the plain subscriber, so that it can be recognised.
struct Plain;

impl<S: Subscriber> Layer<S> for Plain {
    /// The marker takes no events. Without this hint every `trace!` and `debug!` of every crate would ask the subscriber,
    /// several times a request.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::OFF)
    }
}

/// Whether a subscriber is the plain one.
pub(super) fn is_plain(dispatch: &Dispatch) -> bool {
    dispatch.downcast_ref::<Plain>().is_some()
}

pub(super) fn subscriber() -> &'static Dispatch {
    static PLAIN: OnceLock<Dispatch> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let registry = tracing_subscriber::registry().with(Plain);
        if format::is_json() {
            return Dispatch::new(registry.with(Structured.with_filter(targets().clone())));
        }
        let colours =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(|| Line)
            .with_timer(Seconds)
            .with_ansi(colours)
            // A failed write would be reported with `eprintln!`, which panics if standard error has failed.
            .log_internal_errors(false)
            .with_filter(targets().clone());
        Dispatch::new(registry.with(lines))
    })
}

/// Which messages are logged.
fn targets() -> &'static Targets {
    static TARGETS: OnceLock<Targets> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let rust_log = std::env::var("RUST_LOG").ok();
        let levels = format::chosen().levels;
        format::targets(rust_log.as_deref(), levels.as_deref(), OWN_CRATE.get().copied())
    })
}

/// Whether a message of the framework at this level is logged.
pub(super) fn takes(level: tracing::Level) -> bool {
    targets().would_enable("gracehttp", &level)
}

static OWN_CRATE: OnceLock<&str> = OnceLock::new();

/// Notes which crate is the application's, by the name of one of its types.
pub(super) fn set_own_crate(type_name: &'static str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some((name, _)) = type_name.split_once("::").filter(|(name, _)| name.chars().all(is_part)) {
        // Fails only for a second application in the process, which belongs to the same crate.
        let _ = OWN_CRATE.set(name);
    }
}

/// Receives each event in one piece.
struct Line;

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        writer::push(Entry::Line(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    static WRITTEN_AT: Cell<Option<SystemTime>> = const { Cell::new(None) };
}

/// Runs `log`, whose events show `time` instead of the current time: they may have waited in the queue.
pub(super) fn at(time: SystemTime, log: impl FnOnce()) {
    WRITTEN_AT.set(Some(time));
    log();
    WRITTEN_AT.set(None);
}

/// When the event was logged.
pub(super) fn now() -> SystemTime {
    WRITTEN_AT.get().unwrap_or_else(SystemTime::now)
}

/// Formats the time as UTC to the second, which is easy to compare with a clock.
struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_seconds(now()))
    }
}
