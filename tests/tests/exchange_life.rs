//! The life of an HTTP/1.1 exchange: a body that nobody takes, a client that leaves or closes its side, a response that
//! is taken slowly or not at all, an answer that comes before its question has ended.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use tests::client::{Pause, Stream, get, get_once, post_head};
use tests::frames::{Frame, PREFACE, SETTINGS, WINDOW_UPDATE};
use tests::patience::{eventually, within};
use tests::process::{run, tool};
use tests::{App, Client, Exit, Launch, Scratch, Signal, Target, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UnixStream};
use tokio::task::JoinSet;

const WEB: &str = "server web 127.0.0.1:0";
const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    app: App,
    target: Target,
    _scratch: Scratch,
}

impl Stage {
    async fn new(plan: &str) -> Self {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, plan).spawn();
        let target = app.target("web").await;
        Self { app, target, _scratch: scratch }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.target).await.expect("a connection")
    }
}

/// A request whose body comes in packets of its own, after the answer.
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
            // A packet of its own.
            tokio::time::sleep(Duration::from_millis(15)).await;
            client.send(piece).await.expect(self.name);
        }
    }
}

#[tokio::test]
async fn a2_a_body_that_comes_after_its_answer_holds_no_connection_in_a_restart() {
    let scratch = Scratch::new();
    let stage = Stage::new(&format!("{WEB} unix:{}", scratch.join("socket").display())).await;
    let unix = Target::Unix(scratch.join("socket"));
    let mut clients = Vec::new();
    for target in [&stage.target, &unix] {
        for late in [LateBody::all(), LateBody::all()].into_iter().flatten() {
            let mut client = Client::connect(target).await.expect("a connection");
            late.send_head(&mut client).await;
            clients.push((late, client));
        }
    }
    // The bodies of one half come before the restart, those of the other half after it.
    let sends_now = |number: usize| (number / LateBody::all().len()) % 2 == 0;
    for (number, (late, client)) in clients.iter_mut().enumerate() {
        if sends_now(number) {
            late.send_pieces(client).await;
        }
    }
    get_once(&stage.target, "/ping").await.unwrap();
    let start = Instant::now();
    let successor = stage.app.restart().await;
    stage.app.serves(&stage.target, &successor).await;
    for (number, (late, client)) in clients.iter_mut().enumerate() {
        if !sends_now(number) {
            late.send_pieces(client).await;
        }
    }
    // Without another word of the clients: that would be an event of its own.
    assert_eq!(stage.app.first().exit().await, Exit::Code(0), "{}", stage.app.log);
    assert!(start.elapsed() < Duration::from_secs(9), "it took {:?}", start.elapsed());
    for (late, client) in &mut clients {
        let reply = client.get("/ping").await.expect(late.name);
        assert_eq!((reply.pid(), reply.closes()), (Some(successor.pid()), false), "{}", late.name);
    }
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "cutting"), 0, "{}", stage.app.log);
}

/// With the next request right behind it, nobody looks at the end of a body that was not wanted.
#[tokio::test]
async fn a2_a_body_and_the_next_request_in_one_packet_hold_no_connection_in_a_restart() {
    let stage = Stage::new(WEB).await;
    let mut client = stage.client().await;
    let head = post_head("/unread", 5);
    client.send(&head).await.unwrap();
    for _ in 0..20 {
        assert_eq!(client.reply().await.unwrap().status, 200);
        client.send(format!("hello{head}")).await.unwrap();
    }
    assert_eq!(client.reply().await.unwrap().status, 200);
    client.send("hello").await.unwrap();
    let successor = stage.app.restart().await;
    assert_eq!(stage.app.first().exit_within(Duration::from_secs(8)).await, Exit::Code(0));
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(successor.pid()));
}

#[tokio::test]
async fn a2_a_connection_idles_as_ever_after_a_body_that_came_after_its_answer() {
    for plan in [WEB.to_owned(), format!("{WEB} tls=self_signed")] {
        let stage = Stage::new(&format!("{plan} idle_timeout=1500ms")).await;
        let mut clients = JoinSet::new();
        for late in LateBody::all() {
            let mut client = stage.client().await;
            clients.spawn(async move {
                late.send_head(&mut client).await;
                late.send_pieces(&mut client).await;
                assert_eq!(client.pause(Duration::from_millis(900)).await, Pause::Open, "{}", late.name);
                assert_eq!(client.pause(Duration::from_secs(8)).await, Pause::Closed, "{}", late.name);
            });
        }
        while let Some(outcome) = clients.join_next().await {
            outcome.unwrap_or_else(|panic| panic!("{plan}: {panic}"));
        }
    }
}

