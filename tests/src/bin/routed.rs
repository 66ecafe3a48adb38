//! The application of the tests of `routes`: a server of each kind. It can't start; the tests only read its
//! description.

use axum::Router;
use axum::middleware::{Next, from_fn};
use gracehttp::{App, Request, Response, Server, server};

async fn pass(request: Request, next: Next) -> Response {
    next.run(request).await
}

mod users {
    #[gracehttp::routes(prefix = "/users", routes(super::posts::routes))]
    pub(crate) mod routes {
        use gracehttp::Path;

        #[get("/")]
        async fn list() {}

        #[get("/{id}")]
        #[delete("/{id}")]
        async fn r#match(Path(_): Path<u64>) {}
    }
}

mod posts {
    #[gracehttp::routes(prefix = "/{id}/posts")]
    pub(crate) mod routes {
        #[get("/")]
        async fn of_user() {}
    }
}

#[server(port = 1, prefix = "/v1", routes(users::routes), layer = from_fn(pass))]
mod api {
    #[get("/", layer = axum::middleware::from_fn(super::pass))]
    async fn index() {}

    #[any("/echo")]
    #[route(TRACE, "/{*rest}")]
    async fn echo(_: gracehttp::Request) {}

    #[fallback]
    async fn lost() {}

    #[gracehttp::routes(prefix = "/admin")]
    mod admin {
        #[options("/jobs")]
        async fn jobs() {}
    }
}

#[server(port = 2)]
async fn single() {}

#[server(port = 3)]
fn legacy() -> Router {
    Router::new()
}

fn main() -> std::process::ExitCode {
    App::new(async || panic!("nobody asked for the start-up code"))
        .serve(api::server())
        .serve(single::server())
        .serve(legacy::server())
        .serve(Server::builder("by-hand").listen("nonsense").handler(async || ()))
        .cli()
        .run()
}
