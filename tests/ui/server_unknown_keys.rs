//! A key that does not exist is told with the one that was meant, and every other fault with it.

use gracehttp::server;

#[server(prot = 8080, max_connections = 1000, "127.0.0.1:8080")]
async fn typos() {}

#[server(port = 8080, port = 8081, name)]
async fn twice() {}

#[server(port = 8082 max_conns = 1000)]
async fn no_comma() {}

#[server(port: 8083, tls = ("cert.pem", "key.pem"), tls.client_ca = "ca.pem")]
async fn other_syntax() {}

#[server]
async fn nowhere() {}

#[gracehttp::main(servers(typos, twice, no_comma, other_syntax, nowhere), drain_timout = "10s")]
async fn main() {}
