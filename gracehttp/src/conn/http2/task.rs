//! The tasks of HTTP/2 streams. hyper lets us start them, and ending its task is the only way to end a stream whose
//! client stands still.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::conn::http2::progress::Progress;
use crate::conn::http2::streams::Streams;

/// Starts the tasks of one connection's streams.
#[derive(Clone, Debug)]
pub(crate) struct StreamTasks {
    streams: Arc<Streams>,
}

impl StreamTasks {
    pub(super) fn new(streams: Arc<Streams>) -> Self {
        Self { streams }
    }
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    /// hyper calls the service, and right after it starts the task of the stream.
    fn execute(&self, future: F) {
        match self.streams.take_begun() {
            Some(progress) => {
                let running = Running::new(progress);
                tokio::spawn(StreamTask { future, running });
            }
            // The task of a stream that has become a tunnel.
            None => {
                tokio::spawn(future);
            }
        }
    }
}

pin_project! {
    /// A stream's task. If it ends early, it drops the stream, and h2 resets it.
    struct StreamTask<F> {
        #[pin]
        future: F,
        running: Running,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.running.begin();
        if this.running.progress.poll_task_reset(cx) {
            return Poll::Ready(());
        }
        this.future.poll(cx)
    }
}

struct Running {
    progress: Arc<Progress>,
    /// The task has not had a turn yet.
    is_starting: bool,
}

impl Running {
    fn new(progress: Arc<Progress>) -> Self {
        progress.task_begins();
        progress.streams().note_start();
        Self { progress, is_starting: true }
    }

    fn begin(&mut self) {
        if std::mem::replace(&mut self.is_starting, false) {
            self.progress.streams().note_first_turn();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin();
        self.progress.task_ends();
    }
}
