//! Restarts in a storm, and hundreds of strict clients that must not notice one of them.
//!
//! The normal run is short. `GRACEHTTP_LONG=1` runs what the project claims: 100 restarts under 400 clients, and
//! 1 000 restarts in a chain.

use std::time::Duration;

use tests::client::{Pause, get, post_head};
use tests::generation::Generation;
use tests::load::Style;
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::{App, Client, Exit, Launch, Load, Report, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";
const TLS: &str = "server tls 127.0.0.1:0 tls=self_signed";

/// Returns the normal number, or with `GRACEHTTP_LONG` the long one.
fn times(normal: usize, long: usize) -> usize {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { long } else { normal }
}

/// Clients that pause anywhere from nothing to three seconds: some are idle for longer than any grace.
fn four_hundred(target: &Target) -> Load {
    Load::on(target)
        .pause(Duration::from_secs(3))
        .clients(200, Style::Get)
        .clients(80, Style::Post)
        .clients(60, Style::HalfHead)
        .clients(60, Style::Pipelined)
        // New connections, too; some of them stay silent for a while.
        .clients(20, Style::Silent)
        .pause(Duration::from_millis(50))
        .clients(6, Style::Fresh)
}

async fn restart_again_and_again(app: &App, times: usize, load: &Load) {
    for number in 1..=times {
        load.answers(200).await;
        load.mark(format!("signal {number}"));
        let generation = app.restart().await;
        load.mark(format!("pid {} started", generation.pid()));
    }
}

/// Every predecessor drains and exits with status 0, and the last process does the same.
async fn all_leave_cleanly(app: &App) {
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.log.count(0, "ERROR") + app.log.count(0, "cutting"), 0, "{}", app.log);
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// Sends at least 30 signals, 100 ms apart, whatever the outcome of the earlier ones. A slow machine takes more of them
/// for one restart, so it gets more.
async fn storm(plan: &str, name: &str, load: impl FnOnce(&Target) -> Load) -> Report {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, plan).start(name).await;
    let load = load(&app.target(name).await);
    load.answers(100).await;
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    for number in 1..=600 {
        if number > 30 && app.generations() > 10 {
            break;
        }
        beat.tick().await;
        load.mark(format!("signal {number}"));
        app.signal(Signal::USR2);
    }
    // The last successor serves when no other process is left.
    eventually("the end of all predecessors", || {
        app.current().children().is_empty() && app.log.count(0, "has ended") == app.generations() - 1
    })
    .await;
    load.answers(100).await;
    let report = load.stop().await;
    println!("{} generations", app.generations());
    assert!(app.generations() > 10, "{}", app.log);
    all_leave_cleanly(&app).await;
    report
}

#[tokio::test]
async fn thirty_restart_signals_100_ms_apart_lose_no_request_on_plain_http1() {
    let load = |target: &Target| {
        Load::on(target)
            .pause(Duration::from_millis(200))
            .clients(20, Style::Get)
            .clients(10, Style::Post)
            .clients(6, Style::HalfHead)
            .clients(6, Style::Pipelined)
            .clients(6, Style::Fresh)
    };
    storm(WEB, "web", load).await.assert_unnoticed();
}

#[tokio::test]
async fn thirty_restart_signals_100_ms_apart_lose_no_request_on_tls() {
    let load = |target: &Target| {
        Load::on(target)
            .pause(Duration::from_millis(200))
            .clients(8, Style::Get)
            .clients(4, Style::Post)
            .clients(2, Style::Fresh)
    };
    storm(TLS, "tls", load).await.assert_unnoticed();
}

#[tokio::test]
async fn thirty_restart_signals_100_ms_apart_lose_no_request_on_http2() {
    let load = |target: &Target| Load::on(target).pause(Duration::from_millis(200)).clients(8, Style::Http2);
    storm(TLS, "tls", load).await.assert_lossless();
}

/// No request failed, no connection closed, and no answer announced a close.
async fn four_hundred_clients_notice_nothing(plan: &str, name: &str) {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, plan).start(name).await;
    let load = four_hundred(&app.target(name).await);
    restart_again_and_again(&app, times(15, 100), &load).await;
    load.stop().await.assert_unnoticed();
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn case_49_four_hundred_clients_notice_no_restart() {
    four_hundred_clients_notice_nothing(WEB, "web").await;
}

#[tokio::test]
async fn four_hundred_clients_notice_no_restart_over_tls() {
    four_hundred_clients_notice_nothing(TLS, "tls").await;
}

/// The same, with start-up code that takes a second.
#[tokio::test]
async fn case_49_four_hundred_clients_notice_no_restart_with_a_slow_start() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("{WEB}\nstart sleep 1000")).start("web").await;
    let load = four_hundred(&app.target("web").await);
    restart_again_and_again(&app, times(4, 20), &load).await;
    load.stop().await.assert_unnoticed();
    all_leave_cleanly(&app).await;
}

