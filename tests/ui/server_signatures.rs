//! Functions that nobody but their caller could call.

use axum::http::Method;
use gracehttp::{Request, server};

#[server(port = 8080)]
async fn generic<T: Default>() {}

#[server(port = 8081)]
async fn opaque(_: impl Into<Request>) {}

#[server(port = 8082)]
async unsafe fn unsafety() {}

#[server(port = 8083)]
async extern "C" fn foreign() {}

#[server(port = 8084)]
const fn constant() -> axum::Router {
    loop {}
}

#[server(port = 8085)]
#[rustfmt::skip]
async fn arguments(
    _: Method, _: Method, _: Method, _: Method, _: Method, _: Method, _: Method, _: Method,
    _: Method, _: Method, _: Method, _: Method, _: Method, _: Method, _: Method, _: Method,
    _: Request,
) {}

struct Users;

impl Users {
    #[server(port = 8086)]
    async fn method(&self) {}
}

#[gracehttp::main(servers(generic, opaque, unsafety, foreign, constant, arguments))]
async fn main() {}
