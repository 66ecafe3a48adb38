//! A connection's socket with its TLS session, if it has one: a [`Socket`] while it rests, a [`Stream`] of the runtime
//! while it is awake.

mod bare;
mod proxy_header;
#[cfg(feature = "tls")]
mod secure;
mod shortage;
mod stream;
mod untaken;
mod unwatched;

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
#[cfg(feature = "tls")]
use nix::sys::socket::send;
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};

pub(crate) use bare::BareStream;
pub(crate) use proxy_header::ProxyHeader;
#[cfg(feature = "tls")]
pub(crate) use secure::SecureStream;
pub(crate) use stream::Stream;
pub(crate) use untaken::Untaken;
pub(crate) use unwatched::Unwatched;

use crate::proxy::Peer;
use crate::record::SessionAtRest;
use crate::socket::shortage::is_shortage;
use crate::sys::Descriptor;

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

/// A connected, non-blocking socket. As a plain descriptor no epoll instance knows it: it can be parked and handed over.
/// As a [`Descriptor`] it may have the registration of its parking lot: it can be woken, and parked there again.
#[derive(Debug)]
pub(crate) struct Socket<D = OwnedFd> {
    pub(crate) fd: D,
    pub(crate) family: Family,
    pub(crate) origin: Option<Origin>,
    /// The listener that accepted it; none if only an earlier generation had that listener.
    pub(crate) listener: Option<ListenerNumber>,
    /// Its TLS session, once the handshake is done.
    pub(crate) session: Option<SessionAtRest>,
    pub(crate) proxy_header: ProxyHeader,
    pub(crate) untaken: Untaken,
}

impl<D> Socket<D> {
    /// This socket, with its descriptor in another form.
    pub(crate) fn map_fd<E>(self, change: impl FnOnce(D) -> E) -> Socket<E> {
        let Self { fd, family, origin, listener, session, proxy_header, untaken } = self;
        Socket { fd: change(fd), family, origin, listener, session, proxy_header, untaken }
    }
}

impl Socket<Descriptor> {
    /// A stream on it. The runtime watches it as soon as something waits for it.
    pub(crate) fn wake(self) -> Stream {
        let Self { fd, family, origin, listener, session, proxy_header, untaken } = self;
        Stream::new(BareStream::new(fd, family, origin, listener, proxy_header, untaken), session)
    }
}

impl Socket {
    /// A stream on a socket that was just accepted.
    pub(crate) fn accepted(
        fd: OwnedFd,
        peer: Option<SocketAddr>,
        family: Family,
        listener: Option<ListenerNumber>,
    ) -> Stream {
        let (fd, proxy_header, untaken) = (Descriptor::new(fd), ProxyHeader::AsListed, Untaken::NOTHING);
        let bare = BareStream::new(fd, family, None, listener, proxy_header, untaken);
        Stream::new(bare.with_peer(peer), None)
    }

    /// Closes the connection of a client that waits for nothing, and does not wait for the client. Over TLS, our
    /// close_notify is sent first if the socket has room for it (RFC 8446 section 6.1).
    pub(crate) fn close(self) {
        #[cfg(feature = "tls")]
        if let Some(session) = self.session {
            let (mut session, _cut) = session.wake();
            let mut last = Vec::new();
            session.seal_close_notify(&mut last);
            let _ = send(self.fd.as_raw_fd(), &last, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
        // Explicitly: another process may hold a duplicate, which would keep the connection open.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }

    /// The other end of the connection.
    pub(crate) fn peer(&self) -> Peer {
        bare::peer(self.family, || bare::peer_of(self.fd.as_fd()))
    }

    /// The client, as a PROXY header names it, or the other end.
    #[cfg(feature = "tls")]
    pub(crate) fn client(&self) -> Peer {
        self.proxy_header.client(self.peer())
    }

    /// Whether its client has shown a certificate.
    #[cfg(feature = "tls")]
    pub(crate) fn has_client_cert(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.facts().client.is_some())
    }

    /// Without TLS there are none.
    #[cfg(not(feature = "tls"))]
    pub(crate) fn has_client_cert(&self) -> bool {
        false
    }

    /// Whether a record of the client has begun to come and is not whole.
    #[cfg(feature = "tls")]
    pub(crate) fn is_in_record(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.cut().is_empty())
    }

    /// Without TLS there are no records.
    #[cfg(not(feature = "tls"))]
    pub(crate) fn is_in_record(&self) -> bool {
        false
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
            Ok(1..) => Self::Bytes,
            Err(Errno::EAGAIN) => Self::Nothing,
            // Not known: a reader tries again until the shortage is over.
            Err(error) if is_shortage(&error.into()) => Self::Bytes,
            Ok(0) | Err(_) => Self::End,
        }
    }
}
