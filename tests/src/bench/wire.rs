//! A client's TCP connection, with TLS or without, that takes every byte that it is given.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use tokio_rustls::rustls::{ClientConnection, HandshakeKind};

use crate::bench::security::Endpoint;

/// How much is read from a socket at once.
const READ: usize = 64 << 10;

/// A connection. It blocks until [`Wire::set_nonblocking`].
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What the socket has not taken; with TLS, its session keeps that.
    unsent: BytesMut,
}

/// The buffers of a read, for any number of connections.
#[derive(Debug)]
pub struct Buffers {
    raw: Vec<u8>,
    text: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { raw: vec![0; READ], text: Vec::new() }
    }
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'b> {
    /// Bytes of the server, perhaps none.
    Bytes(&'b [u8]),
    /// The server has ended the connection in the proper way.
    End,
}

impl Wire {
    /// Connects. The TLS handshake goes on with the first reads and writes.
    pub fn open(endpoint: &Endpoint) -> io::Result<Self> {
        let stream = TcpStream::connect(endpoint.address)?;
        stream.set_nodelay(true)?;
        let tls = match &endpoint.tls {
            None => None,
            Some(config) => {
                let name = "localhost".try_into().expect("a name");
                let mut session =
                    ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                session.set_buffer_limit(None);
                Some(Box::new(session))
            }
        };
        Ok(Self { stream, tls, unsent: BytesMut::new() })
    }

    /// Waits for the end of the TLS handshake.
    pub fn shake_hands(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.tls else { return Ok(()) };
        while session.is_handshaking() || session.wants_write() {
            session.complete_io(&mut self.stream)?;
        }
        Ok(())
    }

    /// No read or write blocks after this.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// How the TLS session began.
    pub fn handshake(&self) -> Option<HandshakeKind> {
        self.tls.as_ref()?.handshake_kind()
    }

    /// Takes all these bytes, and sends what the socket has room for.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(session) => session.writer().write_all(bytes)?,
            None => self.unsent.extend_from_slice(bytes),
        }
        self.flush()
    }

    /// Sends what the socket has room for.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.is_blocked() {
            let written = match &mut self.tls {
                Some(session) => session.write_tls(&mut self.stream),
                None => self.stream.write(&self.unsent).inspect(|&count| self.unsent.advance(count)),
            };
            match written {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the socket had no room for some bytes.
    pub fn is_blocked(&self) -> bool {
        match &self.tls {
            Some(session) => session.wants_write(),
            None => !self.unsent.is_empty(),
        }
    }

    /// Reads once.
    pub fn read<'b>(&mut self, buffers: &'b mut Buffers) -> io::Result<Piece<'b>> {
        let Buffers { raw, text } = buffers;
        let count = match self.stream.read(raw) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Piece::Bytes(&[])),
            Err(error) => return Err(error),
        };
        let Some(session) = &mut self.tls else {
            return Ok(if count == 0 { Piece::End } else { Piece::Bytes(&raw[..count]) });
        };
        text.clear();
        let ended = open(session, &raw[..count], text)?;
        self.flush()?;
        // The end is reported again by the next read.
        Ok(if ended && text.is_empty() { Piece::End } else { Piece::Bytes(text) })
    }
}

/// Passes bytes through the session, and returns whether it has ended.
fn open(session: &mut ClientConnection, mut bytes: &[u8], text: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        session.read_tls(&mut bytes)?;
        session.process_new_packets().map_err(io::Error::other)?;
        match session.reader().read_to_end(text) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock && bytes.is_empty() => return Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
