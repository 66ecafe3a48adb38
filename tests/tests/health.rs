//! Health checks, and readiness on a server's own port.

use std::time::{Duration, Instant};

use tests::client::get_once;
use tests::{App, Client, Exit, Launch, Scratch, Signal, Target};

/// An application whose check `database` does what a file says, which is empty at first.
async fn operated() -> (App, Target, Scratch) {
    let scratch = Scratch::new();
    let check = scratch.write("check", "");
    let app = Launch::bin("operated").env("APP_CHECK", check).start("web").await;
    let target = app.target("web").await;
    (app, target, scratch)
}

/// Status and text of the readiness, asked on a new connection.
async fn readiness(target: &Target) -> (u16, String) {
    let reply = get_once(target, "/healthz").await.expect("a reply");
    (reply.status, reply.text())
}

async fn until_ready(target: &Target, status: u16) {
    let limit = Instant::now() + Duration::from_secs(30);
    while readiness(target).await.0 != status {
        assert!(Instant::now() < limit, "readiness never becomes {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn checks(target: &Target) -> usize {
    let reply = get_once(target, "/checks").await.expect("a reply");
    reply.text().parse().expect("a number")
}

#[tokio::test]
async fn a_server_says_on_its_own_port_whether_the_application_is_ready() {
    let (app, target, scratch) = operated().await;
    assert_eq!(readiness(&target).await, (200, "ready\n".to_owned()));
    let head = get_once(&target, "/healthz").await.unwrap();
    assert_eq!(head.header("cache-control"), Some("no-store"));
    // Other methods and other paths are the application's.
    let posted = client_post(&target, "/healthz").await;
    assert!(posted.contains("pong by pid:"), "{posted}");
    assert!(get_once(&target, "/healthz/").await.unwrap().text().contains("pong"));
    assert_eq!(get_once(&target, "/healthz?verbose").await.unwrap().text(), "ready\n");

    for says in ["fail the disk is full", "panic", "hang"] {
        scratch.write("check", says);
        until_ready(&target, 503).await;
        // No reasons for everyone.
        assert_eq!(readiness(&target).await.1, "not ready\n");
        scratch.write("check", "");
        until_ready(&target, 200).await;
    }
    assert_eq!(app.stop().await, Exit::Code(0));
}

async fn client_post(target: &Target, path: &str) -> String {
    let mut client = Client::connect(target).await.expect("a connection");
    client.post(path, b"body").await.expect("an answer").text()
}

#[tokio::test]
async fn a_flood_of_questions_costs_no_more_than_one() {
    let (_app, target, _scratch) = operated().await;
    let (before, begun) = (checks(&target).await, Instant::now());
    let mut client = Client::connect(&target).await.unwrap();
    for _ in 0..500 {
        assert_eq!(client.get("/healthz").await.unwrap().status, 200);
    }
    let most = begun.elapsed().as_secs() as usize + 2;
    let made = checks(&target).await - before;
    assert!(made <= most, "{made} checks for 500 questions in {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_check_that_blocks_its_thread_blocks_only_one() {
    let (app, target, scratch) = operated().await;
    scratch.write("check", "block 5000");
    until_ready(&target, 503).await;
    // One of two threads is blocked for 5 s. Asked again and again, the check does not take the other.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3500) {
        assert_eq!(readiness(&target).await.0, 503, "{}", app.log);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scratch.write("check", "");
    until_ready(&target, 200).await;
}

#[tokio::test]
async fn a_successor_that_is_not_healthy_never_takes_over() {
    let (app, target, scratch) = operated().await;
    for (says, reason) in [
        ("fail no route to the database", "health check `database`: no route to the database"),
        ("panic", "health check `database`: it panicked: the check panics"),
        ("hang", "health check `database`: it took longer than 700ms"),
        ("block 1500", "health check `database`: it took longer than 700ms"),
    ] {
        scratch.write("check", says);
        let start = app.log.end();
        app.signal(Signal::HUP);
        let told = app.log.line(start, "health check").await;
        assert!(told.contains(reason), "{told}\n{}", app.log);
        app.log.line(start, "serves on").await;
        assert_eq!(get_once(&target, "/").await.unwrap().pid(), Some(app.first().pid()));
    }
    scratch.write("check", "");
    let successor = app.restart().await;
    app.serves(&target, &successor).await;
    assert_eq!(readiness(&target).await.0, 200);
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn an_application_that_is_not_healthy_does_not_start() {
    let scratch = Scratch::new();
    let check = scratch.write("check", "fail no route");
    let app = Launch::bin("operated").env("APP_CHECK", check).spawn();
    assert_eq!(app.first().exit().await, Exit::Code(1));
    app.catch_up().await;
    assert_eq!(app.log.count(0, "health check `database`: no route"), 1, "{}", app.log);
    assert_eq!(app.log.count(0, "serving"), 0, "{}", app.log);
}

#[tokio::test]
async fn readiness_ends_with_the_first_moment_of_the_lame_duck() {
    let scratch = Scratch::new();
    let check = scratch.write("check", "");
    let app =
        Launch::bin("operated").env("APP_CHECK", check).env("GRACEHTTP_LAME_DUCK", "20s").start("web").await;
    let target = app.target("web").await;
    until_ready(&target, 200).await;
    app.signal(Signal::TERM);
    until_ready(&target, 503).await;
    // It still accepts and serves.
    assert_eq!(get_once(&target, "/").await.unwrap().pid(), Some(app.pid()));
    app.signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_file_and_a_variable_set_the_path() {
    let app = Launch::bin("operated").env("GRACEHTTP_SERVER__WEB__HEALTH", "/ready").start("web").await;
    let target = app.target("web").await;
    assert_eq!(get_once(&target, "/ready").await.unwrap().text(), "ready\n");
    assert!(get_once(&target, "/healthz").await.unwrap().text().contains("pong"));

    let app = Launch::bin("operated").env("GRACEHTTP_SERVER__WEB__HEALTH", "off").start("web").await;
    assert!(get_once(&app.target("web").await, "/healthz").await.unwrap().text().contains("pong"));

    let app = Launch::bin("operated").env("GRACEHTTP_SERVER__WEB__HEALTH", "ready").spawn();
    assert_eq!(app.first().exit().await, Exit::Code(1));
    app.catch_up().await;
    assert_eq!(app.log.count(0, "valid is a path such as `/healthz`"), 1, "{}", app.log);
}
