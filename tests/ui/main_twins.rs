//! One server by two paths, and two servers of one name: known to the compiler alone.

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

mod variables {
    #[gracehttp::server(port = 8084)]
    async fn my_api() {}

    #[gracehttp::server(port = 8085, name = "my-API")]
    async fn other() {}

    #[gracehttp::main(servers(my_api, other))]
    async fn main() {}
}

fn main() {}
