//! The one way out of all responses: what may stand in them, what becomes of those that break, and who is told.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use bytes::Bytes;
use gracehttp::server;
use gracehttp::test::{self, TestServer};
use http::Method;
use tests::client::{get, get_once};
use tests::frames::{Connection, DATA, Frame, HEADERS, RST_STREAM};
use tests::h2::{Http2, Outcome};
use tests::patience::{PATIENCE, within};
use tests::{App, Client, Exit, Kind, Launch, Reply, Scratch, Target};

/// INTERNAL_ERROR (RFC 9113 section 7).
const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];

/// All that answers below `/x`.
const SERVERS: [&str; 5] = ["plain", "secure", "routed", "factory", "layered"];

fn launch() -> Launch {
    Launch::bin("responder").env("RUST_LOG", "gracehttp=debug")
}

async fn client(target: &Target) -> Client {
    Client::connect(target).await.expect("a connection")
}

/// A head without a body.
fn head(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The answer to a request of this method over HTTP/1.1, in the very bytes that it may have: what follows them has to
/// be the next answer.
async fn ask(target: &Target, method: &str, path: &str) -> String {
    let mut client = client(target).await;
    client.send(head(method, path)).await.expect("the request is sent");
    client
        .send(head("GET", "/x/text").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        .await
        .expect("the request is sent");
    let mut all = Vec::new();
    while let Some(piece) = client.piece().await.expect("a piece or the end") {
        all.extend_from_slice(&piece);
    }
    let all = String::from_utf8(all).expect("text");
    let (answer, next) =
        all.rsplit_once("HTTP/1.1 200 OK").unwrap_or_else(|| panic!("no next answer in {all:?}"));
    assert!(next.ends_with("\r\n\r\nhello"), "{all:?}");
    answer.to_owned()
}

/// The answer over HTTP/2, if it comes to its end.
async fn ask2(target: &Target, method: Method, path: &str) -> Result<Reply, String> {
    let mut client = Http2::connect(target).await.expect("a connection");
    match client.ask(method, path, Bytes::new()).await {
        Ok(Outcome::Reply(reply)) => Ok(reply),
        Ok(Outcome::NotSent) => panic!("a fresh connection takes no request"),
        Err(failure) => Err(failure.to_string()),
    }
}

/// How many lines from `start` on hold `part`, once all has been said that there was to say: a thread of its own writes
/// the log, and what it is given last comes last.
async fn count(app: &App, start: usize, part: &str) -> usize {
    let end = app.log.end();
    let mut client = client(&app.target("plain").await).await;
    client.send("GET /last HTTP/1.1\r\n\r\n").await.expect("the request is sent");
    client.reply().await.expect("a reply");
    app.log.line(end, "refused with 400").await;
    app.log.count(start, part)
}

fn has(answer: &str, field: &str) -> bool {
    answer.to_ascii_lowercase().contains(&format!("\r\n{field}"))
}

#[tokio::test]
async fn c1_there_is_no_content_where_there_must_be_none() {
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
    // Frame by frame: the head of the response is all of it.
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

/// What the handler says of its body's length is corrected where the body is known, and otherwise the connection ends
/// rather than that a client takes a part for the whole, or the rest for the next answer.
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
        // Neither all of it, nor more than it announced.
        for kind in ["short", "long"] {
            let path = format!("/x/length/{kind}");
            let failure = client(&target).await.get(&path).await.unwrap_err();
            assert_eq!(failure.kind, Kind::HalfAnswered, "{server}, {kind}: {failure}");
            assert!(ask2(&target, Method::GET, &path).await.is_err(), "{server}, {kind}");
        }
        // After so many bytes hyper asks for no more over HTTP/1: a part, but the next answer is whole.
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
            let told = format!("server `{server}`: GET {path}: its handler answered {status}");
            // The log counts what comes too often instead of repeating it.
            if server == "plain" {
                assert_eq!(count(&app, start, &told).await, 2, "{}", app.log);
            }
        }
    }
}

/// What came before the failure arrives, and then the end of the connection, at once and without the last chunk.
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
    // The other streams of the connection go on.
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
            let told = format!("ERROR gracehttp: server `{server}`: GET {path}: {fault}");
            for over_http2 in [false, true] {
                let start = app.log.end();
                match over_http2 {
                    false => breaks_off(&target, path).await,
                    true => is_reset(&target, path).await,
                }
                app.log.line(start, &told).await;
                assert_eq!(count(&app, start, &told).await, 1, "{}", app.log);
            }
        }
        // All that it had to say has been said: the client notices nothing.
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

/// The predecessor keeps a duplicate of every connection that it gave away: that of a task which just unwinds would stay
/// open, and its client wait, until the standby is over.
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

/// Its client has said all that it has to say, and the process is going: a response that has begun goes on to its end,
/// though it takes longer than a half-closed client is waited for.
#[tokio::test]
async fn a12_a_response_that_begins_in_a_drain_goes_on_for_a_half_closed_client() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 half_close_timeout=500ms").start("web").await;
    let mut client = client(&app.target("web").await).await;
    client.get("/ping").await.unwrap();
    let mut other = crate::client(&app.target("web").await).await;
    app.signal(tests::Signal::TERM);
    // The drain has begun once a response says that it is the last one.
    while !other.get("/ping").await.unwrap().closes() {}
    // Idle connections have time for a last request.
    client.send(get("/stream?pieces=40")).await.unwrap();
    client.half_close().await.unwrap();
    let reply = client.reply().await.unwrap();
    assert!(reply.closes() && reply.text().ends_with("piece 39\n"), "{reply:?}");
    assert_eq!(app.current().exit().await, Exit::Code(0));
}

