//! Restarts at the worst moments: on a full server, with many streams, with signals to all processes at once, and with
//! a pause of either side. Clients count strictly.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use tests::client::get_once;
use tests::generation::Generation;
use tests::h2::{Http2, Outcome};
use tests::load::Style;
use tests::patience::eventually;
use tests::{App, Exit, Kind, Launch, Load, Report, Scratch, Service, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// Returns the normal number, or with `GRACEHTTP_LONG` the long one.
fn times(normal: usize, long: usize) -> usize {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { long } else { normal }
}

/// Restarts under a load whose clients always wait for permits.
async fn restarts_of_a_full_server(plan: &str, load: impl FnOnce(Load) -> Load) -> Report {
    let service = Service::new(plan).await;
    let load = load(Load::on(&service.target));
    for number in 1..=times(6, 60) {
        load.answers(60).await;
        load.mark(format!("signal {number}"));
        service.app.restart().await;
    }
    load.answers(60).await;
    let report = load.stop().await;
    service.app.predecessors_leave_cleanly().await;
    assert_eq!(service.app.log.count(0, "cutting"), 0, "{}", service.app.log);
    report
}

/// The server closes connections that hold permits and accepts others, and both generations share the limit.
#[tokio::test]
async fn full_server_that_recycles_loses_no_request_in_restarts() {
    for tls in ["", " tls=self_signed"] {
        let plan = format!("{WEB} max_conns=20 when_full=recycle{tls}");
        let load = |load: Load| {
            let load = load.pause(Duration::from_millis(50)).clients(30, Style::Get).clients(15, Style::Post);
            load.clients(10, Style::Pipelined).clients(10, Style::Fresh)
        };
        let report = restarts_of_a_full_server(&plan, load).await;
        report.assert_polite();
    }
}

/// A waiting client gets a permit only when another client leaves.
#[tokio::test]
async fn full_server_with_waiting_clients_loses_no_request_in_restarts() {
    let plan = format!("{WEB} max_conns=20 when_full=wait");
    let load = |load: Load| {
        let load = load.pause(Duration::from_millis(50)).clients(12, Style::Get).clients(40, Style::Fresh);
        load.clients(10, Style::Silent)
    };
    restarts_of_a_full_server(&plan, load).await.assert_unnoticed();
}

/// Each generation has a different limit, and a different mode of its socket's file.
#[tokio::test]
async fn full_server_whose_limit_changes_loses_no_request_in_restarts() {
    let scratch = Scratch::new();
    let socket = scratch.join("app.sock");
    let configure = |number: usize| {
        let (limit, mode) = if number.is_multiple_of(2) { (20, "0660") } else { (5, "0606") };
        let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]", socket.display());
        let text = format!("[server.web]\n{listen}\nmax_conns = {limit}\nsocket_mode = \"{mode}\"");
        scratch.write("Gracehttp.toml", text);
    };
    configure(0);
    let app = Launch::app(&scratch, WEB).directory(scratch.path()).start("web").await;
    let loads = [app.target("web").await, Target::Unix(socket.clone())].map(|target| {
        let load = Load::on(&target).pause(Duration::from_millis(50));
        load.clients(15, Style::Get).clients(5, Style::Pipelined).clients(5, Style::Fresh)
    });
    for number in 1..=times(6, 60) {
        for load in &loads {
            load.answers(20).await;
            load.mark(format!("signal {number}"));
        }
        configure(number);
        app.restart().await;
    }
    for load in loads {
        load.answers(20).await;
        load.stop().await.assert_polite();
    }
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.log.count(0, "cutting"), 0, "{}", app.log);
}

/// The process that has begun the streams answers all of them.
#[tokio::test]
async fn hundred_open_streams_are_answered_in_a_restart() {
    for tls in ["", " tls=self_signed"] {
        let service = Service::new(&format!("{WEB}{tls}")).await;
        let client = Http2::connect(&service.target).await.unwrap();
        let begins = service.app.log.end();
        let streams = (0..100).map(|_| {
            let mut client = client.clone();
            async move { client.get("/slow?ms=1500").await }
        });
        let streams = tokio::spawn(join_all(streams));
        eventually("all handlers to begin", || service.app.log.count(begins, "slow begins") == 100).await;
        let first = service.app.pid();
        service.restart().await;
        for outcome in streams.await.unwrap() {
            let Outcome::Reply(reply) = outcome.expect("an answer") else { panic!("not sent") };
            assert_eq!(reply.pid(), Some(first));
        }
        service.app.predecessors_leave_cleanly().await;
    }
}

