//! The attributes accept every form of a server, each form compiles without a warning, and the server has the options
//! of its keys.

#![deny(
    warnings,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    missing_copy_implementations,
    non_camel_case_types,
    private_bounds,
    private_interfaces,
    single_use_lifetimes,
    trivial_bounds,
    unused_qualifications,
    unused_results,
    clippy::pedantic
)]
#![forbid(unsafe_code)]

use std::io;

use axum::Router;
use gracehttp::{App, Body, FromRef, IntoServer, Json, Query, Request, Response, Server, State, server};

/// The value that main returns.
#[derive(Clone, Debug)]
pub struct Everything {
    greeting: String,
}

/// A part of [`Everything`].
#[derive(Clone, Debug, serde::Deserialize)]
struct Greeting(String);

impl FromRef<Everything> for Greeting {
    fn from_ref(everything: &Everything) -> Self {
        Self(everything.greeting.clone())
    }
}

#[server(port = 0)]
async fn no_arguments() -> &'static str {
    "pong"
}

#[server(port = 0)]
async fn whole_request(request: Request) -> Response {
    Response::new(request.into_body())
}

/// A handler with documentation and other attributes.
///
/// # Errors
///
/// The body, if `name` is not the greeting.
#[server(port = 0, state = Everything)]
#[inline]
pub async fn extractors(
    State(everything): State<Everything>,
    Query(name): Query<String>,
    body: Json<u64>,
) -> Result<String, Json<u64>> {
    if everything.greeting == name { Ok(name) } else { Err(body) }
}

#[server(port = 0)]
async fn part(State(Greeting(greeting)): State<Greeting>) -> String {
    greeting
}

#[server(port = 0)]
fn router() -> Router {
    Router::new()
}

#[server(port = 0)]
fn router_of_a_part(Greeting(greeting): Greeting) -> Router {
    Router::new().route("/", axum::routing::get(async || greeting))
}

#[server(
    name = "every-key",
    port = 0,
    listen = ["127.0.0.1:0", "[::1]:0", "localhost:8080", "unix:/run/every-key.sock"],
    tls(cert = "cert.pem", key = "key.pem"),
    max_conns = 1_000_000,
    backlog = 128,
    http1 = true,
    http2 = false,
    handshake_timeout = "5s",
    header_read_timeout = "2s 500ms",
    request_timeout = "1m 30s",
    idle_timeout = "90s",
    max_body = "3MiB",
    max_header_size = "32KiB",
    max_headers = 64,
    tcp_keepalive = "45s",
    nodelay = false,
    when_full = wait,
    half_close_timeout = "2s",
    max_conn_memory = "64KiB",
    socket_mode = "0660",
    socket_user = "app",
    socket_group = "www-data",
    state = Greeting,
)]
async fn every_key() {}

#[server(port = 0, tls = ("cert.pem", "key.pem"))]
async fn tls_pair() {}

#[server(port = 0, tls = self_signed)]
async fn r#match() {}

mod inner {
    //! Servers are as visible as their functions.

    /// A crate that re-exports gracehttp.
    pub(crate) mod facade {
        pub(crate) use ::gracehttp;
    }

    #[facade::gracehttp::server(port = 0, crate = facade::gracehttp)]
    pub(super) async fn renamed() {}

    #[gracehttp::server(port = 0)]
    pub(in crate::inner) async fn restricted() {}

    pub(crate) fn name() -> String {
        super::name_of(restricted::server())
    }
}

macro_rules! declare {
    ($name:ident, $port:literal, $output:ty) => {
        #[server(port = $port)]
        async fn $name() -> $output {
            <$output>::default()
        }
    };
}

declare!(declared_by_macro, 0, String);

fn name_of<M>(server: impl IntoServer<Everything, M>) -> String {
    server.into_server().name().to_owned()
}

