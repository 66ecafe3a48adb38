//! Servers that can't both have what they want.

use gracehttp::server;

#[server(port = 8080)]
async fn api() {}

#[server(listen = ["127.0.0.1:8081", "unix:/run/app.sock"])]
mod admin {
    #[get("/")]
    async fn root() {}
}

#[server(listen = "127.0.0.1:8080")]
async fn included() {}

#[server(listen = ["[::1]:8082", "unix:/run/app.sock"])]
fn socket() -> axum::Router {
    axum::Router::new()
}

#[server(listen = "127.0.0.2:8081")]
async fn apart() {}

#[server(port = 0)]
async fn any_port() {}

#[server(port = 0)]
async fn any_other_port() {}

#[server(listen = ["0.0.0.0:8083", "[::]:8084"])]
async fn families() {}

#[server(listen = "127.0.0.1:8083")]
async fn ipv4() {}

#[server(listen = "[::1]:8084")]
async fn ipv6() {}

#[server(listen = ["[::1]:8083", "127.0.0.1:8084"])]
async fn the_other_families() {}

#[gracehttp::main(servers(api, admin, included, socket, apart, any_port, any_other_port, families, ipv4, ipv6, the_other_families))]
async fn main() {}
