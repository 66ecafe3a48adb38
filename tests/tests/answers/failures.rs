//! Handlers and bodies that fail, panic or take too long.

use super::*;

/// The client receives the bytes before the failure, and then the end of the connection, at once and without the last
/// chunk.
async fn breaks_off(target: &Target, path: &str) {
    let mut client = client(target).await;
    client.send(get(path)).await.expect("the request is sent");
    let mut all = Vec::new();
    while let Some(piece) = client.piece().await.expect("a piece or the end") {
        all.extend_from_slice(&piece);
    }
    let all = String::from_utf8(all).expect("text");
    assert!(all.starts_with("HTTP/1.1 200 OK") && all.ends_with("first piece\n\r\n"), "{path}: {all:?}");
}

async fn is_reset(target: &Target, path: &str) {
    let mut connection = Connection::open(target).await;
    connection.send(&[Frame::get(1, path)]).await;
    within(PATIENCE, "the end of the stream", async {
        loop {
            let frames = connection.frames().await;
            assert!(!frames.is_empty(), "the whole connection ended");
            if let Some(reset) = frames.iter().find(|frame| frame.kind == RST_STREAM) {
                assert_eq!((reset.stream, &reset.payload[..]), (1, &INTERNAL_ERROR[..]), "{reset:?}");
                return;
            }
        }
    })
    .await;
    // The other streams of the connection continue.
    connection.send(&[Frame::get(3, "/x/text")]).await;
    connection.answer(3).await;
}

#[tokio::test]
async fn c9_a_body_that_fails_or_panics_is_logged_once_and_ends_its_connection_at_once() {
    let app = launch().start("nameless").await;
    for server in SERVERS {
        let target = app.target(server).await;
        for (path, fault) in [
            ("/x/body/fails", "its response body failed: out of paper"),
            ("/x/body/panics", "its response body panicked: the body panics"),
        ] {
            let message = format!("ERROR gracehttp: server `{server}`: GET {path}: {fault}");
            for over_http2 in [false, true] {
                let start = app.log.end();
                match over_http2 {
                    false => breaks_off(&target, path).await,
                    true => is_reset(&target, path).await,
                }
                app.log.line(start, &message).await;
                assert_eq!(count(&app, start, &message).await, 1, "{}", app.log);
            }
        }
        // The body has sent all its bytes, so the client notices nothing.
        let start = app.log.end();
        let mut client = client(&target).await;
        for _ in 0..2 {
            let reply = client.get("/x/body/dropped").await.unwrap();
            assert_eq!(reply.text(), "first piece\n");
        }
        assert_eq!(ask2(&target, Method::GET, "/x/body/dropped").await.unwrap().text(), "first piece\n");
        assert_eq!(
            count(&app, start, "its response body panicked when it was dropped").await,
            3,
            "{}",
            app.log
        );
    }
}

/// The predecessor keeps a duplicate of every connection that it hands over. If the connection's task only unwound, the
/// connection would stay open and its client would wait until the end of the standby.
#[tokio::test]
async fn c9_a_body_that_panics_ends_its_connection_at_once_also_after_a_move() {
    let app = launch().env("GRACEHTTP_STANDBY", "60s").start("nameless").await;
    let mut clients = Vec::new();
    for server in ["plain", "routed", "factory"] {
        let mut client = client(&app.target(server).await).await;
        client.get("/x/text").await.unwrap();
        clients.push(client);
    }
    app.restart().await;
    let start = app.log.end();
    for client in &mut clients {
        client.send(get("/x/body/panics")).await.unwrap();
        let failure = client.reply().await.unwrap_err();
        assert_eq!(failure.kind, Kind::HalfAnswered, "{failure}");
    }
    assert_eq!(count(&app, start, "its response body panicked: the body panics").await, 3, "{}", app.log);
}

/// The client has closed its side and the process stops: a response that has begun continues to its end, though it
/// takes longer than `half_close_timeout`.
#[tokio::test]
async fn a12_a_response_that_begins_in_a_drain_completes_for_a_half_closed_client() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 half_close_timeout=500ms").start("web").await;
    let mut client = client(&app.target("web").await).await;
    client.get("/ping").await.unwrap();
    let mut other = crate::client(&app.target("web").await).await;
    app.signal(tests::Signal::TERM);
    // The drain has begun once a response announces that it is the last one.
    while !other.get("/ping").await.unwrap().closes() {}
    // Idle connections have time for a last request.
    client.send(get("/stream?pieces=40")).await.unwrap();
    client.half_close().await.unwrap();
    let reply = client.reply().await.unwrap();
    assert!(reply.closes() && reply.text().ends_with("piece 39\n"), "{reply:?}");
    assert_eq!(app.current().exit().await, Exit::Code(0));
}

