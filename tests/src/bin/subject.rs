//! The server for public conformance suites: it answers every request, returns bodies, and at `/echo` returns the
//! fields of the request. The guide lists the suites and their results.
//!
//! ```text
//! cargo run --release -p tests --bin subject
//! ```
//!
//! Plain text on port 8080, TLS on port 8443.

use std::fmt::Write as _;

use gracehttp::{App, IntoResponse, Request, Response, Server, Tls};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

fn main() -> std::process::ExitCode {
    let plain = Server::builder("plain").listen("127.0.0.1:8080").handler(answer);
    let tls = Server::builder("tls").listen("127.0.0.1:8443").tls(Tls::self_signed()).handler(answer);
    App::new(async || ()).serve(plain).serve(tls).run()
}

async fn answer(request: Request) -> Response {
    match (request.uri().path(), request.method()) {
        // It is no proxy.
        (_, &Method::CONNECT) => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        // The body is large enough to need more than one small window.
        ("/long", _) => "long ".repeat(1000).into_response(),
        ("/echo", _) => fields(&request).into_response(),
        (_, &Method::POST | &Method::PUT) => match request.into_body().collect().await {
            Ok(body) => body.to_bytes().into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        },
        _ => "OK".into_response(),
    }
}

fn fields(request: &Request) -> String {
    request.headers().iter().fold(String::new(), |mut text, (name, value)| {
        _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        text
    })
}
