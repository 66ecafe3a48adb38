//! Attributes that would make two things of one function.

use gracehttp::{get, server};

#[server(port = 8080)]
#[server(port = 8081)]
async fn twice() {}

#[server(port = 8082)]
#[get("/")]
#[gracehttp::post("/")]
async fn routes() {}

#[get("/")]
#[server(port = 8083)]
async fn route_above() {}

#[gracehttp::main(servers(twice, routes, route_above))]
async fn main() {}
