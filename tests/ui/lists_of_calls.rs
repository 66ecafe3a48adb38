//! Servers and modules that are called in a list, where their names belong.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

mod users {
    #[gracehttp::routes]
    pub mod routes {
        #[get("/users")]
        async fn all() {}
    }
}

#[server(port = 8081, routes(users::routes()))]
mod api {
    #[get("/")]
    async fn root() {}
}

#[gracehttp::main(servers(ping, api::server(), ping()))]
async fn main() {}
