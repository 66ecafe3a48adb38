//! Parameters that are in a prefix already, where only the compiler sees both.

use gracehttp::{Path, server};

mod posts {
    #[gracehttp::routes(prefix = "/posts")]
    pub mod routes {
        use gracehttp::Path;

        #[get("/{id}")]
        async fn post(_: Path<(u64, u64)>) {}
    }
}

mod users {
    #[gracehttp::routes(prefix = "/users", routes(super::posts::routes))]
    pub mod routes {}
}

#[server(port = 8080, prefix = "/{id}", routes(users::routes))]
mod api {
    use super::*;

    #[gracehttp::routes(prefix = "/admin")]
    mod admin {
        use super::*;

        #[get("/{*id}")]
        async fn files(_: Path<(u64, String)>) {}
    }

    #[get("/{other}")]
    async fn right(_: Path<(u64, String)>) {}
}

#[gracehttp::main(servers(api))]
async fn main() {}
