//! HTTPS connections in one process: how they rest, wait and end. Each end that the server decides on is told by its
//! close_notify, or the client would fail here.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tests::client::{Pause, Stream, get, post_head};
use tests::patience::{PATIENCE, eventually, within};
use tests::tls::{self, VERSIONS, Wire};
use tests::{Client, Exit, Launch, Service, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TLS: &str = "server web 127.0.0.1:0 tls=self_signed";

/// Longer than a connection without a task waits for its first or next byte before it is parked.
const UNTIL_PARKED: Duration = Duration::from_millis(300);

/// One client for each version of TLS, without an answer yet.
async fn clients(service: &Service) -> Vec<Client<Wire>> {
    let mut clients = Vec::new();
    for suite in VERSIONS {
        let config = tls::only(suite, &["http/1.1"]);
        let wire = Wire::open(service.target.address(), config).await.expect("a connection");
        clients.push(wire.client().await.expect("a handshake"));
    }
    clients
}

/// The same, each with an answer, and parked.
async fn parked_clients(service: &Service) -> Vec<Client<Wire>> {
    let mut clients = clients(service).await;
    for client in &mut clients {
        assert_eq!(client.get("/ping").await.expect("an answer").status, 200);
        assert_eq!(client.pause(UNTIL_PARKED).await, Pause::Open);
    }
    clients
}

/// The server closes all of them in the proper way. Returns how long that took.
async fn all_end(clients: &mut [Client<Wire>]) -> Duration {
    let begun = Instant::now();
    for client in clients {
        assert_eq!(client.pause(PATIENCE).await, Pause::Closed);
    }
    begun.elapsed()
}

#[tokio::test]
async fn parked_connections_wake_again_and_again() {
    let service = Service::new(TLS).await;
    let mut clients = parked_clients(&service).await;
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.pause(UNTIL_PARKED).await, Pause::Open);
            assert_eq!(client.get("/ping").await.expect("an answer").status, 200);
            assert_eq!(client.wire().later_handshakes(), 0);
        }
    }
}

#[tokio::test]
async fn parked_connections_end_at_their_time_limits() {
    let service = Service::new(&format!("{TLS} idle_timeout=3000ms header_read_timeout=3000ms")).await;
    let mut silent = clients(&service).await;
    let mut idle = parked_clients(&service).await;
    all_end(&mut silent).await;
    all_end(&mut idle).await;
}

#[tokio::test]
async fn a_stop_ends_parked_connections() {
    let service = Service::new(TLS).await;
    let mut silent = clients(&service).await;
    let mut idle = parked_clients(&service).await;
    service.app.signal(Signal::TERM);
    all_end(&mut silent).await;
    all_end(&mut idle).await;
    assert_eq!(service.app.first().exit().await, Exit::Code(0));
}

/// A part of a record has the same time limit as half a head. More bytes do not prolong it, so a record that is sent byte
/// by byte does not keep its connection.
#[tokio::test]
async fn a_record_that_is_sent_bit_by_bit_ends_with_the_time_of_a_head() {
    const LIMIT: Duration = Duration::from_secs(2);
    let service = Service::new(&format!("{TLS} header_read_timeout=2000ms")).await;
    let mut fresh = clients(&service).await;
    let mut idle = parked_clients(&service).await;
    let ends = fresh.iter_mut().chain(&mut idle).map(|client| async {
        let record = client.wire().seal(get(&format!("/{}", "x".repeat(200))));
        let begun = Instant::now();
        for byte in &record {
            client.wire().pass(&[*byte]).await.expect("room for a byte");
            // As after half a head.
            if let Ok(Ok(reply)) = timeout(Duration::from_millis(100), client.reply()).await {
                assert_eq!(reply.status, 408);
                break;
            }
        }
        let took = begun.elapsed();
        assert!(took >= LIMIT && took < LIMIT * 6, "it took {took:?}");
        assert_eq!(client.pause(PATIENCE).await, Pause::Closed);
    });
    join_all(ends).await;
}

