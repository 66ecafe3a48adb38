//! Several mistakes in one attribute: each is told.

use gracehttp::{Path, server};

#[server(port = 8080)]
mod api {
    use super::Path;

    #[get("users", layers = 5)]
    async fn path_and_key() {}

    #[route(GTE, "users", layers = 5)]
    async fn method_path_and_key() {}

    #[get("/a/:id/<name>?x=1")]
    async fn parameters_and_query(_: Path<(u64, String)>) {}

    #[get(5, layers = 5)]
    async fn no_string_and_key() {}

    #[route("users")]
    async fn no_method_and_path() {}

    #[get("/comma" layers = 5)]
    async fn comma_and_key() {}

    #[route(GET "/method")]
    async fn comma_behind_a_method() {}
}

#[gracehttp::main(servers(api))]
async fn main() {}
