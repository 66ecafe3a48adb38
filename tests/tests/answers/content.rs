//! The parts of a response: content where HTTP allows it, its length, and a status.

use super::*;

#[tokio::test]
async fn c1_responses_without_content_have_none() {
    let app = launch().start("nameless").await;
    for server in SERVERS {
        let target = app.target(server).await;
        for (method, path, length) in [
            ("HEAD", "/x/text", Some("5")),
            ("HEAD", "/x/stream", None),
            ("HEAD", "/x/length/right", Some("5")),
            ("HEAD", "/x/status/404", Some("7")),
            ("GET", "/x/status/204", None),
            ("GET", "/x/status/304", None),
            ("HEAD", "/x/status/204", None),
            ("HEAD", "/x/status/304", None),
        ] {
            let what = format!("{server}: {method} {path}");
            let answer = ask(&target, method, path).await;
            assert!(answer.ends_with("\r\n\r\n"), "{what}: {answer:?}");
            let declared = answer.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            assert_eq!(declared, length, "{what}: {answer:?}");
            let method = method.parse().unwrap();
            let reply = ask2(&target, method, path).await.unwrap_or_else(|fault| panic!("{what}: {fault}"));
            assert!(reply.body.is_empty(), "{what}: {reply:?}");
            assert_eq!(reply.header("content-length"), length, "{what}: {reply:?}");
        }
        // 205 has a length, which is zero (RFC 9110 section 15.3.6).
        let answer = ask(&target, "GET", "/x/status/205").await;
        assert!(has(&answer, "content-length: 0") && answer.ends_with("\r\n\r\n"), "{server}: {answer:?}");
        assert!(ask2(&target, Method::GET, "/x/status/205").await.unwrap().body.is_empty());
    }
    // Frame by frame: the response consists of its head alone.
    let mut connection = Connection::open(&app.target("plain").await).await;
    connection.send(&[Frame::get(1, "/x/status/204"), Frame::get(3, "/x/status/304")]).await;
    let mut ended = Vec::new();
    within(PATIENCE, "both answers", async {
        while ended.len() < 2 {
            for frame in connection.frames().await {
                assert_ne!(frame.kind, DATA, "{frame:?}");
                if frame.kind == HEADERS {
                    assert_eq!(frame.flags & 1, 1, "END_STREAM: {frame:?}");
                    ended.push(frame.stream);
                }
            }
        }
    })
    .await;
}

/// If the server knows the body, it corrects a wrong length from the handler. Otherwise it ends the connection, so that
/// a client never takes a part for the whole, or the rest for the next answer.
#[tokio::test]
async fn c1_a_wrong_content_length_never_breaks_the_framing() {
    let app = launch().start("nameless").await;
    for server in SERVERS {
        let target = app.target(server).await;
        for kind in ["right", "known-short", "known-long", "twice", "nonsense", "signed", "coded", "both"] {
            let path = format!("/x/length/{kind}");
            let mut client = client(&target).await;
            for _ in 0..2 {
                let reply =
                    client.get(&path).await.unwrap_or_else(|failure| panic!("{server}, {kind}: {failure}"));
                assert_eq!(
                    (reply.status, reply.text().as_str()),
                    (200, "hello"),
                    "{server}, {kind}: {reply:?}"
                );
            }
            let reply = ask2(&target, Method::GET, &path).await.unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{server}, {kind}: {reply:?}");
        }
        let empty = client(&target).await.get("/x/length/empty-long").await.unwrap();
        assert_eq!((empty.status, empty.body.len()), (200, 0), "{server}: {empty:?}");
        assert!(ask2(&target, Method::GET, "/x/length/empty-long").await.unwrap().body.is_empty());
        // The client gets neither the whole body nor more bytes than the handler declared.
        for kind in ["short", "long"] {
            let path = format!("/x/length/{kind}");
            let failure = client(&target).await.get(&path).await.unwrap_err();
            assert_eq!(failure.kind, Kind::HalfAnswered, "{server}, {kind}: {failure}");
            assert!(ask2(&target, Method::GET, &path).await.is_err(), "{server}, {kind}");
        }
        // Over HTTP/1, hyper stops reading the body after the declared length: the client gets a part, but the next
        // answer is complete.
        let mut client = client(&target).await;
        for _ in 0..2 {
            let reply = client.get("/x/length/short-by-a-piece").await.unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (200, "hel"), "{server}: {reply:?}");
        }
        assert!(ask2(&target, Method::GET, "/x/length/short-by-a-piece").await.is_err(), "{server}");
    }
    let known = "plain`: GET /x/length/known-short: its Content-Length [\"3\"] is wrong and was corrected: its body is 5 bytes";
    assert_eq!(count(&app, 0, known).await, 3, "{}", app.log);
    let short = "plain`: GET /x/length/short: its response body is longer than its Content-Length";
    assert_eq!(count(&app, 0, short).await, 2, "{}", app.log);
    let long = "plain`: GET /x/length/long: its response body ended 45 bytes before its Content-Length";
    assert_eq!(count(&app, 0, long).await, 2, "{}", app.log);
}

