//! What the framework tells its operator: three levels, each of which an application may take over.
//!
//! Messages are `tracing` events of the target `gracehttp`, notice being `WARN`. A callback that is set for a
//! level receives that level's messages instead. An application that installs no subscriber gets a plain one
//! that writes to standard error and honours `RUST_LOG` (`info` unless set; targets and levels, such as
//! `gracehttp=warn,my_app=debug`).
//!
//! Logging never takes the process down: a callback or a subscriber that panics, and a standard error that is
//! closed or full, cost the message at most.

use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use tracing::dispatcher::{self, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

type Callback = Arc<dyn Fn(&str) + Send + Sync>;
type Slot = RwLock<Option<Callback>>;

static INFO: Slot = RwLock::new(None);
static NOTICE: Slot = RwLock::new(None);
static ERROR: Slot = RwLock::new(None);

/// Gives the messages of level info to `callback`, from now on, in place of `tracing`.
///
/// ```
/// gracehttp::log::set_info(|message| println!("info: {message}"));
/// ```
pub fn set_info(callback: impl Fn(&str) + Send + Sync + 'static) {
    set(&INFO, callback);
}

/// Gives the messages of level notice to `callback`, from now on, in place of `tracing` (where they are
/// `WARN`).
pub fn set_notice(callback: impl Fn(&str) + Send + Sync + 'static) {
    set(&NOTICE, callback);
}

/// Gives the messages of level error to `callback`, from now on, in place of `tracing`.
pub fn set_error(callback: impl Fn(&str) + Send + Sync + 'static) {
    set(&ERROR, callback);
}

fn set(slot: &Slot, callback: impl Fn(&str) + Send + Sync + 'static) {
    *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(callback));
}

pub(crate) fn info(message: fmt::Arguments<'_>) {
    emit(&INFO, message, || tracing::info!(target: "gracehttp", "{message}"));
}

pub(crate) fn notice(message: fmt::Arguments<'_>) {
    emit(&NOTICE, message, || tracing::warn!(target: "gracehttp", "{message}"));
}

pub(crate) fn error(message: fmt::Arguments<'_>) {
    emit(&ERROR, message, || tracing::error!(target: "gracehttp", "{message}"));
}

/// Installs the plain subscriber for the whole process, unless the application has one.
///
/// To be called once the start-up code has run: that is where an application installs its own, and it would
/// find the place taken. Until then the framework's messages reach the plain subscriber without it being
/// installed.
pub(crate) fn init() {
    if application_has_no_subscriber() {
        // Fails only if another thread of the application was faster, which is as well.
        let _ = plain_subscriber().clone().try_init();
    }
}

fn emit(slot: &Slot, message: fmt::Arguments<'_>, event: impl Fn()) {
    // The callback is called without the lock, so that it may replace itself.
    let callback = slot.read().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(callback) = callback {
        let text = message.to_string();
        if catch_unwind(AssertUnwindSafe(|| callback(&text))).is_ok() {
            return;
        }
        // A callback that panicked may not have said it: let the message not be lost.
    }
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if application_has_no_subscriber() {
            dispatcher::with_default(plain_subscriber(), event);
        } else {
            event();
        }
    }));
}

/// Not `dispatcher::has_been_set`, which stays true after any scoped subscriber, our own included.
fn application_has_no_subscriber() -> bool {
    dispatcher::get_default(|current| current.is::<NoSubscriber>())
}

fn plain_subscriber() -> &'static Dispatch {
    static PLAIN: OnceLock<Dispatch> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let colours =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_timer(Seconds)
            .with_ansi(colours)
            // It would report a failed write by `eprintln!`, which panics when standard error is what failed.
            .log_internal_errors(false)
            .with_filter(targets(std::env::var("RUST_LOG").ok().as_deref()));
        Dispatch::new(tracing_subscriber::registry().with(lines))
    })
}

/// What `RUST_LOG` asks for; where it is not set, is empty or makes no sense, level info.
fn targets(rust_log: Option<&str>) -> Targets {
    rust_log
        .filter(|directives| !directives.trim().is_empty())
        .and_then(|directives| Targets::from_str(directives).ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

/// UTC to the second: what an operator compares with a clock.
struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_seconds(SystemTime::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tracing::Level;

    /// Slots of their own, so that tests do not disturb each other through the process-wide ones.
    #[test]
    fn a_callback_takes_over_its_level_and_may_be_replaced_at_any_time() {
        static SLOT: Slot = RwLock::new(None);
        static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        set(&SLOT, |message| {
            SEEN.lock().unwrap().push(message.to_owned());
            set(&SLOT, |message| SEEN.lock().unwrap().push(format!("second: {message}")));
        });
        emit(&SLOT, format_args!("one {}", 1), || panic!("must not reach tracing"));
        emit(&SLOT, format_args!("two"), || panic!("must not reach tracing"));
        assert_eq!(*SEEN.lock().unwrap(), ["one 1", "second: two"]);
    }

    #[test]
    fn a_panicking_callback_costs_nothing_and_the_message_reaches_tracing() {
        static SLOT: Slot = RwLock::new(None);
        set(&SLOT, |_| panic!("a callback's own fault"));
        let reached = Mutex::new(0);
        emit(&SLOT, format_args!("still said"), || *reached.lock().unwrap() += 1);
        emit(&SLOT, format_args!("even if tracing panics"), || panic!("a subscriber's own fault"));
        assert_eq!(*reached.lock().unwrap(), 1);
    }

    #[test]
    fn an_application_can_still_install_its_subscriber_after_our_first_messages() {
        info(format_args!("before the start-up code"));
        assert!(application_has_no_subscriber());
        let own = Dispatch::new(tracing_subscriber::registry());
        dispatcher::with_default(&own, || assert!(!application_has_no_subscriber()));
    }

    #[test]
    fn rust_log_is_honoured_and_nonsense_means_info() {
        assert!(!targets(Some("gracehttp=warn")).would_enable("gracehttp", &Level::INFO));
        for default in [None, Some(""), Some("a=b=c")] {
            assert!(targets(default).would_enable("anything", &Level::INFO));
            assert!(!targets(default).would_enable("anything", &Level::DEBUG));
        }
    }
}
