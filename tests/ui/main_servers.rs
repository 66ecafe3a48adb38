//! The list of servers: missing, empty, with a stranger or a twin.

mod missing {
    #[gracehttp::main]
    async mod for_ever {
    #[gracehttp::main(servers(super::twice::ping), drain_timeout = "300000000000years", worker_threads = 5000)]
    async fn main() {}
}

fn main() {}
}

mod empty {
    #[gracehttp::main(servers())]
    async fn main() {}
}

mod twice {
    #[gracehttp::server(port = 8080)]
    async fn ping() {}

    #[gracehttp::main(servers(ping, self::ping, ping))]
    async fn main() {}
}

mod by_another_path {
    #[gracehttp::server(port = 0)]
    pub(crate) async fn ping() {}

    #[gracehttp::main(servers(ping, crate::by_another_path::ping))]
    async fn main() {}
}

mod namesakes {
    mod v1 {
        #[gracehttp::server(port = 8081)]
        pub(crate) async fn api() {}
    }

    mod v2 {
        #[gracehttp::server(port = 8082)]
        pub(crate) mod api {
            #[get("/")]
            async fn root() {}
        }
    }

    #[gracehttp::server(port = 8083, name = "api")]
    async fn v3() {}

    #[gracehttp::main(servers(v1::api, v2::api, v3))]
    async fn main() {}
}

mod shapes {
    #[gracehttp::main(servers = [ping], servers("ping"))]
    async fn main() {}
}

mod values {
    #[gracehttp::main(servers(4), drain_timeout = 10, ready_timeout = "0s", worker_threads = 0, on_info)]
    async fn main() {}
}

fn main() {}
