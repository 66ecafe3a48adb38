//! Connections that can't move in a restart: they are closed in an orderly way, one after the other, long before the
//! drain's deadline, which is for those that are in the midst of something.

use std::time::{Duration, Instant};

use tests::client::Pause;
use tests::frames::Connection;
use tests::h2::{Http2, Outcome};
use tests::process::{bin, run, tool};
use tests::{Client, Launch, Scratch, Service, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Half of the drain's limit, and at most this, is the time over which they are closed.
const SPREAD: Duration = Duration::from_secs(5);

/// For what comes after that time.
const SLACK: Duration = Duration::from_secs(3);

async fn start() -> Service {
    let plan = "server web 127.0.0.1:0 tls=self_signed";
    Service::with(plan, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "20s")).await
}

/// The predecessor is gone long before its limit, and had nothing to warn about.
async fn predecessor_leaves_early(service: &Service, since: Instant) {
    service.first_leaves(since, SPREAD + SLACK).await;
    println!("the predecessor ended after {:?}", since.elapsed());
    assert_eq!(service.app.log.count(0, "WARN"), 0, "{}", service.app.log);
}

#[tokio::test]
async fn a17_idle_connections_over_tls_are_closed_in_order_over_some_seconds() {
    let service = start().await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut client = service.client().await;
        assert_eq!(client.get("/ping").await.unwrap().status, 200);
        idle.push(client);
    }
    service.app.restart().await;
    let begun = Instant::now();
    let closed = idle.into_iter().map(|mut client| async move {
        assert_eq!(client.pause(SPREAD + SLACK).await, Pause::Closed);
        begun.elapsed()
    });
    let mut closed = futures_util::future::join_all(closed).await;
    closed.sort();
    println!("closed from {:?} to {:?}, half of them after {:?}", closed[0], closed[39], closed[20]);
    assert!(closed[39] - closed[0] > SPREAD / 2, "{closed:?}");
    predecessor_leaves_early(&service, begun).await;
}

#[tokio::test]
async fn a17_a_client_that_asks_again_is_answered_with_its_connections_last_response() {
    let service = start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = service.client().await;
        assert_eq!(client.get("/ping").await.unwrap().status, 200);
        clients.push(client);
    }
    let old = service.app.first().pid();
    service.app.restart().await;
    let begun = Instant::now();
    // None of them has been idle for long enough to be closed.
    let asked = clients.into_iter().map(|mut client| async move {
        let reply = client.get("/ping").await.expect("an answer");
        assert_eq!((reply.pid(), reply.closes()), (Some(old), true));
        client.closed().await.expect("the close that was announced");
    });
    futures_util::future::join_all(asked).await;
    predecessor_leaves_early(&service, begun).await;
}

#[tokio::test]
async fn a17_http2_without_streams_silence_and_half_a_handshake_do_not_keep_the_predecessor() {
    let service = start().await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut client = Http2::connect(&service.target).await.unwrap();
        assert!(matches!(client.get("/ping").await.unwrap(), Outcome::Reply(_)));
        idle.push(client);
    }
    let mut busy = Http2::connect(&service.target).await.unwrap();
    let silent_http2 = Connection::open(&service.target).await;
    let silent_http1 = service.client().await;
    let silent = TcpStream::connect(service.target.address()).await.unwrap();
    let mut half_hello = TcpStream::connect(service.target.address()).await.unwrap();
    half_hello.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
    let mut half_head = service.client().await;
    half_head.send("GET /ping HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let begins = service.app.log.end();
    let slow = tokio::spawn(async move { busy.get("/slow?ms=2000").await });
    service.app.log.line(begins, "slow begins").await;
    service.app.restart().await;
    let begun = Instant::now();
    predecessor_leaves_early(&service, begun).await;
    assert!(matches!(slow.await.unwrap().unwrap(), Outcome::Reply(reply) if reply.status == 200));
    assert_eq!(half_head.reply().await.unwrap().status, 408);
    for mut stream in [silent, half_hello] {
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
    }
    drop((silent_http1, silent_http2, idle));
}

/// Connections that could move, and find no room in the successor until the end.
#[tokio::test]
async fn a17_connections_without_room_in_the_successor_are_closed_in_order_before_the_deadline() {
    if !tool("prlimit") {
        return;
    }
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0";
    let launch = Launch::program(scratch.install(&bin("app"), "app")).plan(&scratch, plan);
    let app = launch.env("GRACEHTTP_STANDBY", "300ms").env("GRACEHTTP_DRAIN_TIMEOUT", "5s").spawn();
    let target = app.target("web").await;
    let mut clients = Vec::new();
    for _ in 0..150 {
        let mut client = Client::connect(&target).await.unwrap();
        client.get("/ping").await.unwrap();
        clients.push(client);
    }
    // While its start-up code runs, the successor's limit of descriptors is lowered.
    scratch.write("plan", format!("{plan}\nstart sleep 700"));
    let start = app.log.end();
    app.signal(Signal::USR2);
    app.log.line(start, "start-up code of pid").await;
    let pid = app.first().children()[0].to_string();
    run("prlimit", &["--pid".as_ref(), pid.as_ref(), "--nofile=80:".as_ref()]);
    let successor = app.successor_since(start).await;
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.log.count(0, "cutting"), 0, "{}", app.log);
    let (mut moved, mut closed) = (0, 0);
    for client in &mut clients {
        match client.pause(Duration::from_millis(1)).await {
            Pause::Open => {
                assert_eq!(client.get("/ping").await.unwrap().pid(), Some(successor.pid()));
                moved += 1;
            }
            Pause::Closed => closed += 1,
            Pause::Failed(failure) => panic!("{failure}"),
        }
    }
    println!("{moved} moved, {closed} were closed");
    assert!(moved > 0 && closed > 0, "{moved} moved, {closed} were closed");
}
