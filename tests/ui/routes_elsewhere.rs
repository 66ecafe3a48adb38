//! Modules that are listed and have no routes to give.

use gracehttp::server;

mod users {
    pub async fn ping() {}

    pub mod private {
        #[gracehttp::routes]
        mod routes {
            #[get("/")]
            async fn root() {}
        }
    }
}

#[server(port = 8079)]
async fn ping() {}

#[server(port = 8080, routes(users, users::routes, user::routes, users::private::routes, usres, ping))]
mod api {}

#[gracehttp::main(servers(api))]
async fn main() {}
