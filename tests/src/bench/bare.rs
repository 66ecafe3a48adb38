//! The standard of comparison for gracehttp: hyper with nothing around it, and the same answers.

use std::convert::Infallible;
use std::process::ExitCode;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Answers `/ping` with its pid, and `/echo` with the request's body.
pub async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/ping" => text(format!("pong by pid:{}", std::process::id())),
        "/echo" => match request.into_body().collect().await {
            Ok(body) => reply("application/octet-stream", body.to_bytes()),
            Err(_) => {
                let mut response = text(String::new());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response
            }
        },
        _ => text("unknown".to_owned()),
    })
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
    eprintln!("serving ping on http://{} (bare hyper)", listener.local_addr()?);
    // The connections come from a task of the runtime, not from the thread that started it: an accept costs less if it
    // wakes there.
    let accept = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            // `set_nodelay` fails on a stream whose client is already gone, which does no harm.
            _ = stream.set_nodelay(true);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    accept.await.map_err(std::io::Error::other)
}
