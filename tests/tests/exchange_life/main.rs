//! The life of an HTTP/1.1 exchange: a body that no handler reads, a client that leaves or closes its side, a response
//! that the client reads slowly or not at all, an answer that precedes the end of its request.

mod downloads;
mod uploads;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use tests::client::{Pause, Stream, get, get_once, post_head};
use tests::frames::{Frame, PREFACE, SETTINGS, WINDOW_UPDATE};
use tests::patience::{eventually, within};
use tests::process::{run, tool};
use tests::{Client, Exit, Launch, Scratch, Service, Signal, Target, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UnixStream};
use tokio::task::JoinSet;

const WEB: &str = "server web 127.0.0.1:0";
const SECOND: Duration = Duration::from_secs(1);

/// A connection with direct access to its socket: it can end and read in ways that no well-behaved client uses.
struct Raw {
    stream: Box<dyn Stream>,
    socket: OwnedFd,
    /// How many bytes the client has read.
    received: usize,
}

impl Raw {
    /// A receive buffer so small that it hardly counts.
    const LITTLE_ROOM: u32 = 8192;

    async fn open(target: &Target) -> Self {
        Self::open_as(target, "http/1.1", Self::LITTLE_ROOM).await
    }

    /// Uses this protocol over TLS and this size of receive buffer; the kernel has a minimum.
    async fn open_as(target: &Target, alpn: &str, room: u32) -> Self {
        if let Target::Unix(path) = target {
            let stream = UnixStream::connect(path).await.expect("a connection");
            return Self {
                socket: stream.as_fd().try_clone_to_owned().expect("a second descriptor"),
                stream: Box::new(stream),
                received: 0,
            };
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(room).expect("a small buffer");
        let stream = socket.connect(target.address()).await.expect("a connection");
        let socket = stream.as_fd().try_clone_to_owned().expect("a second descriptor");
        let stream: Box<dyn Stream> = match target {
            Target::Tls(_) => {
                let handshake =
                    tls::connector(&[alpn]).connect("localhost".try_into().expect("a name"), stream);
                Box::new(handshake.await.expect("a handshake"))
            }
            _ => Box::new(stream),
        };
        Self { stream, socket, received: 0 }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("room for the request");
        self.stream.flush().await.expect("the request is sent");
    }

    async fn asks(target: &Target, request: impl AsRef<[u8]>) -> Self {
        let mut raw = Self::open(target).await;
        raw.send(request).await;
        raw
    }

    /// Ends the sending direction; over TLS with a close_notify.
    async fn close_side(&mut self) {
        self.stream.shutdown().await.expect("our side is closed");
    }

    /// Ends only the sending direction of TCP; over TLS without a close_notify.
    fn fin(&self) {
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write).expect("our side is closed");
    }

    /// Drops the connection; TCP resets it.
    fn vanish(self) {
        _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    /// Reads this many bytes each interval for this time, or until the connection ends.
    async fn reads(&mut self, bytes: usize, interval: Duration, time: Duration) -> io::Result<()> {
        let (end, mut piece) = (Instant::now() + time, vec![0; bytes]);
        while Instant::now() < end {
            match self.stream.read(&mut piece).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.received += length,
            }
            tokio::time::sleep(interval).await;
        }
        Ok(())
    }

    /// Takes this many bytes out of the socket each interval, and does not decrypt them.
    async fn drips(&mut self, bytes: usize, interval: Duration) -> io::Result<()> {
        let mut piece = vec![0; bytes];
        loop {
            tokio::time::sleep(interval).await;
            rustix::net::recv(&self.socket, &mut piece, rustix::net::RecvFlags::DONTWAIT)?;
        }
    }

    /// Whether the kernel still holds the server's end of this TCP connection.
    fn lies_in_the_kernel(&self, target: &Target) -> bool {
        let ours = rustix::net::getsockname(&self.socket).expect("an address of its own");
        let ours = rustix::net::SocketAddrV4::try_from(ours).expect("IPv4").port();
        let ends = format!(": 0100007F:{:04X} 0100007F:{ours:04X} ", target.address().port());
        std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table").contains(&ends)
    }
}

/// How a client leaves while a handler works for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    CloseSide,
    Fin,
    Reset,
    FinThenReset,
}