/// A connection whose socket is at hand: it ends and is read as no well-behaved client's.
struct Raw {
    stream: Box<dyn Stream>,
    socket: OwnedFd,
}

impl Raw {
    /// With so little room for what it does not read that this hardly counts.
    async fn open(target: &Target) -> Self {
        if let Target::Unix(path) = target {
            let stream = UnixStream::connect(path).await.expect("a connection");
            return Self { socket: stream.as_fd().try_clone_to_owned().unwrap(), stream: Box::new(stream) };
        }
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8192).unwrap();
        let stream = socket.connect(target.address()).await.expect("a connection");
        let socket = stream.as_fd().try_clone_to_owned().unwrap();
        let stream: Box<dyn Stream> = match target {
            Target::Tls(_) => {
                let handshake =
                    tls::connector(&["http/1.1"]).connect("localhost".try_into().unwrap(), stream);
                Box::new(handshake.await.expect("a handshake"))
            }
            _ => Box::new(stream),
        };
        Self { stream, socket }
    }

    async fn asks(target: &Target, request: impl AsRef<[u8]>) -> Self {
        let mut raw = Self::open(target).await;
        raw.stream.write_all(request.as_ref()).await.expect("room for the request");
        raw.stream.flush().await.unwrap();
        raw
    }

    /// In words: over TLS with a close_notify.
    async fn close_side(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Without: over TLS, the end of the TCP stream alone.
    fn fin(&self) {
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write).unwrap();
    }

    /// Over TCP by a reset.
    fn vanish(self) {
        _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    /// Reads so much each interval for so long, or until the connection ends.
    async fn reads(&mut self, bytes: usize, interval: Duration, time: Duration) -> io::Result<()> {
        let (end, mut piece) = (Instant::now() + time, vec![0; bytes]);
        while Instant::now() < end {
            self.stream.read_exact(&mut piece).await?;
            tokio::time::sleep(interval).await;
        }
        Ok(())
    }

    /// Whether the kernel still holds the server's end of this TCP connection.
    fn lies_in_the_kernel(&self, target: &Target) -> bool {
        let ours = rustix::net::getsockname(&self.socket).unwrap();
        let ours = rustix::net::SocketAddrV4::try_from(ours).expect("IPv4").port();
        let ends = format!(": 0100007F:{:04X} 0100007F:{ours:04X} ", target.address().port());
        std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&ends)
    }
}

/// How a client leaves the handler that works for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    CloseSide,
    Fin,
    Reset,
    FinThenReset,
}

/// The next client needs the permit of one that has left: it comes free with the handler.
#[tokio::test]
async fn a12_a_handler_ends_with_its_client_and_its_permit_is_free() {
    use Leaving::{CloseSide, Fin, FinThenReset, Reset};
    let pipelined = get("/never") + &get("/ping").repeat(50);
    let upload = post_head("/never", 1_000_000) + &"x".repeat(100_000);
    let http2 =
        [PREFACE, &Frame::new(SETTINGS, 0, 0, &[]).bytes(), &Frame::get(1, "/never").bytes()].concat();
    let never = get("/never").into_bytes();
    let (pipelined, upload) = (pipelined.into_bytes(), upload.into_bytes());
    let cases: Vec<(&str, &[u8], Leaving)> = vec![
        ("plain", &never, CloseSide),
        ("plain", &never, Reset),
        ("plain", &never, FinThenReset),
        ("plain", &pipelined, Fin),
        ("plain", &pipelined, Reset),
        ("plain", &upload, Fin),
        ("plain", &upload, Reset),
        ("plain", &upload, FinThenReset),
        ("plain", &http2, Fin),
        ("plain", &http2, Reset),
        ("tls", &never, CloseSide),
        ("tls", &never, Fin),
        ("tls", &never, Reset),
        ("tls", &never, FinThenReset),
        ("tls", &upload, Fin),
        ("unix", &never, CloseSide),
        ("unix", &never, Reset),
        ("unix", &never, FinThenReset),
        ("unix", &upload, Reset),
    ];
    let scratch = Scratch::new();
    let mut plan = WEB.to_owned();
    for (number, (kind, _, leaving)) in cases.iter().enumerate() {
        let listen = match *kind {
            "plain" => "127.0.0.1:0".to_owned(),
            "tls" => "127.0.0.1:0 tls=self_signed".to_owned(),
            _ => format!("unix:{}", scratch.join(&format!("{number}")).display()),
        };
        // A reset is not waited for, however long a closed side is.
        let limit = if matches!(leaving, CloseSide | Fin) { "" } else { "half_close_timeout=60000ms" };
        plan = format!("{plan}\nserver c{number} {listen} max_conns=1 when_full=wait {limit}");
    }
    let stage = Stage::new(&plan).await;
    let mut holders = Vec::new();
    for (number, (_, request, _)) in cases.iter().enumerate() {
        let target = stage.app.target(&format!("c{number}")).await;
        holders.push((Raw::asks(&target, request).await, target));
    }
    eventually("all handlers to begin", || stage.app.log.count(0, "never begins") == cases.len()).await;
    let mut next = JoinSet::new();
    for ((mut holder, target), (kind, request, leaving)) in holders.into_iter().zip(&cases) {
        let name = format!("{kind}, {leaving:?}, {} bytes", request.len());
        let leaving = *leaving;
        next.spawn(async move {
            let start = Instant::now();
            let _stays = match leaving {
                CloseSide => {
                    holder.close_side().await;
                    Some(holder)
                }
                Fin => {
                    holder.fin();
                    Some(holder)
                }
                Reset => {
                    holder.vanish();
                    None
                }
                FinThenReset => {
                    holder.fin();
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    holder.vanish();
                    None
                }
            };
            let mut client = Client::connect(&target).await.expect(&name);
            client.get("/ping").await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
            (name, start.elapsed())
        });
    }
    while let Some(outcome) = next.join_next().await {
        let (name, took) = outcome.expect("an answer");
        println!("{name}: {took:?}");
        assert!(took < Duration::from_secs(8), "{name}: it took {took:?}");
    }
}

