//! What main returns has to be a state, or an error that can be told.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

mod state {
    struct App;

    #[gracehttp::main(servers(super::ping))]
    async fn main() -> App {
        App
    }
}

mod error {
    #[derive(Debug)]
    struct Fault;

    type Outcome<T> = Result<T, Fault>;

    #[gracehttp::main(servers(super::ping))]
    async fn main() -> Outcome<()> {
        Err(Fault)
    }
}

fn main() {}
