//! A socket without a session, registered with the runtime.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::socket::{Family, ListenerNumber, Origin, Socket};

/// A connected socket that is registered with the runtime.
#[derive(Debug)]
pub(crate) struct BareStream {
    inner: Inner,
    origin: Option<Origin>,
    listener: Option<ListenerNumber>,
    /// The address of the client, if `accept` has told it.
    peer: Option<SocketAddr>,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl BareStream {
    pub(super) fn new(
        fd: OwnedFd,
        family: Family,
        origin: Option<Origin>,
        listener: Option<ListenerNumber>,
    ) -> io::Result<Self> {
        let inner = match family {
            Family::Tcp => Inner::Tcp(TcpStream::from_std(fd.into())?),
            Family::Unix => Inner::Unix(UnixStream::from_std(fd.into())?),
        };
        Ok(Self { inner, origin, listener, peer: None })
    }

    /// The same, with the address of its client.
    pub(super) fn with_peer(self, peer: Option<SocketAddr>) -> Self {
        Self { peer, ..self }
    }

    /// Takes the socket out of the runtime. Epoll registrations follow the open file description: this has to happen
    /// before the descriptor is duplicated or sent to another process.
    pub(crate) fn rest(self) -> io::Result<Socket> {
        let (fd, family) = match self.inner {
            Inner::Tcp(stream) => (stream.into_std()?.into(), Family::Tcp),
            Inner::Unix(stream) => (stream.into_std()?.into(), Family::Unix),
        };
        Ok(Socket { fd, family, origin: self.origin, listener: self.listener, session: None })
    }

    /// The address of the client; none on a Unix socket, whose clients have no name. On a dual-stack socket the
    /// kernel shows an IPv4 client with an IPv6 address, which would surprise code that compares or logs addresses.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        let peer = match &self.inner {
            Inner::Tcp(stream) => self.peer.or_else(|| stream.peer_addr().ok()),
            Inner::Unix(_) => None,
        };
        peer.map(canonical)
    }

    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Ready if there is something to read, as far as the runtime knows.
    #[cfg(feature = "tls")]
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.inner {
            Inner::Tcp(stream) => stream.poll_read_ready(cx),
            Inner::Unix(stream) => stream.poll_read_ready(cx),
        }
    }
}

/// An IPv4-mapped address as IPv4; any other unchanged, with its zone.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

impl AsFd for BareStream {
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

impl AsyncRead for BareStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for BareStream {
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
