//! A service for production. The files beside this one run it under systemd, runit, s6 and supervisord, in containers and
//! in Kubernetes; the guide's chapter *Deployment* explains them.
//!
//! ```text
//! cargo run --example app --features app
//! curl localhost:8080/            # hello from generation 1, pid 4711
//! cargo run --example app --features app -- --help
//! ```

use gracehttp::server;

/// The table `[app]` of the configuration file.
#[derive(Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    greeting: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { greeting: "hello".to_owned() }
    }
}

#[server(port = 8080)]
mod api {
    use std::process;

    use gracehttp::{Generation, State};

    use super::Settings;

    #[get("/")]
    async fn index(State(settings): State<Settings>, generation: Generation) -> String {
        format!("{} from generation {}, pid {}\n", settings.greeting, generation.0, process::id())
    }
}

#[gracehttp::main(servers(api), cli)]
async fn main(settings: Settings) -> Settings {
    settings
}
