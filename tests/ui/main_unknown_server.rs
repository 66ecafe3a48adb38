//! A name in the list that is no server, or nothing at all.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

async fn forgotten() {}

#[gracehttp::main(servers(ping, pong, forgotten))]
async fn main() {}