#[tokio::test]
async fn c1_an_interim_status_of_a_handler_is_500() {
    let app = launch().start("nameless").await;
    for server in SERVERS {
        let target = app.target(server).await;
        for status in ["100", "102", "103", "101"] {
            let path = format!("/x/status/{status}");
            let start = app.log.end();
            let mut client = client(&target).await;
            for path in [&path, "/x/text"] {
                let reply =
                    client.get(path).await.unwrap_or_else(|failure| panic!("{server}, {path}: {failure}"));
                assert_eq!(reply.status, if path == "/x/text" { 200 } else { 500 }, "{server}: {reply:?}");
            }
            assert_eq!(ask2(&target, Method::GET, &path).await.unwrap().status, 500, "{server}, {status}");
            let message = format!("server `{server}`: GET {path}: its handler answered {status}");
            // The log counts frequent messages instead of repeating them.
            if server == "plain" {
                assert_eq!(count(&app, start, &message).await, 2, "{}", app.log);
            }
        }
    }
}

#[tokio::test]
async fn c8_405_always_names_the_allowed_methods() {
    let app = launch().start("nameless").await;
    for server in ["routed", "factory"] {
        let target = app.target(server).await;
        let reply = client(&target).await.get("/only").await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{server}: {reply:?}");
        let reply = ask2(&target, Method::GET, "/only").await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{server}: {reply:?}");
    }
    for server in SERVERS {
        let target = app.target(server).await;
        let mut client = client(&target).await;
        client.send("CONNECT example:80 HTTP/1.1\r\nHost: example:80\r\n\r\n").await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("")), "{server}: {reply:?}");
        let reply = ask2(&target, Method::GET, "/x/status/405").await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("")), "{server}: {reply:?}");
    }
}

/// The server's own answers have a date, a length and an end.
#[tokio::test]
async fn the_server_s_own_answers_are_complete() {
    let app = launch().start("nameless").await;
    let oversize = "POST /x/text HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n".to_owned();
    for (server, request, status, closes) in [
        ("routed", get("/nowhere"), 404, false),
        ("factory", get("/nowhere"), 404, false),
        ("routed", get("/only"), 405, false),
        ("plain", get("/x/panics"), 500, false),
        ("hurried", get("/x/slow"), 503, false),
        ("plain", oversize, 413, true),
        ("plain", "GET /x/text HTTP/1.1\r\n\r\n".to_owned(), 400, true),
        ("plain", "GET /x/text HTTP/1.1\r\nHos".to_owned(), 408, true),
    ] {
        let mut client = client(&app.target(server).await).await;
        client.send(&request).await.unwrap();
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{request:?}: {failure}"));
        assert_eq!((reply.status, reply.closes()), (status, closes), "{request:?}: {reply:?}");
        assert_eq!(reply.header("content-length"), Some("0"), "{request:?}: {reply:?}");
        assert_eq!(reply.header("content-type"), None, "{request:?}: {reply:?}");
        let date = reply.header("date").unwrap_or_else(|| panic!("{request:?}: {reply:?}"));
        assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
        if closes {
            client.closed().await.unwrap();
        }
    }
    // The answers to HEAD and HTTP/1.0 are the same.
    for (server, path, status) in [("routed", "/nowhere", 404), ("plain", "/x/panics", 500)] {
        let target = app.target(server).await;
        let mut client = client(&target).await;
        client.send(format!("HEAD {path} HTTP/1.0\r\n\r\n")).await.unwrap();
        let mut all = Vec::new();
        while let Some(piece) = client.piece().await.unwrap() {
            all.extend_from_slice(&piece);
        }
        let all = String::from_utf8(all).unwrap();
        assert!(all.starts_with(&format!("HTTP/1.0 {status}")) && all.ends_with("\r\n\r\n"), "{all:?}");
    }
}
