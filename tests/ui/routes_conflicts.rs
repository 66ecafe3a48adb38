//! Routes that axum's router would panic at when the application starts.

use gracehttp::{Path, server};

#[server(port = 8080)]
mod api {
    use super::Path;

    #[get("/users")]
    async fn users() {}

    #[post("/users")]
    #[get("/users")]
    async fn again() {}

    #[get("/users/{id}")]
    async fn user(_: Path<u64>) {}

    #[get("/users/{name}")]
    async fn by_name(_: Path<String>) {}

    #[delete("/users/{name}")]
    async fn remove(_: Path<String>) {}

    #[get("/users/{*rest}")]
    async fn rest(_: Path<String>) {}

    #[any("/any")]
    async fn any() {}

    #[get("/any")]
    #[any("/any")]
    async fn any_again() {}

    #[fallback]
    async fn lost() {}

    #[fallback]
    async fn lost_again() {}
}

#[gracehttp::main(servers(api))]
async fn main() {}
