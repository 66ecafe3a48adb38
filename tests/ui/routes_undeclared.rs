//! Modules that are listed and are no parts of a server.

use gracehttp::server;

mod users {
    #[gracehttp::routes]
    pub mod routes {
        /// A module may be called as one on the way to it.
        pub mod users {}

        #[get("/users")]
        async fn all() {}
    }

    pub mod users {}
}

#[server(port = 8080)]
mod inner {
    #[get("/inner")]
    async fn root() {}

    #[fallback]
    async fn lost() {}
}

#[server(port = 8081, routes(users, users::routes, inner, crate::users::users))]
mod api {
    #[fallback]
    async fn lost() {}
}

#[server(port = 8082, routes(self::own))]
mod own {
    #[get("/own")]
    async fn root() {}
}

#[gracehttp::main(servers(api, own))]
async fn main() {}
