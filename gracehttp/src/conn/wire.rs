//! What HTTP is spoken over.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::socket::{Origin, Stream};

/// The stream of a connection: a socket, or a TLS session over one.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether the connection is nothing but its socket, so that it can be parked and handed over.
    fn can_rest(&self) -> bool;

    /// Whether its scheme is `https`.
    fn is_secure(&self) -> bool;

    fn peer(&self) -> Option<SocketAddr>;

    /// The socket below TLS and all else.
    fn socket(&self) -> BorrowedFd<'_>;

    /// The predecessor's number of the connection, if it came from there.
    fn origin(&self) -> Option<Origin>;

    /// The bare socket's stream, where there is nothing else.
    fn bare(self) -> Result<Stream, Self>
    where
        Self: Sized;
}

impl Wire for Stream {
    fn can_rest(&self) -> bool {
        true
    }

    fn is_secure(&self) -> bool {
        false
    }

    fn peer(&self) -> Option<SocketAddr> {
        Stream::peer(self)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn origin(&self) -> Option<Origin> {
        Stream::origin(self)
    }

    fn bare(self) -> Result<Stream, Self> {
        Ok(self)
    }
}

#[cfg(feature = "tls")]
impl Wire for tokio_rustls::server::TlsStream<Stream> {
    fn can_rest(&self) -> bool {
        false
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.get_ref().0.peer()
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.get_ref().0.as_fd()
    }

    fn origin(&self) -> Option<Origin> {
        None
    }

    fn bare(self) -> Result<Stream, Self> {
        Err(self)
    }
}
