//! What only the types tell: the state, arguments, outputs and layers.

use gracehttp::{Json, State, server};

#[derive(Clone)]
struct App;

#[derive(Clone)]
struct Users;

struct User;

#[server(port = 8080)]
mod stateful {
    use super::*;

    #[get("/app")]
    async fn app(_: State<App>) {}

    #[get("/users")]
    async fn users(_: State<Users>, _: Json<u64>) {}

    #[get("/more-users")]
    async fn more_users(_: State<Users>) {}
}

#[server(port = 8081, routes(part))]
mod with_a_part {}

#[gracehttp::routes]
mod part {
    use super::*;

    #[get("/users")]
    async fn users(_: State<Users>) {}
}

#[server(port = 8082)]
mod arguments {
    #[get("/")]
    async fn number(_: i32) {}
}

#[server(port = 8083)]
mod output {
    #[get("/")]
    async fn user() -> super::User {
        super::User
    }
}

fn layer() -> tower_layer::Identity {
    tower_layer::Identity::new()
}

#[server(port = 8084, layer = layer)]
mod layers {
    #[get("/", layer = "layer")]
    async fn text() {}

    #[get("/right", layer = super::layer())]
    async fn right() {}
}

#[gracehttp::main(servers(stateful, with_a_part, arguments, output, layers))]
async fn main() -> App {
    App
}