/// A KeyUpdate holds nothing of a request.
#[tokio::test]
async fn a_cut_record_that_holds_no_request_leaves_the_connection_idle() {
    let service = Service::new(&format!("{TLS} header_read_timeout=3000ms")).await;
    let mut clients = parked_clients(&service).await;
    // Only TLS 1.3 has such a message.
    let client = &mut clients[0];
    let update = client.wire().key_update();
    let (begin, rest) = update.split_at(update.len() / 2);
    client.wire().pass(begin).await.unwrap();
    assert_eq!(client.pause(UNTIL_PARKED).await, Pause::Open);
    client.wire().pass(rest).await.unwrap();
    assert_eq!(client.pause(Duration::from_millis(4000)).await, Pause::Open);
    assert_eq!(client.get("/ping").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn requests_over_several_records_and_several_requests_in_one_are_answered_in_order() {
    let service = Service::new(TLS).await;
    for client in &mut clients(&service).await {
        let text: String = (0..8).map(|number| get(&format!("/numbered?n={number}"))).collect();
        // The pieces end within heads, and one holds two of them.
        for piece in text.as_bytes().chunks(text.len() / 5) {
            client.send(piece).await.unwrap();
        }
        for number in 0..8 {
            let reply = client.reply().await.expect("an answer");
            assert_eq!(reply.header("number"), Some(&*number.to_string()));
            assert!(!reply.closes());
        }
    }
}

/// The server goes on sending after the client's close_notify (RFC 8446 section 6.1), and then closes.
#[tokio::test]
async fn a_client_that_has_said_close_notify_gets_the_rest_of_its_answer() {
    let service = Service::new(TLS).await;
    for client in &mut clients(&service).await {
        let start = service.app.log.end();
        client.send(get(&format!("/big?n={BIG}"))).await.unwrap();
        service.app.log.line(start, "big begins").await;
        let notice = client.wire().close_notify();
        client.wire().pass(&notice).await.unwrap();
        takes_the_rest(client).await;
    }
}

/// The same in plain text.
#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_the_rest_of_its_answer() {
    let service = Service::new("server web 127.0.0.1:0").await;
    let mut client = service.client().await;
    client.send(get(&format!("/big?n={BIG}"))).await.unwrap();
    service.app.log.line(0, "big begins").await;
    client.half_close().await.unwrap();
    takes_the_rest(&mut client).await;
}

/// The end comes in one piece with the requests, before the server has answered any of them.
#[tokio::test]
async fn pipelined_requests_before_the_end_of_the_client_are_answered() {
    let requests = get("/ping").repeat(3);
    let tls = Service::new(TLS).await;
    for client in &mut clients(&tls).await {
        let mut records = client.wire().seal(&requests);
        records.extend(client.wire().close_notify());
        client.wire().pass(&records).await.unwrap();
        all_are_answered(client, 3).await;
    }
    let plain = Service::new("server web 127.0.0.1:0").await;
    let mut client = plain.client().await;
    client.send(&requests).await.unwrap();
    client.half_close().await.unwrap();
    all_are_answered(&mut client, 3).await;
}

async fn all_are_answered<S: Stream>(client: &mut Client<S>, count: usize) {
    let begun = Instant::now();
    for _ in 0..count {
        assert_eq!(client.reply().await.expect("an answer").status, 200);
    }
    assert_eq!(client.pause(PATIENCE).await, Pause::Closed);
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
}

/// More than the kernel holds.
const BIG: usize = 32 << 20;

async fn takes_the_rest<S: Stream>(client: &mut Client<S>) {
    // Until the server has read the end.
    tokio::time::sleep(UNTIL_PARKED).await;
    assert_eq!(client.reply().await.expect("an answer").body.len(), BIG);
    assert_eq!(client.pause(PATIENCE).await, Pause::Closed);
}

/// HTTP tells how long a request is: without close_notify none can be cut off unnoticed.
#[tokio::test]
async fn a_client_that_ends_without_close_notify_is_answered_and_forgotten() {
    let service = Service::new(TLS).await;
    let before = service.app.first().descriptors();
    for (request, answers) in [("", false), ("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n", true)] {
        let tcp = TcpStream::connect(service.target.address()).await.unwrap();
        let name = "localhost".try_into().expect("a name");
        let mut stream = tls::connector(&["http/1.1"]).connect(name, tcp).await.expect("a handshake");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream.get_mut().0.shutdown().await.unwrap();
        let mut answer = String::new();
        within(PATIENCE, "the end", stream.read_to_string(&mut answer)).await.expect("a proper end");
        assert_eq!(answer.starts_with("HTTP/1.1 200 OK"), answers, "{answer}");
    }
    eventually("their descriptors to close", || service.app.first().descriptors() <= before).await;
}

#[tokio::test]
async fn an_upload_in_cut_records_arrives() {
    let service = Service::new(TLS).await;
    for client in &mut clients(&service).await {
        let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        client.send(post_head("/echo", body.len())).await.unwrap();
        let records = client.wire().seal(&body);
        // Records of 16 KiB: most pieces end within one.
        for piece in records.chunks(5000) {
            client.wire().pass(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(client.reply().await.expect("an answer").body == body);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let service = Service::new(TLS).await;
    for client in &mut clients(&service).await {
        let head = post_head("/echo", 4).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        client.send(head).await.unwrap();
        let piece = client.piece().await.expect("an answer").expect("bytes");
        assert_eq!(piece, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await.unwrap();
        assert_eq!(client.reply().await.expect("an answer").body, "body");
    }
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_and_ends_with_close_notify() {
    let service = Service::new(TLS).await;
    let mut upgraded = clients(&service).await;
    for client in &mut upgraded {
        client
            .send(get("/upgrade").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"))
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(client.piece().await.expect("an answer").expect("bytes"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        for word in ["one", "two"] {
            client.send(word).await.unwrap();
            assert_eq!(client.piece().await.expect("an echo").expect("bytes"), word);
        }
    }
    service.app.signal(Signal::TERM);
    for client in &mut upgraded {
        assert_eq!(client.piece().await.expect("an end").expect("bytes"), "farewell");
        assert_eq!(client.piece().await.expect("a proper end"), None);
    }
}

/// Any stranger can make a handshake fail, so its line is for those who ask for it.
#[tokio::test]
async fn a_failed_handshake_has_a_line_at_level_debug() {
    let plan = format!("{TLS} handshake_timeout=300ms");
    let debug = |launch: Launch| launch.env("RUST_LOG", "gracehttp=debug");
    let service = Service::with(&plan, debug).await;
    let mut plain = TcpStream::connect(service.target.address()).await.expect("a connection");
    let from = plain.local_addr().expect("its address");
    plain.write_all(get("/ping").as_bytes()).await.expect("room");
    let words = format!("server `web`: the TLS handshake with {from} failed: ");
    let line = service.app.log.line(0, &words).await;
    assert!(line.contains("DEBUG") && line.ends_with("it may speak plain HTTP"), "{line}");
    let silent = TcpStream::connect(service.target.address()).await.expect("a connection");
    let from = silent.local_addr().expect("its address");
    let words = format!("the TLS handshake with {from} failed: it took longer than `handshake_timeout`");
    service.app.log.line(0, &words).await;
}
