//! Request bodies that no handler reads, and answers that precede the end of their request.

use super::*;

/// A request whose body arrives in separate packets, after the answer.
struct LateBody {
    name: &'static str,
    head: String,
    pieces: Vec<&'static str>,
}

impl LateBody {
    fn all() -> Vec<Self> {
        let chunked = |path: &str| {
            post_head(path, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked\r\nTE: trailers")
        };
        let late = |name, head, pieces: &[&'static str]| Self { name, head, pieces: pieces.to_vec() };
        vec![
            late("one packet", post_head("/nowhere", 5), &["12345"]),
            late("many packets", post_head("/nowhere", 5), &["1", "2", "3", "4", "5"]),
            late("chunks", chunked("/nowhere"), &["2\r\n12\r\n", "3\r\n345\r\n", "0\r\n\r\n"]),
            late("trailers", chunked("/nowhere"), &["5\r\n12345\r\n", "0\r\nsum: 15\r\n\r\n"]),
            late("another task reads", post_head("/later/read", 5), &["123", "45"]),
            late("another task reads chunks", chunked("/later/read"), &["5\r\n12345\r\n", "0\r\n\r\n"]),
            late(
                "another task reads trailers",
                chunked("/later/read"),
                &["2\r\n12\r\n", "0\r\nsum: 3\r\n\r\n"],
            ),
            late("another task lets it go", post_head("/later/dropped?ms=100", 5), &["123", "45"]),
        ]
    }

    async fn send_head(&self, client: &mut Client) {
        client.send(&self.head).await.expect(self.name);
        let reply = client.reply().await.expect(self.name);
        assert!(!reply.closes(), "{}: {reply:?}", self.name);
    }

    async fn send_pieces(&self, client: &mut Client) {
        for piece in &self.pieces {
            // Send it in a separate packet.
            tokio::time::sleep(Duration::from_millis(15)).await;
            client.send(piece).await.expect(self.name);
        }
    }
}

#[tokio::test]
async fn a2_connection_moves_on_restart_after_a_late_body() {
    let scratch = Scratch::new();
    let plan = format!("{WEB} unix:{}", scratch.join("socket").display());
    let service = Service::with(&plan, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "60s")).await;
    let unix = Target::Unix(scratch.join("socket"));
    let mut clients = Vec::new();
    for target in [&service.target, &unix] {
        for late in [LateBody::all(), LateBody::all()].into_iter().flatten() {
            let mut client = Client::connect(target).await.expect("a connection");
            late.send_head(&mut client).await;
            clients.push((late, client));
        }
    }
    // The bodies of one half arrive before the restart, those of the other half after it.
    let sends_now = |number: usize| (number / LateBody::all().len()).is_multiple_of(2);
    for (number, (late, client)) in clients.iter_mut().enumerate() {
        if sends_now(number) {
            late.send_pieces(client).await;
        }
    }
    get_once(&service.target, "/ping").await.unwrap();
    let start = Instant::now();
    let successor = service.app.restart().await;
    service.app.serves(&service.target, &successor).await;
    for (number, (late, client)) in clients.iter_mut().enumerate() {
        if !sends_now(number) {
            late.send_pieces(client).await;
        }
    }
    // The clients send nothing more, since any byte would be a new event.
    assert_eq!(service.app.first().exit().await, Exit::Code(0), "{}", service.app.log);
    assert!(start.elapsed() < 40 * SECOND, "it took {:?}", start.elapsed());
    for (late, client) in &mut clients {
        let reply = client.get("/ping").await.expect(late.name);
        assert_eq!((reply.pid(), reply.closes()), (Some(successor.pid()), false), "{}", late.name);
    }
    service.app.catch_up().await;
    assert_eq!(service.app.log.count(0, "cutting"), 0, "{}", service.app.log);
}

/// The next request follows directly, so the server must notice the end of the unread body by itself.
#[tokio::test]
async fn a2_connection_moves_on_restart_after_a_body_and_the_next_request_in_one_packet() {
    let service = Service::with(WEB, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "60s")).await;
    let mut client = service.client().await;
    let head = post_head("/unread", 5);
    client.send(&head).await.unwrap();
    for _ in 0..20 {
        assert_eq!(client.reply().await.unwrap().status, 200);
        client.send(format!("hello{head}")).await.unwrap();
    }
    assert_eq!(client.reply().await.unwrap().status, 200);
    client.send("hello").await.unwrap();
    let successor = service.app.restart().await;
    assert_eq!(service.app.first().exit_within(40 * SECOND).await, Exit::Code(0));
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(successor.pid()));
}

#[tokio::test]
async fn a2_idle_timeout_holds_after_a_late_body() {
    for plan in [WEB.to_owned(), format!("{WEB} tls=self_signed")] {
        let service = Service::new(&format!("{plan} idle_timeout=4000ms")).await;
        let mut clients = JoinSet::new();
        for late in LateBody::all() {
            let mut client = service.client().await;
            clients.spawn(async move {
                late.send_head(&mut client).await;
                late.send_pieces(&mut client).await;
                assert_eq!(client.pause(Duration::from_millis(1500)).await, Pause::Open, "{}", late.name);
                assert_eq!(client.pause(20 * SECOND).await, Pause::Closed, "{}", late.name);
            });
        }
        while let Some(outcome) = clients.join_next().await {
            outcome.unwrap_or_else(|panic| panic!("{plan}: {panic}"));
        }
    }
}

