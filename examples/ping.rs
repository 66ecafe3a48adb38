//! The smallest application: one handler on one port.
//!
//! ```text
//! cargo run --example ping
//! curl localhost:9090/ping        # pong by pid:4711
//! kill -USR1 4711                 # a new process takes over; no client notices
//! curl localhost:9090/ping        # pong by pid:4712
//! kill -QUIT 4712                 # the process stops
//! ```
//!
//! `GRACEHTTP_SERVER__PING__PORT=8080` sets another port.

use gracehttp::{IntoResponse, Request, server};

/// Answers `/ping` with the pid of the process, and everything else with `unknown`.
#[server(port = 9090, max_conns = 1000)]
async fn ping(request: Request) -> impl IntoResponse {
    match request.uri().path() {
        "/ping" => format!("pong by pid:{}\n", std::process::id()),
        _ => "unknown\n".to_owned(),
    }
}

#[gracehttp::main(servers(ping))]
async fn main() {}