/// Its kinds, as plans and as what becomes of them.
async fn targets(scratch: &Scratch, options: &str) -> (Stage, Vec<Target>) {
    let unix = scratch.join("socket");
    let plan =
        format!("{WEB} unix:{} {options}\nserver tls 127.0.0.1:0 tls=self_signed {options}", unix.display());
    let stage = Stage::new(&plan).await;
    let tls = stage.app.target("tls").await;
    let targets = vec![stage.target.clone(), tls, Target::Unix(unix)];
    (stage, targets)
}

#[tokio::test]
async fn a13_a_handler_has_as_long_as_half_close_timeout_says() {
    let scratch = Scratch::new();
    let (_stage, targets) = targets(&scratch, "half_close_timeout=30000ms").await;
    let mut clients = JoinSet::new();
    for target in targets {
        clients.spawn(async move {
            let mut client = Client::connect(&target).await.unwrap();
            client.send(get("/slow?ms=3000")).await.unwrap();
            client.half_close().await.unwrap();
            assert_eq!(client.reply().await.expect("its answer").status, 200, "{target:?}");
            client.closed().await.unwrap();
        });
    }
    while let Some(outcome) = clients.join_next().await {
        outcome.expect("an answer");
    }
}

/// Once it has begun, the time of the half-close is over.
#[tokio::test]
async fn a12_a_response_that_has_begun_goes_on_to_a_client_that_has_closed_its_side() {
    let scratch = Scratch::new();
    let (_stage, targets) = targets(&scratch, "").await;
    let mut clients = JoinSet::new();
    for target in targets {
        clients.spawn(async move {
            let mut client = Client::connect(&target).await.unwrap();
            client.send(get("/stream?pieces=60")).await.unwrap();
            client.half_close().await.unwrap();
            let reply = client.reply().await.unwrap_or_else(|failure| panic!("{target:?}: {failure}"));
            assert_eq!(reply.text().lines().count(), 60, "{target:?}");
            client.closed().await.unwrap();
        });
    }
    while let Some(outcome) = clients.join_next().await {
        outcome.expect("an answer");
    }
}

/// By a client that opens its windows wide, so that only the kernel holds anything back.
fn http2_download() -> Vec<u8> {
    let window = (16 * MIB) as u32;
    let frames = [
        Frame::window(window),
        Frame::new(WINDOW_UPDATE, 0, 0, &window.to_be_bytes()),
        Frame::get(1, "/big?bytes=16777216"),
    ];
    [PREFACE.to_vec(), frames.iter().flat_map(Frame::bytes).collect()].concat()
}

const TAKES_BIG: &str = "/big?bytes=67108864";

