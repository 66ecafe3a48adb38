//! A connection's socket: a bare descriptor while it rests, a stream of the runtime while it is awake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The family of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

/// The predecessor's number of a connection that came from it, counted from 1.
pub(crate) type Origin = NonZeroU32;

/// The number of a listener in its process, counted from 1 over all servers.
pub(crate) type ListenerNumber = NonZeroU16;

/// How far a resting connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Accepted; it has not sent a byte yet.
    Fresh,
    /// Between two requests.
    Idle,
}

/// A connected, non-blocking socket that is not registered with a runtime: it can be parked and handed over.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    pub(crate) family: Family,
    pub(crate) origin: Option<Origin>,
    /// The listener that accepted it; none if only an earlier generation had that listener.
    pub(crate) listener: Option<ListenerNumber>,
}

impl Socket {
    /// Registers the socket with the runtime of the calling task.
    pub(crate) fn wake(self) -> io::Result<Stream> {
        let inner = match self.family {
            Family::Tcp => Inner::Tcp(TcpStream::from_std(self.fd.into())?),
            Family::Unix => Inner::Unix(UnixStream::from_std(self.fd.into())?),
        };
        Ok(Stream { inner, origin: self.origin, listener: self.listener })
    }
}

/// The unread bytes of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    Nothing,
    Bytes,
    /// None, and no more will come: the client has closed its side, or is gone.
    End,
}

impl Unread {
    /// Looks without reading.
    pub(crate) fn of(socket: BorrowedFd<'_>) -> Self {
        match recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(1..) | Err(Errno::EINTR) => Self::Bytes,
            Err(Errno::EAGAIN) => Self::Nothing,
            Ok(0) | Err(_) => Self::End,
        }
    }
}

/// A connected socket that is registered with the runtime.
#[derive(Debug)]
pub(crate) struct Stream {
    inner: Inner,
    origin: Option<Origin>,
    listener: Option<ListenerNumber>,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Takes the socket out of the runtime. Epoll registrations follow the open file description: this has to happen
    /// before the descriptor is duplicated or sent to another process.
    pub(crate) fn rest(self) -> io::Result<Socket> {
        let (fd, family) = match self.inner {
            Inner::Tcp(stream) => (stream.into_std()?.into(), Family::Tcp),
            Inner::Unix(stream) => (stream.into_std()?.into(), Family::Unix),
        };
        Ok(Socket { fd, family, origin: self.origin, listener: self.listener })
    }

    /// The address of the client; none on a Unix socket, whose clients have no name. On a dual-stack socket the
    /// kernel shows an IPv4 client with an IPv6 address, which would surprise code that compares or logs addresses.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match &self.inner {
            Inner::Tcp(stream) => stream.peer_addr().ok().map(canonical),
            Inner::Unix(_) => None,
        }
    }

    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin
    }
}

/// An IPv4-mapped address as IPv4; any other unchanged, with its zone.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.inner {
            Inner::Tcp(stream) => stream.as_fd(),
            Inner::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Calls a method of the stream within.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().inner {
            Inner::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Inner::Unix(stream) => {
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
