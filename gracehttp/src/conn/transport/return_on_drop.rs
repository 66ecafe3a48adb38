//! Gets a stream back from hyper, which would drop it.
//!
//! hyper does not return the stream of an HTTP/2 connection, nor that of an HTTP/1 connection that could have been
//! upgraded: it drops them, which closes a connection without its last steps.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot::{self, Receiver, Sender};

/// Lends a stream; it comes back when the loan is dropped.
///
/// Boxed, since hyper moves it many times before the first read and at the end.
pub(in crate::conn) fn return_on_drop<T>(stream: T) -> (ReturnOnDrop<T>, Receiver<Box<T>>) {
    let (back, receiver) = oneshot::channel();
    (ReturnOnDrop { loan: Some((Box::new(stream), back)) }, receiver)
}

/// A stream that is lent to hyper. When hyper drops it, it returns to its owner.
#[derive(Debug)]
pub(in crate::conn) struct ReturnOnDrop<T> {
    /// None only while it is dropped.
    loan: Option<(Box<T>, Sender<Box<T>>)>,
}

impl<T: Unpin> ReturnOnDrop<T> {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut T> {
        let (stream, _) = self.get_mut().loan.as_mut().expect("a loan that was not dropped");
        Pin::new(&mut **stream)
    }
}

impl<T> Drop for ReturnOnDrop<T> {
    fn drop(&mut self) {
        if let Some((stream, back)) = self.loan.take() {
            // When the process ends, no task waits for it.
            let _ = back.send(stream);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReturnOnDrop<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReturnOnDrop<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.loan.as_ref().is_some_and(|(stream, _)| stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
