//! Functions that nobody but their caller could call.

use gracehttp::{Request, server};

#[server(port = 8080)]
async fn generic<T: Default>() {}

#[server(port = 8080)]
async fn opaque(_: impl Into<Request>) {}

#[server(port = 8080)]
async unsafe fn unsafety() {}

#[server(port = 8080)]
async extern "C" fn foreign() {}

#[server(port = 8080)]
const fn constant() -> axum::Router {
    loop {}
}

#[server(port = 8080)]
#[rustfmt::skip]
async fn arguments(
    _: Request, _: Request, _: Request, _: Request, _: Request, _: Request, _: Request, _: Request,
    _: Request, _: Request, _: Request, _: Request, _: Request, _: Request, _: Request, _: Request,
    _: Request,
) {}

struct Users;

impl Users {
    #[server(port = 8080)]
    async fn method(&self) {}
}

#[gracehttp::main(servers(generic, opaque, unsafety, foreign, constant, arguments))]
async fn main() {}
