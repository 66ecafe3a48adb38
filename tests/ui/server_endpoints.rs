//! Endpoints that can't be read, and those that one server can't have together.

use gracehttp::server;

#[server(listen = "8080")]
async fn no_colon() {}

#[server(listen = ["localhost", "http://localhost:80", "*:80", "::1", "127.0.0.1:65536", "unix:", 8080])]
async fn shapes() {}

#[server(listen = ["unix:/run/a?mode=0660", "/run/a", "::1:80"], mode = "0660")]
async fn options() {}

#[server(listen = [])]
async fn none() {}

#[server(port = 8080, listen = ":8080")]
async fn same() {}

#[server(listen = ["127.0.0.1:8081", "[::1]:8081"], port = 8081)]
async fn included() {}

#[server(listen = ["127.0.0.1:8082", "127.0.0.1:8083", "127.0.0.1:8082", "unix:/run/a", "unix:/run/a"])]
async fn twice() {}

#[server(listen = ["0.0.0.0:8084", "127.0.0.1:8084", "[::]:8084", "[::1]:8084"])]
async fn included_in_a_family() {}

#[server(port = [8084, 8085])]
async fn ports() {}

#[server(listen("127.0.0.1:8086", "127.0.0.1:8087"))]
async fn parentheses() {}

#[server(listen = ":8088", listen = ":8089")]
async fn one_key_each() {}

#[gracehttp::main(servers(
    no_colon,
    shapes,
    options,
    none,
    same,
    included,
    twice,
    included_in_a_family,
    ports,
    parentheses,
    one_key_each
))]
async fn main() {}
