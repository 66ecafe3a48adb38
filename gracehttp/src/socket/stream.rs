//! The stream under HTTP: a socket, or a TLS session on one.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::{Header, Peer};
#[cfg(feature = "tls")]
use crate::record::Session;
use crate::record::SessionAtRest;
#[cfg(feature = "tls")]
use crate::socket::SecureStream;
use crate::socket::unwatched::ReadUnwatched;
use crate::socket::{BareStream, Origin, Socket, Untaken};
use crate::sys::Descriptor;

/// A connection that is awake.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(BareStream),
    #[cfg(feature = "tls")]
    Secure(Box<SecureStream>),
}

impl Stream {
    pub(super) fn new(bare: BareStream, session: Option<SessionAtRest>) -> Self {
        match session {
            None => Self::Plain(bare),
            #[cfg(feature = "tls")]
            Some(session) => Self::Secure(Box::new(SecureStream::wake(bare, session))),
            #[cfg(not(feature = "tls"))]
            Some(session) => match session {},
        }
    }

    /// Whether nothing is lost when the connection rests.
    pub(crate) fn can_rest(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.can_rest(),
        }
    }

    /// Whether a record of the client has begun to come and is not whole.
    pub(crate) fn is_in_record(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.is_in_record(),
            _ => false,
        }
    }

    /// Its TLS session.
    #[cfg(feature = "tls")]
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Self::Secure(secure) => Some(secure.session()),
            Self::Plain(_) => None,
        }
    }

    /// Whether the key of its session will soon be worn out and can't be renewed.
    pub(crate) fn is_nearly_worn_out(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.session().is_nearly_worn_out(),
            _ => false,
        }
    }

    /// Takes the socket out of the runtime. Epoll registrations follow the open file description: this has to happen
    /// before the descriptor is duplicated or sent to another process.
    ///
    /// The bytes are plain text that TLS has opened and the caller has not read yet. They come before all that is still
    /// in the socket.
    pub(crate) fn rest(self) -> io::Result<(Socket, Bytes)> {
        match self {
            Self::Plain(bare) => Ok((bare.rest(), Bytes::new())),
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.rest(),
        }
    }

    /// The socket, with the registration of its parking lot, if that stands and nothing else has to be kept.
    pub(crate) fn rest_standing(self) -> Result<Socket<Descriptor>, Self> {
        match self {
            Self::Plain(bare) if bare.is_standing() => Ok(bare.standing()),
            #[cfg(feature = "tls")]
            Self::Secure(secure) if secure.can_rest_standing() => Ok(secure.rest_standing()),
            other => Err(other),
        }
    }

    /// Whether its scheme is `https`.
    pub(crate) fn is_secure(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// The other end of the connection.
    pub(crate) fn peer(&self) -> Peer {
        self.bare().peer()
    }

    /// The client of a connection with this [`peer`](Self::peer), as a PROXY header names it, or the peer.
    pub(crate) fn client(&self, peer: Peer) -> Peer {
        self.bare().client(peer)
    }

    /// Its PROXY header, if that was read.
    pub(crate) fn introduced(&self) -> Option<&Arc<Header>> {
        self.bare().introduced()
    }

    /// The predecessor's number of the connection, if it came from there.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.bare().origin()
    }

    /// What its client may not have taken yet. TLS makes more of the bytes that are written, and is not counted.
    pub(crate) fn untaken(&self) -> Untaken {
        match self {
            Self::Plain(bare) => bare.untaken(),
            #[cfg(feature = "tls")]
            Self::Secure(_) => Untaken::UNKNOWN,
        }
    }

    /// Keeps it until the next request.
    pub(crate) fn note_untaken(&mut self, untaken: Untaken) {
        match self {
            Self::Plain(bare) => bare.note_untaken(untaken),
            #[cfg(feature = "tls")]
            Self::Secure(_) => {}
        }
    }

    /// The socket below TLS.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.bare().as_fd()
    }

    /// Has the runtime of the calling task watch the socket from now on. By itself a stream asks for that at its first
    /// wait, which has to be in a task of a runtime.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(bare) => bare.watch(),
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.watch(),
        }
    }

    fn bare(&self) -> &BareStream {
        match self {
            Self::Plain(bare) => bare,
            #[cfg(feature = "tls")]
            Self::Secure(secure) => secure.bare(),
        }
    }
}

/// Calls a method of the stream within.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            #[cfg(feature = "tls")]
            Stream::Secure(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl ReadUnwatched for Stream {
    fn poll_read_unwatched(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_unwatched(cx, buf),
            #[cfg(feature = "tls")]
            Self::Secure(stream) => stream.poll_read_unwatched(cx, buf),
        }
    }
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
        bufs: &[IoSlice<'_>],
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
