//! A socket without a session, awake.
//!
//! The runtime watches it only from the moment in which something has to wait for it. Most requests have come when their
//! connection wakes, and most responses fit into the socket: such a connection rests again without a registration.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::libc::MSG_NOSIGNAL;
use nix::sys::socket::{Shutdown, shutdown};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use crate::proxy::{Header, Networks, Peer};
use crate::socket::shortage::{Pause, is_shortage};
use crate::socket::unwatched::ReadUnwatched;
#[cfg(feature = "tls")]
use crate::socket::unwatched::Wait;
use crate::socket::{Family, ListenerNumber, Origin, ProxyHeader, Socket, Untaken};
use crate::sys::{self, Descriptor};

/// A connected socket.
#[derive(Debug)]
pub(crate) struct BareStream {
    descriptor: Descriptor,
    /// The last read has probably taken all that had come, so the next one would find nothing.
    is_drained: bool,
    /// Until the next read.
    read_pause: Pause,
    /// Until the next write.
    write_pause: Pause,
    family: Family,
    origin: Option<Origin>,
    listener: Option<ListenerNumber>,
    /// The address of the client, if `accept` has told it.
    peer: Option<SocketAddr>,
    proxy_header: ProxyHeader,
    untaken: Untaken,
}

impl BareStream {
    pub(super) fn new(
        descriptor: Descriptor,
        family: Family,
        origin: Option<Origin>,
        listener: Option<ListenerNumber>,
        proxy_header: ProxyHeader,
        untaken: Untaken,
    ) -> Self {
        Self {
            descriptor,
            is_drained: false,
            read_pause: Pause::default(),
            write_pause: Pause::default(),
            family,
            origin,
            listener,
            peer: None,
            proxy_header,
            untaken,
        }
    }

    /// This stream, with the address of its client.
    pub(super) fn with_peer(self, peer: Option<SocketAddr>) -> Self {
        Self { peer, ..self }
    }

    /// Takes the socket out of the runtime. Epoll registrations follow the open file description: this has to happen
    /// before the descriptor is duplicated or sent to another process.
    pub(crate) fn rest(self) -> Socket {
        self.standing().map_fd(Descriptor::into_fd)
    }

    /// The socket, with the registration of its parking lot if that [stands](Self::is_standing).
    pub(super) fn standing(self) -> Socket<Descriptor> {
        let Self { descriptor, family, origin, listener, proxy_header, untaken, .. } = self;
        Socket { fd: descriptor, family, origin, listener, session: None, proxy_header, untaken }
    }

    /// Whether its registration with the parking lot stands, and reports all that matters: what was left unread it has
    /// reported already, and only a new registration would report it again.
    pub(super) fn is_standing(&self) -> bool {
        self.is_drained && self.descriptor.key().is_some()
    }

    /// The other end of the connection. On a dual-stack socket the kernel shows an IPv4 client with an IPv6 address,
    /// which would surprise code that compares or logs addresses.
    pub(crate) fn peer(&self) -> Peer {
        peer(self.family, || self.peer.or_else(|| peer_of(self.as_fd())))
    }

    /// Its PROXY header, if that was read.
    pub(crate) fn introduced(&self) -> Option<&Arc<Header>> {
        self.proxy_header.read()
    }

    /// Whether it has to begin with a PROXY header that was not read yet.
    pub(crate) fn owes_header(&self, listed: &Networks) -> bool {
        self.proxy_header.is_owed(listed, || self.peer())
    }

    /// Its PROXY header was read. A predecessor in standby would wait for it again: the connection can't go back.
    pub(crate) fn introduce(&mut self, header: Arc<Header>) {
        self.proxy_header = ProxyHeader::Read(header);
        self.origin = None;
    }

    /// The client of a connection with this [`peer`](Self::peer): the one that the proxy names, or the peer.
    pub(crate) fn client(&self, peer: Peer) -> Peer {
        self.proxy_header.client(peer)
    }

    /// Has the runtime of the calling task watch it from now on.
    pub(super) fn watch(&mut self) -> io::Result<()> {
        self.descriptor.watch()
    }

    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    pub(super) fn untaken(&self) -> Untaken {
        self.untaken
    }

    pub(super) fn note_untaken(&mut self, untaken: Untaken) {
        self.untaken = untaken;
    }

