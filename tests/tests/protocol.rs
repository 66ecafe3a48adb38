//! The other end of the handoff may be another release, broken, or malicious: the predecessor neither crashes nor
//! hangs, and no client loses its connection. Either end may also die during the handoff.

use std::ops::Deref;
use std::time::Duration;

use tests::client::{Pause, get, get_once, post_head};
use tests::load::Style;
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::process::tool;
use tests::{Client, Exit, Launch, Load, Service, Signal, Strace};

const WEB: &str = "server web 127.0.0.1:0";

/// An application that serves, and whose successors may be impostors.
struct Stage(Service);

impl Deref for Stage {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl Stage {
    async fn new(plan: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        Self(Service::installed(plan, |launch| change(launch.env("GRACEHTTP_STANDBY", "10s"))).await)
    }

    /// The next successor is this impostor.
    fn next_is(&self, word: &str) {
        self.install("impostor");
        self.scratch.write("plan", format!("impostor {word}"));
    }

    /// The next successor is honest again.
    fn next_is_honest(&self, plan: &str) {
        self.install("app");
        self.scratch.write("plan", plan);
    }

    async fn idle_clients(&self, count: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = Client::connect(&self.target).await.expect("a connection");
            client.get("/ping").await.expect("an answer");
            clients.push(client);
        }
        clients
    }
}

/// In the end this process answers all clients, and closes no connection.
async fn all_are_served_by(clients: &mut [Client], pid: u32) {
    within(PATIENCE, "the connections to come", async {
        for (number, client) in clients.iter_mut().enumerate() {
            loop {
                let reply = client.get("/ping").await;
                let reply = reply.unwrap_or_else(|failure| panic!("client {number}: {failure}"));
                assert!(!reply.closes(), "{reply:?}");
                if reply.pid() == Some(pid) {
                    break;
                }
                assert_eq!(client.pause(GLANCE).await, Pause::Open);
            }
        }
    })
    .await;
}

