//! A connection's socket: at rest as a descriptor, awake as a stream of the runtime.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The family of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

/// A connected, non-blocking socket that no runtime knows: it can be parked and can travel.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    pub(crate) family: Family,
}

impl Socket {
    /// Registers the socket with the runtime of the calling task.
    pub(crate) fn wake(self) -> io::Result<Stream> {
        match self.family {
            Family::Tcp => TcpStream::from_std(self.fd.into()).map(Stream::Tcp),
            Family::Unix => UnixStream::from_std(self.fd.into()).map(Stream::Unix),
        }
    }
}

/// A connected socket in the hands of the runtime.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Takes the socket out of the runtime. Epoll registrations follow the open file description: this has
    /// to happen before the descriptor is duplicated or travels.
    pub(crate) fn rest(self) -> io::Result<Socket> {
        Ok(match self {
            Stream::Tcp(stream) => Socket { fd: stream.into_std()?.into(), family: Family::Tcp },
            Stream::Unix(stream) => Socket { fd: stream.into_std()?.into(), family: Family::Unix },
        })
    }

    /// The address of the client; none on a Unix socket, whose clients have no name.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Unix(_) => None,
        }
    }
}

/// Calls a method of the stream within.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(cx))
    }
}
