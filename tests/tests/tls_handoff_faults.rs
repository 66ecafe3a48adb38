//! TLS connections in restarts that go wrong: a process dies or stops at any step of their way. Each connection is then
//! served by one process, or closed, because only the dead one knew how far its keys were used. No client ever sees a
//! record that it can't read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tests::client::{Pause, get, get_once};
use tests::fault::Kind;
use tests::patience::{PATIENCE, eventually, within};
use tests::process::{bin, tool};
use tests::{App, Client, Exit, Generation, Launch, Scratch, Signal, Strace, Target};

const SERVERS: &str = "server web 127.0.0.1:0 tls=self_signed\nserver plain 127.0.0.1:0";

/// An application with a server that speaks TLS and one that does not, and parked connections of both.
struct Stage {
    app: App,
    web: Target,
    secure: Vec<Client>,
    plain: Vec<Client>,
    scratch: Scratch,
}

impl Stage {
    /// With so many connections of each kind.
    async fn new(clients: usize, change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let program = scratch.install(&bin("app"), "app");
        let launch = Launch::program(program).plan(&scratch, SERVERS).env("GRACEHTTP_STANDBY", "10s");
        let app = change(launch).spawn();
        let (web, plain) = (app.target("web").await, app.target("plain").await);
        let mut stage = Self {
            secure: parked(&web, clients).await,
            plain: parked(&plain, clients).await,
            app,
            web,
            scratch,
        };
        for client in stage.secure.last_mut().into_iter().chain(stage.plain.last_mut()) {
            assert_eq!(client.pause(Duration::from_millis(300)).await, Pause::Open, "until all are parked");
        }
        stage
    }

    /// The next successor is this impostor.
    fn next_is(&self, word: &str) {
        self.scratch.install(&bin("impostor"), "app");
        self.scratch.write("plan", format!("impostor {word} in version 3"));
    }

    fn next_is_honest(&self) {
        self.scratch.install(&bin("app"), "app");
        self.scratch.write("plan", SERVERS);
    }

    /// The next successor is the application, and gets this signal at a system call.
    fn next_gets(&self, signal: &str, call: &str, number: usize) {
        let real = self.scratch.install(&bin("app"), "real");
        let inject = format!("-e trace={call} -e inject={call}:signal={signal}:when={number}");
        let words = format!("#!/bin/sh\nexec strace -D -f -qq -o /dev/null {inject} {}\n", real.display());
        let script = self.scratch.write("script", words);
        let installed = self.scratch.install(&script, "app");
        fs::set_permissions(installed, fs::Permissions::from_mode(0o755)).expect("our own file");
    }

    /// This process answers every TLS connection at the first request, and announces no close.
    async fn secure_ones_are_answered_by(&mut self, generation: &Generation) {
        let answered = self.ask_secure_ones(Some(generation)).await;
        assert_eq!(answered, self.secure.len(), "{}", self.app.log);
    }

    async fn plain_ones_are_answered_by(&mut self, generation: &Generation) {
        for client in &mut self.plain {
            let reply = client.get("/ping").await.expect("an answer");
            assert!(!reply.closes() && reply.pid() == Some(generation.pid()), "{reply:?}\n{}", self.app.log);
        }
    }

    /// Asks every TLS connection. It is answered by this process, or was closed without a record; only the former
    /// remain. Returns how many they are.
    async fn ask_secure_ones(&mut self, by: Option<&Generation>) -> usize {
        let asked = self.secure.drain(..).enumerate().map(async |(number, mut client)| {
            let log = &self.app.log;
            match client.get("/ping").await {
                Ok(reply) => {
                    assert!(!reply.closes(), "client {number}: {reply:?}");
                    assert!(by.is_none_or(|by| reply.pid() == Some(by.pid())), "{number}: {reply:?}\n{log}");
                    Some(client)
                }
                Err(failure) => {
                    let is_closed = matches!(failure.kind, Kind::Truncated | Kind::Reset);
                    assert!(is_closed, "client {number}: {failure}\n{log}");
                    None
                }
            }
        });
        let asked: Vec<_> = futures_util::future::join_all(asked).await;
        self.secure = asked.into_iter().flatten().collect();
        self.secure.len()
    }

