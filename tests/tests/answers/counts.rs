//! The server counts its answers by kind.

use super::*;

/// A head of more than twice the server's limit never becomes a request: h2 itself answers 431, and the server only
/// learns that there was such a stream.
#[tokio::test]
async fn c10_answers_of_h2_itself_are_counted() {
    let app = launch().start("nameless").await;
    let mut connection = Connection::open(&app.target("plain").await).await;
    let mut bomb = Frame::get(1, "/x/text");
    // A field of 3900 bytes for the dynamic table, and the same field fifty times more (RFC 7541 sections 6.2.1 and
    // 6.1).
    bomb.payload
        .extend_from_slice(&[&[0x40, 1, b'x', 0x7f, 0xbd, 0x1d][..], &[b'v'; 3900], &[0xbe; 50]].concat());
    connection.send(&[bomb]).await;
    let head = within(PATIENCE, "an answer", async {
        loop {
            let frames = connection.frames().await;
            if let Some(head) = frames.into_iter().find(|frame| frame.kind == HEADERS) {
                return head;
            }
        }
    });
    // `:status: 431`, the first field of this connection (RFC 7541 section 6.2.1 and appendix B).
    assert!(head.await.payload.starts_with(&[0x48, 0x83, 0x69, 0x90, 0xff]));
    connection.send(&[Frame::get(3, "/x/text")]).await;
    connection.answer(3).await;
    drop(connection);
    assert_eq!(app.stop().await, Exit::Code(0));
    app.log.line(0, "server `plain` has answered: handler 2xx 1; streams ended by h2 itself 1").await;
}

/// The server counts every answer by its author and its cause, including answers that hyper does not write.
#[tokio::test]
async fn c10_every_answer_is_counted_with_its_cause() {
    let app: App = launch().start("nameless").await;
    let (plain, routed) = (app.target("plain").await, app.target("routed").await);
    for path in ["/x/text", "/x/text", "/x/nothing", "/x/panics", "/x/status/103"] {
        client(&plain).await.get(path).await.unwrap();
    }
    for bytes in
        ["GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", "GET "]
    {
        let mut client = client(&plain).await;
        client.send(bytes).await.unwrap();
        client.reply().await.unwrap();
    }
    let long = "x".repeat(70 << 10);
    for bytes in
        ["G(T / HTTP/1.1\r\nHost: a\r\n\r\n", &format!("GET / HTTP/1.1\r\nHost: a\r\nLong: {long}\r\n\r\n")]
    {
        let mut client = client(&plain).await;
        client.send(bytes).await.unwrap();
        assert!([400, 431].contains(&client.reply().await.unwrap().status));
    }
    let mut over_http2 = Http2::connect(&routed).await.unwrap();
    for path in ["/x/text", "/nowhere", "/only"] {
        over_http2.get(path).await.unwrap();
    }
    over_http2.get("/x/body/fails").await.unwrap_err();
    drop(over_http2);
    let message =
        |line: &str| line.contains("a request from 127.0.0.1:") && line.contains(": refused with 400: ");
    app.log.find(0, PATIENCE, "the refusal", message).await;
    assert_eq!(app.stop().await, Exit::Code(0));
    let message = "server `plain` has answered: handler 2xx 2, handler 4xx 1, malformed 4xx 2, body too large 4xx 1, \
                head too large 4xx 1, request timed out 4xx 1, handler panicked 5xx 1, unsendable 5xx 1";
    app.log.line(0, message).await;
    let message = "server `routed` has answered: handler 2xx 2, no route 4xx 2; broken off 1";
    app.log.line(0, message).await;
    // By default the log has no lines about requests.
    let quiet = Launch::bin("responder").start("nameless").await;
    let start = quiet.log.end();
    let target = quiet.target("plain").await;
    client(&target).await.send("GET / HTTP/1.1\r\n\r\n").await.unwrap();
    client(&target).await.get("/x/text").await.unwrap();
    assert_eq!(quiet.stop().await, Exit::Code(0));
    assert!(quiet.log.since(start).iter().all(|line| !line.contains("answered")), "{}", quiet.log);
}
