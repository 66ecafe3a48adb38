//! Restarts that fail, and restarts in which several things happen at once.

use std::path::Path;
use std::time::Duration;

use std::os::unix::fs::PermissionsExt as _;
use tests::client::get;
use tests::generation::Generation;
use tests::patience::eventually;
use tests::{Launch, Scratch, Service, Signal, Target};
use tokio::net::TcpStream;

/// How many of 20 connections the kernel completes for a process that accepts none.
async fn queue_takes(process: &Generation, target: &Target) -> usize {
    process.signal(Signal::STOP);
    eventually("the process to stop", || process.is_stopped()).await;
    // The limit is below one second, after which a client without room in the queue retries.
    let limit = Duration::from_millis(600);
    let connect = || tokio::time::timeout(limit, TcpStream::connect(target.address()));
    let connected = futures_util::future::join_all((0..20).map(|_| connect())).await;
    process.signal(Signal::CONT);
    connected.into_iter().filter(|connected| matches!(connected, Ok(Ok(_)))).count()
}

/// How many bytes from this port of a client the kernel holds unread.
fn unread_from(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let suffix = format!(":{port:04X}");
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues = columns
        .filter(|columns| columns[2].ends_with(&suffix))
        .find_map(|columns| columns[4].split_once(':').map(|(_, unread)| unread.to_owned()));
    u64::from_str_radix(&queues?, 16).ok()
}

fn mode(socket: &Path) -> u32 {
    socket.metadata().expect("the file").permissions().mode() & 0o777
}

/// Both processes share the listeners. The listeners keep the predecessor's settings until the commit, and regain them
/// if the successor dies in standby.
#[tokio::test]
async fn failed_restart_leaves_the_listeners_unchanged() {
    let scratch = Scratch::new();
    let socket = scratch.join("app.sock");
    let configure = |backlog: u32, mode: &str| {
        let text = format!(
            "[server.web]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\nbacklog = {backlog}\nsocket_mode = \"{mode}\"",
            socket.display()
        );
        scratch.write("Gracehttp.toml", text);
    };
    configure(64, "0600");
    let plan = "server web 127.0.0.1:0";
    let launch = Launch::app(&scratch, plan).directory(scratch.path()).env("GRACEHTTP_STANDBY", "8s");
    let app = launch.env("GRACEHTTP_DRAIN_TIMEOUT", "12s").start("web").await;
    let (first, target) = (app.first(), app.target("web").await);
    assert_eq!(queue_takes(&first, &target).await, 20);

    configure(1, "0666");
    scratch.write("plan", format!("{plan}\nstart refuse no coffee"));
    let start = app.log.end();
    app.signal(Signal::USR2);
    app.log.line(start, "serves on").await;
    assert_eq!((queue_takes(&first, &target).await, mode(&socket)), (20, 0o600), "it was not ready");

    scratch.write("plan", plan);
    let start = app.log.end();
    let successor = app.restart().await;
    app.log.line(start, "backlog of server web is 1").await;
    let taken = queue_takes(&successor, &target).await;
    assert!(taken < 10, "{taken}: the successor's backlog");
    eventually("the successor's mode", || mode(&socket) == 0o666).await;

    successor.kill();
    app.log.line(start, "serves again").await;
    eventually("the predecessor's mode", || mode(&socket) == 0o600).await;
    assert_eq!(queue_takes(&first, &target).await, 20, "it died in standby");
}

/// If a server allows larger heads than that, it answers such a connection where it is.
#[tokio::test]
async fn half_a_head_of_the_largest_size_moves_on_restart() {
    let service = Service::with("server web 127.0.0.1:0", |launch| {
        launch.env("GRACEHTTP_SERVER__WEB__MAX_HEADER_SIZE", "128KiB")
    })
    .await;
    let mut halves = Vec::new();
    for size in [63_000, 64_000, 65_000, 100_000] {
        let mut client = service.client().await;
        client.get("/ping").await.unwrap();
        client
            .send(format!("GET /ping HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(size)))
            .await
            .unwrap();
        let port = client.port().expect("a TCP connection");
        eventually("the server to read it", || unread_from(port) == Some(0)).await;
        halves.push((size, client));
    }
    let successor = service.restart().await;
    let predecessor = service.app.first();
    eventually("the moves to be over", || predecessor.is_asleep() && successor.is_asleep()).await;
    for (size, client) in &mut halves {
        client.send("\r\n\r\n").await.unwrap();
        let reply = client.reply().await.unwrap();
        let moved = reply.pid() == Some(successor.pid());
        assert_eq!((moved, reply.closes()), (*size < 65_500, *size > 65_500), "{size}: {reply:?}");
    }
}

/// Only the last answer announces the close: an earlier announcement would lose the requests behind it.
#[tokio::test]
async fn pipelined_requests_are_answered_before_their_connection_closes() {
    let all_are_answered = async |plan: &str, slow: u64| {
        let service = Service::new(plan).await;
        let mut client = service.client().await;
        client.send(get(&format!("/slow?ms={slow}")) + &get("/ping").repeat(2)).await.unwrap();
        service.app.log.line(0, "slow begins").await;
        service.app.signal(Signal::TERM);
        for closes in [false, false, true] {
            let reply = client.reply().await.unwrap_or_else(|failure| panic!("{plan}, {slow} ms: {failure}"));
            assert_eq!(reply.closes(), closes, "{plan}, {slow} ms");
        }
        client.closed().await.unwrap();
    };
    let (plain, tls) = ("server web 127.0.0.1:0", "server web 127.0.0.1:0 tls=self_signed");
    // In the grace for a last request, and after it.
    tokio::join!(
        all_are_answered(plain, 500),
        all_are_answered(plain, 3000),
        all_are_answered(tls, 500),
        all_are_answered(tls, 3000),
    );
}
