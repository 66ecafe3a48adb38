//! Without macros: what the attributes expand to can be written by hand.
//!
//! ```text
//! cargo run --example builder
//! curl localhost:9090             # hello, world
//! curl localhost:9091             # greetings: 1
//! ```
//!
//! With a file as its argument it greets with the file's text, and reads it anew at each restart (`kill -HUP
//! PID`). Remove the file and restart: the successor fails, and its predecessor serves on.
//!
//! Servers are named for the environment, as with attributes: `GRACEHTTP_SERVER__GREETER__PORT=8080`,
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

/// What the start-up code returns, for every server.
#[derive(Clone)]
struct Greeting {
    text: Arc<str>,
    greeted: Arc<AtomicUsize>,
}

async fn greet(State(greeting): State<Greeting>) -> String {
    greeting.greeted.fetch_add(1, Ordering::Relaxed);
    format!("{}\n", greeting.text)
}

/// A router of axum's, made from the state.
fn counter(greeting: &Greeting) -> Router {
    let greeted = greeting.greeted.clone();
    Router::new().route("/", get(async move || format!("greetings: {}\n", greeted.load(Ordering::Relaxed))))
}

/// Start-up code that may fail: then nobody is served, or by the predecessor still.
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
