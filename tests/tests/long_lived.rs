//! Connections that are in use for longer than a restart takes: they end cleanly and in time, or the server cuts them
//! at the drain's deadline.

use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once, post_head};
use tests::h2::Http2;
use tests::patience::PATIENCE;
use tests::{App, Client, Exit, Kind, Service, Signal};

const WEB: &str = "server web 127.0.0.1:0";
const TLS: &str = "server tls 127.0.0.1:0 tls=self_signed";

/// A time well before the limit of a minute.
const SOON: Duration = Duration::from_secs(30);

/// A service whose drain has a minute.
async fn patient(plan: &str) -> Service {
    draining(plan, "60s").await
}

/// A service with this limit of the drain.
async fn draining(plan: &str, limit: &str) -> Service {
    Service::with(plan, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", limit)).await
}

/// A client with a request in its handler. The handler logs `words` when it begins.
async fn busy(service: &Service, request: &str, words: &str) -> Client {
    let start = service.app.log.end();
    let mut client = service.client().await;
    client.send(request).await.expect("a request");
    service.app.log.line(start, words).await;
    client
}

/// The client gets the answer to its long poll, which is the last answer on its connection, and the drain ends.
async fn answered_at_last(service: &Service, client: &mut Client, since: Instant) {
    let reply = client.reply().await.expect("an answer");
    assert_eq!(reply.text(), "no news; ask again");
    assert!(reply.closes(), "{reply:?}");
    client.closed().await.expect("a proper end");
    service.first_leaves(since, SOON).await;
}

/// The predecessor cut exactly one connection, at the deadline.
async fn cut_at_the_deadline(app: &App, since: Instant, limit: Duration) {
    assert_eq!(app.first().exit().await, Exit::Code(0), "{}", app.log);
    let took = since.elapsed();
    assert!(took >= limit, "cut before the deadline, after {took:?}\n{}", app.log);
    assert!(took < limit + PATIENCE, "cut late, after {took:?}\n{}", app.log);
    app.log.line(0, "cutting 1 connection").await;
}

/// The bytes that the client receives until the end of the connection, which must not be a reset.
async fn rest_of(client: &mut Client) -> Vec<u8> {
    let mut rest = Vec::new();
    while let Some(piece) = client.piece().await.expect("a proper end") {
        rest.extend_from_slice(&piece);
    }
    rest
}

#[tokio::test]
async fn case_43_a_long_poll_is_answered_when_the_drain_begins_and_its_connection_moves() {
    for plan in [WEB, TLS] {
        let service = patient(plan).await;
        let mut client = busy(&service, &get("/poll"), "poll begins").await;
        let start = Instant::now();
        service.restart().await;
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.text(), "no news; ask again");
        assert!(!reply.closes(), "{plan}: {reply:?}");
        client.moves_to(service.app.pid()).await;
        service.first_leaves(start, SOON).await;
    }
}

#[tokio::test]
async fn case_43_a_long_poll_is_answered_when_the_process_stops() {
    let service = patient(WEB).await;
    let mut client = busy(&service, &get("/poll"), "poll begins").await;
    let start = Instant::now();
    service.app.signal(Signal::TERM);
    answered_at_last(&service, &mut client, start).await;
}

#[tokio::test]
async fn case_43_an_event_stream_ends_cleanly_when_the_drain_begins_and_its_connection_moves() {
    let service = patient(WEB).await;
    let mut client = busy(&service, &get("/events"), "events begin").await;
    let start = Instant::now();
    service.restart().await;
    let reply = client.reply().await.unwrap();
    assert!(reply.text().ends_with("data: tick\n\nevent: bye\n\n"), "{reply:?}");
    client.moves_to(service.app.pid()).await;
    service.first_leaves(start, SOON).await;
}

#[tokio::test]
async fn case_43_a_long_poll_that_ignores_the_drain_is_cut_at_the_deadline() {
    let service = draining(WEB, "1500ms").await;
    let mut client = busy(&service, &get("/never"), "never begins").await;
    let start = Instant::now();
    service.restart().await;
    assert_eq!(client.reply().await.unwrap_err().kind, Kind::Unanswered);
    cut_at_the_deadline(&service.app, start, Duration::from_millis(1500)).await;
}

#[tokio::test]
async fn case_43_an_event_stream_that_ignores_the_drain_is_cut_at_the_deadline() {
    for plan in [WEB, TLS] {
        let service = draining(plan, "1500ms").await;
        let mut client = busy(&service, &get("/events/endless"), "events begin").await;
        let start = Instant::now();
        service.restart().await;
        // The response ends without its last chunk, so no client takes it for complete. It also ends without a reset.
        let failure = client.reply().await.unwrap_err();
        assert_eq!(failure.kind, Kind::HalfAnswered, "{failure}");
        cut_at_the_deadline(&service.app, start, Duration::from_millis(1500)).await;
    }
}

