//! A strict HTTP/1.1 client on a raw socket. It never retries, and reports every deviation.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::HandshakeKind;

use crate::fault::{Failure, Kind};
use crate::patience::{GLANCE, PATIENCE, within};
use crate::tls;

/// How long a client waits for anything by default.
const LIMIT: Duration = Duration::from_secs(15);

/// The address that a client connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Plain text.
    Plain(SocketAddr),
    /// TLS.
    Tls(SocketAddr),
    /// A Unix socket, plain text.
    Unix(PathBuf),
}

impl Target {
    /// Reads the URL of a banner: `http://127.0.0.1:4711`, `https://[::1]:4711`, `unix:/path`.
    pub fn from_url(url: &str) -> Self {
        let url = url.trim_end_matches('/');
        let address = |text: &str| match text.parse() {
            Ok(address) => reachable(address),
            Err(_) => panic!("no address in the banner's URL {url:?}"),
        };
        if let Some(text) = url.strip_prefix("http://") {
            Self::Plain(address(text))
        } else if let Some(text) = url.strip_prefix("https://") {
            Self::Tls(address(text))
        } else if let Some(path) = url.strip_prefix("unix:") {
            Self::Unix(path.into())
        } else {
            panic!("the banner names {url:?}, which is no URL of a server")
        }
    }

    /// The TCP address.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Plain(address) | Self::Tls(address) => *address,
            Self::Unix(path) => panic!("{} has no TCP address", path.display()),
        }
    }

    /// Opens a connection, with TLS if the target has it.
    pub async fn connect(&self, alpn: &[&str]) -> Result<Box<dyn Stream>, Failure> {
        self.connect_with(&tls::connector(alpn)).await
    }

    /// The same; over TLS with the sessions of this connector.
    async fn connect_with(&self, connector: &TlsConnector) -> Result<Box<dyn Stream>, Failure> {
        let refused = |error: io::Error| Failure::new(Kind::Refused, format!("connect: {error}"));
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(refused)?)),
            Self::Plain(address) => Ok(Box::new(connect(*address).await.map_err(refused)?)),
            Self::Tls(address) => {
                let tcp = connect(*address).await.map_err(refused)?;
                let name = "localhost".try_into().expect("a name");
                let handshake = connector.connect(name, tcp);
                match handshake.await {
                    Ok(stream) => Ok(Box::new(stream)),
                    Err(error) => Err(Failure::new(Kind::Handshake, format!("TLS: {error}"))),
                }
            }
        }
    }
}

/// Replaces "any address", which a banner may name, as no client can connect to it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            address.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
        }
        _ => (),
    }
    address
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// The stream under a connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// The client's port, which identifies the connection in a capture of the network.
    fn port(&self) -> Option<u16>;

    /// Whether it resumed an earlier TLS session.
    fn is_resumed(&self) -> bool {
        false
    }
}

impl Stream for UnixStream {
    fn port(&self) -> Option<u16> {
        None
    }
}

impl Stream for TcpStream {
    fn port(&self) -> Option<u16> {
        self.local_addr().ok().map(|address| address.port())
    }
}

impl Stream for TlsStream<TcpStream> {
    fn port(&self) -> Option<u16> {
        self.get_ref().0.port()
    }

    fn is_resumed(&self) -> bool {
        self.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

impl Stream for Box<dyn Stream> {
    fn port(&self) -> Option<u16> {
        (**self).port()
    }

    fn is_resumed(&self) -> bool {
        (**self).is_resumed()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the server ends the connection after it.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The pid in `pong by pid:4711`.
    pub fn pid(&self) -> Option<u32> {
        self.text().trim().strip_prefix("pong by pid:")?.parse().ok()
    }
}

/// The outcome of a pause on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pause {
    /// It is still open.
    Open,
    /// The server closed it in the proper way.
    Closed,
    /// It was reset or truncated, or carried unexpected bytes.
    Failed(Failure),
}

/// One connection.
pub struct Client<S = Box<dyn Stream>> {
    stream: S,
    unread: BytesMut,
    limit: Duration,
    answered_at: Option<Instant>,
}

impl<S> std::fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("unread", &self.unread).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects.
    pub async fn connect(target: &Target) -> Result<Self, Failure> {
        Self::connect_with(target, &tls::connector(&["http/1.1"])).await
    }

    /// Connects; over TLS with the sessions of this connector.
    pub(crate) async fn connect_with(target: &Target, connector: &TlsConnector) -> Result<Self, Failure> {
        match tokio::time::timeout(LIMIT, target.connect_with(connector)).await {
            Ok(stream) => Ok(Self::over(stream?)),
            Err(_) => Err(Failure::new(Kind::TimedOut, "connect")),
        }
    }
}

impl<S: Stream> Client<S> {
    /// A client on a stream that is ready for HTTP.
    pub fn over(stream: S) -> Self {
        Self { stream, unread: BytesMut::new(), limit: LIMIT, answered_at: None }
    }

