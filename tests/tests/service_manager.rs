//! What a service manager is told: the messages of `sd_notify(3)`. Most tests are without a supervisor, where the processes
//! tell it themselves.

use std::time::{Duration, Instant};

use tests::client::{get, get_once};
use tests::load::Style;
use tests::notify::Message;
use tests::patience::eventually;
use tests::{App, Client, Exit, Launch, Load, Manager, Scratch, Signal};

const WEB: &str = "server web 127.0.0.1:0";

fn launch(scratch: &Scratch, manager: &Manager) -> Launch {
    Launch::app(scratch, WEB).env("NOTIFY_SOCKET", &manager.address).env("GRACEHTTP_SUPERVISE", "off")
}

async fn start(scratch: &Scratch, manager: &Manager) -> App {
    let app = launch(scratch, manager).start("web").await;
    manager.line(0, "READY=1").await;
    app
}

fn status(message: &Message) -> &str {
    message.value("STATUS").expect("a status")
}

#[tokio::test]
async fn a_start_is_told_until_it_is_ready() {
    let scratch = Scratch::new();
    let manager = Manager::without_file();
    let app = start(&scratch, &manager).await;
    let messages = manager.messages();
    assert_eq!(messages[0].lines, ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=Generation 1 starts."]);
    assert_eq!(messages[1].lines, ["READY=1", "STATUS=Generation 1 serves 0 connections."]);
    assert_eq!(app.stop().await, Exit::Code(0));
    let (_, stopping) = manager.line(2, "STOPPING=1").await;
    // The drain, and a margin for cutting and clean-up code.
    assert_eq!(stopping.value("EXTEND_TIMEOUT_USEC"), Some("15000000"));
    assert!(status(&stopping).starts_with("Stopping: 0 connections left, for "), "{stopping:?}");
}

#[tokio::test]
async fn a_restart_announces_the_new_main_process_and_a_barrier_alone() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app = start(&scratch, &manager).await;
    for generation in 2..4 {
        let start = manager.end();
        let successor = app.restart().await;
        let (reload, reloading) = manager.line(start, "RELOADING=1").await;
        let time: u128 = reloading.value("MONOTONIC_USEC").expect("in the same message").parse().unwrap();
        assert!(time > 0 && status(&reloading).ends_with("and its successor starts."), "{reloading:?}");
        let (commit, ready) = manager.line(start, &format!("MAINPID={}", successor.pid())).await;
        assert!(commit > reload && ready.has("READY=1"), "{ready:?}");
        assert!(status(&ready).starts_with(&format!("Generation {generation} serves.")), "{ready:?}");
        let (barrier, alone) = manager.line(commit, "BARRIER=1").await;
        assert_eq!((alone.lines.len(), alone.descriptors), (1, 1));
        assert!(barrier > commit);
        app.predecessors_leave_cleanly().await;
        // The predecessor says nothing more, and nobody has said that the service ends.
        let mut later = manager.messages().into_iter().skip(commit + 1);
        assert!(later.all(|message| message.value("MAINPID").is_none() && !message.has("STOPPING=1")));
    }
    let start = manager.end();
    assert_eq!(app.stop().await, Exit::Code(0));
    manager.line(start, "STOPPING=1").await;
}