/// The same over HTTP/2, and with the proper end of TLS.
#[tokio::test]
async fn http2_streams_that_ignore_the_drain_are_cut_at_the_deadline() {
    for plan in [WEB, TLS] {
        let service = draining(plan, "1500ms").await;
        let mut client = Http2::connect(&service.target).await.unwrap();
        let from = service.app.log.end();
        let never = tokio::spawn(async move { client.get("/never").await });
        service.app.log.line(from, "never begins").await;
        let start = Instant::now();
        service.restart().await;
        let failure = never.await.unwrap().unwrap_err();
        assert_ne!(failure.kind, Kind::Reset, "{failure}");
        assert!(!failure.detail.contains("close_notify"), "{failure}");
        println!("{failure}");
        cut_at_the_deadline(&service.app, start, Duration::from_millis(1500)).await;
    }
}

#[tokio::test]
async fn case_54_handlers_that_block_their_threads_delay_neither_a_restart_nor_its_deadline() {
    let service = draining(WEB, "1500ms").await;
    let mut blocking = Vec::new();
    for _ in 0..2 * std::thread::available_parallelism().expect("a count").get() {
        let mut client = service.client().await;
        client.send(get("/block?ms=30000")).await.unwrap();
        blocking.push(client);
    }
    service.app.log.line(0, "block begins").await;
    let start = Instant::now();
    // Connections that no thread was left to accept block the successor later. The test does not check that.
    service.app.restart().await;
    assert_eq!(service.app.first().exit().await, Exit::Code(0), "{}", service.app.log);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "it took {took:?}\n{}", service.app.log);
}

