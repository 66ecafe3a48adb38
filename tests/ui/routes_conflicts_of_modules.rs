//! Routes that several modules have, prefixes included.

use gracehttp::server;

mod users {
    #[gracehttp::routes(prefix = "/users")]
    pub mod routes {
        #[get("/")]
        async fn all() {}

        #[get("/{_id}")]
        async fn one() {}
    }
}

mod people {
    #[gracehttp::routes]
    pub mod routes {
        #[get("/users")]
        async fn all() {}
    }
}

#[server(port = 8080, routes(users::routes, people::routes))]
mod api {
    #[get("/users/{_name}")]
    async fn user() {}

    #[get("/admin/jobs")]
    async fn jobs() {}

    #[gracehttp::routes(prefix = "/admin")]
    mod admin {
        #[get("/jobs")]
        async fn jobs() {}
    }
}

#[gracehttp::main(servers(api))]
async fn main() {}
