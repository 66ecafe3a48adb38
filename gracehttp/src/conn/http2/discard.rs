//! The rest of a request body that no handler reads.
//!
//! If it were dropped, h2 would send RST_STREAM with NO_ERROR right after the response. No client may discard the
//! response for that (RFC 9113 section 8.1), but curl 7 and Python's h2 do. So the rest is read and thrown away, as over
//! HTTP/1.
//!
//! But curl 7 reads nothing more once it has the whole response: if it then needed a larger window to send the rest, it
//! would hang. So it gets the window for all of the rest now, before the response. A rest for which there is no such
//! window is given up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::conn::close::Linger;
use crate::conn::http2::progress::Progress;
use crate::lifecycle::start_on;

/// Reads and throws away what still comes, on a task of its own: the handler and the response go on meanwhile.
pub(crate) fn discard(body: Incoming, bounds: Linger, progress: &Arc<Progress>) {
    if !body.size_hint().exact().is_some_and(|rest| progress.allow_rest(rest)) {
        return;
    }
    // A handler may drop the body on a thread outside the runtime.
    let Ok(runtime) = Handle::try_current() else { return };
    // Not an owner: with the last of them the stream ends.
    let progress = Arc::downgrade(progress);
    start_on(&runtime, read_out(body, bounds, progress));
}

async fn read_out(mut body: Incoming, bounds: Linger, progress: Weak<Progress>) {
    let end = Instant::now() + bounds.in_all;
    while let Ok(Some(frame)) =
        timeout_at(end.min(Instant::now() + bounds.silent), next(&mut body, &progress)).await
    {
        if let Some(progress) = progress.upgrade() {
            progress.skip_upload(frame.data_ref().map_or(0, Bytes::len));
        }
    }
}

/// None at the end, after an error, or if the stream has to be reset: h2 does that once its last part is dropped.
async fn next(body: &mut Incoming, progress: &Weak<Progress>) -> Option<Frame<Bytes>> {
    poll_fn(|cx| {
        if progress.upgrade().is_some_and(|progress| progress.poll_reset(cx)) {
            return Poll::Ready(None);
        }
        Pin::new(&mut *body).poll_frame(cx)
    })
    .await?
    .ok()
}
