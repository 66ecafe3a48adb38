//! Logs panics through the queue: a panicking handler must not wait until standard error is read.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::gettid;

use super::json::Fields;
use super::writer::{self, Entry, Panic};
use crate::error::panic_message;

/// How long a panicking thread waits until its panic is logged, since the process may end with it. If standard error
/// is stuck, only the first panic waits.
const LOG_LIMIT: Duration =
    if cfg!(panic = "abort") { Duration::from_millis(500) } else { Duration::from_millis(10) };

/// Installs the panic hook, unless the application has its own.
pub(crate) fn install_hook() {
    let installed = panic::take_hook();
    // The second call returns the standard library's hook, which has no public name.
    let default = panic::take_hook();
    // The address of a zero-sized hook means nothing. The comparison includes the vtable, which differs.
    let is_default = std::ptr::eq(&raw const *installed, &raw const *default);
    panic::set_hook(if is_default { Box::new(log_panic) } else { installed });
}

/// Logs a panic with the text of the standard library's hook.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let mut text = format!("\nthread '{name}' ({}) panicked", gettid());
    let mut place = (String::new(), 0);
    let mut fields: Fields = vec![("event", "panic".into()), ("thread", name.into())];
    if let Some(location) = panic.location() {
        fields.push(("location", location.to_string().into()));
        place = (location.file().to_owned(), location.line());
        // Writing to a `String` does not fail.
        let _ = write!(text, " at {location}");
    }
    let _ = writeln!(text, ":\n{}", panic_message(panic.payload()));
    let backtrace = Backtrace::capture();
    static HINT_SHOWN: AtomicBool = AtomicBool::new(false);
    if backtrace.status() == BacktraceStatus::Disabled && !HINT_SHOWN.swap(true, Ordering::Relaxed) {
        text.push_str("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n");
    }
    writer::push_limited(place, Entry::Panic(Panic { text, fields, backtrace }));
    writer::settle(LOG_LIMIT);
}
