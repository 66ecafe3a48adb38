//! Arguments that no application could make of a request, and bodies that are taken too early.

use std::collections::HashMap;

use gracehttp::{Json, PeerAddr, Request, server};

#[server(port = 8080)]
async fn scalars(id: u64, _: bool) {}

#[server(port = 8081)]
async fn borrowed(_: &str, _: &Request) {}

#[server(port = 8082)]
async fn collections(_: Vec<u64>, _: HashMap<String, String>, _: [u8; 4]) {}

#[server(port = 8083)]
async fn body_first(_: String, _: PeerAddr) {}

#[server(port = 8084)]
async fn two_bodies(_: Json<u64>, _: Request) {}

#[server(port = 8085)]
mod api {
    #[get("/users/{id}")]
    async fn user(id: u64) {}
}

#[gracehttp::main(servers(scalars, borrowed, collections, body_first, two_bodies, api))]
async fn main() {}
