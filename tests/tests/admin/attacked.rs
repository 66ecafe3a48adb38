//! What strangers can do to the address: nothing that a probe or a restart would notice.

use std::time::{Duration, Instant};

use tests::client::get_once;
use tests::patience::within;
use tests::{App, Exit, Scratch, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{LIMIT, admin_of, ask, operated, raw};

/// At once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn send(admin: &Target, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(admin.address()).await.expect("a connection");
    // It may be closed already.
    let _ = stream.write_all(bytes).await;
    stream
}

/// A probe is answered at once.
async fn is_well(admin: &Target, what: &str) {
    let begun = Instant::now();
    assert_eq!(ask(admin, "/readyz").await.0, 200, "{what}");
    assert!(begun.elapsed() < AT_ONCE, "{what}: {:?}", begun.elapsed());
}

#[tokio::test]
async fn nothing_but_whole_requests_of_http_1_is_answered() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 400]].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let long = |start: &str, count: usize| format!("{start}{}\r\n\r\n", "a".repeat(count)).into_bytes();
    let fields = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200));
    for (what, bytes, expected) in [
        ("a TLS hello", hello, "HTTP/1.1 400"),
        ("an HTTP/2 preface", preface.to_vec(), ""),
        ("a giant path", long("GET /", 1 << 20), "HTTP/1.1 4"),
        ("a giant field", long("GET / HTTP/1.1\r\nhost: localhost\r\nx: ", 1 << 20), "HTTP/1.1 431"),
        ("many fields", fields.into_bytes(), "HTTP/1.1 431"),
        ("two lengths", b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(), "HTTP/1.1 400"),
        ("no host", b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(), "HTTP/1.1 421"),
        ("a tunnel", b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), "HTTP/1.1 405"),
        ("an upgrade", b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n".to_vec(), "HTTP/1.1 200"),
        ("a name for a number", b"GET / HTTP/1.1\r\nhost: 127.0.0.1.evil.example\r\nconnection: close\r\n\r\n".to_vec(), "HTTP/1.1 421"),
        ("two hosts", b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_vec(), "HTTP/1.1 4"),
        ("another target", b"GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), "HTTP/1.1 421"),
    ] {
        let reply = raw(&admin, &bytes).await;
        assert!(reply.starts_with(expected) && !reply.contains("HTTP/1.1 5"), "{what}: {reply:.200}");
        is_well(&admin, what).await;
    }
    // A browser that asks for another origin gets no leave to read the answer.
    let page = raw(&admin, b"GET /status.json HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n").await;
    assert!(!page.to_lowercase().contains("access-control"), "{page:.600}");
    assert!(page.contains("cross-origin-resource-policy: same-origin"), "{page:.600}");
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_a_flood_of_them_holds_up_no_probe() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    let one = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let reply = raw(&admin, (one.repeat(50) + last).as_bytes()).await;
    assert_eq!((reply.matches("alive; ").count(), reply.matches("ready\n").count()), (50, 1), "{reply:.300}");
    // Those that send without an end and read nothing.
    let before = app.first().resident_kib();
    let mut floods = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(admin.address()).await.unwrap();
        floods.push(tokio::spawn(async move {
            let many = "GET /status.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
            while stream.write_all(many.as_bytes()).await.is_ok() {}
        }));
    }
    for number in 0..20 {
        is_well(&admin, &format!("probe {number}")).await;
    }
    let grown = app.first().resident_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB more");
    for flood in floods {
        within(LIMIT, "the end of a client that reads nothing", flood).await.unwrap();
    }
    assert_eq!(get_once(&app.target("web").await, "/").await.unwrap().status, 200);
}

/// Readers of events: some read, some do not.
async fn watch(admin: &Target, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = send(admin, b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        // It has its place, or its refusal. One of many may be closed already.
        let _ = within(LIMIT, "an answer", stream.peek(&mut [0])).await;
        streams.push(stream);
    }
    streams
}

async fn restart_under_readers(app: &App, admin: &Target, readers: usize) {
    let streams = watch(admin, readers).await;
    is_well(admin, "readers").await;
    let begun = Instant::now();
    let successor = app.restart().await;
    app.serves(&app.target("web").await, &successor).await;
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    is_well(admin, "after the restart").await;
    drop(streams);
}

/// 20 in the long run.
#[tokio::test]
async fn a_hundred_readers_of_events_delay_no_restart() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    let restarts = if std::env::var_os("GRACEHTTP_LONG").is_some() { 20 } else { 4 };
    for _ in 0..restarts {
        restart_under_readers(&app, &admin, 100).await;
    }
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn readers_of_events_that_never_read_cost_little_and_are_given_up() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    let before = app.first().resident_kib();
    let streams = watch(&admin, 8).await;
    let full = send(&admin, b"GET /events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let mut reply = String::new();
    let mut full = full;
    within(LIMIT, "a refusal", full.read_to_string(&mut reply)).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    for _ in 0..10 {
        is_well(&admin, "readers that do not read").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let grown = app.first().resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
    // Their places are free again once they are gone.
    drop(streams);
    let begun = Instant::now();
    loop {
        let mut stream = send(&admin, b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let mut head = [0; 12];
        within(LIMIT, "an answer", stream.read_exact(&mut head)).await.unwrap();
        if &head == b"HTTP/1.1 200" {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "their places are never free");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
