//! Certificates that are given by halves, or otherwise.

use gracehttp::server;

#[server(port = 8443, tls(cert = "cert.pem"))]
async fn half() {}

#[server(port = 8444, tls(certificate = "cert.pem", key = 5))]
async fn keys() {}

#[server(port = 8445, tls = "cert.pem")]
async fn string() {}

#[server(port = 8446, tls = ("cert.pem", "key.pem", "ca.pem"))]
async fn three() {}

#[server(port = 8447, tls = selfsigned)]
async fn word() {}

#[server(port = 8448, tls)]
async fn nothing() {}

#[server(port = 8449, tls(cert = "", key = "key.pem"))]
async fn empty() {}

#[gracehttp::main(servers(half, keys, string, three, word, nothing, empty))]
async fn main() {}