    /// The stream below, for what has nothing to do with HTTP.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sets the limit of every wait.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Writes bytes without change.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let write = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(self.limit, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(Failure::new(Kind::Reset, format!("while writing: {error}")))
            }
            Ok(Err(error)) => Err(Failure::new(Kind::Unanswered, format!("while writing: {error}"))),
            Err(_) => Err(Failure::new(Kind::TimedOut, "while writing")),
        }
    }

    /// One GET on this connection.
    pub async fn get(&mut self, path: &str) -> Result<Reply, Failure> {
        self.send(get(path)).await?;
        self.reply().await
    }

    /// One POST on this connection, its body in one piece.
    pub async fn post(&mut self, path: &str, body: &[u8]) -> Result<Reply, Failure> {
        self.send(post_head(path, body.len())).await?;
        self.send(body).await?;
        self.reply().await
    }

    /// The next answer.
    pub async fn reply(&mut self) -> Result<Reply, Failure> {
        match tokio::time::timeout(self.limit, self.read_reply()).await {
            Ok(reply) => {
                self.answered_at = Some(Instant::now());
                reply
            }
            Err(_) => {
                Err(Failure::new(Kind::TimedOut, format!("after {} bytes of an answer", self.unread.len())))
            }
        }
    }

    async fn read_reply(&mut self) -> Result<Reply, Failure> {
        loop {
            let (status, headers) = self.read_head().await?;
            // 1xx announces the real answer.
            if status >= 200 {
                let body = self.read_body(status, &headers).await?;
                return Ok(Reply { status, headers, body });
            }
        }
    }

    async fn read_head(&mut self) -> Result<(u16, Vec<(String, String)>), Failure> {
        let end = loop {
            match self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.read_more("in the head").await?,
            }
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.advance(end + 4);

        let wrong = |what: &str| Failure::new(Kind::Unexpected, format!("{what} in {head:?}"));
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| wrong("no status"))?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| wrong("no colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok((status, headers))
    }

    async fn read_body(&mut self, status: u16, headers: &[(String, String)]) -> Result<Bytes, Failure> {
        let header =
            |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if matches!(status, 204 | 304) {
            return Ok(Bytes::new());
        }
        if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks().await;
        }
        match header("content-length").map(str::parse) {
            Some(Ok(length)) => self.read_exactly(length).await,
            Some(Err(_)) => Err(Failure::new(Kind::Unexpected, "a Content-Length that is no number")),
            // The server under test never ends a body by the end of the connection, which looks like a failure.
            None => Err(Failure::new(Kind::Unexpected, "an answer of no declared length")),
        }
    }

    async fn read_chunks(&mut self) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        loop {
            let size = self.read_chunk_size().await?;
            let chunk = self.read_exactly(size).await?;
            body.extend_from_slice(&chunk);
            if self.read_exactly(2).await? != "\r\n" {
                return Err(Failure::new(Kind::Unexpected, "a chunk without its line end"));
            }
            if size == 0 {
                return Ok(body.freeze());
            }
        }
    }

    async fn read_chunk_size(&mut self) -> Result<usize, Failure> {
        let end = loop {
            match self.unread.windows(2).position(|bytes| bytes == b"\r\n") {
                Some(end) => break end,
                None => self.read_more("in a chunk's size").await?,
            }
        };
        let line = self.unread.split_to(end + 2);
        let digits = String::from_utf8_lossy(&line[..end]).into_owned();
        usize::from_str_radix(&digits, 16)
            .map_err(|_| Failure::new(Kind::Unexpected, format!("the chunk size {digits:?}")))
    }

    async fn read_exactly(&mut self, length: usize) -> Result<Bytes, Failure> {
        while self.unread.len() < length {
            self.read_more(&format!("in the body, {} of {length} bytes", self.unread.len())).await?;
        }
        Ok(self.unread.split_to(length).freeze())
    }

    /// Reads some bytes; an end of the connection is a failure here.
    async fn read_more(&mut self, place: &str) -> Result<(), Failure> {
        let fresh = place == "in the head" && self.unread.is_empty();
        let kind = if fresh { Kind::Unanswered } else { Kind::HalfAnswered };
        match self.stream.read_buf(&mut self.unread).await {
            Ok(0) => Err(Failure::new(kind, format!("closed {place}"))),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error, kind, place)),
        }
    }

    /// One piece of the server's bytes, of any kind; `None` at the end of the connection.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        if !self.unread.is_empty() {
            return Ok(Some(self.unread.split().freeze()));
        }
        match tokio::time::timeout(self.limit, self.stream.read_buf(&mut self.unread)).await {
            Ok(Ok(0)) => Ok(None),
            Ok(Ok(_)) => Ok(Some(self.unread.split().freeze())),
            Ok(Err(error)) => Err(broken(&error, Kind::HalfAnswered, "between pieces")),
            Err(_) => Err(Failure::new(Kind::TimedOut, "between pieces")),
        }
    }

    /// The client's port, where there is one.
    pub fn port(&self) -> Option<u16> {
        self.stream.port()
    }

    /// Whether the connection resumed an earlier TLS session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.is_resumed()
    }

    /// How long ago the last answer came.
    pub fn idle_for(&self) -> Duration {
        self.answered_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Pauses, and reports what the server does meanwhile.
    pub async fn pause(&mut self, length: Duration) -> Pause {
        if !self.unread.is_empty() {
            let bytes = String::from_utf8_lossy(&self.unread).into_owned();
            return Pause::Failed(Failure::new(Kind::Unexpected, format!("unasked bytes {bytes:?}")));
        }
        match tokio::time::timeout(length, self.stream.read_buf(&mut self.unread)).await {
            Err(_) => Pause::Open,
            Ok(Ok(0)) => Pause::Closed,
            Ok(Ok(_)) => {
                let bytes = String::from_utf8_lossy(&self.unread).into_owned();
                Pause::Failed(Failure::new(Kind::Unexpected, format!("unasked bytes {bytes:?}")))
            }
            Ok(Err(error)) => Pause::Failed(broken(&error, Kind::Reset, "while idle")),
        }
    }

    /// Waits until the connection moves to the process `pid`: each request gets an answer, no answer announces a
    /// close, and in the end this process answers. (The other process still answers a request that is faster than the
    /// move.)
    pub async fn moves_to(&mut self, pid: u32) {
        within(PATIENCE, "the connection to move", async {
            loop {
                let reply = self.get("/ping").await.expect("an answer");
                assert!(!reply.closes(), "{reply:?}");
                if reply.pid() == Some(pid) {
                    return;
                }
                assert_eq!(self.pause(GLANCE).await, Pause::Open);
            }
        })
        .await;
    }

    /// Waits for the end that `Connection: close` promised: it has to come at once, and in the proper way.
    pub async fn closed(&mut self) -> Result<(), Failure> {
        match self.pause(self.limit).await {
            Pause::Closed => Ok(()),
            Pause::Open => Err(Failure::new(Kind::KeptOpen, "still open after Connection: close")),
            Pause::Failed(failure) => Err(failure),
        }
    }

    /// Ends the sending direction only.
    pub async fn half_close(&mut self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::new(Kind::Reset, format!("half-close: {error}"));
        self.stream.shutdown().await.map_err(failed)
    }
}

fn broken(error: &io::Error, kind: Kind, place: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Failure::new(Kind::Reset, format!("{place}: {error}")),
        // rustls reports here that the socket ended without close_notify.
        io::ErrorKind::UnexpectedEof => Failure::new(Kind::Truncated, format!("{place}: {error}")),
        _ => Failure::new(kind, format!("{place}: {error}")),
    }
}

/// A GET's bytes.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The head of a POST.
pub fn post_head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

/// Connects, sends one request, and disconnects.
pub async fn get_once(target: &Target, path: &str) -> Result<Reply, Failure> {
    Client::connect(target).await?.get(path).await
}
