//! gracehttp with routes, whose requests are counted or not.

use std::process::ExitCode;

use gracehttp::{App, metrics, server};

#[server(listen = "127.0.0.1:0")]
mod ping {
    use gracehttp::Path;

    use crate::bench::allocation;

    #[get("/ping")]
    async fn ping() -> String {
        format!("pong by pid:{}", std::process::id())
    }

    #[get("/allocations")]
    async fn allocations() -> String {
        allocation::count().to_string()
    }

    #[get("/users/{id}")]
    async fn user(Path(id): Path<String>) -> String {
        id
    }
}

/// Serves with metrics until a signal ends it.
pub fn serve_counted(threads: usize) -> ExitCode {
    App::new(async || metrics::turn_on()).serve(ping::server()).worker_threads(threads).run()
}

/// Serves without metrics until a signal ends it.
pub fn serve_uncounted(threads: usize) -> ExitCode {
    App::new(async || ()).serve(ping::server()).worker_threads(threads).run()
}
