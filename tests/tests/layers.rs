//! Layers of tower-http: all of them work around a server of any kind, around a module, and around a route.

use std::cell::Cell;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, ORIGIN};
use gracehttp::{IntoServer, Request, server, test};
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::{DefaultMakeSpan, HttpMakeClassifier, TraceLayer};
use tracing::Span;

type Note = fn(&Request, &Span);
type Layers =
    (TraceLayer<HttpMakeClassifier, DefaultMakeSpan, Note>, CompressionLayer, CorsLayer, TimeoutLayer);

fn layers() -> Layers {
    let limit = Duration::from_millis(50);
    (
        TraceLayer::new_for_http().on_request(note as Note),
        CompressionLayer::new(),
        CorsLayer::permissive(),
        TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, limit),
    )
}

thread_local! {
    /// The number of traced requests. Every test has its own thread.
    static TRACED: Cell<u32> = const { Cell::new(0) };
}

fn note(_: &Request, _: &Span) {
    TRACED.set(TRACED.get() + 1);
}

/// A text that is worth compressing, or no answer at all.
async fn answer(path: &str) -> String {
    match path {
        "/slow" => std::future::pending().await,
        _ => "x".repeat(10_000),
    }
}

#[server(port = 0, layer = layers())]
async fn handler(request: Request) -> String {
    answer(request.uri().path()).await
}

#[server(port = 0, layer = layers())]
fn factory() -> Router {
    Router::new().fallback(async |request: Request| answer(request.uri().path()).await)
}

#[server(port = 0, layer = layers())]
mod routes {
    #[get("/{_path}")]
    async fn any(request: gracehttp::Request) -> String {
        super::answer(request.uri().path()).await
    }
}

#[server(port = 0)]
mod route {
    #[get("/{_path}", layer = super::layers())]
    async fn any(request: gracehttp::Request) -> String {
        super::answer(request.uri().path()).await
    }
}

#[server(port = 0)]
mod module {
    #[gracehttp::routes(layer = super::layers())]
    mod inner {
        #[get("/{_path}")]
        async fn any(request: gracehttp::Request) -> String {
            crate::answer(request.uri().path()).await
        }
    }
}

fn asking(path: &str) -> Request {
    let mut request = test::get(path);
    let headers = request.headers_mut();
    headers.insert(ACCEPT_ENCODING, "gzip".parse().expect("a header"));
    headers.insert(ORIGIN, "https://example.com".parse().expect("a header"));
    request
}

async fn each_of_them_works<T: IntoServer<(), M>, M>(server: fn() -> T) {
    let response = test::call(server(), (), asking("/text")).await;
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let compressed = test::bytes(response).await;
    assert!(compressed.starts_with(b"\x1f\x8b") && compressed.len() < 200, "{compressed:?}");
    assert_eq!(TRACED.get(), 1);

    let response = test::call(server(), (), test::get("/text")).await;
    assert_eq!(test::text(response).await, answer("/text").await);

    let response = test::call(server(), (), asking("/slow")).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(TRACED.get(), 3);
}

#[tokio::test]
async fn layers_work_around_a_handler() {
    each_of_them_works(handler::server).await;
}

#[tokio::test]
async fn layers_work_around_the_service_of_a_factory() {
    each_of_them_works(factory::server).await;
}

#[tokio::test]
async fn layers_work_around_a_module_of_routes() {
    each_of_them_works(routes::server).await;
}

#[tokio::test]
async fn layers_work_around_one_route() {
    each_of_them_works(route::server).await;
}

#[tokio::test]
async fn layers_work_around_a_part_of_a_server() {
    each_of_them_works(module::server).await;
}