fn few(target: &Target) -> Load {
    let load = Load::on(target).pause(Duration::from_millis(30));
    load.clients(8, Style::Get)
        .clients(4, Style::Post)
        .clients(4, Style::HalfHead)
        .clients(4, Style::Pipelined)
}

/// At any time, signals reach the predecessor, the successor, and a successor that is not ready yet.
#[tokio::test]
async fn restart_signals_to_all_processes_at_once_lose_no_request() {
    let service = Service::new(WEB).await;
    let load = few(&service.target).clients(4, Style::Fresh);
    load.answers(50).await;
    let app = &service.app;
    for number in 0..times(40, 400) {
        load.mark(format!("signals {number}"));
        let processes: Vec<Arc<Generation>> = vec![app.first(), app.current()];
        for process in processes.iter().filter(|process| process.is_running()) {
            process.signal(Signal::USR2);
            process.signal(Signal::HUP);
        }
        tokio::time::sleep(Duration::from_millis(number as u64 * 7 % 60)).await;
    }
    eventually("the end of all predecessors", || app.log.count(0, "has ended") == app.generations() - 1)
        .await;
    load.answers(50).await;
    load.stop().await.assert_unnoticed();
    println!("{} generations", app.generations());
    // The log may name the successors of two generations in the wrong order.
    let last = get_once(&service.target, "/ping").await.unwrap().pid().expect("its pid");
    let last = app.hold(last);
    last.signal(Signal::TERM);
    assert_eq!(last.exit().await, Exit::Code(0));
}

/// The process that a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Predecessor,
    Successor,
}

/// Waits for the successor, and returns it.
async fn successor(app: &App) -> Arc<Generation> {
    eventually("a successor", || !app.first().children().is_empty()).await;
    app.hold(app.first().children()[0])
}

/// Sends SIGTERM to one side this long after the restart signal, and checks that no request in progress is lost.
async fn stop_during_a_handoff(side: Side, after: Duration) {
    let service = Service::new(WEB).await;
    let app = &service.app;
    let load = few(&service.target);
    load.answers(50).await;
    load.mark("restart");
    app.signal(Signal::USR2);
    let other = successor(app).await;
    tokio::time::sleep(after).await;
    load.mark("stop");
    match side {
        Side::Predecessor => app.first().signal(Signal::TERM),
        Side::Successor => other.signal(Signal::TERM),
    }
    let ended = match side {
        Side::Predecessor => app.first(),
        Side::Successor => other.clone(),
    };
    ended.exit().await;
    let is_served = app.first().is_running() && side == Side::Successor && app.generations() == 1
        || other.is_running() && side == Side::Predecessor;
    if is_served {
        load.answers(50).await;
        load.stop().await.assert_unnoticed();
        return;
    }
    // No process is left, so new connections are refused. A connection that arrives between the last look at the queue
    // and the end is reset; a pipelined pair counts twice.
    let report = load.stop().await;
    let (refused, reset) = (report.count(Kind::Refused), report.count(Kind::Reset));
    let is_all = report.incidents.len() == refused + reset && reset <= 2;
    assert!(is_all, "{side:?} after {after:?}\n{report}\n{}", app.log);
}

#[tokio::test]
async fn stop_during_a_handoff_loses_no_request() {
    for side in [Side::Predecessor, Side::Successor] {
        for _ in 0..times(1, 6) {
            for after in [0, 3, 6, 10, 20, 50, 200] {
                stop_during_a_handoff(side, Duration::from_millis(after)).await;
            }
        }
    }
}

/// Pauses one side for a while that is shorter than the limit of silence.
async fn pause_during_a_handoff(side: Side, after: Duration, pause: Duration) {
    let service = Service::new(WEB).await;
    let app = &service.app;
    let load = few(&service.target);
    load.answers(50).await;
    load.mark("restart");
    app.signal(Signal::USR2);
    let other = successor(app).await;
    tokio::time::sleep(after).await;
    let stopped = match side {
        Side::Predecessor => app.first(),
        Side::Successor => other.clone(),
    };
    load.mark("stopped");
    stopped.signal(Signal::STOP);
    tokio::time::sleep(pause).await;
    stopped.signal(Signal::CONT);
    load.mark("goes on");
    eventually("the predecessor to end", || !app.first().is_running()).await;
    load.answers(50).await;
    load.stop().await.assert_unnoticed();
    assert!(other.is_running());
}

#[tokio::test]
async fn pause_of_either_side_during_a_handoff_loses_no_request() {
    for side in [Side::Predecessor, Side::Successor] {
        let pauses = [0, 2, 5, 8, 12, 30, 200].map(|after| {
            pause_during_a_handoff(side, Duration::from_millis(after), Duration::from_millis(1500))
        });
        join_all(pauses).await;
    }
}
