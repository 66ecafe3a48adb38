//! Requests in flight: the predecessor answers them, then their connections move.

use tests::client::{get, post_head};
use tests::tls::SUITES;

use super::*;

#[tokio::test]
async fn request_in_the_handler_is_answered_before_its_connection_moves() {
    let service = Service::new(TLS).await;
    let old = service.app.pid();
    let mut clients = clients(&service).await;
    for client in &mut clients {
        client.send(get("/slow?ms=1500")).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "slow begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        answered_by(client, old).await;
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The body ends after the restart, in the middle of a record.
#[tokio::test]
async fn upload_in_flight_is_answered_before_its_connection_moves() {
    let service = Service::new(TLS).await;
    let mut uploads = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        client.send(post_head("/echo", 20)).await.unwrap();
        client.send("01234").await.unwrap();
        let record = client.wire().seal("56789abcdefghij");
        client.wire().pass(&record[..record.len() / 2]).await.unwrap();
        uploads.push((client, record));
    }
    settled(&service).await;
    service.restart().await;
    for (client, record) in &mut uploads {
        client.wire().pass(&record[record.len() / 2..]).await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!((&*reply.text(), reply.closes()), ("0123456789abcdefghij", false));
    }
    service.app.predecessors_leave_cleanly().await;
    for (client, _) in &mut uploads {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The client has sent the whole next request, or a part of its record, before it has its answer.
#[tokio::test]
async fn next_request_waits_behind_the_one_in_flight() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in VERSIONS {
        for part in [2, 1] {
            let mut client = client_with(&service, suite).await;
            let mut bytes = client.wire().seal(get("/slow?ms=1000"));
            let next = client.wire().seal(get("/numbered?number=2"));
            let (first, rest) = next.split_at(part * next.len() / 2);
            bytes.extend(first);
            client.wire().pass(&bytes).await.unwrap();
            clients.push((client, rest.to_vec()));
        }
    }
    eventually("four in the handler", || service.app.log.count(0, "slow begins") == 4).await;
    service.restart().await;
    service.app.predecessors_leave_cleanly().await;
    let pid = service.app.pid();
    for (client, rest) in &mut clients {
        let first = client.reply().await.unwrap();
        assert_eq!((first.pid(), first.closes()), (Some(service.app.first().pid()), false));
        client.wire().pass(rest).await.unwrap();
        let second = client.reply().await.unwrap();
        assert_eq!((second.header("number"), second.closes()), (Some("2"), false), "{second:?}");
        get_by(client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// The server still holds most of the response when the restart comes, since the client does not read.
#[tokio::test]
async fn response_to_a_slow_reader_completes_before_its_connection_moves() {
    const LENGTH: usize = 20_000_000;
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    for client in &mut clients {
        client.send(get(&format!("/big?bytes={LENGTH}"))).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "big begins") == 2).await;
    settled(&service).await;
    service.restart().await;
    for client in &mut clients {
        let reply = client.reply().await.unwrap();
        assert!(reply.body.len() == LENGTH && reply.body.iter().all(|byte| *byte == b'x'));
        assert!(!reply.closes());
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The response waits in the server, and the next request in its record, half of it.
#[tokio::test]
async fn slow_reader_sends_half_its_next_record() {
    const LENGTH: usize = 10_000_000;
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    let mut rests = Vec::new();
    for client in &mut clients {
        client.send(get(&format!("/big?bytes={LENGTH}"))).await.unwrap();
        let next = client.wire().seal(get("/ping"));
        client.wire().pass(&next[..20]).await.unwrap();
        rests.push(next[20..].to_vec());
    }
    eventually("both in the handler", || service.app.log.count(0, "big begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        assert_eq!(client.reply().await.unwrap().body.len(), LENGTH);
    }
    service.app.predecessors_leave_cleanly().await;
    for (client, rest) in clients.iter_mut().zip(&rests) {
        client.wire().pass(rest).await.unwrap();
        answered_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn stream_in_flight_completes_before_its_connection_moves() {
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    for client in &mut clients {
        client.send(get("/stream?pieces=25")).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "stream begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        assert_eq!(client.reply().await.unwrap().text().lines().count(), 25);
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The protocol that follows HTTP runs on the session that moved, with what came right behind the request.
#[tokio::test]
async fn upgraded_connection_uses_its_session_after_a_move() {
    let service = Service::new(TLS).await;
    let upgrade = get("/upgrade").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    let mut upgrading = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        let mut bytes = client.wire().seal(&upgrade);
        let cut = bytes.len() / 2;
        bytes.extend(client.wire().seal("ping"));
        client.wire().pass(&bytes[..cut]).await.unwrap();
        upgrading.push((client, bytes.split_off(cut)));
    }
    settled(&service).await;
    restart_and_leave(&service).await;
    for (client, rest) in &mut upgrading {
        client.wire().pass(rest).await.unwrap();
        assert!(read_until(client, "ping").await.starts_with("HTTP/1.1 101 "));
        client.send("pong").await.unwrap();
        assert_eq!(read_until(client, "pong").await, "pong");
    }
    // The handler ends it in the next restart with a message of its protocol; a close_notify follows.
    service.restart().await;
    for (client, _) in &mut upgrading {
        assert_eq!(read_until(client, "farewell").await, "farewell");
        client.closed().await.unwrap();
    }
    all_leave_cleanly(&service).await;
}

/// What comes until these words, which must be the last ones.
async fn read_until(client: &mut Client<Wire>, words: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(words) {
        let piece = client.piece().await.expect("more bytes").expect("no end before the words");
        text += &String::from_utf8_lossy(&piece);
    }
    text
}
