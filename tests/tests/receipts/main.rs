//! Every restart accounts for every connection that the predecessor held: its receipt equals what the clients have seen.

mod random;

use std::time::Duration;

use tests::client::{get, get_once, post_head};
use tests::h2::{Http2, Outcome};
use tests::patience::{PATIENCE, eventually};
use tests::{Account, App, Client, Exit, Launch, Scratch, Signal, Target};

const PLAN: &str = "server web 127.0.0.1:0\nserver tls 127.0.0.1:0 tls=self_signed";

struct Stage {
    app: App,
    web: Target,
    tls: Target,
    _scratch: Scratch,
}

impl Stage {
    async fn new(standby: &str, drain: &str) -> Self {
        let scratch = Scratch::new();
        let launch = Launch::app(&scratch, PLAN).env("GRACEHTTP_STANDBY", standby);
        let app = launch.env("GRACEHTTP_DRAIN_TIMEOUT", drain).spawn();
        let (web, tls) = (app.target("web").await, app.target("tls").await);
        Self { app, web, tls, _scratch: scratch }
    }

    /// The receipt of the restart that was logged since.
    async fn receipt(&self, start: usize) -> (String, Account) {
        let is_receipt = |line: &str| {
            ["restart done", "restart taken back", "restart failed, "].iter().any(|is| line.contains(is))
        };
        let line = self.app.log.find(start, PATIENCE, "a receipt", is_receipt).await.text;
        let account = Account::read(&line);
        account.assert_balanced();
        (line, account)
    }