/// A connection of HTTP/2 can't move. It ends as its protocol provides, which loses no request.
#[tokio::test]
async fn many_restarts_lose_no_request_over_http2() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("{WEB}\n{TLS}")).start("tls").await;
    let (web, tls) = (app.target("web").await, app.target("tls").await);
    let pause = Duration::from_secs(3);
    let plain = Load::on(&web).pause(pause).clients(12, Style::Http2);
    let http2 = Load::on(&tls).pause(pause).clients(12, Style::Http2).pause(GLANCE).clients(1, Style::Http2);
    for number in 1..=times(10, 100) {
        http2.answers(20).await;
        for load in [&plain, &http2] {
            load.mark(format!("signal {number}"));
        }
        app.restart().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (plain, http2) = (plain.stop().await, http2.stop().await);
    plain.assert_lossless();
    http2.assert_lossless();
    all_leave_cleanly(&app).await;
}

/// Clients that behave like HTTP libraries, with separate counts for each kind.
struct Kinds(Vec<(Style, Load)>);

impl Kinds {
    /// The kinds that must notice nothing.
    const MOVE: [Style; 5] =
        [Style::OffersH2c, Style::OffersTls, Style::LateBody, Style::JavaPool, Style::GoPool];
    /// The kinds whose connections end with their request, or may do so.
    const END: [Style; 2] = [Style::EarlyAnswer, Style::HalfClose];
    const ALL: [&[Style]; 2] = [&Self::MOVE, &Self::END];

    fn on(target: &Target, pause: Duration, styles: impl IntoIterator<Item = Style>) -> Self {
        let load = |style| {
            let count = if Self::END.contains(&style) { 4 } else { 12 };
            (style, Load::on(target).pause(pause).clients(count, style))
        };
        Self(styles.into_iter().map(load).collect())
    }

    async fn through_restarts(&self, app: &App, times: usize) {
        for number in 1..=times {
            for (_, load) in &self.0 {
                load.answers(8).await;
                load.mark(format!("signal {number}"));
            }
            let generation = app.restart().await;
            for (_, load) in &self.0 {
                load.mark(format!("pid {} started", generation.pid()));
            }
        }
    }

    /// The counts of each kind, in a table.
    async fn stop(self) -> Vec<(Style, Report)> {
        let mut reports = Vec::new();
        for (style, load) in self.0 {
            reports.push((style, load.stop().await));
        }
        println!("| client | requests | failed | closed while idle | crossed that | `Connection: close` |");
        println!("| --- | --- | --- | --- | --- | --- |");
        for (style, report) in &reports {
            let Report { requests, closed_idle, promised_closes, incidents, .. } = report;
            let (failed, raced) = (incidents.len(), report.raced());
            println!("| {style:?} | {requests} | {failed} | {closed_idle} | {raced} | {promised_closes} |");
        }
        reports
    }
}

/// Their connections can move, despite the fields that the libraries add and the way they write requests.
async fn libraries_notice_nothing(plan: &str, name: &str) {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, plan).start(name).await;
    let target = app.target(name).await;
    let kinds = Kinds::on(&target, Duration::from_secs(1), Kinds::ALL.concat());
    let restarts = times(8, 100);
    kinds.through_restarts(&app, restarts).await;
    for (style, report) in kinds.stop().await {
        if Kinds::MOVE.contains(&style) {
            report.assert_unnoticed();
            // They have moved with each restart, and did not stay with the first process.
            assert!(report.pids.len() > restarts / 2, "{style:?}\n{report}");
        } else {
            report.assert_lossless();
        }
    }
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn clients_like_java_apache_and_go_notice_no_restart() {
    libraries_notice_nothing(WEB, "web").await;
}

#[tokio::test]
async fn clients_like_java_apache_and_go_notice_no_restart_over_tls() {
    libraries_notice_nothing(TLS, "tls").await;
}

/// They wait behind a full server, and get no reset.
#[tokio::test]
async fn case_50_successor_serves_a_hundred_connections_from_the_accept_queue() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 max_conns=1 when_full=wait").spawn();
    let target = app.target("web").await;
    let start = app.log.end();
    let mut holder = Client::connect(&target).await.unwrap();
    holder.send(get("/slow?ms=6000")).await.unwrap();
    app.log.line(start, "slow begins").await;
    let mut queue = Vec::new();
    for number in 0..100 {
        let mut client = Client::connect(&target).await.unwrap();
        match number % 3 {
            0 => client.send(get("/ping")).await.unwrap(),
            1 => client.send("GET /ping HT").await.unwrap(),
            _ => (),
        }
        queue.push((number, client));
    }
    let successor = app.restart().await;
    assert_eq!(holder.reply().await.unwrap().pid(), Some(app.first().pid()));
    drop(holder);
    for (number, mut client) in queue {
        match number % 3 {
            0 => (),
            1 => client.send("TP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap(),
            _ => client.send(get("/ping")).await.unwrap(),
        }
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("client {number}: {failure}"));
        assert_eq!(reply.pid(), Some(successor.pid()), "client {number}");
        assert!(!reply.closes());
    }
    all_leave_cleanly(&app).await;
}