/// A client that has left HTTP and speaks the echo protocol.
async fn upgraded(service: &Service, path: &str) -> Client {
    let request = get(path).replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    let mut client = busy(service, &request, "echo begins").await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend_from_slice(&client.piece().await.expect("an open connection").expect("a response"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    echoes(&mut client).await;
    client
}

async fn echoes(client: &mut Client) {
    client.send("hello").await.expect("a connection");
    let mut heard = Vec::new();
    while heard.len() < 5 {
        heard.extend_from_slice(&client.piece().await.expect("an open connection").expect("an echo"));
    }
    assert_eq!(heard, b"hello");
}

#[tokio::test]
async fn case_44_an_upgraded_connection_gets_its_last_message_before_the_deadline() {
    for plan in [WEB, TLS] {
        let service = patient(plan).await;
        let mut client = upgraded(&service, "/upgrade").await;
        let start = Instant::now();
        service.app.restart().await;
        assert_eq!(rest_of(&mut client).await, b"farewell");
        service.first_leaves(start, SOON).await;
    }
}

#[tokio::test]
async fn case_44_an_upgraded_connection_gets_its_last_message_when_the_process_stops() {
    let service = patient(WEB).await;
    let mut client = upgraded(&service, "/upgrade").await;
    let start = Instant::now();
    service.app.signal(Signal::TERM);
    assert_eq!(rest_of(&mut client).await, b"farewell");
    service.first_leaves(start, SOON).await;
}

#[tokio::test]
async fn case_44_an_upgraded_connection_that_ignores_the_drain_is_cut_at_the_deadline() {
    let service = draining(WEB, "6s").await;
    let mut client = upgraded(&service, "/upgrade/stubborn").await;
    let start = Instant::now();
    service.restart().await;
    while start.elapsed() < Duration::from_secs(3) {
        echoes(&mut client).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(service.app.first().is_running(), "it counts in the drain\n{}", service.app.log);
    rest_of(&mut client).await;
    cut_at_the_deadline(&service.app, start, Duration::from_secs(6)).await;
}

#[tokio::test]
async fn case_44_an_upgraded_connection_counts_in_the_limit() {
    let service = Service::new("server web 127.0.0.1:0 max_conns=1").await;
    let mut holder = upgraded(&service, "/upgrade/stubborn").await;
    let mut next = service.client().await;
    next.send(get("/ping")).await.unwrap();
    assert_eq!(next.pause(Duration::from_millis(300)).await, Pause::Open, "no permit is free");
    echoes(&mut holder).await;
    drop(holder);
    assert_eq!(next.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn case_44_an_upgraded_connection_of_the_predecessor_counts_in_the_successors_limit() {
    let service = patient("server web 127.0.0.1:0 max_conns=1").await;
    let mut holder = upgraded(&service, "/upgrade/stubborn").await;
    let successor = service.app.restart().await;
    let mut next = service.client().await;
    next.send(get("/ping")).await.unwrap();
    assert_eq!(next.pause(Duration::from_millis(600)).await, Pause::Open, "no permit is free");
    echoes(&mut holder).await;
    let start = Instant::now();
    drop(holder);
    assert_eq!(next.reply().await.unwrap().pid(), Some(successor.pid()));
    service.first_leaves(start, SOON).await;
}

#[tokio::test]
async fn an_upload_that_takes_longer_than_the_restart_completes() {
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        let old = service.app.first();
        let body: String = (0..20_000).map(|number| format!("{number:06} ")).collect();
        let mut client = service.client().await;
        client.send(post_head("/echo", body.len())).await.unwrap();
        let (early, late) = body.split_at(body.len() / 4);
        client.send(early).await.unwrap();
        get_once(&service.target, "/ping").await.unwrap();
        service.restart().await;
        for piece in late.as_bytes().chunks(late.len() / 30 + 1) {
            assert!(old.is_running(), "it waits for the upload\n{}", service.app.log);
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.send(piece).await.unwrap();
        }
        assert_eq!(client.reply().await.unwrap().text(), body);
        assert_eq!(old.exit().await, Exit::Code(0));
        service.app.catch_up().await;
        assert_eq!(service.app.log.count(0, "cutting"), 0, "{}", service.app.log);
    }
}

#[tokio::test]
async fn a_download_that_takes_longer_than_the_restart_completes() {
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        let start = Instant::now();
        let mut client = busy(&service, &get("/stream?pieces=60"), "stream begins").await;
        service.restart().await;
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.text().lines().count(), 60);
        assert!(start.elapsed() > Duration::from_secs(2), "it outlasted the standby");
        client.moves_to(service.app.pid()).await;
        assert_eq!(service.app.first().exit().await, Exit::Code(0));
        service.app.catch_up().await;
        assert_eq!(service.app.log.count(0, "cutting"), 0, "{}", service.app.log);
    }
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_its_answer() {
    let service = Service::new(WEB).await;
    for path in ["/ping", "/slow?ms=400", "/stream?pieces=5", "/big?bytes=3000000"] {
        let mut client = service.client().await;
        client.send(get(path)).await.unwrap();
        client.half_close().await.unwrap();
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{path}: {failure}"));
        assert_eq!(reply.status, 200, "{path}");
        client.closed().await.unwrap_or_else(|failure| panic!("{path}: {failure}"));
    }
    let mut client = service.client().await;
    client.send(post_head("/echo", 4)).await.unwrap();
    client.send("body").await.unwrap();
    client.half_close().await.unwrap();
    assert_eq!(client.reply().await.unwrap().text(), "body");
    client.closed().await.unwrap();
}

/// The handler learns that the rest will never arrive, and its answer still reaches the client.
#[tokio::test]
async fn a_body_that_its_client_cuts_short_is_an_error_at_once() {
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        let start = Instant::now();
        let mut client = service.client().await;
        client.send(post_head("/echo", 10)).await.unwrap();
        client.send("half").await.unwrap();
        client.half_close().await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains("in the middle of the request body"), "{reply:?}");
        client.closed().await.unwrap();
        assert!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
    }
}

/// The connection has rested for long. Its request and its client's end come together, and wake it once.
#[tokio::test]
async fn a_client_that_asks_after_a_rest_and_closes_its_side_gets_its_end() {
    for plan in [WEB, TLS] {
        let service = patient(plan).await;
        for _ in 0..3 {
            let mut client = service.client().await;
            client.get("/ping").await.expect("an answer");
            tokio::time::sleep(Duration::from_millis(400)).await;
            client.send(get("/ping")).await.expect("it is sent");
            client.half_close().await.expect("half a close");
            assert_eq!(client.reply().await.expect("an answer").status, 200, "{plan}");
            client.closed().await.unwrap_or_else(|failure| panic!("{plan}: {failure}"));
        }
    }
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_its_answer_across_a_restart() {
    let service = patient(&format!("{WEB} half_close_timeout=20000ms")).await;
    let old = service.app.pid();
    let start = Instant::now();
    let mut before = busy(&service, &get("/slow?ms=1500"), "slow begins").await;
    let mut after = busy(&service, &get("/slow?ms=1500"), "slow begins").await;
    before.half_close().await.unwrap();
    // The server answers a later request, so the kernel has received the end of `before`.
    get_once(&service.target, "/ping").await.unwrap();
    service.restart().await;
    after.half_close().await.unwrap();
    for client in [&mut before, &mut after] {
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.pid(), Some(old));
        client.closed().await.unwrap();
    }
    service.first_leaves(start, SOON).await;
}

#[tokio::test]
async fn an_idle_client_that_closes_its_side_is_closed_before_and_after_a_restart() {
    let service = patient(WEB).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = service.client().await;
        client.get("/ping").await.unwrap();
        clients.push(client);
    }
    let (before, after) = clients.split_at_mut(3);
    let start = Instant::now();
    for client in before {
        client.half_close().await.unwrap();
        client.closed().await.unwrap();
    }
    service.restart().await;
    for client in after {
        client.half_close().await.unwrap();
        client.closed().await.unwrap();
    }
    service.first_leaves(start, SOON).await;
}
