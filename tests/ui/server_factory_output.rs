//! A factory returns a service.

use gracehttp::server;

#[server(port = 8080)]
fn text() -> String {
    "pong".to_owned()
}

#[gracehttp::main(servers(text))]
async fn main() {}
