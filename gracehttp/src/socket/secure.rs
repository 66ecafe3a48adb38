//! A TLS session on a socket, awake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::record::{Session, SessionAtRest};
use crate::socket::{BareStream, Socket};

#[derive(Debug)]
/// A TLS session on a socket: what is read from it was opened, and what is written to it is sealed.
pub(crate) struct SecureStream {
    bare: BareStream,
    session: Session,
}

impl SecureStream {
    /// After the handshake. `read_ahead` are the bytes that were read behind its last record.
    pub(crate) fn new(bare: BareStream, session: Session, read_ahead: Vec<u8>) -> Self {
        let _ = read_ahead;
        Self { bare, session }
    }

    /// After a rest.
    pub(super) fn wake(bare: BareStream, session: SessionAtRest) -> Self {
        let (session, cut) = session.wake();
        Self::new(bare, session, cut)
    }

    /// Whether nothing is lost when it rests: everything that was sealed is in the socket, everything that was opened
    /// was read, and neither side has ended.
    pub(super) fn can_rest(&self) -> bool {
        unimplemented!()
    }

    /// Whether a record of the client has begun to come and is not whole.
    pub(crate) fn is_in_record(&self) -> bool {
        unimplemented!()
    }

    pub(crate) fn bare(&self) -> &BareStream {
        &self.bare
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Takes the socket out of the runtime, with its session. The bytes are plain text that was opened and not read.
    pub(super) fn rest(self) -> io::Result<(Socket, Bytes)> {
        let session = self.session.rest(&[]);
        Ok((Socket { session: Some(session), ..self.bare.rest()? }, Bytes::new()))
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &[u8]) -> Poll<io::Result<usize>> {
        unimplemented!()
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}
