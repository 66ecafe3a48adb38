//! A handler returns a response, from a future that any thread may run.

use std::io;
use std::rc::Rc;
use std::sync::Mutex;

use axum::http::StatusCode;
use gracehttp::server;

struct User;

static COUNT: Mutex<u64> = Mutex::new(0);

#[server(port = 8080)]
async fn user() -> User {
    User
}

#[server(port = 8081)]
async fn file() -> Result<String, io::Error> {
    std::fs::read_to_string("file")
}

#[server(port = 8082)]
async fn single_threaded() -> String {
    let text = Rc::new("pong");
    std::future::ready(()).await;
    text.to_string()
}

#[server(port = 8083)]
async fn locked() {
    let mut count = COUNT.lock().expect("nobody panics with it");
    std::future::ready(()).await;
    *count += 1;
}

#[server(port = 8084)]
async fn factory() -> axum::Router {
    axum::Router::new()
}

#[server(port = 8085)]
async fn backwards() -> (String, StatusCode) {
    ("lost".to_owned(), StatusCode::NOT_FOUND)
}

#[gracehttp::main(servers(user, file, single_threaded, locked, factory, backwards))]
async fn main() {}
