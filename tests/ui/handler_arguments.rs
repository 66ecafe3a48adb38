//! Every argument is an extractor, and only the last one may take the body.

use gracehttp::{Json, Request, server};

#[server(port = 8080)]
async fn number(_: i32) {}

#[server(port = 8081)]
async fn first(_: i32, _: Request) {}

#[server(port = 8082)]
async fn order(_: Json<u64>, _: Request) {}

#[gracehttp::main(servers(number, first, order))]
async fn main() {}
