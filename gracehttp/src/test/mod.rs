//! For tests of your own: a server in memory, a server on a port, and an application through its restarts.
//!
//! [`call`] gives a server one request, without a socket. [`TestServer`] serves on a port of 127.0.0.1, with
//! everything that serves in production. With the feature `test-kit` it has a client, and `RestartTest` starts
//! a whole application, restarts it under load, and asserts that no client noticed.
//!
//! ```
//! use gracehttp::{State, server, test};
//!
//! #[server(port = 8080)]
//! async fn greet(State(greeting): State<String>) -> String {
//!     format!("{greeting}!")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let response = test::call(greet::server(), "hello".to_owned(), test::get("/")).await;
//! assert_eq!(response.status(), 200);
//! assert_eq!(test::text(response).await, "hello!");
//! # }
//! ```

#[cfg(feature = "test-kit")]
mod application;
#[cfg(feature = "test-kit")]
mod client;
#[cfg(feature = "test-kit")]
mod load;
#[cfg(feature = "test-kit")]
mod restart;
mod server;

use axum_core::response::IntoResponse;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;

#[cfg(feature = "test-kit")]
pub use restart::{RestartReport, RestartTest};
pub use server::TestServer;

use crate::error::Error;
use crate::server::{IntoServer, Request, Response, Server, Surroundings};

/// Gives a server one request, in memory: no socket, no limits, no runtime but the test's own.
///
/// Extractors work as they do in production. There is no client's address and no TLS, so `Option<PeerAddr>` and
/// `Option<TlsInfo>` are `None`. There is no drain, so `Shutdown` never resolves. For axum's `ConnectInfo`, the test puts
/// one into the extensions of the request.
///
/// # Panics
///
/// If the description of the server is at fault, or its handler panics.
pub async fn call<S, M>(server: impl IntoServer<S, M>, state: S, request: Request) -> Response {
    let Server { make, .. } = sound(server.into_server());
    let dispatch = make(&state);
    dispatch.call(request, Surroundings::default()).await
}

/// The server, if nothing in its description is wrong.
fn sound<S>(mut server: Server<S>) -> Server<S> {
    if let Err(error) = Error::check(std::mem::take(&mut server.faults)) {
        panic!("{error}");
    }
    server
}

/// A `GET` request.
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn get(path: &str) -> Request {
    request(Method::GET, path, ())
}

/// A `POST` request. Its body is anything that a handler may return, and brings its headers along: text, bytes,
/// `Json(value)`, `Form(value)`, or `([("x-key", "value")], body)`.
///
/// ```
/// let request = gracehttp::test::post("/users", "name=Ada");
/// assert_eq!(request.headers()["content-type"], "text/plain; charset=utf-8");
/// ```
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn post(path: &str, body: impl IntoResponse) -> Request {
    request(Method::POST, path, body)
}

/// A `PUT` request; see [`post`] for its body.
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn put(path: &str, body: impl IntoResponse) -> Request {
    request(Method::PUT, path, body)
}

/// A `PATCH` request; see [`post`] for its body.
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn patch(path: &str, body: impl IntoResponse) -> Request {
    request(Method::PATCH, path, body)
}

/// A `DELETE` request.
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn delete(path: &str) -> Request {
    request(Method::DELETE, path, ())
}

/// A `HEAD` request.
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn head(path: &str) -> Request {
    request(Method::HEAD, path, ())
}

/// An `OPTIONS` request.
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn options(path: &str) -> Request {
    request(Method::OPTIONS, path, ())
}

/// A request of any method; see [`post`] for its body. A `DELETE` that has one is
/// `request(Method::DELETE, "/users/1", body)`.
///
/// # Panics
///
/// If `path` is no path of a URL.
pub fn request(method: Method, path: &str, body: impl IntoResponse) -> Request {
    let (response, body) = body.into_response().into_parts();
    let uri = path.parse().unwrap_or_else(|error| panic!("`{path}` is no path of a URL: {error}"));
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = response.headers;
    request
}

/// The body of a response as text.
///
/// # Panics
///
/// If the body fails on the way, or is no UTF-8.
pub async fn text(response: Response) -> String {
    let body = bytes(response).await;
    String::from_utf8(body.into()).unwrap_or_else(|error| panic!("the body is no text: {error}"))
}

/// The body of a response, read as JSON.
///
/// # Panics
///
/// If the body fails on the way, or does not say a `T`.
#[cfg(feature = "axum")]
pub async fn json<T: serde::de::DeserializeOwned>(response: Response) -> T {
    let body = bytes(response).await;
    match axum::Json::from_bytes(&body) {
        Ok(axum::Json(value)) => value,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&body)),
    }
}

/// The body of a response.
///
/// # Panics
///
/// If the body fails on the way.
pub async fn bytes(response: Response) -> Bytes {
    match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => panic!("the body of the response broke off: {error}"),
    }
}
