//! A handler returns a response, from a future that any thread may run.

use std::rc::Rc;

use gracehttp::server;

struct User;

#[server(port = 8080)]
async fn user() -> User {
    User
}

#[server(port = 8081)]
async fn single_threaded() -> String {
    let text = Rc::new("pong");
    std::future::ready(()).await;
    text.to_string()
}

#[gracehttp::main(servers(user, single_threaded))]
async fn main() {}