    /// A restart now works as usual, for these connections and new ones.
    async fn restarts_as_usual(&mut self, old: &Generation) {
        self.next_is_honest();
        self.secure.extend(parked(&self.web, 3).await);
        let start = self.app.log.end();
        old.signal(Signal::USR2);
        let successor = self.app.successor_since(start).await;
        for client in self.secure.iter_mut().chain(&mut self.plain) {
            client.moves_to(successor.pid()).await;
        }
    }

    /// Waits for the line of a predecessor that serves again, and returns it.
    async fn serves_again(&self, start: usize) -> String {
        let matches = |line: &str| line.contains("ERROR") && line.contains("serves again and has taken");
        let line = self.app.log.find(start, 2 * PATIENCE, "a predecessor that serves again", matches).await;
        line.text
    }
}

async fn parked(target: &Target, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        clients.push(client);
    }
    clients
}

/// How many HTTPS connections a line says are lost.
fn lost(line: &str) -> usize {
    let Some((before, _)) = line.split_once(" HTTPS connection") else { return 0 };
    before.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
}

/// The predecessor claims the batches itself, and serves.
#[tokio::test]
async fn a_successor_that_is_killed_before_it_claims_loses_no_connection() {
    let mut stage = Stage::new(70, |launch| launch).await;
    let old = stage.app.first();
    stage.next_is("unconfirming");
    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    stage.secure_ones_are_answered_by(&old).await;
    successor.kill();
    assert_eq!(lost(&stage.serves_again(start).await), 0);
    stage.secure_ones_are_answered_by(&old).await;
    stage.plain_ones_are_answered_by(&old).await;
    stage.restarts_as_usual(&old).await;
}

/// It might have used them.
#[tokio::test]
async fn a_successor_that_is_killed_before_it_confirms_loses_what_it_has_claimed() {
    let mut stage = Stage::new(10, |launch| launch).await;
    let old = stage.app.first();
    stage.next_is("claimer");
    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    let claimed = stage.app.log.line(start, "the claimer has claimed its batch of").await;
    assert!(claimed.ends_with(": true"), "{claimed}");
    successor.kill();
    let line = stage.serves_again(start).await;
    let left = stage.ask_secure_ones(Some(&old)).await;
    assert_eq!(left + lost(&line), 10, "{line}");
    assert!(left < 10, "its batch had some: {claimed}");
    stage.plain_ones_are_answered_by(&old).await;
    stage.restarts_as_usual(&old).await;
}

#[tokio::test]
async fn a_successor_that_is_killed_after_it_confirmed_loses_tls_connections_and_no_others() {
    let mut stage = Stage::new(10, |launch| launch).await;
    let old = stage.app.first();
    stage.next_is("confirmer");
    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    stage.app.log.line(start, "the confirmer has taken 20 connections").await;
    successor.kill();
    let line = stage.serves_again(start).await;
    assert!(line.contains("has taken 10 connections back; 10 HTTPS connections are lost with it"), "{line}");
    assert_eq!(stage.ask_secure_ones(None).await, 0);
    stage.plain_ones_are_answered_by(&old).await;
    assert_eq!(get_once(&stage.web, "/ping").await.expect("an answer").pid(), Some(old.pid()));
    stage.restarts_as_usual(&old).await;
}

/// The same with a real successor that serves.
#[tokio::test]
async fn a_successor_that_dies_in_standby_loses_the_tls_connections_that_it_has() {
    let mut stage = Stage::new(10, |launch| launch).await;
    let old = stage.app.first();
    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    for client in stage.secure.iter_mut().chain(&mut stage.plain) {
        client.moves_to(successor.pid()).await;
    }
    if let Some(last) = stage.plain.last_mut() {
        assert_eq!(last.pause(Duration::from_millis(200)).await, Pause::Open, "until none is busy");
    }
    successor.kill();
    let line = stage.serves_again(start).await;
    assert!(line.contains("has taken 10 connections back; 10 HTTPS connections are lost with it"), "{line}");
    assert_eq!(stage.ask_secure_ones(None).await, 0);
    stage.plain_ones_are_answered_by(&old).await;
    stage.restarts_as_usual(&old).await;
}

