//! The application of the tests of what an operator sees: one server with readiness on its own port, and two health checks.
//!
//! `APP_CHECK` names a file that says what the check `database` does: nothing (it is well), `fail WORDS`, `panic`, `hang`,
//! `block MILLIS`. `APP_GATE` names a file for which the start-up code waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gracehttp::{FromRef, Request, State, server};

#[derive(Clone)]
struct Operated {
    database: Database,
}

/// Stands for something that the application needs.
#[derive(Clone)]
struct Database {
    says: Option<PathBuf>,
    checks: Arc<AtomicUsize>,
}

impl FromRef<Operated> for Database {
    fn from_ref(operated: &Operated) -> Self {
        operated.database.clone()
    }
}

#[gracehttp::health(timeout = "700ms")]
async fn database(State(database): State<Database>) -> Result<(), String> {
    database.checks.fetch_add(1, Ordering::SeqCst);
    let says = database.says.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    match says.split_whitespace().collect::<Vec<_>>()[..] {
        ["fail", ref words @ ..] => Err(words.join(" ")),
        ["panic"] => panic!("the check panics"),
        ["hang"] => std::future::pending().await,
        ["block", millis] => {
            std::thread::sleep(Duration::from_millis(millis.parse().expect("milliseconds")));
            Ok(())
        }
        _ => Ok(()),
    }
}

#[gracehttp::health]
async fn cache() -> std::io::Result<()> {
    Ok(())
}

#[server(listen = "127.0.0.1:0", health = "/healthz")]
async fn web(State(database): State<Database>, request: Request) -> String {
    let pid = std::process::id();
    match request.uri().path() {
        "/checks" => database.checks.load(Ordering::SeqCst).to_string(),
        "/block" => {
            let millis = request.uri().query().and_then(|query| query.parse().ok()).expect("milliseconds");
            std::thread::sleep(Duration::from_millis(millis));
            format!("pong by pid:{pid}")
        }
        "/wait" => {
            let millis = request.uri().query().and_then(|query| query.parse().ok()).expect("milliseconds");
            tokio::time::sleep(Duration::from_millis(millis)).await;
            format!("pong by pid:{pid}")
        }
        _ => format!("pong by pid:{pid}"),
    }
}

#[gracehttp::main(servers(web), health(database, cache), standby = "300ms", worker_threads = 2)]
async fn main() -> Operated {
    if let Some(gate) = std::env::var_os("APP_GATE") {
        while !Path::new(&gate).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let says = std::env::var_os("APP_CHECK").map(PathBuf::from);
    Operated { database: Database { says, checks: Arc::default() } }
}
