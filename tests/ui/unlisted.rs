//! A server that no application lists is a function that nobody uses, and nothing more.

#![deny(dead_code)]

use gracehttp::server;

#[server(port = 8080)]
async fn listed() {}

#[server(port = 8081)]
async fn handler() {}

#[server(port = 8082)]
fn factory() -> axum::Router {
    axum::Router::new()
}

#[server(port = 8083)]
mod routes {
    #[get("/")]
    async fn index() {}
}

#[gracehttp::routes]
mod part {
    #[get("/")]
    async fn part_of_none() {}
}

#[gracehttp::main(servers(listed))]
async fn main() {}
