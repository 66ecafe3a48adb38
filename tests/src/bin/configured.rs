//! The application of the tests of the configuration: two servers, settings of its own, a command line.

use gracehttp::{Request, State, server};

/// The table `[app]`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    greeting: String,
    workers: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { greeting: "hello by default".to_owned(), workers: 1 }
    }
}

#[server(listen = "127.0.0.1:0", max_conns = 500, backlog = 4096, idle_timeout = "60s")]
async fn web(State(settings): State<Settings>, request: Request) -> String {
    match request.uri().path() {
        "/log" => {
            let query = request.uri().query().unwrap_or_default();
            tracing::info_span!("visit", number = 7).in_scope(|| {
                tracing::warn!(target: "my_target", query, count = 3, ratio = 0.5, on = true, "a client says\n{query}");
            });
            String::new()
        }
        "/panic" => panic!("the handler's own\nfault"),
        "/greeting" => format!("{} {}", settings.greeting, settings.workers),
        _ => format!("pong by pid:{}", std::process::id()),
    }
}

#[server(listen = "127.0.0.1:0")]
async fn admin() -> String {
    format!("pong by pid:{}", std::process::id())
}

#[gracehttp::main(servers(web, admin), standby = "300ms", cli)]
async fn main(settings: Settings) -> Settings {
    settings
}
