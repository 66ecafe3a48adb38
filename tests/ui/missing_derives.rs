//! Types of the application's own that serde can't read or write.

use gracehttp::{Json, Path, Query, server};
use serde::{Deserialize, Serialize};

struct User;

#[derive(Deserialize)]
struct Filter;

#[derive(Serialize)]
struct Place;

#[server(port = 8080)]
async fn returned() -> Json<User> {
    Json(User)
}

#[server(port = 8081)]
async fn only_read(Query(filter): Query<Filter>) -> Json<Filter> {
    Json(filter)
}

#[server(port = 8082)]
async fn only_written(_: Query<Place>, _: Json<Place>) {}

#[server(port = 8083)]
mod api {
    use super::*;

    #[get("/{id}")]
    async fn user(_: Path<User>) {}
}

#[gracehttp::main(servers(returned, only_read, only_written, api))]
async fn main() {}
