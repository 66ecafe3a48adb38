//! Health checks: their keys, their functions, their list, their state.

use gracehttp::{State, server};

#[derive(Clone)]
struct App;

#[derive(Clone)]
struct Users;

struct NoError;

#[server(port = 8080, health = "healthz")]
async fn ping() {}

#[server(port = 8081, health = "/{id}")]
async fn pong() {}

#[gracehttp::health(timeout = "0s", timeuot = "1s")]
async fn keys() -> Result<(), String> {
    Ok(())
}

#[gracehttp::health]
async fn request(_: String) -> Result<(), String> {
    Ok(())
}

#[gracehttp::health]
fn blocking() -> Result<(), String> {
    Ok(())
}

#[gracehttp::health]
async fn silent() {}

#[gracehttp::health]
async fn truth() -> bool {
    true
}

#[gracehttp::health]
async fn number() -> Result<u8, String> {
    Ok(1)
}

#[gracehttp::health]
async fn no_error() -> Result<(), NoError> {
    Ok(())
}

#[gracehttp::health]
async fn users(State(_): State<Users>) -> Result<(), String> {
    Ok(())
}

#[gracehttp::health]
struct Database;

async fn plain() -> Result<(), String> {
    Ok(())
}

mod empty {
    #[gracehttp::main(servers(super::ping), health())]
    async fn main() {}
}

mod twice {
    #[gracehttp::main(servers(super::ping), health(super::silent, super::silent), health(super::truth()))]
    async fn main() {}
}

mod undeclared {
    #[gracehttp::main(servers(super::ping), health(super::plain))]
    async fn main() {}
}

#[gracehttp::main(servers(ping), health(keys, users, no_error))]
async fn main() -> App {
    App
}