#[test]
fn a_server_has_the_name_of_its_function_or_its_own() {
    assert_eq!(name_of(no_arguments::server()), "no_arguments");
    assert_eq!(name_of(whole_request::server()), "whole_request");
    assert_eq!(name_of(extractors::server()), "extractors");
    assert_eq!(name_of(part::server()), "part");
    assert_eq!(name_of(router::server()), "router");
    assert_eq!(name_of(router_of_a_part::server()), "router_of_a_part");
    assert_eq!(name_of(every_key::server()), "every-key");
    assert_eq!(name_of(tls_pair::server()), "tls_pair");
    assert_eq!(name_of(r#match::server()), "match");
    assert_eq!(name_of(inner::renamed::server()), "renamed");
    assert_eq!(inner::name(), "restricted");
    assert_eq!(name_of(declared_by_macro::server()), "declared_by_macro");
}

#[test]
fn a_server_has_the_options_of_its_keys() {
    let server: Server<Everything> = every_key::server().into_server();
    let shown = format!("{server:?}");
    for option in [
        "max_conns: 1000000",
        "backlog: 128",
        "http1: true",
        "http2: false",
        "handshake_timeout: 5s",
        "header_read_timeout: 2.5s",
        "request_timeout: Some(90s)",
        "idle_timeout: 90s",
        "max_body: 3145728",
        "max_header_size: 32768",
        "max_headers: 64",
        "tcp_keepalive: Some(45s)",
        "nodelay: false",
        "when_full: Wait",
        "half_close_timeout: 2s",
        "max_conn_memory: 65536",
        "socket: SocketAccess { mode: Some(Mode(432)), user: Some(\"app\"), group: Some(\"www-data\") }",
    ] {
        assert!(shown.contains(option), "{option} in {shown}");
    }
}

/// The attribute keeps the function itself.
#[tokio::test]
async fn a_handler_is_still_a_function() {
    assert_eq!(no_arguments().await, "pong");
    assert_eq!(declared_by_macro().await, "");
    let response = whole_request(Request::new(Body::empty())).await;
    assert!(response.status().is_success());
}

#[test]
fn a_server_can_be_declared_within_a_function() {
    #[server(port = 0)]
    async fn local() {}

    assert_eq!(name_of(local::server()), "local");
}

#[test]
fn an_application_takes_servers_of_both_kinds() {
    let start_up = async || Everything { greeting: "hello".to_owned() };
    let app = App::new(start_up)
        .serve(extractors::server())
        .serve(router_of_a_part::server())
        .serve(Server::builder("by_hand").port(0).handler(whole_request));
    let shown = format!("{app:?}");
    assert!(shown.contains("by_hand") && shown.contains("extractors"), "{shown}");
}

/// The macro recognises the return type of main under any name: each of these mains compiles to an application.
mod mains {
    use super::{Everything, Greeting, extractors, io, no_arguments};

    type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

    mod unit {
        #[gracehttp::main(servers(super::no_arguments))]
        async fn main() {}

        #[test]
        fn has_a_type() {
            let _: fn() -> std::process::ExitCode = main;
        }
    }

    mod state {
        #[gracehttp::main(servers(super::no_arguments, super::extractors), drain_timeout = "30s")]
        async fn main() -> super::Everything {
            super::Everything { greeting: "hello".to_owned() }
        }

        #[test]
        fn has_a_type() {
            let _: fn() -> std::process::ExitCode = main;
        }
    }

    mod result {
        #[gracehttp::main(servers(super::extractors), restart_on(HUP), stop_on(TERM), worker_threads = 2)]
        async fn main() -> super::io::Result<super::Everything> {
            Err(super::io::ErrorKind::NotFound.into())
        }

        #[test]
        fn has_a_type() {
            let _: fn() -> std::process::ExitCode = main;
        }
    }

    mod settings {
        #[gracehttp::main(servers(super::extractors), config = "elsewhere.toml", cli)]
        async fn main(greeting: super::Greeting) -> super::io::Result<super::Everything> {
            Ok(super::Everything { greeting: greeting.0 })
        }

        #[test]
        fn has_a_type() {
            let _: fn() -> std::process::ExitCode = main;
        }
    }

    mod settings_without_fail {
        #[gracehttp::main(servers(super::no_arguments), config = concat!(env!("CARGO_MANIFEST_DIR"), "/app.toml"))]
        async fn main(_: super::Greeting) {}

        #[test]
        fn has_a_type() {
            let _: fn() -> std::process::ExitCode = main;
        }
    }

    mod alias {
        fn note(_: &str) {}

        #[gracehttp::main(servers(super::no_arguments), on_info = note, on_error = |line| note(line.trim()))]
        async fn main() -> super::Outcome<()> {
            Ok(())
        }

        #[test]
        fn has_a_type() {
            let _: fn() -> std::process::ExitCode = main;
        }
    }
}
