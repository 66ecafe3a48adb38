//! How a handler or a task learns that it should end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::lifecycle::Drain;

/// Extractor: resolves when the drain begins, be it a restart or a stop.
///
/// For responses without an end (server-sent events, WebSockets, long polls): end them politely when it
/// resolves, or they are cut when `drain_timeout` has passed.
///
/// ```
/// use gracehttp::Shutdown;
/// # async fn next_news() -> String { String::new() }
///
/// async fn long_poll(shutdown: Shutdown) -> String {
///     tokio::select! {
///         news = next_news() => news,
///         () = shutdown => "no news; ask again".to_owned(),
///     }
/// }
/// ```
#[must_use = "it does nothing unless awaited"]
pub struct Shutdown {
    begun: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Shutdown {
    pub(crate) fn of(drain: Drain) -> Self {
        Self { begun: Box::pin(async move { drain.begun().await }) }
    }

    /// For code that is never drained.
    pub(crate) fn never() -> Self {
        Self { begun: Box::pin(std::future::pending()) }
    }
}

impl Future for Shutdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.begun.as_mut().poll(cx)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shutdown")
    }
}
