//! Many uploads over one HTTP/2 connection: all of them arrive, none delays the others for long, and a single upload is
//! as fast as its link allows.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tests::h2::{Http2, Outcome};
use tests::patience::within;
use tests::uploads::{End, Uploads};
use tests::{App, Launch, Scratch, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;

/// The size of a photo from a phone.
const PHOTO: usize = 2 * MIB;

/// The time for all uploads of a test on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// The round trip of an interactive page to another continent.
const ROUND_TRIP: Duration = Duration::from_millis(50);

struct Stage {
    app: App,
    scratch: Scratch,
}

impl Stage {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let options = format!("max_body={}", 128 * MIB);
        let unix = scratch.join("socket");
        let plan = format!(
            "server web 127.0.0.1:0 unix:{} {options}\nserver tls 127.0.0.1:0 tls=self_signed {options}",
            unix.display()
        );
        let app = Launch::app(&scratch, &plan).start("tls").await;
        Self { app, scratch }
    }

    async fn targets(&self) -> [Target; 3] {
        let unix = Target::Unix(self.scratch.join("socket"));
        [self.app.target("web").await, self.app.target("tls").await, unix]
    }
}

/// Posts this body and reads the answer.
async fn post(client: &mut Http2, path: &str, body: Bytes) -> Bytes {
    match client.post(path, body).await {
        Ok(Outcome::Reply(reply)) if reply.status == 200 => reply.body,
        outcome => panic!("{path}: {outcome:?}"),
    }
}

/// Posts `count` bodies at once. Each answer contains the length of its body.
async fn post_all(client: &Http2, path: &'static str, count: usize, size: usize) {
    let body = Bytes::from(vec![b'x'; size]);
    let mut uploads = JoinSet::new();
    for _ in 0..count {
        let (mut client, body) = (client.clone(), body.clone());
        uploads.spawn(async move { post(&mut client, path, body).await });
    }
    for answer in within(LONG, "all answers", uploads.join_all()).await {
        assert_eq!(answer, size.to_string());
    }
}

#[tokio::test]
async fn a_page_uploads_twenty_or_a_hundred_photos_at_once() {
    let stage = Stage::new().await;
    for target in stage.targets().await {
        let client = Http2::connect(&target).await.expect("a connection");
        for (count, path) in [(20, "/length"), (20, "/count"), (100, "/length")] {
            let start = Instant::now();
            post_all(&client, path, count, PHOTO).await;
            println!("{count} photos to {path} over {target:?}: {:?}", start.elapsed());
        }
    }
}

/// The handlers are slow, and the bodies stay in memory meanwhile.
#[tokio::test]
async fn photos_arrive_while_their_handlers_hold_them() {
    let stage = Stage::new().await;
    let client = Http2::connect(&stage.app.target("web").await).await.expect("a connection");
    post_all(&client, "/length?ms=100", 20, PHOTO).await;
}

#[tokio::test]
async fn a_conversation_goes_on_while_others_are_collected() {
    let stage = Stage::new().await;
    let client = Http2::connect(&stage.app.target("web").await).await.expect("a connection");
    let long = Bytes::from(vec![b'y'; 32 * MIB]);
    let mut talker = client.clone();
    let sent = long.clone();
    let talk = tokio::spawn(async move { post(&mut talker, "/back", sent).await });
    post_all(&client, "/length", 20, PHOTO).await;
    assert!(within(LONG, "the conversation", talk).await.expect("an answer") == long);
}

/// The bodies that no handler reads use the same connection.
#[tokio::test]
async fn bodies_that_no_handler_reads_do_not_delay_others() {
    let stage = Stage::new().await;
    let mut client = Uploads::open(&stage.app.target("web").await).await;
    for _ in 0..20 {
        client.post("/never", PHOTO, true).await;
    }
    let photos: Vec<u32> = {
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(client.post("/length", PHOTO, true).await);
        }
        streams
    };
    within(LONG, "the answers", client.finish(20)).await;
    for stream in photos {
        assert_eq!(client.ends.get(&stream), Some(&End::Status(200)));
    }
}