    /// A client with one answer.
    async fn idle(&self, target: &Target) -> Client {
        let mut client = Client::connect(target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        client
    }

    /// A client that has left HTTP.
    async fn upgraded(&self) -> Client {
        let request =
            get("/upgrade/stubborn").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        let mut client = Client::connect(&self.web).await.expect("a connection");
        client.send(request).await.expect("an open connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend_from_slice(&client.piece().await.expect("an open connection").expect("a response"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        client
    }

    /// A client with the first half of an answer.
    async fn transfer(&self) -> Transfer {
        let mut client = Client::connect(&self.web).await.expect("a connection");
        client.send(post_head("/back", 2 * Transfer::PIECE.len())).await.expect("an open connection");
        let mut transfer = Transfer { client, received: Vec::new() };
        transfer.exchange_piece().await;
        transfer
    }

    /// A client whose request is in its handler.
    async fn busy(&self, path: &str) -> Client {
        let start = self.app.log.end();
        let mut client = Client::connect(&self.web).await.expect("a connection");
        client.send(get(path)).await.expect("an open connection");
        self.app.log.line(start, "slow begins").await;
        client
    }
}

/// A request of two pieces, each of which is answered when it has come: in flight for as long as its test wants.
struct Transfer {
    client: Client,
    received: Vec<u8>,
}

impl Transfer {
    const PIECE: &str = "0123456789";

    /// Sends one piece, and waits until it has come back.
    async fn exchange_piece(&mut self) {
        self.client.send(Self::PIECE).await.expect("an open connection");
        while !self.received.ends_with(Self::PIECE.as_bytes()) {
            let piece = self.client.piece().await.expect("an open connection");
            self.received.extend_from_slice(&piece.expect("the rest of the response"));
        }
        self.received.clear();
    }
}

fn ends<const N: usize>(ends: [(&str, u64); N]) -> Vec<(String, u64)> {
    ends.map(|(end, count)| (end.to_owned(), count)).into()
}

#[tokio::test]
async fn each_end_is_in_the_receipt_once() {
    let stage = Stage::new("300ms", "4s").await;
    let old = stage.app.first();
    let mut idle = stage.idle(&stage.web).await;
    let mut secure = stage.idle(&stage.tls).await;
    let mut silent = Client::connect(&stage.web).await.unwrap();
    let mut half_head = Client::connect(&stage.web).await.unwrap();
    half_head.send("GET /ping HTTP/1.1\r\n").await.unwrap();
    let mut answered = stage.busy("/slow?ms=2500").await;
    let leaves = stage.busy("/slow?ms=60000").await;
    let mut late = stage.busy("/slow?ms=60000").await;
    let mut http2 = Http2::connect(&stage.web).await.unwrap();
    assert!(matches!(http2.get("/ping").await, Ok(Outcome::Reply(_))));
    let _tunnel = stage.upgraded().await;
    let let_go = stage.upgraded().await;

    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    drop((leaves, let_go));
    assert_eq!(answered.reply().await.unwrap().pid(), Some(old.pid()));
    assert!(late.reply().await.is_err());
    assert!(!http2.is_open().await);
    let (line, account) = stage.receipt(start).await;
    half_head.send("Host: a\r\n\r\n").await.unwrap();
    assert_eq!(half_head.reply().await.unwrap().pid(), Some(successor.pid()));
    for client in [&mut idle, &mut secure, &mut silent, &mut answered] {
        assert_eq!(client.get("/ping").await.unwrap().pid(), Some(successor.pid()));
    }
    assert_eq!((account.before, account.accepted), (10, 0), "{line}");
    let expected = ends([
        ("answered and moved", 1),
        ("cut at the deadline", 1),
        ("cut at the exit", 1),
        ("finished", 1),
        ("moved", 4),
        ("told to close", 1),
        ("upgraded and finished", 1),
    ]);
    assert_eq!(account.ends.into_iter().collect::<Vec<_>>(), expected, "{line}");
    let cut = format!("cut: GET /slow from {}", "127.0.0.1:");
    assert!(line.contains(&cut) && line.contains(" at server web, its handler at work for "), "{line}");
    let tunnel = " at server web, upgraded for ";
    assert!(line.contains("; cut: GET /upgrade/stubborn from 127.0.0.1:") && line.contains(tunnel), "{line}");
    assert!(!line.contains(" more cut") && !line.contains("ms="), "{line}");
    for step in ["; ready after ", "; moved within ", "; longest pause ", "; drained within "] {
        assert!(line.contains(step), "{step} in {line}");
    }
    assert_eq!(old.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn what_comes_back_from_a_dead_successor_and_what_is_lost_is_in_the_receipt() {
    let stage = Stage::new("10s", "5s").await;
    let old = stage.app.first();
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(stage.idle(&stage.web).await);
    }
    let mut secure = [stage.idle(&stage.tls).await, stage.idle(&stage.tls).await];
    let mut stays = stage.busy("/slow?ms=8000").await;
    let mut in_flight = stage.idle(&stage.web).await;
    let mut answered = stage.transfer().await;
    let successor = stage.app.restart().await;
    answered.exchange_piece().await;
    for client in &mut idle {
        client.moves_to(successor.pid()).await;
    }
    for client in &mut secure {
        client.moves_to(successor.pid()).await;
    }
    in_flight.moves_to(successor.pid()).await;
    // Its answer is whole now, so it comes back as an idle one.
    let mut answered = answered.client;
    answered.moves_to(successor.pid()).await;
    idle.push(answered);
    let start = stage.app.log.end();
    in_flight.send(get("/slow?ms=60000")).await.unwrap();
    stage.app.log.line(start, "slow begins").await;
    for client in &mut idle {
        client.pause(Duration::from_millis(50)).await;
    }
    eventually("the successor to sleep", || successor.is_asleep()).await;
    successor.kill();
    let (line, account) = stage.receipt(start).await;
    assert!(line.contains("restart taken back"), "{line}");
    assert_eq!((account.before, account.accepted), (8, 0), "{line}");
    let expected = ends([("lost with the successor", 3), ("stayed", 1), ("taken back", 4)]);
    assert_eq!(account.ends.into_iter().collect::<Vec<_>>(), expected, "{line}");
    assert!(in_flight.reply().await.is_err());
    assert_eq!(stays.reply().await.unwrap().pid(), Some(old.pid()));
    for client in &mut idle {
        assert_eq!(client.get("/ping").await.unwrap().pid(), Some(old.pid()));
    }
    // The next restart accounts for what came back, and for nothing that was before: no request is in flight in it.
    eventually("the predecessor to sleep", || old.is_asleep()).await;
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    let next = stage.app.successor_since(start).await;
    old.signal(Signal::TERM);
    let (line, account) = stage.receipt(start).await;
    assert_eq!((account.before, account.count("moved")), (5, 5), "{line}");
    for client in idle.iter_mut().chain([&mut stays]) {
        assert_eq!(client.get("/ping").await.unwrap().pid(), Some(next.pid()));
    }
}

/// Its response had begun before the restart did.
#[tokio::test]
async fn a_response_that_is_under_way_when_the_restart_comes_was_in_flight() {
    let stage = Stage::new("300ms", "60s").await;
    let mut under_way = stage.transfer().await;
    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    under_way.exchange_piece().await;
    let (line, account) = stage.receipt(start).await;
    assert_eq!((account.before, account.count("answered and moved")), (1, 1), "{line}");
    assert_eq!(under_way.client.get("/ping").await.unwrap().pid(), Some(successor.pid()));
}

#[tokio::test]
async fn connections_of_a_second_stop_signal_and_of_a_blocked_thread_are_cut_at_the_exit() {
    let stage = Stage::new("300ms", "20s").await;
    let old = stage.app.first();
    let _busy = stage.busy("/slow?ms=60000").await;
    let start = stage.app.log.end();
    stage.app.restart().await;
    old.signal(Signal::TERM);
    stage.app.log.line(start, "SIGTERM").await;
    old.signal(Signal::TERM);
    let (line, account) = stage.receipt(start).await;
    assert_eq!((account.before, account.count("cut at the exit")), (1, 1), "{line}");
}

/// Its handler hears of no deadline, and none of the connection's own code runs.
#[tokio::test]
async fn a_handler_that_blocks_its_thread_is_named_when_the_process_ends() {
    let stage = Stage::new("300ms", "1s").await;
    let start = stage.app.log.end();
    let mut blocks = Client::connect(&stage.web).await.unwrap();
    blocks.send(get("/block?ms=60000")).await.unwrap();
    stage.app.log.line(start, "block begins").await;
    stage.app.restart().await;
    let (line, account) = stage.receipt(start).await;
    assert_eq!((account.before, account.count("cut at the exit")), (1, 1), "{line}");
    assert!(line.contains("; cut: GET /block from 127.0.0.1:"), "{line}");
    assert!(
        line.contains(" at server web, its handler at work for ") && !line.contains("more cut"),
        "{line}"
    );
    assert_eq!(stage.app.first().exit().await, Exit::Code(0));
}

/// The predecessor drains and can't reach the process that the supervisor starts.
#[tokio::test]
async fn a_successor_that_dies_after_standby_leaves_a_true_line_to_the_process_that_serves_next() {
    let scratch = Scratch::new();
    let launch =
        Launch::app(&scratch, PLAN).env("GRACEHTTP_STANDBY", "300ms").env("GRACEHTTP_SUPERVISE", "always");
    let app = launch.env("GRACEHTTP_DRAIN_TIMEOUT", "60s").env("GRACEHTTP_ADMIN", "127.0.0.1:0").spawn();
    let (web, tls) = (app.target("web").await, app.target("tls").await);
    let admin = app.log.line(0, "status page on http://").await;
    let admin = admin.split("status page on ").nth(1).and_then(|url| url.split_whitespace().next());
    let admin = Target::from_url(admin.expect("a URL"));
    let stage = Stage { app, web, tls, _scratch: scratch };
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(stage.idle(&stage.web).await);
    }
    let mut stays = stage.transfer().await;
    let old = idle[0].get("/ping").await.unwrap().pid().expect("a pid");
    let start = stage.app.log.end();
    stage.app.signal(Signal::USR2);
    let successor = stage.app.successor_since(start).await;
    for client in &mut idle {
        client.moves_to(successor.pid()).await;
    }
    let draining = stage.app.hold(old);
    eventually("the end of standby", || draining.listening_ports().is_empty()).await;
    successor.kill();
    let line = stage.app.log.line(start, "the restart of generation 1 failed: ").await;
    let died = "the successor died after standby: it was killed by SIGKILL, and all connections that it had ended with it; ";
    assert!(line.contains(&format!("{died}4 connections: ")), "{line}");
    // A client's request may have crossed the restart.
    let have_moved = |account: &Account| account.count("moved") + account.count("answered and moved");
    let account = Account::read(&line);
    account.assert_balanced();
    assert_eq!((have_moved(&account), account.count("stayed")), (3, 1), "{line}");
    // The process that serves now knows it, too.
    loop {
        let status = get_once(&admin, "/status.json").await.unwrap().text();
        if !status.contains(r#""phase":"starting""#) {
            assert!(
                status.contains(r#""outcome":"failed""#) && status.contains("died after standby"),
                "{status}"
            );
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for client in &mut idle {
        client.closed().await.unwrap();
    }
    stays.exchange_piece().await;
    let (line, account) = stage.receipt(start).await;
    let ended = format!("restart failed, pid {} has ended: {died}4 connections: ", successor.pid());
    assert!(line.contains(&ended), "{line}");
    assert_eq!((account.before, have_moved(&account)), (4, 3), "{line}");
    assert_eq!(stage.app.log.count(start, "the restart of generation 1 failed"), 1);
    stage.app.first().signal(Signal::TERM);
    assert_eq!(stage.app.first().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_clients_own_close_and_one_that_http_asks_for_are_finished() {
    let stage = Stage::new("300ms", "10s").await;
    let mut uploads = Client::connect(&stage.web).await.unwrap();
    uploads.send(post_head("/echo", 20)).await.unwrap();
    uploads.send("0123456789").await.unwrap();
    let mut asks = stage.busy("/slow?ms=2000").await;
    let start = stage.app.log.end();
    stage.app.restart().await;
    drop(uploads);
    // Pipelined behind the request in flight: its answer ends the connection.
    asks.send("GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    asks.reply().await.unwrap();
    assert!(asks.reply().await.unwrap().closes());
    asks.closed().await.unwrap();
    let (line, account) = stage.receipt(start).await;
    let finished_or_moved = account.count("finished") + account.count("answered and moved");
    assert_eq!((account.before, finished_or_moved), (2, 2), "{line}");
    assert!(account.count("finished") >= 1, "{line}");
}
