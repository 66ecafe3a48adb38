//! Parameters that no argument takes, or fewer or more than it takes.

use axum::extract::RawQuery;
use axum::extract::rejection::QueryRejection;
use gracehttp::{Json, Path, Query, Request, State, server};

#[server(port = 8080, prefix = "/v1/{org}")]
mod api {
    use super::*;

    #[get("/users/{id}")]
    async fn nobody() {}

    #[put("/users/{id}")]
    async fn others(_: State<()>, _: Query<u64>, _: Json<u64>) {}

    #[get("/named/{_id}")]
    async fn not_needed() {}

    #[get("/request/{id}")]
    async fn request(_: Request) {}

    #[get("/few/{id}")]
    async fn too_few(_: Path<u64>) {}

    #[get("/many/{id}")]
    async fn too_many(_: Path<(String, u64, u64)>) {}

    #[get("/twice/{org}/{_id}")]
    async fn in_the_prefix(_: Path<(String, String, u64)>) {}

    #[get("/one-each/{id}")]
    async fn one_each(_: Path<String>, _: Path<u64>) {}

    #[put("/more-others/{id}")]
    async fn more_others(_: Result<Query<u64>, QueryRejection>, _: RawQuery, _: Option<Json<u64>>) {}

    #[get("/right/{id}")]
    async fn right(_: Path<(String, u64)>) {}
}

#[gracehttp::routes(prefix = "/users")]
mod part {
    use super::*;

    #[get("/{id}/{post}")]
    async fn too_few(_: Path<u64>) {}

    #[get("/outer/{id}")]
    async fn perhaps_from_the_outer_prefix(_: Path<(String, u64)>) {}
}

#[server(port = 8081, routes(part))]
mod none {
    use super::*;

    #[get("/")]
    async fn root(_: Path<u64>) {}
}

#[gracehttp::main(servers(api, none))]
async fn main() {}
