//! A handoff whose other side is blocked, stopped or mute at any step of it: it has a bound, and nobody is lost.
//! The rows of the guide's table of outcomes are tested here.

use std::sync::Arc;
use std::time::Duration;

use tests::client::{Pause, get};
use tests::patience::within;
use tests::{App, Client, Generation, Launch, Scratch, Target};

const WEB: &str = "server web 127.0.0.1:0";

struct Stage {
    app: App,
    web: Target,
    idle: Vec<Client>,
    scratch: Scratch,
}

impl Stage {
    /// An application with one thread that serves, and this many parked connections.
    async fn new(clients: usize, change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_WORKER_THREADS", "1");
        let app = change(launch).spawn();
        let web = app.target("web").await;
        let mut idle = Vec::new();
        for _ in 0..clients {
            let mut client = Client::connect(&web).await.expect("a connection");
            client.get("/ping").await.expect("an answer");
            idle.push(client);
        }
        for client in idle.iter_mut().rev().take(1) {
            assert_eq!(client.pause(Duration::from_millis(300)).await, Pause::Open, "until all are parked");
        }
        Self { app, web, idle, scratch }
    }

    /// The connections that this process does not answer now, without a close in sight.
    async fn all_are_answered_by(&mut self, generation: &Generation) {
        for (number, client) in self.idle.iter_mut().enumerate() {
            let reply = client.get("/ping").await;
            let reply =
                reply.unwrap_or_else(|failure| panic!("client {number}: {failure}\n{}", self.app.log));
            assert!(!reply.closes(), "{reply:?}");
            assert_eq!(reply.pid(), Some(generation.pid()), "client {number}\n{}", self.app.log);
        }
    }

    /// Blocks every thread of the process that serves, and returns the client that waits for it.
    async fn block(&self, length: Duration) -> Client {
        let mut client = Client::connect(&self.web).await.expect("a connection").limit(3 * length);
        client.send(get(&format!("/block?ms={}", length.as_millis()))).await.expect("a request");
        self.app.log.line(0, "block begins").await;
        client
    }

    async fn restart(&self) -> Arc<Generation> {
        self.app.restart().await
    }
}

/// Its own signals, its successor, the hand-over: nothing of it needs a thread that serves.
#[tokio::test]
async fn a3_parked_connections_move_while_every_worker_of_the_predecessor_is_blocked() {
    let mut stage = Stage::new(50, |launch| launch).await;
    let old = stage.app.first();
    let mut blocked = stage.block(Duration::from_secs(6)).await;
    let successor = stage.restart().await;
    stage.all_are_answered_by(&successor).await;
    assert_eq!(blocked.pause(Duration::ZERO).await, Pause::Open, "the handler still blocks");
    assert_eq!(blocked.reply().await.expect("an answer").pid(), Some(old.pid()));
    assert!(old.exit().await.is_clean(), "{}", stage.app.log);
}

/// What can lie in the lot lies there: the predecessor is done, and each request waits for its thread.
#[tokio::test]
async fn a4_parked_connections_are_taken_in_while_every_worker_of_the_successor_is_blocked() {
    let mut stage = Stage::new(200, |launch| launch).await;
    let old = stage.app.first();
    stage.scratch.write("plan", format!("{WEB}\nstart block 5000"));
    let successor = stage.restart().await;
    assert!(within(Duration::from_secs(4), "the predecessor's end", old.exit()).await.is_clean());
    stage.all_are_answered_by(&successor).await;
}
