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

#[server(port = 0, idle_timeout = "367days", request_timeout = "300000000000years", tcp_keepalive = "1day")]
async fn for_ever() {}

#[server(port = 0, max_body = "2M", max_header_size = 64.0)]
async fn sizes() {}

#[server(port = 0, max_header_size = "0B", max_headers = 10_001)]
async fn room_for_nothing_and_for_all() {}

#[server(port = 0, max_header_size = 0)]
async fn room_for_nothing() {}

#[server(port = 0, when_full = "wait", max_conn_memory = "63KiB", half_close_timeout = 1)]
async fn full() {}

#[server(port = 0, when_full = drop, max_conn_memory = "4M", half_close_timeout = "367days")]
async fn full_of_others() {}

#[server(listen = "unix:a", socket_mode = "rw-rw----", socket_user = "", socket_group = 33)]
async fn nobody() {}

#[server(listen = "unix:b", socket_mode = 0660)]
async fn decimal() {}

#[server(port = 8080, http1 = false, http2 = false, crate = "gracehttp", state = 5)]
async fn others() {}

#[gracehttp::main(servers(types, ranges, durations, for_ever, sizes, room_for_nothing, room_for_nothing_and_for_all, full, full_of_others, nobody, decimal, others))]
async fn main() {}