/// HTTP/1.0 has no chunks: the end of the connection is the end of such a body, unless it is a reset.
#[tokio::test]
async fn c9_a_body_that_fails_over_http_1_0_ends_by_a_reset() {
    let app = launch().start("nameless").await;
    for server in SERVERS {
        for (path, is_whole) in [("/x/stream", true), ("/x/body/fails", false), ("/x/body/panics", false)] {
            let mut client = client(&app.target(server).await).await;
            client.send(format!("GET {path} HTTP/1.0\r\n\r\n")).await.unwrap();
            let end = loop {
                match client.piece().await {
                    Ok(Some(_)) => (),
                    Ok(None) => break true,
                    Err(failure) => {
                        assert_ne!(failure.kind, Kind::TimedOut, "{server}: {path}: {failure}");
                        break false;
                    }
                }
            };
            assert_eq!(end, is_whole, "{server}: {path}");
        }
    }
}

/// A failure affects no answer that was complete before it.
#[tokio::test]
async fn c9_the_answer_before_a_failed_one_arrives() {
    let app = launch().start("nameless").await;
    let target = app.target("plain").await;
    let mut client = client(&target).await;
    client
        .send([get("/x/text"), get("/x/text"), get("/x/body/fails"), get("/x/text")].concat())
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(client.reply().await.unwrap().text(), "hello");
    }
    assert_eq!(client.reply().await.unwrap_err().kind, Kind::HalfAnswered);
}

#[tokio::test]
async fn c9_a_handler_service_or_layer_that_panics_or_fails_is_one_500() {
    let app = launch().start("nameless").await;
    for (server, path, fault) in [
        ("plain", "/x/panics", "its handler panicked: the handler panics"),
        ("routed", "/x/panics", "its handler panicked: the handler panics"),
        ("factory", "/x/panics", "its handler panicked: the handler panics"),
        ("layered", "/x/layer", "its handler panicked: the layer panics"),
        ("fragile", "/call", "its handler panicked: call panics"),
        ("fragile", "/fails", "its service failed: no paper"),
    ] {
        let target = app.target(server).await;
        let start = app.log.end();
        let mut client = client(&target).await;
        for (path, status) in [(path, 500), ("/x/text", 200), (path, 500), ("/x/text", 200)] {
            assert_eq!(client.get(path).await.unwrap().status, status, "{server}: {path}");
        }
        assert_eq!(ask2(&target, Method::GET, path).await.unwrap().status, 500);
        let message = format!("ERROR gracehttp: server `{server}`: GET {path}: {fault}");
        assert_eq!(count(&app, start, &message).await, 3, "{}", app.log);
    }
    let mut client = client(&app.target("fragile").await).await;
    for (path, status) in [("/arm", 404), ("/x/text", 500), ("/x/text", 200)] {
        assert_eq!(client.get(path).await.unwrap().status, status, "{path}");
    }
    app.log.line(0, "server `fragile`: GET /x/text: its handler panicked: poll_ready panics").await;
}

/// At the time-out the server drops the handler before it answers, and logs whose handler it was. The same holds for a
/// handler that panics when it is dropped.
#[tokio::test]
async fn a_handler_over_its_request_timeout_is_dropped_and_logged() {
    let app = launch().start("nameless").await;
    let target = app.target("hurried").await;
    for path in ["/x/slow", "/x/guard"] {
        let start = app.log.end();
        let mut client = client(&target).await;
        for _ in 0..2 {
            let reply = client.get(path).await.unwrap();
            assert_eq!((reply.status, reply.header("content-length")), (503, Some("0")), "{reply:?}");
            assert!(reply.header("date").is_some() && !reply.closes(), "{reply:?}");
        }
        assert_eq!(ask2(&target, Method::GET, path).await.unwrap().status, 503);
        assert_eq!(count(&app, start, "the handler is let go").await, 3, "{}", app.log);
        let message = format!(
            "server `hurried`: GET {path}: its handler was dropped after its request_timeout of 300ms"
        );
        assert_eq!(count(&app, start, &message).await, 3, "{}", app.log);
    }
    app.log.line(0, "GET /x/guard: its handler panicked when it was dropped: the guard panics").await;
}