/// HTTP/1.0 knows no chunks: the end of the connection is the end of such a body, unless it is a reset.
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

/// A failure takes nothing with it that was finished before.
#[tokio::test]
async fn c9_the_answer_before_one_that_fails_arrives() {
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
        let told = format!("ERROR gracehttp: server `{server}`: GET {path}: {fault}");
        assert_eq!(count(&app, start, &told).await, 3, "{}", app.log);
    }
    let mut client = client(&app.target("fragile").await).await;
    for (path, status) in [("/arm", 404), ("/x/text", 500), ("/x/text", 200)] {
        assert_eq!(client.get(path).await.unwrap().status, status, "{path}");
    }
    app.log.line(0, "server `fragile`: GET /x/text: its handler panicked: poll_ready panics").await;
}

/// At its time-out a handler is let go before its answer, with a line that says whose it was; also one that panics then.
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
        let told = format!(
            "server `hurried`: GET {path}: its handler was dropped after its request_timeout of 300ms"
        );
        assert_eq!(count(&app, start, &told).await, 3, "{}", app.log);
    }
    app.log.line(0, "GET /x/guard: its handler panicked when it was dropped: the guard panics").await;
}

#[tokio::test]
async fn c3_c4_an_ipv4_client_has_an_ipv4_address_for_axum_too() {
    let scratch = Scratch::new();
    let socket = scratch.join("nameless");
    let app = launch().listen("nameless", &format!("unix:{}", socket.display())).start("nameless").await;
    for (server, path) in [("routed", "/peer"), ("dual", "/")] {
        let port = app.target(server).await.address().port();
        let target = Target::Plain(([127, 0, 0, 1], port).into());
        let text = client(&target).await.get(path).await.unwrap().text();
        let (axums, own) = text.split_once(' ').unwrap();
        assert!(axums.starts_with("127.0.0.1:") && axums == own, "{server}: {text}");
        let over_http2 = ask2(&target, Method::GET, path).await.unwrap().text();
        assert!(over_http2.starts_with("127.0.0.1:"), "{server}: {over_http2}");
    }
    let factory = app.target("factory").await;
    assert!(client(&factory).await.get("/peer").await.unwrap().text().starts_with("127.0.0.1:"));
    // An IPv6 client has its own address.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let port = app.target("dual").await.address().port();
        let target = Target::Plain((std::net::Ipv6Addr::LOCALHOST, port).into());
        let text = get_once(&target, "/").await.unwrap().text();
        assert!(text.starts_with("[::1]:"), "{text}");
    }
    // Clients of a Unix socket have no address: it is axum's own rejection.
    let reply = get_once(&Target::Unix(socket), "/").await.unwrap();
    assert!(reply.status == 500 && reply.text().contains("ConnectInfo"), "{reply:?}");
}

#[server(port = 1)]
async fn whoami(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    peer.to_string()
}

#[tokio::test]
async fn c4_connect_info_works_in_tests_of_users() {
    let server = TestServer::spawn(whoami::server(), ()).await;
    let text = test::text(server.get("/").await).await;
    assert!(text.starts_with("127.0.0.1:"), "{text}");
    server.shutdown().await;
    let mut request = test::get("/");
    assert_eq!(test::call(whoami::server(), (), test::get("/")).await.status(), 500);
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 4711))));
    let response = test::call(whoami::server(), (), request).await;
    assert_eq!(test::text(response).await, "10.0.0.1:4711");
}

#[tokio::test]
async fn c8_405_always_says_which_methods_are_allowed() {
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

/// Date, length and end of what the server itself answers.
#[tokio::test]
async fn the_server_s_own_answers_are_whole() {
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
    // HEAD and HTTP/1.0 are answered alike.
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

/// A head that is over twice what the server allows never becomes a request: h2 answers 431 by itself, and no more is
/// known of it than that there was such a stream.
#[tokio::test]
async fn c10_answers_of_h2_itself_are_counted() {
    let app = launch().start("nameless").await;
    let mut connection = Connection::open(&app.target("plain").await).await;
    let mut bomb = Frame::get(1, "/x/text");
    // A field of 3900 bytes for the dynamic table, and fifty times the same (RFC 7541 sections 6.2.1 and 6.1).
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

/// Every answer is counted by who gave it and why, also those that hyper does not write.
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
    let told =
        |line: &str| line.contains("a request from 127.0.0.1:") && line.contains(": refused with 400: ");
    app.log.find(0, PATIENCE, "the refusal", told).await;
    assert_eq!(app.stop().await, Exit::Code(0));
    let told = "server `plain` has answered: handler 2xx 2, handler 4xx 1, malformed 4xx 2, body too large 4xx 1, \
                head too large 4xx 1, request timed out 4xx 1, handler panicked 5xx 1, unsendable 5xx 1";
    app.log.line(0, told).await;
    let told = "server `routed` has answered: handler 2xx 2, no route 4xx 2; broken off 1";
    app.log.line(0, told).await;
    // Requests are no news by default.
    let quiet = Launch::bin("responder").start("nameless").await;
    let start = quiet.log.end();
    let target = quiet.target("plain").await;
    client(&target).await.send("GET / HTTP/1.1\r\n\r\n").await.unwrap();
    client(&target).await.get("/x/text").await.unwrap();
    assert_eq!(quiet.stop().await, Exit::Code(0));
    assert!(quiet.log.since(start).iter().all(|line| !line.contains("answered")), "{}", quiet.log);
}
