//! Paths that are none, each told with what to write.

use gracehttp::{Path, server};

#[server(port = 8080)]
mod api {
    use super::Path;

    #[get("")]
    async fn empty() {}

    #[get("users")]
    async fn no_slash() {}

    #[get("/users/:id")]
    async fn colon(_: Path<u64>) {}

    #[get("/files/*path")]
    async fn asterisk(_: Path<String>) {}

    #[get("/users/<id>")]
    async fn angles(_: Path<u64>) {}

    #[get("/users/{id:[0-9]+}")]
    async fn pattern(_: Path<u64>) {}

    #[get("/users/{id")]
    #[get("/users/id}")]
    #[get("/users/{}")]
    async fn braces(_: Path<u64>) {}

    #[get("/{name}.html")]
    async fn suffix(_: Path<String>) {}

    #[get("/{*rest}/more")]
    async fn behind_the_rest(_: Path<String>) {}

    #[get("/{id}/{id}")]
    async fn twice(_: Path<(u64, u64)>) {}

    #[get("/users?page={page}")]
    async fn query(_: Path<u64>) {}

    #[get("GET /method")]
    #[get("http://localhost/url")]
    async fn more_than_a_path() {}

    #[get("/go/{rest...}")]
    #[get("/go/{$}")]
    #[get("/next/[id]")]
    #[get("/asterisks/**")]
    async fn elsewhere(_: Path<String>) {}

    #[get("/spaces/{ id }")]
    #[get("/hyphen/{user-id}")]
    #[get("/optional/{id?}")]
    async fn names(_: Path<u64>) {}

    #[get("/a b")]
    #[get("/ä")]
    async fn sent_otherwise() {}
}

#[server(port = 8081, prefix = "v1")]
mod no_slash {
    #[get("/")]
    async fn root() {}
}

#[server(port = 8082, prefix = "/v1/")]
mod slash_at_the_end {
    #[get("/")]
    async fn root() {}
}

#[server(port = 8083, prefix = "/{*rest}")]
mod catch_all {
    #[get("/")]
    async fn root() {}
}

#[server(port = 8084, prefix = "")]
mod empty {
    #[get("/")]
    async fn root() {}
}

#[server(port = 8085, prefix = "/<path:rest>")]
mod catch_all_elsewhere {
    #[get("/")]
    async fn root() {}
}

#[gracehttp::main(servers(api, no_slash, slash_at_the_end, catch_all, empty, catch_all_elsewhere))]
async fn main() {}
