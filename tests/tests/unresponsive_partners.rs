//! Handoffs in which the other side is blocked, stopped or mute at any step: each wait has a bound, and no client
//! loses its connection. These tests cover the rows of the guide's table of outcomes.

use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once};
use tests::h2::{Http2, Outcome};
use tests::patience::{PATIENCE, eventually, within};
use tests::process::tool;
use tests::{Client, Exit, Generation, Launch, Scratch, Service, Signal, Strace, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// The longest silence of the other side.
const MUTE_AFTER: Duration = Duration::from_secs(5);

/// An application whose next generation may be an impostor, and its parked connections; every third one uses a Unix
/// socket.
struct Stage {
    service: Service,
    idle: Vec<Client>,
    /// Holds the Unix socket.
    _sockets: Scratch,
}

impl Stage {
    async fn new(clients: usize, change: impl FnOnce(Launch) -> Launch) -> Self {
        let sockets = Scratch::new();
        let unix = sockets.join("web.sock");
        let endpoints = format!("127.0.0.1:0,unix:{}", unix.display());
        let launched =
            |launch: Launch| change(launch.env("GRACEHTTP_STANDBY", "300ms").listen("web", &endpoints));
        let service = Service::installed(WEB, launched).await;
        service.app.log.line(0, "serving web on unix:").await;
        let (web, unix) = (&service.target, Target::Unix(unix));
        let mut idle = Vec::new();
        for number in 0..clients {
            let mut client = Client::connect([web, web, &unix][number % 3]).await.expect("a connection");
            client.get("/ping").await.expect("an answer");
            idle.push(client);
        }
        if let Some(last) = idle.last_mut() {
            assert_eq!(last.pause(Duration::from_millis(300)).await, Pause::Open, "until all are parked");
        }
        Self { service, idle, _sockets: sockets }
    }

    /// The next successor is this impostor.
    fn next_is(&self, word: &str) {
        self.service.install("impostor");
        self.service.scratch.write("plan", format!("impostor {word}"));
    }

    /// The next successor is the application, and stops permanently at a system call.
    fn next_stops_at(&self, call: &str, number: usize) {
        let inject = format!("-e trace={call} -e inject={call}:signal=STOP:when={number}");
        self.service.next_starts_by(&format!("exec strace -D -f -qq -o /dev/null {inject}"));
    }

    /// Blocks the only thread that serves, and returns the client that waits for it.
    async fn block(&self, millis: u64) -> Client {
        let mut blocked = Client::connect(&self.service.target).await.expect("a connection").limit(PATIENCE);
        blocked.send(get(&format!("/block?ms={millis}"))).await.expect("a request");
        self.service.app.log.line(0, "block begins").await;
        blocked
    }

    /// This process answers every connection at the first request, and announces no close.
    async fn all_are_answered_by(&mut self, generation: &Generation) {
        let asked = self.idle.iter_mut().enumerate().map(async |(number, client)| {
            let reply = client.get("/ping").await;
            let reply = reply
                .unwrap_or_else(|failure| panic!("client {number}: {failure}\n{}", self.service.app.log));
            assert!(!reply.closes(), "{reply:?}");
            assert_eq!(reply.pid(), Some(generation.pid()), "client {number}\n{}", self.service.app.log);
        });
        futures_util::future::join_all(asked).await;
    }

    /// This process answers every connection in the end.
    async fn all_move_to(&mut self, generation: &Generation) {
        for client in &mut self.idle {
            client.moves_to(generation.pid()).await;
        }
    }

    /// Waits for an error line since `start`.
    async fn error_since(&self, start: usize, words: &str) {
        let matches = |line: &str| line.contains("ERROR") && line.contains(words);
        self.service.app.log.find(start, 2 * PATIENCE, &format!("an error with {words:?}"), matches).await;
    }
}

/// Signals, the start of the successor and the hand-over need no thread that serves.
#[tokio::test]
async fn a3_parked_connections_move_while_all_workers_of_the_predecessor_are_blocked() {
    let mut stage = Stage::new(50, |launch| {
        launch.env("GRACEHTTP_WORKER_THREADS", "1").env("GRACEHTTP_DRAIN_TIMEOUT", "60s")
    })
    .await;
    let old = stage.service.app.first();
    let mut blocked = stage.block(12_000).await;
    let successor = stage.service.app.restart().await;
    stage.all_are_answered_by(&successor).await;
    assert_eq!(blocked.pause(Duration::ZERO).await, Pause::Open, "the handler still blocks");
    assert_eq!(blocked.reply().await.expect("an answer").pid(), Some(old.pid()));
    assert!(old.exit().await.is_clean(), "{}", stage.service.app.log);
}

/// The same for a handler of an HTTP/2 request, which blocks one thread of two, or the only one. Requests that have come
/// meanwhile are answered there.
#[tokio::test]
async fn parked_connections_move_while_a_handler_of_http2_blocks_its_thread() {
    for threads in ["2", "1"] {
        let mut stage = Stage::new(50, |launch| {
            launch.env("GRACEHTTP_WORKER_THREADS", threads).env("GRACEHTTP_DRAIN_TIMEOUT", "60s")
        })
        .await;
        let old = stage.service.app.first();
        let mut multiplexed = Http2::connect(&stage.service.target).await.expect("a connection");
        let blocked = tokio::spawn(async move { multiplexed.get("/block?ms=6000").await });
        stage.service.app.log.line(0, "block begins").await;
        let successor = stage.service.app.restart().await;
        stage.all_move_to(&successor).await;
        stage.all_are_answered_by(&successor).await;
        assert!(!blocked.is_finished(), "the handler still blocks");
        let Ok(Ok(Outcome::Reply(reply))) = blocked.await else {
            panic!("no answer\n{}", stage.service.app.log)
        };
        assert_eq!(reply.pid(), Some(old.pid()));
        assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.service.app.log);
    }
}

