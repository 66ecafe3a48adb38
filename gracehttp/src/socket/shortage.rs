//! What the kernel refuses for a moment, because it is short of something.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::{Sleep, sleep};

/// How long the kernel gets before a call is repeated. It does not tell when the shortage is over.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the same call may succeed soon: it has done nothing, and the connection is unharmed. The limits of the
/// connection bound how often it is repeated.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    // ENOSPC: the kernel watches no more descriptors for us (`fs.epoll.max_user_watches`).
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOBUFS | Errno::ENOMEM | Errno::ENOSPC | Errno::EINTR))
}

/// The pause after a call that the kernel has refused.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Pin<Box<Sleep>>>);

impl Pause {
    pub(super) fn begin(&mut self) {
        self.0 = Some(Box::pin(sleep(PAUSE)));
    }

    /// Ready if there is none, or when it is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.0 {
            ready!(pause.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}