fn chunked_head(path: &str) -> String {
    post_head(path, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
}

/// In chunks of 64 KiB.
fn chunked(path: &str, length: usize) -> Vec<u8> {
    let mut request = chunked_head(path).into_bytes();
    for _ in 0..length / 65536 {
        request.extend_from_slice(b"10000\r\n");
        request.extend_from_slice(&[b'x'; 65536]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

fn declared(path: &str, length: usize) -> Vec<u8> {
    [post_head(path, length).as_bytes(), &vec![b'x'; length]].concat()
}

/// A client that sends its whole request before it reads anything gets the answer. The answer says whether the
/// connection ends; if it does not, the client uses it again.
#[tokio::test]
async fn a11_early_answer_reaches_a_client_that_continues_its_upload() {
    let scratch = Scratch::new();
    let (service, targets) = targets(&scratch, "").await;
    let mut uploads = JoinSet::new();
    for target in &targets {
        let cases = [
            ("no route", declared("/nowhere", MIB), 404, Some(false)),
            ("no route, chunked", chunked("/nowhere", MIB), 404, Some(false)),
            ("no body wanted", declared("/unread", 2 * MIB), 200, Some(false)),
            ("let go later", declared("/later/dropped", MIB), 200, Some(false)),
            ("too large", declared("/nowhere", 20 * MIB), 413, Some(true)),
            ("found to be too large", chunked("/echo", 20 * MIB), 400, Some(true)),
            // The server sends the answer before it finds that out.
            ("no route, chunked and too large", chunked("/nowhere", 8 * MIB), 404, None),
        ];
        for (name, request, status, closes) in cases {
            let target = target.clone();
            uploads.spawn(async move {
                for round in 0..3 {
                    let case = format!("{name}, {target:?}, round {round}");
                    let mut client = Client::connect(&target).await.expect(&case);
                    client.send(&request).await.unwrap_or_else(|failure| panic!("{case}: {failure}"));
                    let reply = client.reply().await.unwrap_or_else(|failure| panic!("{case}: {failure}"));
                    assert_eq!(reply.status, status, "{case}");
                    assert!(closes.is_none_or(|closes| reply.closes() == closes), "{case}: {reply:?}");
                    if closes == Some(false) {
                        assert_eq!(client.get("/ping").await.expect(&case).status, 200, "{case}");
                    } else {
                        client.closed().await.unwrap_or_else(|failure| panic!("{case}: {failure}"));
                    }
                }
            });
        }
    }
    while let Some(outcome) = uploads.join_next().await {
        outcome.expect("an answer");
    }
    assert_eq!(service.app.stop().await, Exit::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_early_answers_reach_curl_and_python() {
    let service = Service::new(WEB).await;
    let address = service.target.address();
    let scratch = Scratch::new();
    let file = scratch.write("file", vec![b'x'; 20 * MIB]);
    let small = scratch.write("small", vec![b'x'; MIB]);
    if tool("curl") {
        for _ in 0..10 {
            for (path, file, extra) in [
                ("/nowhere", &small, "-HExpect:"),
                ("/nowhere", &file, "-HExpect:"),
                ("/nowhere", &file, "-sS"),
                ("/nowhere", &file, "-HTransfer-Encoding: chunked"),
            ] {
                let data = format!("@{}", file.display());
                let url = format!("http://{address}{path}");
                let args = ["-sS", "-o", "/dev/null", extra, "--data-binary", &data, &url];
                let args = args.map(str::to_owned);
                blocking(move || run("curl", &args.each_ref().map(OsStr::new))).await;
            }
        }
    }
    if tool("python3") {
        let script = format!(
            "import http.client\n\
             for (path, size, status) in [('/nowhere', 1 << 20, 404), ('/nowhere', 20 << 20, 413), ('/unread', 1 << 20, 200)]:\n\
             \x20   for _ in range(10):\n\
             \x20       client = http.client.HTTPConnection('{}', {})\n\
             \x20       client.request('POST', path, body=bytes(size))\n\
             \x20       assert client.getresponse().status == status\n",
            address.ip(),
            address.port()
        );
        blocking(move || run("python3", &["-c".as_ref(), OsStr::new(&script)])).await;
    }
}

async fn blocking(what: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(what).await.expect("it succeeds");
}

/// A client that stops while the server reads on only for its sake.
#[tokio::test]
async fn a11_server_stops_reading_a_stalled_upload_after_an_early_answer() {
    let service = Service::new(&format!("{WEB} max_conns=1 when_full=wait")).await;
    let mut request = declared("/nowhere", 20 * MIB);
    request.truncate(10 * MIB);
    let mut stuck = service.client().await;
    stuck.send(&request).await.unwrap();
    let start = Instant::now();
    assert_eq!(stuck.reply().await.unwrap().status, 413);
    let mut next = service.client().await;
    assert_eq!(next.get("/ping").await.expect("a permit").status, 200);
    let took = start.elapsed();
    assert!(took > 4 * SECOND && took < 12 * SECOND, "it took {took:?}");
    drop(next);

    // During a drain, the deadline of the drain holds, too.
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).env("GRACEHTTP_DRAIN_TIMEOUT", "1500ms").spawn();
    let mut stuck = Client::connect(&app.target("web").await).await.unwrap();
    stuck.send(&request).await.unwrap();
    assert_eq!(stuck.reply().await.unwrap().status, 413);
    let start = Instant::now();
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(start.elapsed() < 4 * SECOND, "it took {:?}", start.elapsed());
}
