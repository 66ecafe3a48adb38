//! A load over HTTP/2: several connections, and several streams on each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::bench::bare::gift;
use crate::bench::security::Endpoint;
use crate::bench::traffic::{GIFT, Tally};

/// The credit that a client gives to a stream and to a connection: enough that no download waits for more.
const STREAM_CREDIT: u32 = 2 * GIFT as u32;
const CONNECTION_CREDIT: u32 = 16 * STREAM_CREDIT;

/// Open connections. They close when this is dropped.
#[derive(Debug)]
pub struct Connected {
    senders: Vec<Sender>,
    _tasks: JoinSet<()>,
}

type Sender = SendRequest<Full<Bytes>>;

/// The work of the clients.
#[derive(Debug, Clone)]
pub struct Multiplexed {
    /// How many connections are open all the time.
    pub connections: usize,
    /// How many requests are under way on each.
    pub streams: usize,
    path: &'static str,
    /// The body of every request; without one it is a GET.
    upload: Option<Bytes>,
    /// The body of every answer; `None` means that of `/ping`.
    body: Option<Bytes>,
}

impl Multiplexed {
    /// GETs.
    pub fn keep_alive(connections: usize, streams: usize) -> Self {
        Self { connections, streams, path: "/ping", upload: None, body: None }
    }

    /// GETs of [`GIFT`] bytes.
    pub fn download(connections: usize, streams: usize) -> Self {
        Self { path: "/give", body: Some(gift(GIFT).into()), ..Self::keep_alive(connections, streams) }
    }

    /// POSTs of `length` bytes, which are counted.
    pub fn upload(connections: usize, streams: usize, length: usize) -> Self {
        let (upload, body) = (Some(gift(length).into()), Some(length.to_string().into()));
        Self { path: "/take", upload, body, ..Self::keep_alive(connections, streams) }
    }

    /// Opens its connections.
    pub async fn open(&self, endpoint: &Endpoint) -> Result<Connected, String> {
        let (mut tasks, mut senders) = (JoinSet::new(), Vec::new());
        for _ in 0..self.connections {
            senders.push(connect(endpoint, &mut tasks).await?);
        }
        Ok(Connected { senders, _tasks: tasks })
    }

    /// Sends requests on these connections for `time`, to a server that gives `pong` at `/ping`. The first wrong answer or
    /// failure ends it.
    pub async fn drive(&self, connected: &Connected, pong: &str, time: Duration) -> Result<Tally, String> {
        let expected = self.body.clone().unwrap_or_else(|| pong.to_owned().into());
        // They end with this function.
        let mut streams = JoinSet::new();
        let start = Instant::now();
        for sender in &connected.senders {
            for _ in 0..self.streams {
                let request = self.request();
                streams.spawn(ask_until(start + time, sender.clone(), request, expected.clone()));
            }
        }
        let mut answers = 0;
        while let Some(ended) = streams.join_next().await {
            answers += ended.map_err(|error| error.to_string())??;
        }
        match answers {
            0 => Err(format!("no answer within {time:?}")),
            _ => Ok(Tally { answers, elapsed: start.elapsed(), full_handshakes: 0 }),
        }
    }

    /// Sends `times` requests on each stream, of all connections at once.
    pub async fn ask(&self, connected: &Connected, pong: &str, times: usize) -> Result<(), String> {
        let expected = self.body.clone().unwrap_or_else(|| pong.to_owned().into());
        let mut streams = JoinSet::new();
        for sender in &connected.senders {
            for _ in 0..self.streams {
                let (sender, request, expected) = (sender.clone(), self.request(), expected.clone());
                streams.spawn(async move {
                    let mut sender = sender;
                    for _ in 0..times {
                        ask_once(&mut sender, &request, &expected).await?;
                    }
                    Ok::<_, String>(())
                });
            }
        }
        while let Some(ended) = streams.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let method = if self.upload.is_some() { "POST" } else { "GET" };
        let builder = Request::builder().method(method).uri(format!("https://localhost{}", self.path));
        let body = Full::new(self.upload.clone().unwrap_or_default());
        builder.body(body).expect("a valid request")
    }
}

async fn connect(endpoint: &Endpoint, connections: &mut JoinSet<()>) -> Result<Sender, String> {
    let offer = endpoint.tls.as_deref().expect("HTTP/2 is measured over TLS");
    let mut offer = offer.clone();
    offer.alpn_protocols = vec!["h2".into()];
    let tcp = TcpStream::connect(endpoint.address).await.map_err(|error| format!("connect: {error}"))?;
    tcp.set_nodelay(true).map_err(|error| format!("a socket option: {error}"))?;
    let name = "localhost".try_into().expect("a name");
    let stream = TlsConnector::from(Arc::new(offer)).connect(name, tcp).await;
    let stream = TokioIo::new(stream.map_err(|error| format!("TLS: {error}"))?);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(STREAM_CREDIT).initial_connection_window_size(CONNECTION_CREDIT);
    let (sender, connection) = builder.handshake(stream).await.map_err(|error| format!("HTTP/2: {error}"))?;
    connections.spawn(async {
        // The requests report how it ends.
        _ = connection.await;
    });
    Ok(sender)
}

/// Sends a request, again and again, and returns how many right answers came.
async fn ask_until(
    end: Instant,
    mut sender: Sender,
    request: Request<Full<Bytes>>,
    expected: Bytes,
) -> Result<u64, String> {
    let mut answers = 0;
    while Instant::now() < end {
        ask_once(&mut sender, &request, &expected).await?;
        answers += 1;
    }
    Ok(answers)
}

async fn ask_once(
    sender: &mut Sender,
    request: &Request<Full<Bytes>>,
    expected: &Bytes,
) -> Result<(), String> {
    let failed = |error: hyper::Error| format!("HTTP/2: {error}");
    sender.ready().await.map_err(failed)?;
    let response = sender.send_request(request.clone()).await.map_err(failed)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
    if !status.is_success() || body != *expected {
        return Err(format!("a wrong answer: {status} with {} bytes", body.len()));
    }
    Ok(())
}
