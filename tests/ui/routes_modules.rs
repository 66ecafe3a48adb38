//! Modules without routes, in files of their own, and what is no module of routes.

use gracehttp::server;

#[server(port = 8080)]
mod empty {
    pub async fn ping() {}
}

#[gracehttp::routes]
mod empty_part {}

#[server(port = 8081, prefix = "/v1", routes(part))]
async fn function() {}

#[gracehttp::routes(port = 8082)]
mod part {
    #[get("/")]
    async fn root() {}

    #[fallback]
    async fn lost() {}
}

#[gracehttp::routes]
async fn routes_of_a_function() {}

#[server(port = 8084, routes())]
mod none_listed {}

#[server(port = 8085, routes(part, part))]
mod twice {}

fn main() {}