/// The predecessor refuses the impostor before the commit: it kills it, logs the reason, leaks nothing, and no client
/// notices.
async fn is_refused(word: &str, reason: &str) {
    // Only the silent one uses it up.
    let limit = if word == "silent" { "4s" } else { "60s" };
    let stage = Stage::new(WEB, |launch| launch.env("GRACEHTTP_READY_TIMEOUT", limit)).await;
    let serving = stage.app.current();
    let load = Load::on(&stage.target).clients(3, Style::Get).clients(2, Style::Fresh);
    load.answers(20).await;
    let descriptors = || serving.descriptor_names().iter().filter(|name| !name.contains("socket")).count();
    let mut before = None;
    for attempt in 1..=2 {
        stage.next_is(word);
        load.mark(format!("impostor {word}, {attempt}"));
        let start = stage.app.log.end();
        serving.signal(Signal::USR2);
        stage.error_since(start, &[reason]).await;
        stage.app.log.line(start, "serves on").await;
        eventually("the impostor's end", || serving.children().is_empty()).await;
        let before = *before.get_or_insert_with(descriptors);
        eventually("as many descriptors as before", || descriptors() <= before).await;
        load.answers(20).await;
    }
    stage.next_is_honest(WEB);
    let start = stage.app.log.end();
    serving.signal(Signal::USR2);
    let successor = stage.app.successor_since(start).await;
    stage.app.serves(&stage.target, &successor).await;
    load.stop().await.assert_unnoticed();
    serving.signal(Signal::TERM);
    assert_eq!(serving.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn successor_with_a_newer_protocol_is_refused() {
    is_refused("newer", "versions 9 to 10").await;
}

#[tokio::test]
async fn successor_with_an_older_protocol_is_refused() {
    is_refused("older", "versions 0 to 0").await;
}

#[tokio::test]
async fn silent_successor_is_refused() {
    is_refused("silent", "ready_timeout").await;
}

#[tokio::test]
async fn successor_that_closes_its_socket_is_refused() {
    is_refused("gone", "start new process failed").await;
}

#[tokio::test]
async fn successor_that_sends_empty_messages_is_refused() {
    is_refused("empty", "closed its end").await;
}

#[tokio::test]
async fn successor_that_sends_garbage_is_refused() {
    is_refused("garbage", "failed").await;
}

#[tokio::test]
async fn successor_that_speaks_http_is_refused() {
    is_refused("http", "failed").await;
}

#[tokio::test]
async fn successor_that_sends_too_much_is_refused() {
    is_refused("oversize", "too long").await;
}

#[tokio::test]
async fn successor_that_announces_more_than_it_sends_is_refused() {
    is_refused("overlong", "failed").await;
}

#[tokio::test]
async fn successor_that_sends_thousands_of_descriptors_is_refused() {
    is_refused("descriptors", "failed").await;
}

#[tokio::test]
async fn successor_that_floods_is_refused() {
    is_refused("flood", "before it was ready").await;
}

#[tokio::test]
async fn successor_that_claims_listeners_without_an_offer_is_refused() {
    is_refused("greedy", "claims").await;
}

/// The predecessor takes everything back: confirmed connections, those on the way, and those that had not left.
async fn everything_comes_back(word: &str) {
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let mut clients = stage.idle_clients(400).await;
    stage.next_is(word);
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    stage.error_since(start, &["SIGKILL"]).await;
    stage.app.log.line(start, "serves again").await;
    all_are_served_by(&mut clients, old.pid()).await;
    assert_eq!(get_once(&stage.target, "/ping").await.expect("an answer").pid(), Some(old.pid()));
    assert!(old.children().is_empty());
    // After the repair, a restart moves all of them.
    stage.next_is_honest(WEB);
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    let successor = stage.app.successor_since(start).await;
    all_are_served_by(&mut clients, successor.pid()).await;
}

#[tokio::test]
async fn successor_that_dies_after_three_batches_loses_no_connection() {
    everything_comes_back("taker").await;
}

#[tokio::test]
async fn successor_that_confirms_falsely_and_dies_loses_no_connection() {
    everything_comes_back("liar").await;
}

/// It has the listeners, sends garbage and lives: the predecessor kills it and serves again.
#[tokio::test]
async fn successor_that_sends_garbage_after_the_commit_is_killed_and_loses_no_connection() {
    everything_comes_back("babbler").await;
}

#[tokio::test]
async fn parcels_that_the_predecessor_does_not_know_are_ignored_and_their_descriptors_closed() {
    everything_comes_back("courier in version 4").await;
}

/// The impostor fails if it gets a message that its version does not have.
#[tokio::test]
async fn successor_of_version_3_gets_no_parcel() {
    everything_comes_back("courier in version 3").await;
}

/// It never reads the predecessor's messages: the predecessor drains and ends all the same.
#[tokio::test]
async fn predecessor_ends_although_its_successor_reads_nothing() {
    let plan = format!("{WEB}\nserver tls 127.0.0.1:0 tls=self_signed");
    let stage = Stage::new(&plan, |launch| {
        launch.env("GRACEHTTP_STANDBY", "300ms").env("GRACEHTTP_DRAIN_TIMEOUT", "6s")
    })
    .await;
    let old = stage.app.first();
    let tls = stage.app.target("tls").await;
    let mut clients = Vec::new();
    for _ in 0..500 {
        let mut client = Client::connect(&tls).await.unwrap();
        client.get("/ping").await.unwrap();
        clients.push(client);
    }
    stage.next_is("deaf");
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    stage.app.log.line(start, "impostor deaf is done").await;
    // The predecessor reports each closed connection to the successor, until the socket between them is full.
    for mut client in clients {
        client.half_close().await.unwrap();
        drop(client);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(old.exit_within(Duration::from_secs(30)).await, Exit::Code(0), "{}", stage.app.log);
}

/// The predecessor owned half of the connections. These die with it; the successor answers all others, and new ones.
#[tokio::test]
async fn successor_serves_the_moved_connections_when_its_predecessor_is_killed_during_the_transfer() {
    if !tool("strace") {
        return;
    }
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let clients = stage.idle_clients(1500).await;
    let start = stage.app.log.end();
    // These messages are the greeting, keys, parcels, listeners, commit, a question, a report, and then batches of
    // connections.
    let trace = Strace::on(&old, "sendmsg:signal=KILL:when=12").await;
    old.signal(Signal::USR2);
    // Its own words: the predecessor may die before its log names it.
    let line = stage.app.log.line(start, "generation 2, pid ").await;
    let pid = line.rsplit_once("pid ").and_then(|(_, rest)| rest.trim_end_matches(')').parse().ok());
    let successor = stage.app.hold(pid.expect("a pid"));
    assert_eq!(old.exit().await, Exit::Killed(9));
    trace.ended().await;
    stage.app.serves(&stage.target, &successor).await;
    let (mut served, mut lost) = (0, 0);
    for mut client in clients {
        // One of the two owned it: an answer, or a close at once.
        match client.get("/ping").await {
            Ok(reply) => {
                assert_eq!(reply.pid(), Some(successor.pid()));
                served += 1;
            }
            Err(failure) => {
                assert_ne!(failure.kind, tests::Kind::TimedOut, "{failure}");
                lost += 1;
            }
        }
    }
    println!("{served} connections had moved, {lost} died with the predecessor");
    assert!(served >= 64, "no connection had moved");
    assert!(lost > 0, "all connections had moved, so the test shows nothing");
    // The permits of the dead predecessor are free again, and restarts still work.
    let start = stage.app.log.end();
    successor.signal(Signal::USR2);
    let next = stage.app.successor_since(start).await;
    stage.app.serves(&stage.target, &next).await;
}

/// The successor serves the connections that were sent, although it could confirm none of them.
#[tokio::test]
async fn successor_serves_connections_in_transit_when_its_predecessor_is_killed() {
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let mut busy = Vec::new();
    for _ in 1..=20 {
        let mut client = Client::connect(&stage.target).await.unwrap();
        client.send(get("/slow?ms=1000")).await.unwrap();
        busy.push(client);
    }
    eventually("the handlers", || stage.app.log.count(0, "slow begins") == 20).await;
    let successor = stage.app.restart().await;
    stage.app.serves(&stage.target, &successor).await;
    // The successor does not read while the twenty connections come to rest and leave the predecessor.
    successor.signal(Signal::STOP);
    for client in &mut busy {
        assert_eq!(client.reply().await.unwrap().pid(), Some(old.pid()));
    }
    // This is before the predecessor takes unconfirmed connections back.
    eventually("the predecessor to sleep", || old.is_asleep()).await;
    old.kill();
    assert_eq!(old.exit().await, Exit::Killed(9));
    successor.signal(Signal::CONT);
    // The first connection travelled alone, and the others waited for its confirmation.
    let mut served = 0;
    for client in &mut busy {
        match client.get("/ping").await {
            Ok(reply) => {
                assert_eq!(reply.pid(), Some(successor.pid()));
                served += 1;
            }
            Err(failure) => assert_ne!(failure.kind, tests::Kind::TimedOut, "{failure}"),
        }
    }
    println!("{served} of 20 were on their way");
    assert!(served > 0, "the connections in transit are lost");
}

#[tokio::test]
async fn predecessor_serves_all_clients_again_when_its_successor_is_killed_during_the_transfer() {
    if !tool("strace") {
        return;
    }
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let mut clients = stage.idle_clients(1500).await;
    // It dies at its fifth batch on one thread; the main thread receives fewer messages.
    let trace = "strace -D -f -qq -o /dev/null -e trace=sendmsg -e inject=sendmsg:signal=KILL:when=5";
    stage.next_starts_by(&format!("exec {trace}"));
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    stage.error_since(start, &["SIGKILL"]).await;
    stage.app.log.line(start, "serves again").await;
    all_are_served_by(&mut clients, old.pid()).await;
    stage.next_is_honest(WEB);
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    let successor = stage.app.successor_since(start).await;
    all_are_served_by(&mut clients, successor.pid()).await;
}

#[tokio::test]
async fn successor_serves_all_clients_when_its_predecessor_is_killed_during_standby() {
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let mut clients = stage.idle_clients(100).await;
    let successor = stage.app.restart().await;
    all_are_served_by(&mut clients, successor.pid()).await;
    old.kill();
    assert_eq!(old.exit().await, Exit::Killed(9));
    all_are_served_by(&mut clients, successor.pid()).await;
    assert_eq!(get_once(&stage.target, "/ping").await.unwrap().pid(), Some(successor.pid()));
    let next = stage.app.restart().await;
    all_are_served_by(&mut clients, next.pid()).await;
}

/// A stopped predecessor can take nothing back, and must not delay the connections that it gave away.
#[tokio::test]
async fn successor_serves_all_clients_while_its_predecessor_is_stopped_during_standby() {
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let mut clients = stage.idle_clients(600).await;
    let successor = stage.app.restart().await;
    all_are_served_by(&mut clients, successor.pid()).await;
    old.signal(Signal::STOP);
    for round in 1..=3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let reply = client.get("/ping").await;
            let reply = reply.unwrap_or_else(|failure| panic!("round {round}, client {number}: {failure}"));
            assert_eq!(reply.pid(), Some(successor.pid()));
        }
        // The pause is long enough to park the connections: each wakes again in the next round.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let next = stage.app.restart().await;
    stage.app.serves(&stage.target, &next).await;
    all_are_served_by(&mut clients, next.pid()).await;
    old.signal(Signal::CONT);
    assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
}

/// After SIGCONT there is a third generation, and the predecessor must not serve, whether the second one lives or not.
#[tokio::test]
async fn predecessor_stopped_during_standby_never_serves_beside_the_third_generation() {
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let mut clients = stage.idle_clients(20).await;
    let second = stage.app.restart().await;
    all_are_served_by(&mut clients, second.pid()).await;
    old.signal(Signal::STOP);
    let third = stage.app.restart().await;
    stage.app.serves(&stage.target, &third).await;
    all_are_served_by(&mut clients, third.pid()).await;
    second.kill();
    old.signal(Signal::CONT);
    assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "serves again"), 0, "{}", stage.app.log);
    assert_eq!(stage.app.log.count(0, "no process serves"), 0, "{}", stage.app.log);
    all_are_served_by(&mut clients, third.pid()).await;
}