/// The connections and the signal arrive while the process is stopped: the kernel decides the order of what follows.
#[tokio::test]
async fn case_50_hundred_connections_at_the_moment_of_the_restart_are_served() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).spawn();
    let target = app.target("web").await;
    for _ in 0..3 {
        let process = app.current();
        process.signal(Signal::STOP);
        let mut queue = Vec::new();
        for _ in 0..100 {
            let mut client = Client::connect(&target).await.unwrap();
            client.send(get("/ping")).await.unwrap();
            queue.push(client);
        }
        let start = app.log.end();
        process.signal(Signal::USR2);
        process.signal(Signal::CONT);
        for client in &mut queue {
            let reply = client.reply().await.unwrap();
            assert!(reply.status == 200 && !reply.closes(), "{reply:?}");
        }
        app.successor_since(start).await;
    }
    drop(target);
    all_leave_cleanly(&app).await;
}

/// Figures that must not grow from generation to generation.
#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    threads: usize,
    resident_kib: u64,
    children: usize,
}

impl Footprint {
    async fn of(generation: &Generation, descriptors: usize) -> Self {
        // The remains of a move disappear a moment later.
        eventually(&format!("{descriptors} descriptors of {:?}", generation.descriptor_names()), || {
            generation.descriptors() <= descriptors
        })
        .await;
        Self {
            descriptors: generation.descriptors(),
            threads: generation.threads(),
            resident_kib: generation.resident_kib(),
            children: generation.children().len(),
        }
    }
}

/// Asks the connections of a chain's test now and then: they must stay open.
async fn ask_all(clients: &mut [Client], pid: u32) {
    for client in clients {
        within(PATIENCE, "the connection to move", async {
            loop {
                let reply = client.get("/ping").await.expect("an answer");
                assert!(!reply.closes(), "{reply:?}");
                if reply.pid() == Some(pid) {
                    return;
                }
                assert_eq!(client.pause(GLANCE).await, Pause::Open);
            }
        })
        .await;
    }
}

/// Descriptors, memory, threads and children stay constant, while connections are open all the time.
#[tokio::test]
async fn case_32_long_chain_of_restarts_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_STANDBY", "0s");
    let app = launch.env("GRACEHTTP_SERVER__WEB__HEADER_READ_TIMEOUT", "120s").start("web").await;
    let target = app.target("web").await;
    let mut clients = Vec::new();
    for number in 0..50 {
        let mut client = Client::connect(&target).await.unwrap();
        // Some clients have always sent half a request.
        if number % 10 == 0 {
            client.send(&post_head("/echo", 4).as_bytes()[..20]).await.unwrap();
        } else {
            client.get("/ping").await.unwrap();
        }
        clients.push(client);
    }
    let (mut halves, mut whole): (Vec<_>, Vec<_>) =
        clients.into_iter().enumerate().partition(|(number, _)| number % 10 == 0);
    let mut whole: Vec<Client> = whole.drain(..).map(|(_, client)| client).collect();
    let last = times(150, 1000);
    let mut early = None;
    for number in 1..=last {
        let predecessor = app.current();
        let generation = app.restart().await;
        assert_eq!(predecessor.exit().await, Exit::Code(0), "generation {number}\n{}", app.log);
        if number % 10 == 0 {
            ask_all(&mut whole, generation.pid()).await;
        }
        // Half a head has a limit of its own, and ten restarts are well within it.
        if number % 10 == 5 {
            for (_, half) in &mut halves {
                half.send(&post_head("/echo", 4)[20..]).await.unwrap();
                half.send("body").await.unwrap();
                assert_eq!(half.reply().await.unwrap().text(), "body");
                half.send(&post_head("/echo", 4)[..20]).await.unwrap();
            }
        }
        if number == 10 {
            eventually("the moves to settle", || generation.descriptors() > 50).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            early = Some(Footprint::of(&generation, generation.descriptors()).await);
        }
    }
    let early = early.expect("more than ten restarts");
    let late = Footprint::of(&app.current(), early.descriptors).await;
    println!("after 10 restarts {early:?}, after {last} {late:?}");
    app.log.line(0, &format!("generation {}, pid {}", last + 1, app.pid())).await;
    assert_eq!(late.children, 0);
    assert!(late.threads <= early.threads + 1, "{early:?} {late:?}");
    assert!(late.resident_kib < early.resident_kib + early.resident_kib / 4, "{early:?} {late:?}");
    ask_all(&mut whole, app.pid()).await;
    assert_eq!(app.stop().await, Exit::Code(0));
}