#[tokio::test]
async fn a_failed_restart_is_ready_again_with_the_reason() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app = start(&scratch, &manager).await;
    let start = manager.end();
    scratch.write("plan", format!("{WEB}\nstart refuse no database"));
    app.signal(Signal::HUP);
    let (reload, _) = manager.line(start, "RELOADING=1").await;
    let (ready, message) = manager.line(start, "READY=1").await;
    assert!(ready > reload && message.value("MAINPID").is_none(), "{message:?}");
    let told = status(&message);
    assert!(told.starts_with("Generation 1 serves ") && told.contains("The last restart failed: "), "{told}");
    assert!(told.contains("no database"), "{told}");
    scratch.write("plan", WEB);
    let successor = app.restart().await;
    manager.line(ready, &format!("MAINPID={}", successor.pid())).await;
    app.predecessors_exit().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_take_back_takes_the_main_process_back() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app = launch(&scratch, &manager).env("GRACEHTTP_STANDBY", "10s").start("web").await;
    let web = app.target("web").await;
    let successor = app.restart().await;
    let (commit, _) = manager.line(0, &format!("MAINPID={}", successor.pid())).await;
    app.serves(&web, &successor).await;
    successor.signal(Signal::ABORT);
    let (back, message) = manager.line(commit + 1, &format!("MAINPID={}", app.first().pid())).await;
    assert!(message.has("READY=1"), "{message:?}");
    let told = status(&message);
    assert!(told.contains("Generation 1 serves") && told.contains("SIGABRT"), "{told}");
    app.serves(&web, &app.first()).await;
    // Once more, and this time it succeeds.
    let start = app.log.end();
    app.first().signal(Signal::HUP);
    let successor = app.successor_since(start).await;
    let (again, _) = manager.line(back + 1, &format!("MAINPID={}", successor.pid())).await;
    manager.line(again, "BARRIER=1").await;
    app.first().signal(Signal::TERM);
    app.predecessors_exit().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_drain_shows_its_progress() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app = start(&scratch, &manager).await;
    let mut client = Client::connect(&app.target("web").await).await.unwrap();
    client.send(get("/slow?ms=6000")).await.unwrap();
    app.log.line(0, "slow begins").await;
    app.signal(Signal::TERM);
    let (stop, stopping) = manager.line(0, "STOPPING=1").await;
    assert!(status(&stopping).starts_with("Stopping: 1 connection left, for "), "{stopping:?}");
    let shorter = |message: &Message| message.value("STATUS").is_some_and(|told| told != status(&stopping));
    let (_, next) = manager.find(stop + 1, "of the next status", shorter).await;
    assert!(status(&next).starts_with("Stopping: 1 connection left, for "), "{next:?}");
    assert!(client.reply().await.is_ok());
    assert_eq!(app.current().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn the_watchdog_is_fed_by_each_generation_while_its_workers_answer() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let launch =
        launch(&scratch, &manager).env("WATCHDOG_USEC", "3000000").env("GRACEHTTP_WORKER_THREADS", "2");
    let app = launch.start("web").await;
    let web = app.target("web").await;
    manager.line(0, "WATCHDOG=1").await;
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    app.predecessors_leave_cleanly().await;
    let start = manager.end();
    let (place, _) = manager.line(start, "WATCHDOG=1").await;
    manager.line(place + 1, "WATCHDOG=1").await;
    let mut blocked = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&web).await.unwrap();
        client.send(get("/block?ms=10000")).await.unwrap();
        blocked.push(client);
    }
    eventually("both threads to be blocked", || app.log.count(0, "block begins") == 2).await;
    // Half the period is tolerated, and a third passes between two signs.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(manager.count_within(Duration::from_millis(1500), "WATCHDOG=1").await, 0);
    manager.line(manager.end(), "WATCHDOG=1").await;
    for client in &mut blocked {
        assert!(client.reply().await.is_ok());
    }
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn the_watchdog_of_another_process_is_not_fed() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app =
        launch(&scratch, &manager).env("WATCHDOG_USEC", "600000").env("WATCHDOG_PID", "1").start("web").await;
    assert_eq!(manager.count_within(Duration::from_millis(1500), "WATCHDOG=1").await, 0);
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// One more restart is announced when it begins. Else the end of the one before would be taken for its end.
#[tokio::test]
async fn a_restart_that_is_asked_for_during_another_is_announced_after_it() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app = launch(&scratch, &manager).env("GRACEHTTP_READY_TIMEOUT", "5s").start("web").await;
    let (place, _) = manager.line(0, "READY=1").await;
    scratch.write("plan", format!("{WEB}\nstart hang"));
    app.signal(Signal::HUP);
    app.log.line(0, "start-up code of pid ").await;
    let start = app.log.end();
    app.log.line(0, "[\"hang\"]").await;
    scratch.write("plan", WEB);
    app.signal(Signal::HUP);
    let successor = app.successor_since(start).await;
    manager.line(0, &format!("MAINPID={}", successor.pid())).await;
    let messages = manager.messages().split_off(place + 1);
    let story = messages.iter().filter_map(|message| {
        message.lines.iter().find(|line| ["RELOADING=1", "READY=1"].contains(&line.as_str())).cloned()
    });
    let story: Vec<String> = story.collect();
    assert_eq!(story[..4], ["RELOADING=1", "READY=1", "RELOADING=1", "READY=1"], "{messages:?}");
    app.predecessors_exit().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_service_manager_that_reads_late_gets_all_in_order_and_delays_nothing() {
    for supervise in ["off", "auto"] {
        let scratch = Scratch::new();
        let manager = Manager::that_does_not_read(&scratch);
        manager.fill();
        let app = launch(&scratch, &manager).env("GRACEHTTP_SUPERVISE", supervise).start("web").await;
        let web = app.target("web").await;
        let successor = app.restart().await;
        app.serves(&web, &successor).await;
        manager.read();
        let (ready, _) = manager.line(0, "READY=1").await;
        let (reload, _) = manager.line(ready, "RELOADING=1").await;
        // Without a supervisor, the successor's own messages may come before those of its predecessor.
        let commits = if supervise == "off" { &*format!("MAINPID={}", successor.pid()) } else { "READY=1" };
        let (commit, message) = manager.line(reload, commits).await;
        assert!(message.has("READY=1"), "{message:?}");
        if supervise == "off" {
            manager.line(commit, "BARRIER=1").await;
            app.predecessors_leave_cleanly().await;
        }
        let service = if supervise == "off" { app.current() } else { app.first() };
        service.signal(Signal::TERM);
        assert_eq!(service.exit().await, Exit::Code(0));
    }
}