/// While the predecessor is stopped, it receives no message about the connections that the successor reads. It finds in
/// shared memory which are busy. Without that no connection returns, because it could take half a request for a whole one.
async fn predecessor_is_stopped_during_standby(change: impl FnOnce(Launch) -> Launch, returned: usize) {
    let stage = Stage::new(WEB, |launch| change(launch.env("GRACEHTTP_STANDBY", "60s"))).await;
    let old = stage.app.first();
    let mut clients = stage.idle_clients(600).await;
    let successor = stage.app.restart().await;
    all_are_served_by(&mut clients, successor.pid()).await;
    old.signal(Signal::STOP);
    // Messages would be more than the channel to the predecessor can hold.
    for _ in 0..2 {
        for client in &mut clients {
            client.get("/ping").await.expect("an answer");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut upload = clients.pop().expect("six hundred clients");
    let inner = get("/ping");
    upload.send(post_head("/never", inner.len())).await.expect("the successor lives");
    stage.app.log.line(0, "never begins").await;
    successor.kill();
    upload.send(&inner).await.expect("its socket is open");
    old.signal(Signal::CONT);
    let words = format!("serves again and has taken {returned} connections back");
    stage.app.log.line(0, &words).await;
    upload.reply().await.expect_err("its successor is dead");
    assert_eq!(get_once(&stage.target, "/ping").await.expect("an answer").pid(), Some(old.pid()));
    clients.truncate(returned);
    all_are_served_by(&mut clients, old.pid()).await;
}

#[tokio::test]
async fn predecessor_stopped_during_standby_takes_idle_connections_back() {
    predecessor_is_stopped_during_standby(|launch| launch, 599).await;
}

#[tokio::test]
async fn predecessor_stopped_during_standby_takes_no_connections_back_after_it_lost_reports() {
    predecessor_is_stopped_during_standby(|launch| launch.after("ulimit -f 0;"), 0).await;
}

/// The design allows the loss of the request that the dead successor was handling; nothing else is lost.
#[tokio::test]
async fn only_the_request_in_the_handler_is_lost_when_the_successor_is_killed_during_standby() {
    let stage = Stage::new(WEB, |launch| launch).await;
    let old = stage.app.first();
    let mut clients = stage.idle_clients(50).await;
    let successor = stage.app.restart().await;
    all_are_served_by(&mut clients, successor.pid()).await;
    let mut busy = clients.pop().expect("fifty clients");
    let start = stage.app.log.end();
    busy.send(get("/slow?ms=60000")).await.unwrap();
    stage.app.log.line(start, "slow begins").await;
    // The other connections come to rest.
    tokio::time::sleep(Duration::from_millis(100)).await;
    eventually("the successor to sleep", || successor.is_asleep()).await;
    successor.kill();
    assert!(busy.reply().await.is_err(), "its handler is dead");
    stage.error_since(start, &["SIGKILL"]).await;
    all_are_served_by(&mut clients, old.pid()).await;
}

/// A successor of an invalid predecessor ends with status 1, logs the reason, and never serves.
#[tokio::test]
async fn invalid_predecessor_is_refused() {
    for (word, reason) in [
        ("nothing", "the predecessor ended before it had handed over its listeners"),
        ("half", "the predecessor ended before it had handed over its listeners"),
        ("garbage", "the handoff from the predecessor broke"),
        ("http", "the predecessor can't hand over: it does not speak the handoff protocol"),
        ("newer", "the predecessor can't hand over: it speaks versions 9 to 10 of the handoff protocol"),
        ("older", "the predecessor can't hand over: it speaks versions 0 to 0 of the handoff protocol"),
        ("commit", "in place of its listeners"),
        ("names", "of 1 listeners of the predecessor 0 arrived"),
        ("overlong", "the handoff from the predecessor broke"),
    ] {
        let app = Launch::bin("usurper").arg(word).spawn();
        assert_eq!(app.current().exit().await, Exit::Code(0), "{word}\n{}", app.log);
        app.log.line(0, "the successor ended: exit status: 1").await;
        app.log.line(0, reason).await;
        assert_eq!(app.log.count(0, "serving"), 0, "{word}\n{}", app.log);
    }
}