#[tokio::test]
async fn a_successor_that_stops_in_standby_is_killed_and_loses_the_tls_connections_that_it_has() {
    let mut stage = Stage::new(10, |launch| launch).await;
    let old = stage.app.first();
    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    for client in stage.secure.iter_mut().take(5) {
        client.moves_to(successor.pid()).await;
    }
    successor.signal(Signal::STOP);
    let line = stage.serves_again(start).await;
    assert!(line.contains("gave no sign of life for 5s and was killed"), "{line}");
    let left = stage.ask_secure_ones(Some(&old)).await;
    assert_eq!(left + lost(&line), 10, "{line}");
    stage.plain_ones_are_answered_by(&old).await;
    stage.restarts_as_usual(&old).await;
}

/// While the successor is stopped, the predecessor serves. Afterwards they move.
#[tokio::test]
async fn tls_connections_are_served_while_the_successor_is_stopped_and_move_afterwards() {
    let mut stage = Stage::new(0, |launch| launch).await;
    let old = stage.app.first();
    for _ in 0..20 {
        let mut client = Client::connect(&stage.web).await.expect("a connection");
        client.send(get("/slow?ms=1500")).await.expect("a request");
        stage.secure.push(client);
    }
    eventually("the handlers", || stage.app.log.count(0, "slow begins") == 20).await;
    let successor = stage.app.restart().await;
    stage.app.serves(&stage.web, &successor).await;
    successor.signal(Signal::STOP);
    for client in &mut stage.secure {
        let reply = client.reply().await.expect("an answer");
        assert!(!reply.closes() && reply.pid() == Some(old.pid()), "{reply:?}");
    }
    stage.secure_ones_are_answered_by(&old).await;
    successor.signal(Signal::CONT);
    for client in &mut stage.secure {
        client.moves_to(successor.pid()).await;
    }
    assert_eq!(stage.app.log.count(0, "ERROR"), 0, "{}", stage.app.log);
}

#[tokio::test]
async fn tls_connections_of_a_withdrawn_batch_are_the_predecessors() {
    let mut stage = Stage::new(10, |launch| launch).await;
    let old = stage.app.first();
    stage.next_is("late");
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    stage.app.log.line(start, "the late one claims its first batch: false").await;
    stage.app.log.line(start, "the late one claims its next batch: true").await;
    let line = stage.serves_again(start).await;
    let left = stage.ask_secure_ones(Some(&old)).await;
    assert_eq!(left + lost(&line), 10, "{line}");
    stage.restarts_as_usual(&old).await;
}

/// It is killed or stopped at each step from its greeting to its confirmations. Then the predecessor serves what it can,
/// and what is lost is counted.
async fn successor_fails_at_any_step(signal: &str) {
    if !tool("strace") {
        return;
    }
    let sends = (1..=7).map(|number| ("sendmsg", number));
    let receives = (1..=9).map(|number| ("recvmsg", number));
    let steps = sends.chain(receives).map(async |(call, number)| {
        let mut stage = Stage::new(10, |launch| launch.env("GRACEHTTP_READY_TIMEOUT", "2s")).await;
        let old = stage.app.first();
        stage.next_gets(signal, call, number);
        old.signal(Signal::USR2);
        let matches = |line: &str| {
            line.contains("ERROR") && (line.contains("serves on") || line.contains("serves again"))
        };
        let step = format!("the end of one that gets {signal} at {call} {number}");
        let line = stage.app.log.find(0, 2 * PATIENCE, &step, matches).await.text;
        let left = stage.ask_secure_ones(Some(&old)).await;
        println!("{signal} at {call} {number}: {left} of 10 left; {line}");
        assert_eq!(left + lost(&line), 10, "{call} {number}: {line}");
        stage.plain_ones_are_answered_by(&old).await;
        stage.restarts_as_usual(&old).await;
    });
    futures_util::future::join_all(steps).await;
}

#[tokio::test]
async fn a_successor_is_killed_at_any_step() {
    successor_fails_at_any_step("KILL").await;
}

#[tokio::test]
async fn a_successor_stops_at_any_step() {
    successor_fails_at_any_step("STOP").await;
}

