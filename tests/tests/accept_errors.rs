//! Errors of accept(2) that persist: the log names each of them once, they cost almost no CPU time, and they delay
//! nothing else.

use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};
use tests::client::{get, get_once};
use tests::patience::eventually;
use tests::process::tool;
use tests::{App, Client, Exit, Launch, Scratch, Strace, Target};

/// How long the tests measure the CPU time of all generations. A loop that spins would use all of it.
const LOOK: Duration = Duration::from_secs(2);

async fn start() -> (App, Target, Scratch) {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0").spawn();
    let target = app.target("web").await;
    (app, target, scratch)
}

/// Asserts that the process uses almost no CPU time while nothing happens.
async fn is_quiet(app: &App, why: &str) {
    let process = app.current();
    let before = process.cpu();
    tokio::time::sleep(LOOK).await;
    let spent = process.cpu() - before;
    println!("{why}: {spent:?} of CPU in {LOOK:?}");
    assert!(spent <= Duration::from_millis(100), "{why}: {spent:?} of CPU in {LOOK:?}");
}

#[tokio::test]
async fn b5_a_persistent_accept_error_is_logged_once_and_costs_little_cpu() {
    if !tool("strace") {
        return;
    }
    let cases =
        [("EACCES", "Permission denied"), ("EPERM", "Operation not permitted"), ("ENOSYS", "Function not")];
    let cases = cases.map(|(error, words)| async move {
        let (app, target, _scratch) = start().await;
        let mut idle = Client::connect(&target).await.unwrap();
        idle.get("/ping").await.unwrap();
        let faults = Strace::on(&app.current(), &format!("accept4:error={error}")).await;
        let mut waits = Client::connect(&target).await.unwrap();
        waits.send(get("/ping")).await.unwrap();
        let message = format!("can't accept: {words}");
        assert!(app.log.line(0, &message).await.contains("ERROR"));
        is_quiet(&app, error).await;
        assert_eq!(app.log.count(0, &message), 1, "{}", app.log);
        idle.get("/ping").await.expect("an answer to an accepted client");
        drop(faults);
        assert_eq!(waits.reply().await.unwrap().status, 200);
        app.log.line(0, "accepts again").await;
        assert_eq!(app.stop().await, Exit::Code(0));
    });
    futures_util::future::join_all(cases).await;
}

#[tokio::test]
async fn b5_a_lost_listener_is_logged_with_the_way_out() {
    let (app, target, _scratch) = start().await;
    let mut idle = Client::connect(&target).await.unwrap();
    idle.get("/ping").await.unwrap();
    let Ok(listeners) = app.current().listeners() else {
        eprintln!("*** SKIPPED: this machine lets no process take another's descriptors.");
        return;
    };
    assert_eq!(listeners.len(), 1);
    shutdown(&listeners[0], Shutdown::Both).unwrap();
    let line = app.log.line(0, "its listener is gone").await;
    assert!(line.contains("ERROR") && line.contains("stop the application and start it again"), "{line}");
    is_quiet(&app, "a listener that was shut down").await;
    assert_eq!(app.log.count(0, "its listener is gone"), 1, "{}", app.log);
    assert_eq!(idle.get("/ping").await.expect("an answer to an accepted client").status, 200);
    get_once(&target, "/ping").await.expect_err("a refused connection");
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn b5_a_stop_does_not_wait_for_a_queue_when_accept_fails() {
    if !tool("strace") {
        return;
    }
    let (app, target, _scratch) = start().await;
    let faults = Strace::on(&app.current(), "accept4:error=EACCES").await;
    let mut waits = Client::connect(&target).await.unwrap();
    waits.send(get("/ping")).await.unwrap();
    app.log.line(0, "can't accept").await;
    let begun = Instant::now();
    assert_eq!(app.stop().await, Exit::Code(0));
    println!("stopped after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    faults.ended().await;
}

/// Otherwise the log would have two lines for each fault that comes and goes.
#[tokio::test]
async fn b5_a_failure_that_comes_and_goes_does_not_fill_the_log() {
    if !tool("strace") {
        return;
    }
    let (app, target, _scratch) = start().await;
    let _faults = Strace::on(&app.current(), "accept4:error=EMFILE:when=1+3").await;
    for _ in 0..30 {
        assert_eq!(get_once(&target, "/ping").await.unwrap().status, 200);
    }
    eventually("the line", || app.log.count(0, "can't accept at the moment") > 0).await;
    let lines = app.log.count(0, "can't accept") + app.log.count(0, "accepts again");
    assert!(lines <= 2, "{}", app.log);
}