/// Its limits are of half a minute, and there is no key for them: all cases at once. The next client of a server with
/// one permit tells when the connection ends.
#[tokio::test]
async fn a9_a10_b15_a_download_may_be_slow_but_not_stand_still_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let options = "max_conns=1 when_full=wait idle_timeout=2000ms";
    let kinds = |name: &str| {
        let unix = scratch.join(&format!("{name}-unix"));
        format!(
            "server {name}-plain 127.0.0.1:0 {options}\nserver {name}-tls 127.0.0.1:0 tls=self_signed {options}\n\
             server {name}-unix unix:{} {options}\n",
            unix.display()
        )
    };
    let names = ["steady", "drip", "never", "tail", "last"];
    let http2 = ["steady", "never"].map(|name| format!("server http2-{name} 127.0.0.1:0 {options}\n"));
    let stage = Stage::new(&(names.map(kinds).concat() + &http2.concat() + WEB)).await;
    let closing = get("/big?bytes=600000").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let asked = [get(TAKES_BIG), get(TAKES_BIG), get(TAKES_BIG), get("/big?bytes=600000"), closing];
    let mut cases = JoinSet::new();
    for (name, request) in names.into_iter().zip(asked) {
        for kind in ["plain", "tls", "unix"] {
            // A Unix socket has less room: such a response is not in the kernel, but on its way.
            let target = stage.app.target(&format!("{name}-{kind}")).await;
            let mut raw = Raw::asks(&target, &request).await;
            cases.spawn(async move {
                let case = format!("{name}, {kind}");
                let start = Instant::now();
                if name == "steady" {
                    let read = raw.reads(4096, Duration::from_millis(200), 42 * SECOND).await;
                    return read
                        .unwrap_or_else(|error| panic!("{case}: after {:?}: {error}", start.elapsed()));
                }
                let next = async {
                    // Its handshake waits for the permit, too.
                    let mut next = target.connect(&["http/1.1"]).await.unwrap();
                    next.write_all(get("/ping").as_bytes()).await.unwrap();
                    let mut first = [0; 12];
                    next.read_exact(&mut first).await.unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(&first, b"HTTP/1.1 200", "{case}");
                    start.elapsed()
                };
                let next = within(90 * SECOND, &case, next);
                let reading = async {
                    if name == "drip" {
                        // It may end with what was sent before.
                        _ = raw.reads(10, SECOND, 100 * SECOND).await;
                    }
                    std::future::pending::<()>().await;
                };
                let took = tokio::select! {
                    took = next => took,
                    () = reading => unreachable!("it reads for ever"),
                };
                println!("{case}: ended after {took:?}");
                assert!(took > 20 * SECOND && took < 60 * SECOND, "{case}: ended after {took:?}");
                assert!(
                    kind == "unix" || !raw.lies_in_the_kernel(&target),
                    "{case}: its end lies in the kernel"
                );
            });
        }
    }
    for name in ["http2-steady", "http2-never"] {
        let target = stage.app.target(name).await;
        let mut raw = Raw::asks(&target, http2_download()).await;
        cases.spawn(async move {
            let start = Instant::now();
            if name == "http2-steady" {
                let read = raw.reads(4096, Duration::from_millis(200), 45 * SECOND).await;
                return read.unwrap_or_else(|error| panic!("{name}: after {:?}: {error}", start.elapsed()));
            }
            let next = Client::connect(&target).await.unwrap().limit(90 * SECOND).get("/ping").await;
            next.unwrap_or_else(|failure| panic!("{name}: {failure}"));
            let took = start.elapsed();
            println!("{name}: ended after {took:?}");
            assert!(took > 20 * SECOND && took < 60 * SECOND, "{name}: ended after {took:?}");
            assert!(!raw.lies_in_the_kernel(&target), "{name}: its end lies in the kernel");
        });
    }
    let mut faults = Vec::new();
    while let Some(outcome) = cases.join_next().await {
        faults.extend(outcome.err().map(|panic| panic.to_string()));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn b15_a_client_that_is_cut_at_the_deadline_leaves_nothing_in_the_kernel() {
    let scratch = Scratch::new();
    let plan = format!("{WEB}\nserver tls 127.0.0.1:0 tls=self_signed");
    let app = Launch::app(&scratch, &plan).env("GRACEHTTP_DRAIN_TIMEOUT", "1500ms").spawn();
    let mut stuck = Vec::new();
    for name in ["web", "tls"] {
        let target = app.target(name).await;
        stuck.push((Raw::asks(&target, get(TAKES_BIG)).await, target));
    }
    eventually("both handlers to begin", || app.log.count(0, "big begins") == 2).await;
    // The kernel is full when a later request was answered.
    get_once(&app.target("web").await, "/ping").await.unwrap();
    assert_eq!(app.stop().await, Exit::Code(0), "{}", app.log);
    for (raw, target) in &stuck {
        assert!(!raw.lies_in_the_kernel(target));
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

const MIB: usize = 1 << 20;

/// A client that sends all of its request before it reads anything gets the answer, which says whether the connection
/// ends; if it does not, it goes on.
#[tokio::test]
async fn a11_an_early_answer_reaches_a_client_that_uploads_on() {
    let scratch = Scratch::new();
    let (stage, targets) = targets(&scratch, "").await;
    let mut uploads = JoinSet::new();
    for target in &targets {
        let cases = [
            ("no route", declared("/nowhere", MIB), 404, Some(false)),
            ("no route, chunked", chunked("/nowhere", MIB), 404, Some(false)),
            ("no body wanted", declared("/unread", 2 * MIB), 200, Some(false)),
            ("let go later", declared("/later/dropped", MIB), 200, Some(false)),
            ("too large", declared("/nowhere", 20 * MIB), 413, Some(true)),
            ("found to be too large", chunked("/echo", 20 * MIB), 400, Some(true)),
            // Its answer is on its way when that turns out.
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
    assert_eq!(stage.app.stop().await, Exit::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_early_answers_reach_the_clients_that_people_use() {
    let stage = Stage::new(WEB).await;
    let address = stage.target.address();
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

/// A client that stops in the midst of what is read for its sake alone.
#[tokio::test]
async fn a11_what_is_read_after_an_early_answer_is_bounded() {
    let stage = Stage::new(&format!("{WEB} max_conns=1 when_full=wait")).await;
    let mut request = declared("/nowhere", 20 * MIB);
    request.truncate(10 * MIB);
    let mut stuck = stage.client().await;
    stuck.send(&request).await.unwrap();
    let start = Instant::now();
    assert_eq!(stuck.reply().await.unwrap().status, 413);
    let mut next = stage.client().await;
    assert_eq!(next.get("/ping").await.expect("a permit").status, 200);
    let took = start.elapsed();
    assert!(took > 4 * SECOND && took < 12 * SECOND, "it took {took:?}");
    drop(next);

    // And in a drain its deadline holds.
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).env("GRACEHTTP_DRAIN_TIMEOUT", "1500ms").spawn();
    let mut stuck = Client::connect(&app.target("web").await).await.unwrap();
    stuck.send(&request).await.unwrap();
    assert_eq!(stuck.reply().await.unwrap().status, 413);
    let start = Instant::now();
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(start.elapsed() < 4 * SECOND, "it took {:?}", start.elapsed());
}

/// What a client of HTTP/1.0 that would keep the connection gets, and what it is told about that.
async fn ask_as_of_1990(target: &Target, path: &str) -> (String, bool) {
    let mut client = Client::connect(target).await.unwrap();
    client.send(format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")).await.unwrap();
    let mut answer = Vec::new();
    loop {
        match tokio::time::timeout(2 * SECOND, client.piece()).await {
            Ok(piece) => match piece.expect("a proper end") {
                Some(piece) => answer.extend_from_slice(&piece),
                None => return (String::from_utf8_lossy(&answer).to_lowercase(), true),
            },
            Err(_) => return (String::from_utf8_lossy(&answer).to_lowercase(), false),
        }
    }
}

#[tokio::test]
async fn c6_a_streamed_response_of_http_1_0_announces_no_keep_alive() {
    let stage = Stage::new(WEB).await;
    let (answer, closed) = ask_as_of_1990(&stage.target, "/stream?pieces=3").await;
    assert!(closed && answer.ends_with("piece 2\n"), "{answer}");
    assert!(!answer.contains("keep-alive") && answer.contains("connection: close"), "{answer}");
    let (answer, closed) = ask_as_of_1990(&stage.target, "/ping").await;
    assert!(!closed && answer.contains("connection: keep-alive"), "{answer}");
    // One that closes for another reason says that, and nothing else.
    let mut slow = stage.client().await;
    slow.send("GET /slow?ms=700 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    stage.app.signal(Signal::TERM);
    let mut answer = Vec::new();
    while let Some(piece) = slow.piece().await.expect("a proper end") {
        answer.extend_from_slice(&piece);
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(!answer.contains("keep-alive") && answer.contains("connection: close"), "{answer}");
}
