//! Work that may block, on a thread of its own, so that the event loop can abandon it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::oneshot;

use crate::error::{Error, panic_message};

/// Runs `work` on a thread of its own. It can wait for a disk, a name server or the writer of a pipe, and holds up
/// neither the signals nor the worker threads. Dropping the returned future abandons it.
///
/// Not `spawn_blocking`: the runtime would wait for it at its end.
pub(crate) async fn aside<T: Send + 'static>(
    thread: &str,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (done, outcome) = oneshot::channel();
    let named = what.to_owned();
    let body = move || {
        // Fails if the process was stopped meanwhile.
        let _ = done.send(guarded(&named, work));
    };
    thread::Builder::new()
        .name(thread.to_owned())
        .spawn(body)
        .map_err(|error| Error::caused_by(format!("no thread for {what}: {error}"), error))?;
    outcome.await.unwrap_or_else(|_| Err(Error::new(format!("{what} ended its thread"))))
}

/// Runs `work` on this thread. A panic is an error, as in work that runs [`aside`].
pub(crate) fn guarded<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| Error::new(format!("{what} panicked: {}", panic_message(&*panic))))
}
