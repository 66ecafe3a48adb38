//! A TLS connection whose records the test seals itself, so that it decides which of their bytes are sent when.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use crate::client::{Client, Stream};
use crate::fault::{Failure, Kind};
use crate::patience::{PATIENCE, within};
use crate::tls::records::{Received, Record};

/// One connection with one handshake: it never connects again.
///
/// As a stream it seals and sends at once what is written to it. [`Wire::seal`] and [`Wire::pass`] do so in two steps.
pub struct Wire {
    socket: Box<dyn Stream>,
    session: ClientConnection,
    /// Sealed, and not in the socket yet.
    sealed: BytesMut,
    /// Read from the socket, and not opened yet.
    unopened: BytesMut,
    received: Received,
    /// How many records of the server belonged to the handshake.
    handshake: u64,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Wire {
    /// Connects over TCP, and sends nothing yet.
    pub async fn open(address: SocketAddr, config: impl Into<Arc<ClientConfig>>) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Self::over(Box::new(tcp), config.into()))
    }

    /// The same over a Unix socket.
    pub async fn open_unix(path: &Path, config: impl Into<Arc<ClientConfig>>) -> io::Result<Self> {
        Ok(Self::over(Box::new(UnixStream::connect(path).await?), config.into()))
    }

    fn over(socket: Box<dyn Stream>, config: Arc<ClientConfig>) -> Self {
        let name = "localhost".try_into().expect("a name");
        let mut session = ClientConnection::new(config, name).expect("a usable configuration");
        session.set_buffer_limit(None);
        Self {
            socket,
            session,
            sealed: BytesMut::new(),
            unopened: BytesMut::new(),
            received: Received::default(),
            handshake: 0,
        }
    }

    /// What the session has to say next, as records: a part of the handshake, an alert, a KeyUpdate.
    pub fn flight(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut records).expect("a vector takes everything");
        }
        records
    }

    /// Receives until the session has to say something, or its handshake is done. Returns what it has to say.
    pub async fn next_flight(&mut self) -> Result<Vec<u8>, Failure> {
        let mut flight = self.flight();
        // A ChangeCipherSpec alone is the beginning of a flight: TLS 1.3 sends it only for middleboxes (RFC 8446 appendix
        // D.4).
        while self.session.is_handshaking() && !Record::all(&flight).iter().any(Record::says_something) {
            if let Err(error) = self.receive().await {
                return Err(Failure::new(Kind::Handshake, format!("TLS: {error}")));
            }
            flight.extend(self.flight());
        }
        Ok(flight)
    }

    /// Does what is left of the handshake.
    pub async fn handshake(&mut self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::new(Kind::Handshake, format!("TLS: {error}"));
        loop {
            let flight = within(PATIENCE, "the handshake", self.next_flight()).await?;
            self.pass(&flight).await.map_err(failed)?;
            if !self.session.is_handshaking() {
                self.handshake = self.received.handshakes();
                return Ok(());
            }
        }
    }

    /// Seals `text` in as few records as it needs, behind whatever the session owes. Nothing is sent.
    pub fn seal(&mut self, text: impl AsRef<[u8]>) -> Vec<u8> {
        self.session.writer().write_all(text.as_ref()).expect("without a limit");
        self.flight()
    }

    /// A KeyUpdate that asks the server to renew its key, too. Nothing is sent.
    pub fn key_update(&mut self) -> Vec<u8> {
        self.session.refresh_traffic_keys().expect("TLS 1.3, after the handshake");
        self.flight()
    }

    /// A close_notify. Nothing is sent.
    pub fn close_notify(&mut self) -> Vec<u8> {
        self.session.send_close_notify();
        self.flight()
    }

    /// Sends bytes without change.
    pub async fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    /// Lets the next flush send bytes without change.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.sealed.extend_from_slice(bytes);
    }

    /// Receives some bytes, and opens the records that they complete.
    async fn receive(&mut self) -> io::Result<()> {
        if self.unopened.is_empty() && self.socket.read_buf(&mut self.unopened).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed in the handshake"));
        }
        self.open_some()
    }

    /// Opens records of the unopened bytes, at most as many as the session has room for.
    fn open_some(&mut self) -> io::Result<()> {
        let mut source = &self.unopened[..];
        let taken = self.session.read_tls(&mut source)?;
        self.received.see(&self.unopened[..taken]);
        self.unopened.advance(taken);
        let opened = self.session.process_new_packets();
        opened.map(drop).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// The records that came so far.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// How many records of another handshake came: none, on a connection that keeps its session.
    pub fn later_handshakes(&self) -> u64 {
        self.received.handshakes() - self.handshake
    }

    /// The facts of the session.
    pub fn session(&self) -> &ClientConnection {
        &self.session
    }

    /// After the handshake, a client that speaks HTTP.
    pub async fn client(mut self) -> Result<Client<Self>, Failure> {
        self.handshake().await?;
        Ok(Client::over(self))
    }
}

impl Client<Wire> {
    /// The connection below, for what its records do.
    pub fn wire(&mut self) -> &mut Wire {
        self.stream()
    }
}

impl Stream for Wire {
    fn port(&self) -> Option<u16> {
        self.socket.port()
    }
}

impl AsyncRead for Wire {
    /// The end is one only after a close_notify: an end of the socket alone is `UnexpectedEof`.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.session.reader().read(buf.initialize_unfilled()) {
                Ok(length) => {
                    buf.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if this.unopened.is_empty() {
                let mut bytes = [0; 4096];
                let mut read = ReadBuf::new(&mut bytes);
                ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
                this.unopened.extend_from_slice(read.filled());
            }
            this.open_some()?;
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        let records = self.seal(text);
        self.queue(&records);
        Poll::Ready(Ok(text.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.sealed.is_empty() {
            let sent = ready!(Pin::new(&mut this.socket).poll_write(cx, &this.sealed))?;
            this.sealed.advance(sent);
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    /// Says close_notify, and ends the sending direction.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let records = self.close_notify();
        self.queue(&records);
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
