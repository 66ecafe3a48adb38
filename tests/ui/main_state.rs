//! The state is checked at each entry of the list.

use gracehttp::{Json, State, server};

#[derive(Clone)]
struct App;

#[derive(Clone)]
struct Users;

#[server(port = 8080)]
async fn stateless(_: String) {}

#[server(port = 8081)]
async fn right(State(_): State<App>) {}

#[server(port = 8082)]
async fn wrong(State(_): State<Users>, body: Json<u64>) -> Json<u64> {
    body
}

#[server(port = 8083, state = Users)]
async fn declared() {}

#[server(port = 8084)]
fn factory(_: Users) -> axum::Router {
    axum::Router::new()
}

#[server(port = 8085)]
async fn unwrapped(_: App) {}

#[gracehttp::main(servers(stateless, right, wrong, declared, factory, unwrapped))]
async fn main() -> App {
    App
}
