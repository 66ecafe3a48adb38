//! The application of the tests of answers: responses that are right, wrong, or never end, from every kind of handler
//! and service.
//!
//! Each server answers below `/x` as the path asks; the rest depends on the server's kind.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::{Next, from_fn};
use axum::routing::{any, post};
use bytes::Bytes;
use gracehttp::{Body, IntoResponse, PeerAddr, Request, Response, server};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::Frame;

#[server(listen = "127.0.0.1:0", header_read_timeout = "2s", max_body = "1KiB")]
async fn plain(request: Request) -> Response {
    answer(request).await
}

#[server(listen = "127.0.0.1:0", tls = self_signed)]
async fn secure(request: Request) -> Response {
    answer(request).await
}

#[server(listen = "127.0.0.1:0")]
mod routed {
    use super::*;

    #[any("/x/{*rest}")]
    async fn all(request: Request) -> Response {
        answer(request).await
    }

    #[post("/only")]
    async fn only() {}

    #[get("/peer")]
    async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, PeerAddr(own): PeerAddr) -> String {
        format!("{peer} {own}")
    }
}

#[server(listen = "127.0.0.1:0")]
fn factory() -> Router {
    Router::new()
        .route("/x/{*rest}", any(answer))
        .route("/only", post(async || ()))
        .route("/peer", any(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
}

#[server(listen = "127.0.0.1:0", layer = from_fn(guard))]
async fn layered(request: Request) -> Response {
    answer(request).await
}

async fn guard(request: Request, next: Next) -> Response {
    if request.uri().path() == "/x/layer" {
        panic!("the layer panics");
    }
    next.run(request).await
}

#[server(listen = "127.0.0.1:0")]
fn fragile() -> Fragile {
    Fragile
}

#[server(listen = "127.0.0.1:0", request_timeout = "300ms")]
async fn hurried(request: Request) -> Response {
    let _guard = Guard { panics: request.uri().path() == "/x/guard" };
    tokio::time::sleep(Duration::from_secs(60)).await;
    "too late".into_response()
}

/// On all interfaces, with IPv4 and IPv6 on one socket.
#[server(port = 0)]
async fn dual(ConnectInfo(peer): ConnectInfo<SocketAddr>, PeerAddr(own): PeerAddr) -> String {
    format!("{peer} {own}")
}

/// Listens at the test's endpoint, which is a Unix socket.
#[server(listen = "127.0.0.1:0")]
async fn nameless(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    peer.to_string()
}

#[gracehttp::main(servers(plain, secure, routed, factory, layered, fragile, hurried, dual, nameless))]
async fn main() {}

/// Logs when a handler is dropped.
struct Guard {
    panics: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        println!("the handler is let go");
        if self.panics {
            panic!("the guard panics");
        }
    }
}

/// A service that fails at each of its steps.
#[derive(Clone)]
struct Fragile;

/// Makes the next check whether the service is ready panic.
static ARMED: AtomicBool = AtomicBool::new(false);

impl tower_service::Service<Request> for Fragile {
    type Response = Response;
    type Error = String;
    type Future = Pin<Box<dyn Future<Output = Result<Response, String>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        if ARMED.swap(false, Ordering::SeqCst) {
            panic!("poll_ready panics");
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match request.uri().path() {
            "/arm" => ARMED.store(true, Ordering::SeqCst),
            "/call" => panic!("call panics"),
            "/fails" => return Box::pin(async { Err("no paper".to_owned()) }),
            _ => (),
        }
        Box::pin(async { Ok(answer(request).await) })
    }
}

async fn answer(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut parts = path.strip_prefix("/x/").unwrap_or_default().split('/');
    match (parts.next(), parts.next()) {
        (Some("text"), _) => "hello".into_response(),
        (Some("stream"), _) => Response::new(pieces(["hello"])),
        // A status that may not have content.
        (Some("status"), Some(code)) => {
            (StatusCode::from_bytes(code.as_bytes()).expect("a status"), "content").into_response()
        }
        (Some("panics"), _) => panic!("the handler panics"),
        (Some("length"), Some(kind)) => lengths(kind),
        (Some("body"), Some("fails")) => broken(Fault::Fails),
        (Some("body"), Some("panics")) => broken(Fault::Panics),
        (Some("body"), Some("dropped")) => broken(Fault::PanicsWhenDropped),
        _ => (StatusCode::NOT_FOUND, "unknown").into_response(),
    }
}

/// Framing fields that do not fit the body, which is `hello`.
fn lengths(kind: &str) -> Response {
    let (known, streamed) = (|| Body::from("hello"), || pieces(["hel", "lo"]));
    let with = |body: Body, fields: &[(HeaderName, &'static str)]| {
        let mut response = Response::new(body);
        for (name, value) in fields {
            response.headers_mut().append(name, HeaderValue::from_static(value));
        }
        response
    };
    match kind {
        "right" => with(streamed(), &[(CONTENT_LENGTH, "5")]),
        "known-short" => with(known(), &[(CONTENT_LENGTH, "3")]),
        "known-long" => with(known(), &[(CONTENT_LENGTH, "50")]),
        "empty-long" => with(Body::empty(), &[(CONTENT_LENGTH, "50")]),
        "twice" => with(known(), &[(CONTENT_LENGTH, "5"), (CONTENT_LENGTH, "6")]),
        "nonsense" => with(streamed(), &[(CONTENT_LENGTH, "five")]),
        "signed" => with(streamed(), &[(CONTENT_LENGTH, "+5")]),
        "coded" => with(known(), &[(TRANSFER_ENCODING, "chunked")]),
        "both" => with(streamed(), &[(CONTENT_LENGTH, "5"), (TRANSFER_ENCODING, "gzip")]),
        "short" => with(streamed(), &[(CONTENT_LENGTH, "4")]),
        "short-by-a-piece" => with(streamed(), &[(CONTENT_LENGTH, "3")]),
        "long" => with(streamed(), &[(CONTENT_LENGTH, "50")]),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A body of unknown length.
fn pieces<const N: usize>(pieces: [&'static str; N]) -> Body {
    Body::new(Pieces { left: pieces.to_vec(), fault: None })
}

/// A body that fails after its first piece.
fn broken(fault: Fault) -> Response {
    Response::new(Body::new(Pieces { left: vec!["first piece\n"], fault: Some(fault) }))
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Fails,
    Panics,
    PanicsWhenDropped,
}

struct Pieces {
    left: Vec<&'static str>,
    fault: Option<Fault>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        if !self.left.is_empty() {
            let piece = self.left.remove(0);
            return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
        }
        match self.fault {
            Some(Fault::Fails) => Poll::Ready(Some(Err("out of paper".to_owned()))),
            Some(Fault::Panics) => panic!("the body panics"),
            Some(Fault::PanicsWhenDropped) | None => Poll::Ready(None),
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if self.fault == Some(Fault::PanicsWhenDropped) {
            panic!("the body panics when it is dropped");
        }
    }
}
