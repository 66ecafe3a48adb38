//! The standard of comparison for gracehttp: hyper with nothing around it, over TLS with tokio-rustls, and the same
//! answers.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::bench::allocation;
use crate::bench::security::{acceptor, scheme};
use crate::bench::traffic::GIFT;

/// Answers `/ping` with its pid, `/echo` with the request's body, `/take` with its length, `/give` with [`GIFT`] bytes,
/// and `/allocated` with the size of its heap.
pub async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/ping" => text(format!("pong by pid:{}", std::process::id())),
        "/echo" => match request.into_body().collect().await {
            Ok(body) => reply("application/octet-stream", body.to_bytes()),
            Err(_) => refused(),
        },
        "/take" => match length(request.into_body()).await {
            Ok(length) => text(length.to_string()),
            Err(_) => refused(),
        },
        "/give" => reply("application/octet-stream", the_gift()),
        "/allocated" => text(allocation::live().to_string()),
        _ => text("unknown".to_owned()),
    })
}

/// Reads a body to its end, and counts its bytes.
pub(super) async fn length<B>(mut body: B) -> Result<usize, B::Error>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

/// The bytes of all downloads.
pub(super) fn the_gift() -> Bytes {
    static GIVEN: OnceLock<Bytes> = OnceLock::new();
    GIVEN.get_or_init(|| gift(GIFT).into()).clone()
}

/// This many bytes.
pub(super) fn gift(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}

fn refused() -> Response<Full<Bytes>> {
    let mut response = text(String::new());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn text(text: String) -> Response<Full<Bytes>> {
    reply("text/plain; charset=utf-8", text.into())
}

fn reply(kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Serves until a signal ends the process.
pub fn serve(threads: usize) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let served = runtime.map(|runtime| runtime.block_on(listen()));
    match served {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) | Err(error) => {
            eprintln!("bare hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen() -> std::io::Result<Infallible> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let acceptor = acceptor();
    eprintln!("serving ping on {}://{} (bare hyper)", scheme(), listener.local_addr()?);
    // The connections come from a task of the runtime, not from the thread that started it: an accept costs less if it
    // wakes there.
    let accept = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            // `set_nodelay` fails on a stream whose client is already gone, which does no harm.
            _ = stream.set_nodelay(true);
            match &acceptor {
                None => drop(tokio::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
                )),
                Some(acceptor) => drop(tokio::spawn(serve_securely(stream, acceptor.clone()))),
            }
        }
    });
    accept.await.map_err(std::io::Error::other)
}

async fn serve_securely(stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    // The client sees how its connection ends.
    _ = match speaks_http2 {
        false => http1::Builder::new().serve_connection(stream, service_fn(answer)).await,
        true => {
            let builder = http2::Builder::new(TokioExecutor::new());
            builder.serve_connection(stream, service_fn(answer)).await
        }
    };
}