/// The predecessor stops at each step from its first message after the greeting to its last one. Once it wakes, all
/// connections are in the successor, or none was to move. (It greets before there is a successor.)
#[tokio::test]
async fn a_predecessor_stops_at_any_step() {
    if !tool("strace") {
        return;
    }
    let steps = (2..=10).map(async |number| {
        let mut stage = Stage::new(70, |launch| launch.env("GRACEHTTP_STANDBY", "1s")).await;
        let old = stage.app.first();
        let trace = Strace::on(&old, &format!("sendmsg:signal=STOP:when={number}")).await;
        old.signal(Signal::USR2);
        let matches = |line: &str| {
            line.contains("serving web on") && line.contains("generation 2")
                || line.contains("ERROR") && line.contains("the predecessor has sent nothing for 5s")
        };
        let step = format!("a successor's decision where its predecessor stops at word {number}");
        let line = stage.app.log.find(0, 2 * PATIENCE, &step, matches).await.text;
        let serves = line.contains("serving web on");
        if serves {
            let reply = get_once(&stage.web, "/ping").await.expect("an answer");
            assert_ne!(reply.pid(), Some(old.pid()), "it is stopped");
        }
        drop(trace);
        if old.is_running() {
            old.signal(Signal::CONT);
        }
        if serves {
            let successor = stage.app.successor_since(0).await;
            for client in stage.secure.iter_mut().chain(&mut stage.plain) {
                client.moves_to(successor.pid()).await;
            }
            assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
        } else {
            stage.secure_ones_are_answered_by(&old).await;
        }
    });
    futures_util::future::join_all(steps).await;
}

/// The predecessor is killed at each step after the commit: the successor serves the connections that it has.
#[tokio::test]
async fn a_predecessor_is_killed_at_any_step() {
    if !tool("strace") {
        return;
    }
    // The commit is the seventh message.
    let steps = (7..=13).map(async |number| {
        let mut stage = Stage::new(70, |launch| launch.env("GRACEHTTP_STANDBY", "1s")).await;
        let old = stage.app.first();
        let _trace = Strace::on(&old, &format!("sendmsg:signal=KILL:when={number}")).await;
        old.signal(Signal::USR2);
        assert!(matches!(old.exit().await, Exit::Killed(_)), "{}", stage.app.log);
        let successor = within(2 * PATIENCE, "an answer of the successor", async {
            loop {
                if let Ok(reply) = get_once(&stage.web, "/ping").await {
                    return stage.app.hold(reply.pid().expect("a pid"));
                }
            }
        })
        .await;
        let left = stage.ask_secure_ones(Some(&successor)).await;
        println!("killed at word {number}: {left} of 70 left");
        // It serves on, for more than one request.
        stage.secure_ones_are_answered_by(&successor).await;
    });
    futures_util::future::join_all(steps).await;
}

/// Such a release can't take TLS sessions: its predecessor tells their clients to connect again, as it always did.
#[tokio::test]
async fn tls_connections_are_told_to_close_if_the_successor_speaks_version_2() {
    let mut stage = Stage::new(10, |launch| launch).await;
    let old = stage.app.first();
    stage.scratch.install(&bin("impostor"), "app");
    stage.scratch.write("plan", "impostor unconfirming in version 2");
    let successor = stage.app.restart().await;
    for client in &mut stage.secure {
        // The first may be faster than the predecessor.
        let told_to_close = async {
            loop {
                let reply = client.get("/ping").await.expect("an answer");
                assert_eq!(reply.pid(), Some(old.pid()));
                if reply.closes() {
                    return;
                }
            }
        };
        within(PATIENCE, "Connection: close", told_to_close).await;
        client.closed().await.expect("a proper end");
    }
    successor.kill();
    // What was closed is gone; what connects anew is parked, and moves again.
    stage.secure.clear();
    stage.serves_again(0).await;
    stage.restarts_as_usual(&old).await;
}

/// Their requests may have been handled: nobody can repeat them. The log counts them, too.
#[tokio::test]
async fn busy_plain_connections_of_a_successor_that_dies_are_counted() {
    let mut stage = Stage::new(10, |launch| launch).await;
    let old = stage.app.first();
    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    for client in stage.secure.iter_mut().chain(&mut stage.plain) {
        client.moves_to(successor.pid()).await;
    }
    let mut busy: Vec<Client> = stage.plain.drain(..3).collect();
    for (number, client) in busy.iter_mut().enumerate() {
        client.send(get("/slow?ms=20000")).await.expect("room");
        let begun = || stage.app.log.count(start, "slow begins") == number + 1;
        eventually("a handler", begun).await;
    }
    successor.kill();
    let line = stage.serves_again(start).await;
    let lost = "has taken 7 connections back; 10 HTTPS connections are lost with it, and 3 busy plain";
    assert!(line.contains(lost), "{line}");
    stage.plain_ones_are_answered_by(&old).await;
}
