//! How the server closes a connection: the client can read all that the server sent before, and the close is immediate,
//! even while another process holds a duplicate of the socket.

use std::time::{Duration, Instant};

use tests::bench::process::descriptors;
use tests::client::{Pause, get};
use tests::patience::{PATIENCE, eventually};
use tests::{Client, Exit, Service, Signal};

/// The standby is longer than any close may take.
async fn start(plan: &str) -> Service {
    Service::with(plan, |launch| launch.env("GRACEHTTP_STANDBY", "8s").env("GRACEHTTP_DRAIN_TIMEOUT", "12s"))
        .await
}

/// A client whose connection has moved. The predecessor still holds a duplicate of it.
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

/// The bytes that the client receives until the end, which must not be a reset, and the time until then.
async fn rest_of(client: &mut Client) -> (String, Duration) {
    let (start, mut rest) = (Instant::now(), Vec::new());
    while let Some(piece) = client.piece().await.expect("a proper end") {
        rest.extend_from_slice(&piece);
    }
    (String::from_utf8_lossy(&rest).into_owned(), start.elapsed())
}

/// The handler drops the stream without an answer, in the successor, during the predecessor's standby.
#[tokio::test]
async fn an_upgraded_connection_closes_at_once_when_its_handler_drops_it() {
    for plan in ["server web 127.0.0.1:0", "server web 127.0.0.1:0 tls=self_signed"] {
        for path in ["/upgrade/dropped", "/upgrade/untaken"] {
            let service = start(plan).await;
            let mut client = moved_client(&service).await;
            client.send(upgrade(path)).await.unwrap();
            let (head, took) = rest_of(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{plan}, {path}: {head}");
            assert!(took < Duration::from_secs(6), "{plan}, {path}: it took {took:?}");
        }
    }
}

/// Java's client offers an upgrade on each connection. Bytes that the server has received but not read must not reset
/// the connection: the reset would overtake bytes that the client has not read yet.
#[tokio::test]
async fn a_connection_that_has_offered_an_upgrade_ends_without_a_reset() {
    let ends_without_a_reset = async |plan: &str| {
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
    };
    tokio::join!(
        ends_without_a_reset("server web 127.0.0.1:0"),
        ends_without_a_reset("server web 127.0.0.1:0 tls=self_signed"),
    );
}

/// Half a head also gets its usual answer.
#[tokio::test]
async fn a_connection_that_has_offered_an_upgrade_keeps_its_time_limits() {
    let service = start("server web 127.0.0.1:0 header_read_timeout=700ms").await;
    let mut client = service.client().await;
    client.send(upgrade("/ping")).await.unwrap();
    assert_eq!(client.reply().await.unwrap().status, 200);
    client.send("GET /ping HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(client.reply().await.unwrap().status, 408);
    assert_eq!(client.pause(PATIENCE).await, Pause::Closed);
}

fn last(path: &str) -> String {
    get(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
}

/// The client reads its answer and keeps its own side open.
#[tokio::test]
async fn a_client_that_asks_for_the_close_is_not_waited_for() {
    // A server that waits for its client waits for a second. A busy machine may be that slow, too, but not each time.
    const WAIT: Duration = Duration::from_secs(1);
    let service = start("server web 127.0.0.1:0").await;
    let pid = service.app.first().pid();
    for request in [last("/ping"), get("/ping").replace("HTTP/1.1", "HTTP/1.0")] {
        let mut took = Vec::new();
        while took.iter().all(|took| *took >= WAIT) && took.len() < 5 {
            let before = descriptors(pid);
            let mut client = service.client().await;
            client.send(&request).await.unwrap();
            let (answer, _) = rest_of(&mut client).await;
            assert!(answer.contains(" 200 OK\r\n"), "{answer}");
            let answered = Instant::now();
            eventually("the server to close the connection", || descriptors(pid) <= before).await;
            took.push(answered.elapsed());
        }
        assert!(took.iter().any(|took| *took < WAIT), "{request}: {took:?}");
    }
}

/// The predecessor's duplicate would keep the connection open.
#[tokio::test]
async fn a_moved_client_that_asks_for_the_close_sees_it_at_once() {
    let service = start("server web 127.0.0.1:0").await;
    let mut client = moved_client(&service).await;
    client.send(last("/ping")).await.unwrap();
    assert_eq!(client.reply().await.unwrap().status, 200);
    let (rest, took) = rest_of(&mut client).await;
    assert_eq!(rest, "");
    assert!(took < Duration::from_secs(6), "it took {took:?}");
}

/// It has promised to send nothing after that request. The unread bytes would reset the connection.
#[tokio::test]
async fn a_client_that_asks_for_the_close_and_sends_more_gets_its_answer() {
    let service = start("server web 127.0.0.1:0").await;
    for _ in 0..20 {
        let mut client = service.client().await;
        client.send(last("/ping") + &get("/ping").repeat(1000)).await.unwrap();
        assert_eq!(client.reply().await.unwrap().status, 200);
        let (rest, _) = rest_of(&mut client).await;
        assert_eq!(rest, "");
    }
}
