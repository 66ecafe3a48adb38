//! What a predecessor takes back from a successor that dies in standby: each connection that owes nothing, and no other.
//! No client gets two answers to one request, or an answer to a part of one.

use std::time::Duration;

use tests::client::{Pause, get, post_head};
use tests::patience::{PATIENCE, eventually};
use tests::process::tool;
use tests::{App, Client, Generation, Kind, Launch, Scratch, Signal, Strace, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// An application in standby, and the connections that its successor has.
struct Stage {
    app: App,
    web: Target,
    old: std::sync::Arc<Generation>,
    successor: std::sync::Arc<Generation>,
    clients: Vec<Client>,
    _scratch: Scratch,
}

impl Stage {
    /// All connections have moved, and the successor has answered each of them.
    async fn new(clients: usize, change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let app = change(Launch::app(&scratch, WEB).env("GRACEHTTP_STANDBY", "60s")).spawn();
        let web = app.target("web").await;
        let mut connected = Vec::new();
        for _ in 0..clients {
            let mut client = Client::connect(&web).await.expect("a connection");
            client.get("/ping").await.expect("an answer");
            connected.push(client);
        }
        let old = app.current();
        let successor = app.restart().await;
        app.serves(&web, &successor).await;
        for client in &mut connected {
            client.moves_to(successor.pid()).await;
        }
        Self { app, web, old, successor, clients: connected, _scratch: scratch }
    }

    /// The successor has done all that it was asked for, and waits for more.
    async fn successor_sleeps(&self) {
        eventually("the successor to sleep", || self.successor.is_asleep()).await;
    }

    /// Waits until the predecessor serves again, and returns what it says about it.
    async fn taken_back(&self) -> String {
        let line = self.app.log.find(0, 2 * PATIENCE, "a take-back", |line| line.contains("serves again"));
        let text = line.await.text.clone();
        self.app.serves(&self.web, &self.old).await;
        text
    }

    /// The same of thirty connections, of which seven were [busy](Self::busy).
    async fn takes_back_but_the_busy(&mut self) {
        let line = self.taken_back().await;
        let told = "has taken 23 connections back; 7 busy plain connections are lost with it";
        assert!(line.contains(told), "{line}");
    }

    /// The successor answers each client once more.
    async fn all_are_answered_by_the_successor(&mut self) {
        for client in &mut self.clients {
            assert_eq!(client.get("/ping").await.expect("an answer").pid(), Some(self.successor.pid()));
        }
    }

    /// A client in the middle of each of these, which the successor has begun to read.
    async fn busy(&mut self) -> Vec<Client> {
        let halves = [
            get("/slow?ms=60000"),
            get("/ping")[..20].to_owned(),
            "\r".to_owned(),
            post_head("/echo", 10) + "12345",
            // An answer, and a part of the next request.
            get("/ping") + &get("/ping")[..20],
            get("/ping") + &get("/slow?ms=60000"),
            get("/abort"),
        ];
        let mut busy = self.clients.split_off(self.clients.len() - halves.len());
        // The last one kills the process.
        for (client, half) in busy.iter_mut().zip(&halves[..halves.len() - 1]) {
            client.send(half).await.expect("a part of a request");
            if half.starts_with(&get("/ping")) {
                assert_eq!(client.reply().await.expect("an answer").pid(), Some(self.successor.pid()));
            }
        }
        eventually("the handlers", || self.app.log.count(0, "slow begins") == 2).await;
        self.successor_sleeps().await;
        busy
    }

    /// Asks on each connection for what no other asks for: a crossed answer would show. Returns how many were lost.
    async fn ask_all(&mut self, words: &str) -> usize {
        let mut left = Vec::new();
        let count = self.clients.len();
        for (number, mut client) in self.clients.drain(..).enumerate() {
            let body = format!("{words}, client {number}");
            match client.post("/echo", body.as_bytes()).await {
                Ok(reply) => {
                    assert_eq!(reply.text(), body);
                    left.push(client);
                }
                // A client that waits in vain would show that a process has a connection whose request is gone.
                Err(failure) => assert_ne!(failure.kind, Kind::TimedOut, "{body}\n{}", self.app.log),
            }
        }
        self.clients = left;
        count - self.clients.len()
    }

    async fn are_lost(&self, busy: Vec<Client>) {
        for (number, mut client) in busy.into_iter().enumerate() {
            let end = client.pause(PATIENCE).await;
            let is_lost = match &end {
                Pause::Closed => true,
                Pause::Failed(failure) => failure.kind == Kind::Reset,
                Pause::Open => false,
            };
            assert!(is_lost, "busy client {number}: {end:?}\n{}", self.app.log);
        }
    }

    async fn all_are_answered_by_the_predecessor(&mut self) {
        assert_eq!(self.ask_all("taken back").await, 0, "{}", self.app.log);
        for client in &mut self.clients {
            assert_eq!(client.get("/ping").await.expect("an answer").pid(), Some(self.old.pid()));
        }
    }
}

/// A crash in a handler, right after the others have got an answer: nothing has been parked.
#[tokio::test]
async fn idle_connections_come_back_from_a_crash_and_busy_ones_close() {
    let mut stage = Stage::new(30, |launch| launch).await;
    let mut busy = stage.busy().await;
    for _ in 0..3 {
        stage.all_are_answered_by_the_successor().await;
    }
    stage.successor_sleeps().await;
    busy.last_mut().expect("one that aborts").send(get("/abort")).await.unwrap();
    stage.takes_back_but_the_busy().await;
    stage.all_are_answered_by_the_predecessor().await;
    stage.are_lost(busy).await;
}

/// The predecessor was stopped while the successor read from its connections: it finds that in the ledger.
#[tokio::test]
async fn idle_connections_come_back_to_a_predecessor_that_was_suspended() {
    let mut stage = Stage::new(30, |launch| launch).await;
    let mut busy = stage.busy().await;
    stage.clients.extend(busy.pop());
    stage.old.signal(Signal::STOP);
    eventually("the predecessor to stop", || stage.old.is_stopped()).await;
    // Longer than the successor waits for a predecessor that has to be told.
    for _ in 0..3 {
        stage.all_are_answered_by_the_successor().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stage.clients[0].send(&get("/ping")[..10]).await.unwrap();
    stage.successor_sleeps().await;
    stage.successor.kill();
    stage.old.signal(Signal::CONT);
    stage.takes_back_but_the_busy().await;
    let begun = stage.clients.remove(0);
    stage.all_are_answered_by_the_predecessor().await;
    stage.are_lost(vec![begun]).await;
    stage.are_lost(busy).await;
}

/// Without a ledger the successor says by messages what it reads.
#[tokio::test]
async fn idle_connections_come_back_without_shared_memory() {
    let mut stage = Stage::new(30, |launch| launch.after("ulimit -f 0;")).await;
    assert_eq!(stage.app.log.count(0, "there is no shared memory for the marks of connections"), 1);
    let mut busy = stage.busy().await;
    stage.successor_sleeps().await;
    busy.last_mut().expect("one that aborts").send(get("/abort")).await.unwrap();
    stage.takes_back_but_the_busy().await;
    stage.all_are_answered_by_the_predecessor().await;
    stage.are_lost(busy).await;
}

/// The successor is killed as it enters any of the system calls of a request: before and after it reads, before and after
/// it answers, before it sleeps. The client gets one answer, or none and a close.
#[tokio::test]
async fn no_connection_is_answered_twice_at_whatever_call_its_successor_is_killed() {
    if !tool("strace") {
        return;
    }
    let calls = [("recvfrom", 8), ("sendto", 6), ("epoll_wait", 8), ("epoll_ctl", 4)];
    let steps: Vec<(&str, usize)> =
        calls.into_iter().flat_map(|(call, last)| (1..=last).map(move |number| (call, number))).collect();
    for some in steps.chunks(6) {
        let some = some.iter().map(async |(call, number)| killed_at(call, *number).await);
        futures_util::future::join_all(some).await;
    }
}

async fn killed_at(call: &str, number: usize) {
    let mut stage = Stage::new(6, |launch| launch).await;
    let trace = Strace::on(&stage.successor, &format!("{call}:signal=KILL:when={number}")).await;
    let mut lost = 0;
    for round in 0..8 {
        lost += stage.ask_all(&format!("{call} {number}, round {round}")).await;
    }
    // If it did not make so many calls, it is idle now.
    stage.successor.kill();
    stage.taken_back().await;
    lost += stage.ask_all(&format!("{call} {number}, taken back")).await;
    // At most the one connection that was read, and on another thread the one whose answer had just gone out: it is idle
    // once its thread has looked for the next request.
    assert!(lost <= 2, "{call} {number}: {lost} connections lost\n{}", stage.app.log);
    for client in &mut stage.clients {
        assert_eq!(client.get("/ping").await.expect("an answer").pid(), Some(stage.old.pid()));
        assert_eq!(client.pause(Duration::from_millis(20)).await, Pause::Open, "a second answer, or a close");
    }
    println!("{call} {number}: {lost} connections lost");
    trace.ended().await;
}
