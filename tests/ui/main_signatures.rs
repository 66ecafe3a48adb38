//! What start-up code can't look like.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

mod name {
    #[gracehttp::main(servers(super::ping))]
    async fn start() {}
}

mod argument {
    #[gracehttp::main(servers(super::ping))]
    async fn main(_: Vec<String>) {}
}

mod generic {
    #[gracehttp::main(servers(super::ping))]
    async fn main<T>() {}
}

mod item {
    #[gracehttp::main(servers(super::ping))]
    struct Main;
}

#[gracehttp::main(servers(ping))]
fn main() {}
