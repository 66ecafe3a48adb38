//! An HTTP/2 client that obeys GOAWAY, and counts every other end of a stream as a failure.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use crate::client::{Reply, Stream, Target};
use crate::fault::{Failure, Kind};

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome {
    /// An answer.
    Reply(Reply),
    /// The client never wrote the request: the server had announced before that it takes no more.
    NotSent,
}

/// One connection. Its clones share it.
#[derive(Debug, Clone)]
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    scheme: &'static str,
    _connection: std::sync::Arc<Connection>,
}

/// Ends the connection's task with its last user.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http2 {
    /// Connects: with prior knowledge on plain text, by ALPN on TLS.
    pub async fn connect(target: &Target) -> Result<Self, Failure> {
        let scheme = if matches!(target, Target::Tls(_)) { "https" } else { "http" };
        Self::over(target.connect(&["h2"]).await?, scheme).await
    }

    /// Speaks HTTP/2 over a stream, whose other end is known to speak it.
    pub async fn over(stream: impl Stream + 'static, scheme: &'static str) -> Result<Self, Failure> {
        let failed =
            |error: hyper::Error| Failure::new(Kind::Handshake, format!("HTTP/2: {}", causes(&error)));
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
        let task = tokio::spawn(async {
            // Its streams report the error that it ends with.
            _ = connection.await;
        });
        Ok(Self { sender, scheme, _connection: std::sync::Arc::new(Connection(task)) })
    }

    /// Whether the server still takes requests on this connection.
    pub async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// One GET.
    pub async fn get(&mut self, path: &str) -> Result<Outcome, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// One POST.
    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<Outcome, Failure> {
        self.ask(Method::POST, path, body).await
    }

    /// Any request.
    pub async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<Outcome, Failure> {
        let uri = format!("{}://localhost{path}", self.scheme);
        let request = Request::builder().method(method).uri(uri).body(Full::new(body)).expect("a request");
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            // hyper returns the requests that it has not written.
            Err(error) if error.message().is_some() => return Ok(Outcome::NotSent),
            Err(error) => return Err(lost(Kind::Unanswered, error.error())),
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| lost(Kind::HalfAnswered, &error))?.to_bytes();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Outcome::Reply(Reply { status: head.status.as_u16(), headers, body }))
    }
}

fn lost(kind: Kind, error: &hyper::Error) -> Failure {
    let causes = causes(error);
    let kind = if causes.contains("reset by peer") { Kind::Reset } else { kind };
    Failure::new(kind, format!("HTTP/2: {causes}"))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
