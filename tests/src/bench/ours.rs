//! The server under test, written as a user would write it.

use std::process::ExitCode;

use gracehttp::{App, IntoResponse, Request, Response, server};
use http::StatusCode;
use http_body_util::BodyExt as _;

use crate::bench::allocation;
use crate::bench::bare::{length, the_gift};

/// The answers of [`bare::answer`](crate::bench::bare::answer).
#[server(listen = "127.0.0.1:0")]
async fn ping(request: Request) -> Response {
    match request.uri().path() {
        "/ping" => format!("pong by pid:{}", std::process::id()).into_response(),
        "/echo" => match request.into_body().collect().await {
            Ok(body) => body.to_bytes().into_response(),
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        },
        "/take" => match length(request.into_body()).await {
            Ok(length) => length.to_string().into_response(),
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        },
        "/give" => the_gift().into_response(),
        "/allocated" => allocation::live().to_string().into_response(),
        "/allocations" => allocation::count().to_string().into_response(),
        _ => "unknown".into_response(),
    }
}

/// Serves until a signal ends it.
pub fn serve(threads: usize) -> ExitCode {
    App::new(async || ()).serve(ping::server()).worker_threads(threads).run()
}
