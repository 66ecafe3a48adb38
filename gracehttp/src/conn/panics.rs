//! A panic in the task of a connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use crate::conn::context::Context;
use crate::error::panic_message;
use crate::log;

/// Polls hyper's connection. A panic in it ends this connection alone. It must not unwind: that would only drop the
/// socket, and with a duplicate in another process the client would wait without end.
pub(super) fn poll_contained<T>(context: &Context, poll: impl FnOnce() -> Poll<T>) -> Poll<()> {
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(polled) => polled.map(|_| ()),
        Err(panic) => {
            let (server, panic) = (&context.options.name, panic_message(&*panic));
            log::error(format_args!(
                "server `{server}`: a connection was closed because its task panicked: {panic}"
            ));
            Poll::Ready(())
        }
    }
}
