//! A handler whose `async` was forgotten is a factory.

use gracehttp::{State, server};

#[derive(Clone)]
struct App;

#[server(port = 8080)]
fn no_output() {}

#[server(port = 8081)]
fn extractor(State(app): State<App>) -> axum::Router {
    axum::Router::new().with_state(app)
}

#[server(port = 8082)]
fn two_arguments(_: App, name: String) -> String {
    name
}

#[gracehttp::main(servers(no_output, extractor, two_arguments))]
async fn main() -> App {
    App
}
