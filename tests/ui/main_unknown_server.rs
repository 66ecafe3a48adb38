//! Names in the list of servers that mean nothing, or a module without the attribute.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

mod admin {
    #[gracehttp::server(port = 8081)]
    pub async fn status() {}

    #[gracehttp::server(port = 8082)]
    async fn private() {}
}

mod plain {}

#[gracehttp::main(servers(ping, pong, admin::states, admin::private, other::ping, plain))]
async fn main() {}
