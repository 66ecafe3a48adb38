//! A service for production. The files beside this one run it under systemd, runit, s6 and supervisord, in containers and
//! in Kubernetes; the guide's chapter *Deployment* explains them.
//!
//! ```text
//! cargo run --example app --features app
//! curl localhost:8080/            # hello from generation 1, pid 4711
//! cargo run --example app --features app -- --help
//! ```

use gracehttp::{State, server};

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
mod web {
    use std::process;

    use gracehttp::{Generation, State};

    use super::Settings;

    #[get("/")]
    async fn index(State(settings): State<Settings>, generation: Generation) -> String {
        format!("{} from generation {}, pid {}\n", settings.greeting, generation.0, process::id())
    }
}

/// A successor with settings that fail here never takes over, and the predecessor serves on. `/readyz` asks, too.
#[gracehttp::health]
async fn greeting(State(settings): State<Settings>) -> Result<(), &'static str> {
    if settings.greeting.is_empty() { Err("the greeting is empty") } else { Ok(()) }
}

#[gracehttp::main(servers(web), health(greeting), cli)]
async fn main(settings: Settings) -> Settings {
    settings
}