/// A stop needs no serving thread either: parked connections close after the grace, and the deadline holds.
#[tokio::test]
async fn a3_stop_closes_parked_connections_while_all_workers_are_blocked() {
    let mut stage = Stage::new(10, |launch| {
        launch.env("GRACEHTTP_WORKER_THREADS", "1").env("GRACEHTTP_DRAIN_TIMEOUT", "2s")
    })
    .await;
    let _blocked = stage.block(20_000).await;
    let begun = Instant::now();
    stage.service.app.signal(Signal::TERM);
    for client in &mut stage.idle {
        assert_eq!(client.pause(PATIENCE).await, Pause::Closed);
    }
    assert!(stage.service.app.first().is_running(), "its handler has until the deadline");
    assert_eq!(stage.service.app.first().exit().await, Exit::Code(0));
    assert!(begun.elapsed() < Duration::from_secs(16), "took {:?}", begun.elapsed());
}

/// The successor parks every connection that can rest: the predecessor ends, and each request waits for its thread.
#[tokio::test]
async fn a4_parked_connections_move_while_all_workers_of_the_successor_are_blocked() {
    let mut stage = Stage::new(200, |launch| launch).await;
    let old = stage.service.app.first();
    stage.service.scratch.write("plan", format!("{WEB}\nstart block 12000"));
    let successor = stage.service.app.restart().await;
    assert!(within(Duration::from_secs(10), "the predecessor's end", old.exit()).await.is_clean());
    stage.all_are_answered_by(&successor).await;
}

/// The stopped successor sends no sign of life during its standby, and longer.
#[tokio::test]
async fn a5_predecessor_kills_a_successor_stopped_in_standby_and_serves_again() {
    let mut stage = Stage::new(20, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "1s")).await;
    let old = stage.service.app.first();
    stage.service.scratch.write("plan", format!("{WEB}\nstart stop 100"));
    let start = stage.service.app.log.end();
    let begun = Instant::now();
    let successor = stage.service.app.restart().await;
    eventually("the successor to stop", || successor.is_stopped()).await;
    // A new connection now waits in the queue.
    let new = tokio::spawn({
        let web = stage.service.target.clone();
        async move { get_once(&web, "/ping").await }
    });
    stage.error_since(start, "gave no sign of life for 5s and was killed").await;
    let took = begun.elapsed();
    assert!(took > MUTE_AFTER && took < 5 * MUTE_AFTER, "took {took:?}");
    stage.service.app.log.line(start, "serves again and has taken").await;
    assert_eq!(stage.service.app.log.count(start, "serves again and has taken"), 1);
    stage.all_are_answered_by(&old).await;
    assert_eq!(new.await.expect("no panic").expect("an answer").pid(), Some(old.pid()));
    successor.exit().await;
    // The failed successor leaves nothing behind: the next restart succeeds as usual.
    stage.service.scratch.write("plan", WEB);
    let start = stage.service.app.log.end();
    old.signal(Signal::USR2);
    let next = stage.service.app.successor_since(start).await;
    stage.all_move_to(&next).await;
    assert_eq!(old.exit().await, Exit::Code(0));
}

