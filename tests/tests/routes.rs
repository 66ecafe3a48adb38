//! Modules of routes: their answers, and that they compile without a warning in every form.

#![deny(
    warnings,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    missing_copy_implementations,
    non_camel_case_types,
    private_bounds,
    private_interfaces,
    single_use_lifetimes,
    trivial_bounds,
    unused_qualifications,
    unused_results,
    clippy::pedantic
)]
#![forbid(unsafe_code)]
// Handlers have to be async.
#![allow(clippy::unused_async)]

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::Response;
use gracehttp::__private::routes::Routes;
use gracehttp::{App, Body, FromRef, IntoServer, Path, Server, State, server};
use tower_service::Service as _;

/// The state that `main` returns.
#[derive(Clone, Debug)]
pub struct Everything {
    name: String,
}

/// A part of it.
#[derive(Clone, Debug)]
struct Name(String);

impl FromRef<Everything> for Name {
    fn from_ref(everything: &Everything) -> Self {
        Self(everything.name.clone())
    }
}

/// Marks the response, to show that the layer ran.
async fn mark(mut response: Response) -> Response {
    let _ = response.headers_mut().append("mark", HeaderValue::from_static("marked"));
    response
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let _ = response.headers_mut().insert("guard", HeaderValue::from_static("passed"));
    response
}

/// In another file this would be `mod users;`.
mod users {
    #[gracehttp::routes(prefix = "/users", routes(super::posts::routes))]
    pub(crate) mod routes {
        use axum::http::Method;
        use gracehttp::{Path, State};

        use crate::Everything;

        #[get("/")]
        async fn list(State(everything): State<Everything>) -> String {
            format!("users of {}", everything.name)
        }

        #[get("/{id}")]
        #[put("/{id}")]
        async fn user(method: Method, Path(id): Path<u64>) -> String {
            format!("{method} user {id}")
        }

        #[delete("/{id}")]
        async fn remove(Path(id): Path<u64>, body: String) -> String {
            format!("removed {id}: {body}")
        }
    }
}

mod posts {
    #[gracehttp::routes(prefix = "/{id}/posts")]
    pub(crate) mod routes {
        use gracehttp::Path;

        #[get("/{post}")]
        pub(crate) async fn post(Path((id, post)): Path<(u64, String)>) -> String {
            format!("post {post} of user {id}")
        }
    }
}

#[server(port = 0, state = Everything, routes(users::routes), layer = map_response(mark))]
mod api {
    //! A server of many routes.
    #![allow(clippy::unused_async)]

    use super::{MatchedPath, Method, Name, Path, State, StatusCode, Uri, from_fn, guard};

    #[get("/")]
    async fn index() -> &'static str {
        "index"
    }

    #[get("/name", layer = from_fn(guard))]
    #[inline]
    async fn name(State(Name(name)): State<Name>) -> String {
        name
    }

    #[get("/items/{id}")]
    #[head("/items/{id}")]
    #[post("/items")]
    async fn items(method: Method, path: MatchedPath) -> String {
        format!("{method} {}", path.as_str())
    }

    #[get("/echo")]
    #[any("/echo")]
    #[route(TRACE, "/trace")]
    async fn echo(request: gracehttp::Request) -> String {
        format!("{} {}", request.method(), request.uri())
    }

    #[patch("/files/{*path}")]
    #[options("/files/{*path}")]
    async fn file(Path(path): Path<String>) -> String {
        path
    }

    #[get("/unused/{_id}")]
    async fn unused() {}

    #[get("/optional")]
    #[get("/optional/{id}")]
    async fn optional(id: Option<Path<u64>>) -> String {
        id.map_or_else(|| "none".to_owned(), |Path(id)| id.to_string())
    }

    #[get("/with%20space/%C3%A4")]
    async fn escaped() -> &'static str {
        "escaped"
    }

    impl Name {
        /// The macro changes nothing within an item.
        fn first(&self) -> Option<char> {
            self.0.chars().next()
        }
    }

    mod other {
        #![allow(clippy::unused_async)]

        #[inline]
        pub(super) fn initial(name: &super::Name) -> String {
            name.first().into_iter().collect()
        }
    }

    #[get("/initial")]
    async fn initial(State(name): State<Name>) -> String {
        other::initial(&name)
    }

    #[cfg(unix)]
    #[get("/conditional")]
    async fn conditional() -> &'static str {
        "unix"
    }

    #[cfg(not(unix))]
    #[get("/conditional")]
    async fn conditional() -> &'static str {
        "not unix"
    }

    #[fallback]
    async fn lost() -> (StatusCode, &'static str) {
        (StatusCode::NOT_FOUND, "lost")
    }

    #[gracehttp::routes(prefix = "/admin", layer = from_fn(guard))]
    mod admin {
        use super::{Name, Path, State, Uri};

        #[get("/")]
        async fn index(State(Name(name)): State<Name>) -> String {
            format!("admin of {name}")
        }

        #[get("/jobs/{job}")]
        async fn job(Path(job): Path<String>, uri: Uri) -> String {
            format!("job {job} at {uri}")
        }
    }
}

