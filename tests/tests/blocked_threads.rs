//! Handlers that block their threads delay no connection while other worker threads are idle.

use std::time::{Duration, Instant};

use tests::client::{get, get_once};
use tests::{App, Client, Exit, Launch, Scratch};

/// How long a handler blocks its thread.
const BLOCKED: Duration = Duration::from_secs(5);

/// How long an answer may take meanwhile, on a busy machine.
const SOON: Duration = Duration::from_millis(2500);

/// Clients that ask meanwhile.
const CLIENTS: usize = 10;

async fn with_threads(scratch: &Scratch, threads: usize) -> App {
    let launch = Launch::app(scratch, "server web 127.0.0.1:0");
    launch.env("GRACEHTTP_WORKER_THREADS", threads.to_string()).start("web").await
}

/// A client whose request blocks a thread from now on.
async fn blocks(app: &App) -> Client {
    let start = app.log.end();
    let mut client = Client::connect(&app.target("web").await).await.expect("a connection");
    client.send(get(&format!("/block?ms={}", BLOCKED.as_millis()))).await.expect("a request");
    app.log.line(start, "block begins").await;
    client
}

/// These and new ones are answered while handlers block.
async fn all_are_answered(app: &App, clients: &mut [Client]) {
    let begun = Instant::now();
    for client in clients {
        assert_eq!(client.get("/ping").await.expect("an answer").status, 200);
        get_once(&app.target("web").await, "/ping").await.expect("an answer");
    }
    assert!(begun.elapsed() < SOON, "the answers took {:?}\n{}", begun.elapsed(), app.log);
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_delays_no_connection_of_the_others() {
    let scratch = Scratch::new();
    let app = with_threads(&scratch, 4).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(&app.target("web").await).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        clients.push(client);
    }
    // One after another: each may block the thread that was to watch in place of the one before.
    let mut blocking = Vec::new();
    for _ in 0..3 {
        blocking.push(blocks(&app).await);
        all_are_answered(&app, &mut clients).await;
    }
    for client in &mut blocking {
        assert_eq!(client.reply().await.expect("an answer").status, 200);
    }
    all_are_answered(&app, &mut clients).await;
    assert_eq!(app.stop().await, Exit::Code(0));
}
