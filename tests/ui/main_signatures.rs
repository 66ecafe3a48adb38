//! What start-up code can't look like.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

mod name {
    #[gracehttp::main(servers(super::ping))]
    async fn start() {}
}

mod arguments {
    #[gracehttp::main(servers(super::ping))]
    async fn main(_: Vec<String>, _: String) {}
}

mod settings {
    struct Settings;

    #[gracehttp::main(servers(super::ping))]
    async fn main(_: Settings) {}
}

mod keys {
    #[gracehttp::main(servers(super::ping), cli = true, config = my_app)]
    async fn main() {}
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