#[server(name = "versioned", port = 0, prefix = "/v1", routes(posts::routes))]
/// A keyword as the name.
pub mod r#match {
    #[get("/")]
    /// Answers at the prefix itself.
    pub async fn root() -> &'static str {
        "v1"
    }
}

/// A crate that re-exports gracehttp.
mod facade {
    pub(crate) use ::gracehttp;
}

#[facade::gracehttp::server(port = 0, crate = facade::gracehttp)]
pub(crate) mod renamed {
    #[facade::gracehttp::get("/")]
    async fn root() {}
}

#[server(port = 0, layer = from_fn(guard))]
async fn layered() {}

#[server(port = 0, layer = map_response(mark))]
fn layered_factory() -> axum::Router {
    axum::Router::new()
}

fn everything() -> Everything {
    Everything { name: "grace".to_owned() }
}

async fn ask_of<M>(routes: impl Routes<Everything, M>, method: Method, path: &str) -> Response {
    let mut service = routes.router("", &Arc::new(everything())).service();
    let request = Request::builder().method(method).uri(path).body(Body::from("body")).expect("a request");
    service.call(request).await.unwrap()
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn ask(method: Method, path: &str) -> String {
    text(ask_of(api::server(), method, path).await).await
}

async fn get(path: &str) -> String {
    ask(Method::GET, path).await
}

#[tokio::test]
async fn request_of_every_method_reaches_its_handler() {
    assert_eq!(get("/").await, "index");
    assert_eq!(get("/items/7").await, "GET /items/{id}");
    assert_eq!(get("/conditional").await, "unix");
    assert_eq!(ask(Method::POST, "/items").await, "POST /items");
    assert_eq!(ask(Method::PUT, "/echo?a=b").await, "PUT /echo?a=b");
    assert_eq!(get("/echo").await, "GET /echo");
    assert_eq!(ask(Method::TRACE, "/trace").await, "TRACE /trace");
    assert_eq!(ask(Method::PATCH, "/files/a/b").await, "a/b");
    assert_eq!(ask(Method::OPTIONS, "/files/c").await, "c");
    assert_eq!(ask_of(api::server(), Method::HEAD, "/items/7").await.status(), StatusCode::OK);
    assert_eq!(ask_of(api::server(), Method::GET, "/unused/7").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn path_matches_as_clients_send_it() {
    assert_eq!(get("/with%20space/%C3%A4").await, "escaped");
    assert_eq!(get("/optional").await, "none");
    assert_eq!(get("/optional/7").await, "7");
    assert_eq!(get("/initial").await, "g");
}

#[tokio::test]
async fn unknown_path_gets_the_fallback_and_unknown_method_gets_405() {
    assert_eq!(get("/nowhere").await, "lost");
    let refused = ask_of(api::server(), Method::POST, "/name").await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["allow"], "GET,HEAD");
}

#[tokio::test]
async fn modules_add_their_prefix_and_handlers_see_the_whole_path() {
    assert_eq!(get("/admin").await, "admin of grace");
    assert_eq!(get("/admin/jobs/4").await, "job 4 at /admin/jobs/4");
    assert_eq!(get("/users").await, "users of grace");
    assert_eq!(get("/users/7").await, "GET user 7");
    assert_eq!(ask(Method::PUT, "/users/7").await, "PUT user 7");
    assert_eq!(ask(Method::DELETE, "/users/7").await, "removed 7: body");
    assert_eq!(get("/users/7/posts/first").await, "post first of user 7");
    let versioned = async |path| text(ask_of(r#match::server(), Method::GET, path).await).await;
    assert_eq!(versioned("/v1").await, "v1");
    assert_eq!(versioned("/v1/7/posts/first").await, "post first of user 7");
}

#[tokio::test]
async fn layer_wraps_the_module_or_route_that_declares_it() {
    let guarded = async |path| ask_of(api::server(), Method::GET, path).await.headers().contains_key("guard");
    assert!(guarded("/name").await && guarded("/admin").await && guarded("/admin/jobs/4").await);
    assert!(!guarded("/").await && !guarded("/users").await && !guarded("/nowhere").await);
}

#[test]
fn module_of_routes_is_a_server() {
    let app = App::new(async || everything())
        .serve(api::server())
        .serve(r#match::server())
        .serve(renamed::server())
        .serve(layered::server())
        .serve(layered_factory::server());
    let shown = format!("{app:?}");
    for name in ["api", "versioned", "renamed", "layered", "layered_factory"] {
        assert!(shown.contains(&format!("{name:?}")), "{name} in {shown}");
    }
    let server: Server<Everything> = api::server().into_server();
    assert_eq!(server.name(), "api");
}

/// The functions themselves remain callable.
#[tokio::test]
async fn handler_is_callable_as_a_function() {
    assert_eq!(r#match::root().await, "v1");
    assert_eq!(posts::routes::post(Path((1, "first".to_owned()))).await, "post first of user 1");
    layered().await;
}

#[test]
fn server_works_when_declared_within_a_function() {
    #[gracehttp::routes]
    mod part {
        #[get("/part")]
        async fn part() {}
    }

    #[server(port = 0, routes(part))]
    mod local {
        #[get("/")]
        async fn root() {}
    }

    let server: Server<()> = local::server().into_server();
    assert_eq!(server.name(), "local");
}
