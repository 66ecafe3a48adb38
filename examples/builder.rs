//! Without macros: a program that calls by hand what the attributes expand to.
//!
//! ```text
//! cargo run --example builder
//! curl localhost:9090             # hello, world
//! curl localhost:9091             # greetings: 1
//! ```
//!
//! With a file as its argument it greets with the file's text: `cargo run --example builder -- greeting.txt`. Each
//! restart (`kill -HUP PID`) reads the file again. Remove the file and restart: the successor fails, and its
//! predecessor serves on.
//!
//! The environment sets the ports, as with attributes: `GRACEHTTP_SERVER__GREETER__PORT=8080`,
//! `GRACEHTTP_SERVER__COUNTER__PORT=8081`.

use std::env;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use gracehttp::{App, Server, Signal, State};

/// The state: the start-up code returns it, and every server can ask for it.
#[derive(Clone)]
struct Greeting {
    text: Arc<str>,
    greeted: Arc<AtomicUsize>,
}

async fn greet(State(greeting): State<Greeting>) -> String {
    greeting.greeted.fetch_add(1, Ordering::Relaxed);
    format!("{}\n", greeting.text)
}

/// Makes an axum router from the state.
fn counter(greeting: &Greeting) -> Router {
    let greeted = greeting.greeted.clone();
    Router::new().route("/", get(async move || format!("greetings: {}\n", greeted.load(Ordering::Relaxed))))
}

/// The start-up code. If it fails at the first start, the process exits. If it fails in a restart, the predecessor
/// serves on.
async fn start_up() -> io::Result<Greeting> {
    let text = match env::args_os().nth(1) {
        Some(file) => fs::read_to_string(file)?,
        None => "hello, world".to_owned(),
    };
    Ok(Greeting { text: text.trim().into(), greeted: Arc::default() })
}

fn main() -> ExitCode {
    App::try_new(start_up)
        .serve(Server::builder("greeter").port(9090).max_conns(1000).handler(greet))
        .serve(Server::builder("counter").listen("localhost:9091").max_conns(10).factory(counter))
        .drain_timeout(Duration::from_secs(30))
        .restart_on([Signal::Hup])
        .stop_on([Signal::Int, Signal::Term])
        .run()
}
