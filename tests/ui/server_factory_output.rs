//! A factory returns a service.

use gracehttp::server;

#[server(port = 8080)]
fn text() -> String {
    "pong".to_owned()
}

#[server(port = 8081)]
fn without_its_state() -> axum::Router<u8> {
    axum::Router::new()
}

#[gracehttp::main(servers(text, without_its_state))]
async fn main() {}
