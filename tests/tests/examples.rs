//! Each example runs, and answers as its head says.

use std::time::Duration;

use tests::client::{Pause, get, get_once};
use tests::h2::{Http2, Outcome};
use tests::{App, Client, Exit, Launch, Signal, Target};

/// An example on a port of the kernel's choice.
async fn example(name: &str, server: &str) -> (App, Target) {
    let app = Launch::example(name).listen(server, "127.0.0.1:0").spawn();
    let target = app.target(server).await;
    (app, target)
}

/// The README's transcript: ping, restart, another pid, stop, gone.
async fn pings_through_a_restart(app: &App, target: &Target) {
    let first = app.pid();
    assert_eq!(get_once(target, "/ping").await.expect("an answer").pid(), Some(first));
    let successor = app.restart_by(Signal::USR1).await;
    app.serves(target, &successor).await;
    assert_ne!(successor.pid(), first);
    successor.signal(Signal::QUIT);
    assert_eq!(successor.exit().await, Exit::Code(0), "{}", app.log);
}

#[tokio::test]
async fn ping() {
    let (app, target) = example("ping", "ping").await;
    let banner = app.log.line(0, "serving ping on ").await;
    assert!(banner.contains("1000"), "{banner}");
    assert_eq!(get_once(&target, "/anything").await.unwrap().text(), "unknown");
    pings_through_a_restart(&app, &target).await;
}

#[tokio::test]
async fn builder() {
    let (app, target) = example("builder", "ping").await;
    pings_through_a_restart(&app, &target).await;
}

#[tokio::test]
async fn callbacks() {
    let (app, target) = example("callbacks", "ping").await;
    pings_through_a_restart(&app, &target).await;
}

#[tokio::test]
async fn multi() {
    let app = Launch::example("multi")
        .listen("one", "127.0.0.1:0")
        .listen("two", "127.0.0.1:0")
        .listen("secure", "127.0.0.1:0")
        .spawn();
    for name in ["one", "two", "secure"] {
        let target = app.target(name).await;
        assert_eq!(matches!(target, Target::Tls(_)), name == "secure");
        assert_eq!(get_once(&target, "/").await.unwrap().status, 200, "{name}");
        let Ok(Outcome::Reply(reply)) = Http2::connect(&target).await.unwrap().get("/").await else {
            panic!("no HTTP/2 on {name}");
        };
        assert_eq!(reply.status, 200);
    }
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn router() {
    let (app, target) = example("router", "api").await;
    let reply = get_once(&target, "/").await.unwrap();
    assert!(reply.status < 500, "{reply:?}");
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn stream() {
    let (app, target) = example("stream", "stream").await;
    let mut client = Client::connect(&target).await.unwrap();
    client.send(get("/")).await.unwrap();
    for _ in 0..3 {
        assert!(client.piece().await.unwrap().is_some(), "the stream ended");
    }
    app.signal(Signal::TERM);
    // It ends politely: with the last chunk, well before the drain's deadline.
    let mut rest = Vec::new();
    while let Some(piece) = client.piece().await.unwrap() {
        rest.extend_from_slice(&piece);
    }
    assert!(rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!(app.current().exit_within(Duration::from_secs(5)).await, Exit::Code(0));
    _ = Pause::Closed;
}
