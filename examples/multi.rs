//! Several servers in one process: two in plain text and one over TLS. They restart and stop together.
//!
//! ```text
//! cargo run --example multi --features multi
//! curl localhost:9090             # public, pid 4711
//! curl localhost:9091             # admin, pid 4711
//! curl -k https://localhost:9443  # secure, pid 4711; -k because the certificate is self-signed
//! kill -USR1 4711                 # all three have a new pid
//! kill -TERM 4712                 # all three are gone
//! ```
//!
//! Each server takes another port from its own variable: `GRACEHTTP_SERVER__PUBLIC__PORT=8080`,
//! `GRACEHTTP_SERVER__ADMIN__PORT=8081`, `GRACEHTTP_SERVER__SECURE__PORT=8443`.

use gracehttp::server;

/// On all interfaces.
#[server(port = 9090, max_conns = 1000)]
async fn public() -> String {
    signed("public")
}

/// For clients on this machine, ten at a time.
#[server(listen = "localhost:9091", max_conns = 10)]
async fn admin() -> String {
    signed("admin")
}

/// HTTPS. In production, `tls(cert = "cert.pem", key = "key.pem")`.
#[server(port = 9443, tls = self_signed, max_conns = 1000)]
async fn secure() -> String {
    signed("secure")
}

fn signed(server: &str) -> String {
    format!("{server}, pid {}\n", std::process::id())
}

#[gracehttp::main(servers(public, admin, secure))]
async fn main() {}