/// The successor stops at each step from its greeting to the confirmations. The outcome kills it, or `ready_timeout`
/// before it is ready; the predecessor continues to serve or serves again.
#[tokio::test]
async fn a5_predecessor_serves_when_its_successor_stops_at_any_step_of_the_handoff() {
    if !tool("strace") {
        return;
    }
    let sends = (1..=5).map(|number| ("sendmsg", number));
    let receives = [1, 3, 5, 7].map(|number| ("recvmsg", number));
    let steps = sends.chain(receives).map(async |(call, number)| {
        let mut stage = Stage::new(10, |launch| {
            launch.env("GRACEHTTP_READY_TIMEOUT", "2s").env("GRACEHTTP_STANDBY", "4s")
        })
        .await;
        let old = stage.service.app.first();
        stage.next_stops_at(call, number);
        stage.service.app.signal(Signal::USR2);
        let matches = |line: &str| {
            line.contains("ERROR") && (line.contains("serves on") || line.contains("serves again"))
        };
        let step = format!("the end of one that stops at {call} {number}");
        let line = stage.service.app.log.find(0, 2 * PATIENCE, &step, matches).await;
        println!("{call} {number}: {}", line.text);
        stage.all_are_answered_by(&old).await;
        assert_eq!(get_once(&stage.service.target, "/ping").await.expect("an answer").pid(), Some(old.pid()));
        eventually("the successor to be reaped", || old.children().is_empty()).await;
        assert!(stage.service.app.log.count(0, "ERROR") >= 2 || line.text.contains("serves again"));
    });
    futures_util::future::join_all(steps).await;
}

/// The predecessor stops at each step from its greeting to the connections. The successor gives up before it is ready,
/// or serves alone. After SIGCONT the predecessor serves on, or hands over what it still has. The two never own one
/// connection at the same time.
#[tokio::test]
async fn a5_service_survives_a_predecessor_that_stops_at_any_step_of_the_handoff() {
    if !tool("strace") {
        return;
    }
    // With connections: from the first word after the greeting, which comes before the successor. Without: to the end of
    // the standby and the last message.
    let steps = (2..=7).map(|number| (number, 150, "4s")).chain((5..=8).map(|number| (number, 0, "0s")));
    let steps = steps.map(async |(number, clients, standby): (usize, usize, &str)| {
        let mut stage = Stage::new(clients, |launch| launch.env("GRACEHTTP_STANDBY", standby)).await;
        let old = stage.service.app.first();
        let trace = Strace::on(&old, &format!("sendmsg:signal=STOP:when={number}")).await;
        old.signal(Signal::USR2);
        // Either outcome: a successor that serves logs that, and one that fails logs the reason.
        let matches = |line: &str| {
            line.contains("serving web on") && line.contains("generation 2")
                || line.contains("ERROR") && line.contains("the predecessor has sent nothing for 5s")
        };
        let step = format!("a successor's decision where its predecessor stops at word {number}");
        let line = stage.service.app.log.find(0, 2 * PATIENCE, &step, matches).await;
        println!("word {number} with {clients} connections: {}", line.text);
        let serves = line.text.contains("serving web on");
        if serves {
            let reply = get_once(&stage.service.target, "/ping").await.expect("an answer");
            assert_ne!(reply.pid(), Some(old.pid()), "it is stopped");
        }
        drop(trace);
        if old.is_running() {
            old.signal(Signal::CONT);
        }
        if serves {
            let successor = stage.service.app.successor_since(0).await;
            stage.all_move_to(&successor).await;
            assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.service.app.log);
            assert_eq!(stage.service.app.log.count(0, "serves again"), 0, "{}", stage.service.app.log);
        } else {
            stage.error_since(0, "serves on").await;
            stage.all_are_answered_by(&old).await;
        }
    });
    futures_util::future::join_all(steps).await;
}