/// What the end of a process costs at most for a service manager that does not answer.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_service_manager_that_never_reads_delays_no_restart_and_an_end_for_a_limited_time() {
    for supervise in ["off", "auto"] {
        let scratch = Scratch::new();
        let manager = Manager::that_does_not_read(&scratch);
        manager.fill();
        let app = launch(&scratch, &manager).env("GRACEHTTP_SUPERVISE", supervise).start("web").await;
        let web = app.target("web").await;
        let load = Load::on(&web).clients(2, Style::Get).clients(2, Style::Fresh);
        load.answers(10).await;
        for _ in 0..3 {
            let successor = app.restart().await;
            app.serves(&web, &successor).await;
            load.answers(5).await;
        }
        load.stop().await.assert_unnoticed();
        let begun = Instant::now();
        let service = if supervise == "off" { app.current() } else { app.first() };
        service.signal(Signal::TERM);
        assert_eq!(service.exit().await, Exit::Code(0));
        assert!(begun.elapsed() < SETTLED_WITHIN + Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_barrier_that_is_never_closed_delays_the_predecessors_end_alone() {
    let scratch = Scratch::new();
    let manager = Manager::that_keeps_descriptors(&scratch);
    let app = start(&scratch, &manager).await;
    let web = app.target("web").await;
    let begun = Instant::now();
    for _ in 0..2 {
        let begun = Instant::now();
        let successor = app.restart().await;
        app.serves(&web, &successor).await;
        assert!(begun.elapsed() < SETTLED_WITHIN, "{:?}", begun.elapsed());
    }
    app.predecessors_leave_cleanly().await;
    assert!(begun.elapsed() >= SETTLED_WITHIN, "it has waited for the barrier: {:?}", begun.elapsed());
    // Nothing is announced in a stop, so nothing is waited for.
    let begun = Instant::now();
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(begun.elapsed() < SETTLED_WITHIN, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_service_manager_that_vanishes_and_comes_back_is_told_again() {
    for supervise in ["off", "auto"] {
        let scratch = Scratch::new();
        let manager = Manager::new(&scratch);
        let app = launch(&scratch, &manager).env("GRACEHTTP_SUPERVISE", supervise).start("web").await;
        let web = app.target("web").await;
        manager.line(0, "READY=1").await;
        std::fs::remove_file(&manager.address).unwrap();
        for _ in 0..2 {
            let successor = app.restart().await;
            app.serves(&web, &successor).await;
        }
        let told = || app.log.count(0, "the service manager can't be told what happens here");
        // Each generation says it once; a supervisor stays.
        let expected = if supervise == "off" { 3 } else { 1 };
        eventually("each to say so", || told() >= expected).await;
        let manager = Manager::new(&scratch);
        app.restart().await;
        let (reload, _) = manager.line(0, "RELOADING=1").await;
        manager.line(reload, "READY=1").await;
        assert_eq!(told(), expected, "{}", app.log);
        let service = if supervise == "off" { app.current() } else { app.first() };
        service.signal(Signal::TERM);
        assert_eq!(service.exit().await, Exit::Code(0));
    }
}

/// Its watchdog, for example: it waits for the end of the service, and starts it anew.
#[tokio::test]
async fn an_abort_of_the_supervisor_ends_the_service() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app = launch(&scratch, &manager).env("GRACEHTTP_SUPERVISE", "auto").start("web").await;
    let worker = app.hold(get_once(&app.target("web").await, "/ping").await.unwrap().pid().unwrap());
    app.first().signal(Signal::ABORT);
    worker.exit().await;
    assert_eq!(app.first().exit().await, Exit::Code(134));
}

#[tokio::test]
async fn without_a_service_manager_at_its_socket_the_service_runs_and_says_so_once() {
    let scratch = Scratch::new();
    let off = || Launch::app(&scratch, WEB).env("GRACEHTTP_SUPERVISE", "off");
    let launch = off().env("NOTIFY_SOCKET", scratch.join("nobody"));
    let app = launch.start("web").await;
    let web = app.target("web").await;
    assert_eq!(get_once(&web, "/ping").await.unwrap().pid(), Some(app.pid()));
    assert_eq!(app.stop().await, Exit::Code(0));
    assert_eq!(app.log.count(0, "the service manager can't be told what happens here"), 1);
    for address in ["vsock:2:1".to_owned(), format!("@{}", "a".repeat(200)), format!("/{}", "a".repeat(200))]
    {
        let app = off().env("NOTIFY_SOCKET", address).start("web").await;
        app.log.line(0, "NOTIFY_SOCKET names no socket that this process can use").await;
        assert_eq!(app.stop().await, Exit::Code(0));
    }
}

#[tokio::test]
async fn with_a_supervisor_the_main_process_never_changes() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch);
    let app = launch(&scratch, &manager).env("GRACEHTTP_SUPERVISE", "auto").start("web").await;
    let web = app.target("web").await;
    let (place, message) = manager.line(0, "READY=1").await;
    assert!(status(&message).starts_with("Generation 1 serves "), "{message:?}");
    let successor = app.restart().await;
    let (reload, _) = manager.line(place, "RELOADING=1").await;
    let (place, message) = manager.line(reload, "READY=1").await;
    assert!(status(&message).starts_with("Generation 2 serves"), "{message:?}");
    app.serves(&web, &successor).await;
    // After a crash the next generation says that it is ready.
    app.log.line(0, "has ended; pid ").await;
    let start = manager.end();
    successor.signal(Signal::KILL);
    let crashed = |message: &Message| {
        message.has("READY=1")
            && message.value("STATUS").is_some_and(|told| told.starts_with("Generation 3 serves"))
    };
    manager.find(start, "of the generation after the crash", crashed).await;
    app.first().signal(Signal::TERM);
    let (stop, _) = manager.line(place, "STOPPING=1").await;
    assert_eq!(app.first().exit().await, Exit::Code(0));
    let all = manager.messages();
    assert!(
        all.iter().all(|message| message.value("MAINPID").is_none() && !message.has("BARRIER=1")),
        "{all:?}"
    );
    assert!(all.iter().skip(stop + 1).all(|message| message.value("STATUS").is_some()), "{all:?}");
}
