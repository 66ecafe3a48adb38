//! The log as the operator reads it.

use tests::client::{get, get_once};
use tests::frames::{ACK, Connection, Frame, PING};
use tests::generation::silent_target;
use tests::patience::PATIENCE;
use tests::{App, Client, Launch, Scratch, Signal, Target};

async fn ping() -> (App, Target) {
    let app = Launch::example("ping").listen("ping", "127.0.0.1:0").spawn();
    let target = app.target("ping").await;
    (app, target)
}

#[tokio::test]
async fn the_two_messages_of_the_original_keep_their_words() {
    let (app, target) = ping().await;
    let first = app.pid();
    let successor = app.restart().await;
    app.serves(&target, &successor).await;
    app.log.line(0, &format!("Received SIG. [PID:{first}, SIG:")).await;
    app.log.line(0, &format!("start new process success, pid {}.", successor.pid())).await;
    assert!(app.stop().await.is_clean());
    app.log.line(0, &format!("Received SIG. [PID:{}, SIG:", successor.pid())).await;
}

#[tokio::test]
async fn each_signal_is_named() {
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::QUIT, "QUIT"),
        (Signal::TSTP, "TSTP"),
    ] {
        let (app, _) = ping().await;
        let received = format!("Received SIG. [PID:{}, SIG:", app.pid());
        app.signal(signal);
        let line = app.log.line(0, &received).await;
        assert!(line.contains(name), "{line}");
    }
}

#[tokio::test]
async fn the_banner_names_server_url_limit_generation_and_pid() {
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0 max_conns=77\nserver tls 127.0.0.1:0 tls=self_signed";
    let app = Launch::app(&scratch, plan).spawn();
    assert!(app.url("web").await.starts_with("http://127.0.0.1:"));
    assert!(app.url("tls").await.starts_with("https://127.0.0.1:"));
    let line = app.log.line(0, "serving web on ").await;
    assert!(
        line.contains("max 77 connections") && line.contains("INFO") && line.contains("gracehttp"),
        "{line}"
    );
    assert_eq!(app.log.count(0, "serving "), 2, "one line for each server\n{}", app.log);
    assert_eq!(
        app.log.count(0, "127.0.0.1:0 "),
        0,
        "the banner has the real port, not the configured one\n{}",
        app.log
    );
    app.log.find(0, PATIENCE, "pid and generation", in_generation(app.pid(), 1)).await;

    let start = app.log.end();
    let successor = app.restart().await;
    app.log.find(start, PATIENCE, "pid and generation", in_generation(successor.pid(), 2)).await;
}

fn in_generation(pid: u32, generation: u32) -> impl Fn(&str) -> bool {
    let words = format!("generation {generation}");
    move |line| line.contains(&words) && line.contains(&pid.to_string())
}

#[tokio::test]
async fn the_banner_names_the_values_from_the_environment() {
    let app = Launch::example("ping")
        .listen("ping", "127.0.0.1:0")
        .env("GRACEHTTP_DRAIN_TIMEOUT", "1234ms")
        .spawn();
    app.log.line(0, "GRACEHTTP_SERVER__PING__LISTEN").await;
    app.log.line(0, "GRACEHTTP_DRAIN_TIMEOUT").await;
}

#[tokio::test]
async fn log_to_a_pipe_has_no_colours() {
    let (app, _) = ping().await;
    assert!(app.stop().await.is_clean());
    assert_eq!(app.log.count(0, "\u{1b}"), 0, "{}", app.log);
}

#[tokio::test]
async fn rust_log_is_honoured() {
    let app =
        Launch::example("ping").listen("ping", "127.0.0.1:0").env("RUST_LOG", "gracehttp=error").spawn();
    let target = silent_target(&app.current()).await;
    get_once(&target, "/ping").await.unwrap();
    assert!(app.stop().await.is_clean());
    assert_eq!(app.log.since(0), [] as [&str; 0]);
}

#[tokio::test]
async fn an_application_s_own_subscriber_has_the_messages() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0\nstart subscribe").spawn();
    // The application's subscriber writes no time, unlike the framework's.
    let own = |line: &str| line.trim_start().starts_with("INFO gracehttp: serving web on ");
    app.log.find(0, PATIENCE, "a message without a time", own).await;
    assert!(app.stop().await.is_clean());
    app.log.line(0, "INFO gracehttp: stopped, pid").await;
}

/// h2 logs a warning for each PING acknowledgement without a PING, if the frame reaches h2.
#[tokio::test]
async fn b3_odd_frames_of_a_client_write_no_log() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0").start("web").await;
    let target = app.target("web").await;
    let mut client = Connection::open(&target).await;
    // The server may treat the frames as a flood and close the connection.
    let unasked = vec![Frame::new(PING, ACK, 0, b"unasked!"); 50];
    _ = client.try_send(&unasked).await;
    _ = client.try_send(&[Frame::get(1, "/ping")]).await;
    let is_over = |frames: &[Frame]| {
        frames.is_empty() || frames.iter().any(|frame| frame.stream == 1 || frame.goaway().is_some())
    };
    while client.try_frames().await.is_ok_and(|frames| !is_over(&frames)) {}
    get_once(&target, "/ping").await.unwrap();
    assert!(app.stop().await.is_clean());
    assert_eq!(app.log.count(0, "h2::"), 0, "{}", app.log);
}

#[tokio::test]
async fn b3_repeated_messages_are_counted_and_not_repeated() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0").start("web").await;
    let target = app.target("web").await;
    // Together, so that they all come within the ten seconds in which repetitions are counted.
    let mut client = Client::connect(&target).await.unwrap();
    client.send(get("/panic").repeat(100)).await.unwrap();
    for _ in 0..100 {
        assert_eq!(client.reply().await.unwrap().status, 500);
    }
    drop(client);
    assert!(app.stop().await.is_clean());
    // The log names each panic once by its place and once by its request.
    for (words, kind) in [("panicked at ", "thread"), ("panicked: the handler panics", "error")] {
        let said = app.log.count(0, words);
        assert!((20..=22).contains(&said), "{kind}: {said}\n{}", app.log);
    }
    assert_eq!(app.log.count(0, "(repeated 80 times)"), 2, "{}", app.log);
    assert!(app.log.since(0).last().unwrap().contains("(repeated 80 times)"), "{}", app.log);
}
