//! Names in the list of servers that mean something else.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

async fn forgotten() {}

mod handlers {
    pub async fn elsewhere() {}
}

const CONSTANT: u16 = 8080;

#[gracehttp::main(servers(ping, forgotten, handlers::elsewhere, CONSTANT))]
async fn main() {}
