//! Routes in what is within a module of routes, and is none itself.

use gracehttp::server;

#[server(port = 8080)]
mod api {
    mod admin {
        #[get("/admin")]
        async fn index() {}

        pub mod jobs {
            #[get("/admin/jobs")]
            async fn jobs() {}
        }
    }

    /// With an attribute of another kind.
    #[allow(dead_code)]
    pub(crate) mod status {
        #[get("/status")]
        async fn status() {}
    }

    struct Users;

    impl Users {
        #[get("/users")]
        pub async fn all(&self) {}
    }

    #[cfg_attr(unix, get("/unix"))]
    async fn conditional() {}

    #[cfg_attr(not(unix), gracehttp::routes)]
    mod conditional_too {}

    #[gracehttp::routes]
    mod right {
        #[get("/right")]
        async fn right() {}
    }
}

#[gracehttp::main(servers(api))]
async fn main() {}