/// The next client needs the permit of the client that left: the end of the handler frees it.
#[tokio::test]
async fn a12_handler_ends_and_frees_its_permit_when_its_client_leaves() {
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
        // The server waits after a closed side, but not after a reset.
        let limit = if matches!(leaving, CloseSide | Fin) { "" } else { "half_close_timeout=60000ms" };
        plan = format!("{plan}\nserver c{number} {listen} max_conns=1 when_full=wait {limit}");
    }
    let service = Service::new(&plan).await;
    let mut holders = Vec::new();
    for (number, (_, request, _)) in cases.iter().enumerate() {
        let target = service.app.target(&format!("c{number}")).await;
        holders.push((Raw::asks(&target, request).await, target));
    }
    eventually("all handlers to begin", || service.app.log.count(0, "never begins") == cases.len()).await;
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
        assert!(took < 25 * SECOND, "{name}: it took {took:?}");
    }
}

/// Both forms: plans, and the targets that result from them.
async fn targets(scratch: &Scratch, options: &str) -> (Service, Vec<Target>) {
    let unix = scratch.join("socket");
    let plan =
        format!("{WEB} unix:{} {options}\nserver tls 127.0.0.1:0 tls=self_signed {options}", unix.display());
    let service = Service::new(&plan).await;
    let tls = service.app.target("tls").await;
    let targets = vec![service.target.clone(), tls, Target::Unix(unix)];
    (service, targets)
}

#[tokio::test]
async fn a13_client_with_a_closed_side_gets_its_answer_within_half_close_timeout() {
    let scratch = Scratch::new();
    let (_service, targets) = targets(&scratch, "half_close_timeout=60000ms").await;
    let mut clients = JoinSet::new();
    for target in targets {
        clients.spawn(async move {
            let mut client = Client::connect(&target).await.unwrap().limit(60 * SECOND);
            // Longer than every other limit that has no key.
            client.send(get("/slow?ms=32000")).await.unwrap();
            client.half_close().await.unwrap();
            assert_eq!(client.reply().await.expect("its answer").status, 200, "{target:?}");
            client.closed().await.unwrap();
        });
    }
    while let Some(outcome) = clients.join_next().await {
        outcome.expect("an answer");
    }
}

/// After the response has begun, half_close_timeout no longer applies.
#[tokio::test]
async fn a12_response_in_progress_continues_after_the_client_closes_its_side() {
    let scratch = Scratch::new();
    let (_service, targets) = targets(&scratch, "").await;
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

const MIB: usize = 1 << 20;

/// Returns the response that an HTTP/1.0 client with keep-alive gets, and whether the connection closes.
async fn ask_by_http_1_0(target: &Target, path: &str) -> (String, bool) {
    let mut client = Client::connect(target).await.expect("a connection");
    client
        .send(format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
        .await
        .expect("the request is sent");
    let mut answer = Vec::new();
    loop {
        match tokio::time::timeout(5 * SECOND, client.piece()).await {
            Ok(piece) => match piece.expect("a proper end") {
                Some(piece) => answer.extend_from_slice(&piece),
                None => return (String::from_utf8_lossy(&answer).to_lowercase(), true),
            },
            Err(_) => return (String::from_utf8_lossy(&answer).to_lowercase(), false),
        }
    }
}

#[tokio::test]
async fn c6_streamed_http_1_0_response_announces_no_keep_alive() {
    let service = Service::new(WEB).await;
    let (answer, closed) = ask_by_http_1_0(&service.target, "/stream?pieces=3").await;
    assert!(closed && answer.ends_with("piece 2\n"), "{answer}");
    assert!(!answer.contains("keep-alive") && answer.contains("connection: close"), "{answer}");
    let (answer, closed) = ask_by_http_1_0(&service.target, "/ping").await;
    assert!(!closed && answer.contains("connection: keep-alive"), "{answer}");
    // A connection that closes for another reason announces only the close.
    let mut slow = service.client().await;
    slow.send("GET /slow?ms=700 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    service.app.log.line(0, "slow begins").await;
    service.app.signal(Signal::TERM);
    let mut answer = Vec::new();
    while let Some(piece) = slow.piece().await.expect("a proper end") {
        answer.extend_from_slice(&piece);
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(!answer.contains("keep-alive") && answer.contains("connection: close"), "{answer}");
}
