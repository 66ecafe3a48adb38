//! The runtime is made by the attribute, before anything else may run.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

mod blocking {
    #[gracehttp::main(servers(super::ping))]
    fn main() {}
}

mod below {
    #[gracehttp::main(servers(super::ping))]
    #[tokio::main]
    async fn main() {}
}

mod above {
    #[tokio::main]
    #[gracehttp::main(servers(super::ping))]
    async fn main() {}
}

fn main() {}
