//! Values of a wrong type, out of range, or that can't be read.

use gracehttp::server;

#[server(port = "8080", max_conns = "1000", backlog = 1.5, http1 = 1, nodelay = "yes", name = api)]
async fn types() {}

#[server(port = 65536, max_conns = 0, backlog = -1, max_headers = 99999999999999999999, name = "")]
async fn ranges() {}

#[server(
    port = 0,
    handshake_timeout = 10,
    header_read_timeout = "10",
    request_timeout = "soon",
    idle_timeout = "0s",
    tcp_keepalive = "1 fortnight"
)]
async fn durations() {}

#[server(port = 0, max_body = "2M", max_header_size = 64.0)]
async fn sizes() {}

#[server(port = 8080, http1 = false, http2 = false, crate = "gracehttp", state = 5)]
async fn others() {}

#[gracehttp::main(servers(types, ranges, durations, sizes, others))]
async fn main() {}