#[tokio::test]
async fn an_upload_that_falls_silent_delays_the_others_only_for_seconds() {
    let stage = Stage::new().await;
    let mut client = Uploads::open(&stage.app.target("web").await).await;
    // The body is larger than the part that it may send without a right, and the others wait for that right.
    let silent = client.post("/length", 600 << 10, false).await;
    let others = {
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(client.post("/length", PHOTO, true).await);
        }
        streams
    };
    let start = Instant::now();
    within(LONG, "the others", client.finish(0)).await;
    let ends: Vec<_> = others.iter().filter_map(|stream| client.ends.get(stream)).copied().collect();
    let (silent, took) = (client.ends.get(&silent), start.elapsed());
    println!("with one that falls silent ({silent:?}): {took:?}");
    assert_eq!(ends, [End::Status(200); 20]);
    // The limit of a body without progress is 30 s.
    assert!(took < Duration::from_secs(25), "it took {took:?}");
}

/// A tunnel (RFC 9113 section 8.5) has its own windows. h2 opens them and does not report when.
#[tokio::test]
async fn a_tunnel_carries_more_than_its_window() {
    const BYTES: usize = 16 * MIB;
    let stage = Stage::new().await;
    let stream = stage.app.target("web").await.connect(&["h2"]).await.expect("a connection");
    let (mut sender, connection) =
        handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a client");
    tokio::spawn(connection);
    let request = Request::connect("localhost:7").body(Empty::new()).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let tunnel = TokioIo::new(hyper::upgrade::on(response).await.expect("a tunnel"));
    let (mut reader, mut writer) = tokio::io::split(tunnel);
    let write = async {
        writer.write_all(&vec![b'x'; BYTES]).await.expect("an open tunnel");
        writer.shutdown().await.expect("an open tunnel");
    };
    let read = async {
        let mut came = vec![0; BYTES];
        reader.read_exact(&mut came).await.expect("all that was sent");
    };
    within(LONG, "all bytes to come back", async { tokio::join!(write, read) }).await;
    // The tunnel's connection still serves requests.
    let request = Request::get("http://localhost/ping").body(Empty::new()).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("an answer").status(), 200);
}

/// A link on which each byte takes half a round trip.
async fn long_way(to: std::net::SocketAddr) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(to).await.expect("the server");
            client.set_nodelay(true).expect("an option");
            server.set_nodelay(true).expect("an option");
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server));
            tokio::spawn(carry(from_server, to_client));
        }
    });
    Target::Plain(address)
}

async fn carry(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    let (sender, mut under_way) = unbounded_channel();
    let read = async move {
        let mut buffer = vec![0; 256 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let piece = Bytes::copy_from_slice(&buffer[..count]);
            _ = sender.send((tokio::time::Instant::now() + ROUND_TRIP / 2, piece));
        }
    };
    let write = async move {
        while let Some((at, piece)) = under_way.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_are_as_fast_as_their_link_allows() {
    let stage = Stage::new().await;
    let near = stage.app.target("web").await;
    let far = long_way(near.address()).await;
    for (name, target) in [("at once", near), ("50 ms", far)] {
        for (path, count, size) in [
            ("/count", 1, 64 * MIB),
            ("/length", 1, 64 * MIB),
            ("/length", 1, PHOTO),
            ("/length", 20, PHOTO),
            ("/count", 20, PHOTO),
        ] {
            let client = Http2::connect(&target).await.expect("a connection");
            post_all(&client, "/count", 1, 1).await;
            let start = Instant::now();
            post_all(&client, path, count, size).await;
            let took = start.elapsed().as_secs_f64();
            let rate = (count * size / MIB) as f64 / took;
            println!("{name}: {count} of {} MiB to {path}: {took:.2} s, {rate:.1} MiB/s", size / MIB);
            assert!(rate > 0.5, "{name}, {path}: {rate} MiB/s");
        }
    }
}
