//! How a connection is closed: so that the client reads what was sent before, and at once, whoever else holds a
//! duplicate of its socket.

use std::time::{Duration, Instant};

use tests::client::{Pause, get};
use tests::{Client, Exit, Service, Signal};

/// With a standby that is longer than any close may take.
async fn start(plan: &str) -> Service {
    Service::with(plan, |launch| launch.env("GRACEHTTP_STANDBY", "8s").env("GRACEHTTP_DRAIN_TIMEOUT", "12s"))
        .await
}

/// A client whose connection has moved, and of which the predecessor keeps a duplicate.
async fn moved_client(service: &Service) -> Client {
    let mut client = service.client().await;
    client.get("/ping").await.expect("an answer");
    let successor = service.restart().await;
    client.moves_to(successor.pid()).await;
    client
}

fn upgrade(path: &str) -> String {
    get(path).replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
}

/// What comes until the end, which must not be a reset, and how long it took.
async fn rest_of(client: &mut Client) -> (String, Duration) {
    let (start, mut rest) = (Instant::now(), Vec::new());
    while let Some(piece) = client.piece().await.expect("a proper end") {
        rest.extend_from_slice(&piece);
    }
    (String::from_utf8_lossy(&rest).into_owned(), start.elapsed())
}

/// Its handler lets the stream go without a word, in the successor, during the predecessor's standby.
#[tokio::test]
async fn an_upgraded_connection_that_its_handler_drops_is_closed_at_once() {
    for path in ["/upgrade/dropped", "/upgrade/untaken"] {
        let service = start("server web 127.0.0.1:0").await;
        let mut client = moved_client(&service).await;
        client.send(upgrade(path)).await.unwrap();
        let (head, took) = rest_of(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{path}: {head}");
        assert!(took < Duration::from_secs(3), "{path}: it took {took:?}");
    }
}

/// As Java's client asks on each connection. What it has sent and nobody has read must not reset the connection: the
/// reset would overtake what it has not read yet.
#[tokio::test]
async fn a_connection_that_has_offered_an_upgrade_ends_without_a_reset() {
    for plan in ["server web 127.0.0.1:0", "server web 127.0.0.1:0 tls=self_signed"] {
        let service = start(plan).await;
        let mut client = service.client().await;
        client.send(upgrade("/ping")).await.unwrap();
        assert_eq!(client.reply().await.unwrap().status, 200);
        client.send(get("/never") + &get("/ping").repeat(3000)).await.unwrap();
        service.app.log.line(0, "never begins").await;
        service.app.signal(Signal::TERM);
        let (rest, _) = rest_of(&mut client).await;
        assert_eq!(rest, "", "{plan}");
        assert_eq!(service.app.first().exit().await, Exit::Code(0), "{plan}");
    }
}

/// And half a head is answered like any other.
#[tokio::test]
async fn a_connection_that_has_offered_an_upgrade_has_its_limits() {
    let service = start("server web 127.0.0.1:0 header_read_timeout=700ms").await;
    let mut client = service.client().await;
    client.send(upgrade("/ping")).await.unwrap();
    assert_eq!(client.reply().await.unwrap().status, 200);
    client.send("GET /ping HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(client.reply().await.unwrap().status, 408);
    assert_eq!(client.pause(Duration::from_secs(5)).await, Pause::Closed);
}