/// It reports ready and then sends nothing: no sign of life and no confirmation of a connection.
#[tokio::test]
async fn a5_predecessor_kills_a_successor_that_is_ready_and_mute() {
    let mut stage = Stage::new(100, |launch| launch).await;
    let old = stage.service.app.first();
    stage.next_is("mute");
    let start = stage.service.app.log.end();
    old.signal(Signal::USR2);
    stage.service.app.log.line(start, "impostor mute is done").await;
    // The predecessor serves the unconfirmed connections long before it gives the successor up.
    stage.all_are_answered_by(&old).await;
    assert_eq!(stage.service.app.log.count(start, "ERROR"), 0);
    stage.error_since(start, "gave no sign of life for 5s and was killed").await;
    stage.all_are_answered_by(&old).await;
    assert!(old.children().is_empty());
}

/// The successor lives but takes no connection: the predecessor serves all of them.
#[tokio::test]
async fn a4_predecessor_serves_connections_that_its_successor_does_not_confirm() {
    let mut stage = Stage::new(200, |launch| launch).await;
    let old = stage.service.app.first();
    stage.next_is("unconfirming");
    let start = stage.service.app.log.end();
    let successor = stage.service.app.restart().await;
    // This lasts to the end of the drain, and announces no close.
    for _ in 0..3 {
        stage.all_are_answered_by(&old).await;
    }
    // This precedes the kill, which logs an error.
    assert_eq!(stage.service.app.log.count(start, "ERROR"), 0, "{}", stage.service.app.log);
    successor.kill();
}

/// A withdrawn batch returns to the predecessor; after the successor has found that out, it gets the next batch.
#[tokio::test]
async fn a4_late_successor_gets_the_next_batch() {
    let mut stage = Stage::new(10, |launch| launch.env("GRACEHTTP_STANDBY", "10s")).await;
    let old = stage.service.app.first();
    stage.next_is("late");
    let start = stage.service.app.log.end();
    old.signal(Signal::USR2);
    stage.service.app.log.line(start, "the late one claims its first batch: false").await;
    stage.service.app.log.line(start, "the late one claims its next batch: true").await;
    // From here on it is mute, and all connections come back.
    stage.error_since(start, "serves again and has taken 10 connections back").await;
    stage.all_are_answered_by(&old).await;
}

/// The pause is shorter than the limit of silence, and connections travel to the successor meanwhile.
#[tokio::test]
async fn a4_paused_successor_gets_the_connections_later_and_no_client_waits() {
    let stage = Stage::new(0, |launch| launch.env("GRACEHTTP_STANDBY", "10s")).await;
    let old = stage.service.app.first();
    let mut busy = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(&stage.service.target).await.expect("a connection");
        client.send(get("/slow?ms=1500")).await.expect("a request");
        busy.push(client);
    }
    eventually("the handlers", || stage.service.app.log.count(0, "slow begins") == 20).await;
    let successor = stage.service.app.restart().await;
    stage.service.app.serves(&stage.service.target, &successor).await;
    successor.signal(Signal::STOP);
    for client in &mut busy {
        assert_eq!(client.reply().await.expect("an answer").pid(), Some(old.pid()));
    }
    for client in &mut busy {
        let reply = client.get("/ping").await.expect("an answer");
        assert!(!reply.closes() && reply.pid() == Some(old.pid()), "{reply:?}\n{}", stage.service.app.log);
    }
    successor.signal(Signal::CONT);
    for client in &mut busy {
        client.moves_to(successor.pid()).await;
    }
    assert_eq!(stage.service.app.log.count(0, "ERROR"), 0, "{}", stage.service.app.log);
}

/// The first release uses the older protocol, so both sides send only its messages.
#[tokio::test]
async fn d18_predecessor_of_the_first_release_hands_over_to_this_release() {
    let app = Launch::bin("usurper").arg("first release").spawn();
    app.log.line(0, "the connection is answered: pong by pid:").await;
    assert_eq!(app.current().exit().await, Exit::Code(0), "{}", app.log);
}

/// The predecessor asks it for no signs of life, and does not treat it as dead.
#[tokio::test]
async fn d18_successor_of_the_first_release_takes_over_from_this_release() {
    let stage = Stage::new(10, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "1s")).await;
    let old = stage.service.app.first();
    stage.next_is("deaf");
    let start = stage.service.app.log.end();
    old.signal(Signal::USR2);
    stage.service.app.log.line(start, "impostor deaf is done").await;
    assert_eq!(
        within(2 * MUTE_AFTER, "the end", old.exit()).await,
        Exit::Code(0),
        "{}",
        stage.service.app.log
    );
    assert_eq!(stage.service.app.log.count(start, "ERROR"), 0, "{}", stage.service.app.log);
}
