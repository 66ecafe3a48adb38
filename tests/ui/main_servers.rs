//! The list of servers: missing, empty, with a stranger or a twin.

mod missing {
    #[gracehttp::main]
    async fn main() {}
}

mod empty {
    #[gracehttp::main(servers())]
    async fn main() {}
}

mod twice {
    #[gracehttp::server(port = 8080)]
    pub(crate) async fn ping() {}

    #[gracehttp::main(servers(ping, self::ping, ping))]
    async fn main() {}
}

mod bare {
    #[gracehttp::main(ping, my::api, drain_timeuot)]
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

mod for_ever {
    #[gracehttp::main(servers(super::twice::ping), drain_timeout = "300000000000years", worker_threads = 5000)]
    async fn main() {}
}

fn main() {}