    /// Ready if there may be something to read, as far as is known without a look.
    #[cfg(feature = "tls")]
    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>, wait: Wait) -> Poll<io::Result<()>> {
        if self.descriptor.runtime().is_none() {
            match wait {
                _ if !self.is_drained => return Poll::Ready(Ok(())),
                Wait::Unwatched => return Poll::Pending,
                Wait::Watched => self.descriptor.watch()?,
            }
        }
        match self.descriptor.runtime() {
            Some(runtime) => runtime.poll_read_ready(cx).map_ok(drop),
            None => Poll::Pending,
        }
    }

    /// Reads without the runtime; pending if nothing has come.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_drained {
            return Poll::Pending;
        }
        let turn = ready!(poll_proceed(cx));
        let (before, room) = (buf.filled().len(), buf.remaining());
        match sys::read(self.as_fd(), buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_drained = true;
                Poll::Pending
            }
            outcome => {
                turn.made_progress();
                self.is_drained = (1..room).contains(&(buf.filled().len() - before));
                Poll::Ready(outcome)
            }
        }
    }

    /// Reads; pending if nothing has come.
    fn poll_read_watched(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.descriptor.runtime().is_none() {
            if let Poll::Ready(outcome) = self.poll_receive(cx, buf) {
                return Poll::Ready(outcome);
            }
            self.descriptor.watch()?;
        }
        let Some(runtime) = self.descriptor.runtime() else { return Poll::Pending };
        let (before, room) = (buf.filled().len(), buf.remaining());
        loop {
            let mut bytes = ready!(runtime.poll_read_ready(cx))?;
            if let Ok(outcome) = bytes.try_io(|_| sys::read(self.descriptor.as_fd(), buf)) {
                // The kernel reports again what comes after a read that did not fill its room.
                if (1..room).contains(&(buf.filled().len() - before)) {
                    bytes.clear_ready();
                }
                return Poll::Ready(outcome);
            }
        }
    }

    /// Writes; pending if the socket or the kernel has no room.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.write_pause.poll_over(cx));
            match ready!(self.poll_send_watched(cx, &send)) {
                Err(error) if is_shortage(&error) => self.write_pause.begin(),
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Writes; pending if the socket has no room.
    fn poll_send_watched(
        &mut self,
        cx: &mut Context<'_>,
        send: &impl Fn(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.descriptor.runtime().is_none() {
            let turn = ready!(poll_proceed(cx));
            match send(SockRef::from(&self.descriptor)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.descriptor.watch()?,
                outcome => {
                    turn.made_progress();
                    return Poll::Ready(outcome);
                }
            }
        }
        let Some(runtime) = self.descriptor.runtime() else { return Poll::Pending };
        loop {
            let mut room = ready!(runtime.poll_write_ready(cx))?;
            if let Ok(outcome) = room.try_io(|_| send(SockRef::from(&self.descriptor))) {
                return Poll::Ready(outcome);
            }
        }
    }
}

/// The other end of a connection of this family.
pub(super) fn peer(family: Family, address: impl FnOnce() -> Option<SocketAddr>) -> Peer {
    match family {
        Family::Tcp => address().map_or(Peer::Gone, |address| Peer::Tcp(canonical(address))),
        Family::Unix => Peer::Unix,
    }
}

/// The address of a TCP client, as long as it is connected.
pub(super) fn peer_of(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&socket).peer_addr().ok()?.as_socket()
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
        self.descriptor.as_fd()
    }
}

impl ReadUnwatched for BareStream {
    fn poll_read_unwatched(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.descriptor.runtime() {
            None => match self.poll_receive(cx, buf) {
                Poll::Ready(Err(error)) if is_shortage(&error) => Poll::Pending,
                outcome => outcome,
            },
            Some(_) => Pin::new(self).poll_read(cx, buf),
        }
    }
}

impl AsyncRead for BareStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.read_pause.poll_over(cx));
            match ready!(this.poll_read_watched(cx, buf)) {
                Err(error) if is_shortage(&error) => {
                    // If nothing watches the socket, bytes may come meanwhile.
                    this.is_drained = false;
                    this.read_pause.begin();
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncWrite for BareStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, |socket| socket.send_with_flags(buf, MSG_NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, |socket| socket.send_vectored_with_flags(bufs, MSG_NOSIGNAL))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The kernel has all that was written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(shutdown(self.descriptor.as_fd().as_raw_fd(), Shutdown::Write)?))
    }
}
