//! A service as its operator wants it: a health check, a metric of its own, health and metrics at an address for
//! operators, and commands that ask the running service. The files beside this one run it under systemd, runit, s6 and
//! supervisord, in containers and in Kubernetes; the guide's chapter *Deployment* explains them.
//!
//! ```text
//! export GRACEHTTP_SUPERVISE=always GRACEHTTP_CONTROL=unix:/tmp/app.sock
//! cargo run --example app --features app
//! curl localhost:8080/                       # hello from generation 1, pid 4711
//! curl 'localhost:9099/readyz?verbose'       # [+] check greeting: passed in 0 ms
//! curl localhost:9099/metrics                # app_greetings_total 1
//! kill -9 4711                               # as a crash: the supervisor starts the next generation
//! cargo run --example app --features app -- restart --wait
//! cargo run --example app --features app -- status
//! ```
//!
//! The status page is at <http://localhost:9099>. The two variables have to be set in each terminal.

use gracehttp::metrics::{self, Counter};
use gracehttp::{Error, State, server};

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

#[derive(Clone)]
struct Greeter {
    greeting: String,
    greetings: Counter,
}

#[server(port = 8080)]
mod web {
    use std::process;

    use gracehttp::{Generation, State};

    use super::Greeter;

    #[get("/")]
    async fn index(State(greeter): State<Greeter>, generation: Generation) -> String {
        greeter.greetings.inc();
        format!("{} from generation {}, pid {}\n", greeter.greeting, generation.0, process::id())
    }
}

/// A successor with settings that fail here never takes over, and the predecessor serves on. `/readyz` asks, too.
#[gracehttp::health]
async fn greeting(State(greeter): State<Greeter>) -> Result<(), &'static str> {
    if greeter.greeting.is_empty() { Err("the greeting is empty") } else { Ok(()) }
}

#[gracehttp::main(servers(web), health(greeting), admin = "127.0.0.1:9099", cli)]
async fn main(settings: Settings) -> Result<Greeter, Error> {
    // It goes on over restarts and crashes.
    let greetings = metrics::registry().counter("app_greetings", "Greetings that were sent")?;
    Ok(Greeter { greeting: settings.greeting, greetings })
}
