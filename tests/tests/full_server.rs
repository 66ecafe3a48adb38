//! A full server (`when_full = recycle`): the server accepts every waiting client and loses no request of the
//! connections that make room for it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once};
use tests::frames::{Connection, Frame};
use tests::h2::{Http2, Outcome};
use tests::patience::PATIENCE;
use tests::{App, Client, Launch, Scratch, Signal, Target};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// After this time the server may close an idle connection, or one that owes its first request, to make room for
/// others.
const SETTLED: Duration = Duration::from_millis(1300);

/// All time limits are so long that none of them makes room.
const PATIENT: &str = "idle_timeout=600000ms header_read_timeout=600000ms handshake_timeout=600000ms";

async fn start(options: &str) -> (App, Target, Scratch) {
    let scratch = Scratch::new();
    let at = if options.contains("unix:") { "" } else { "127.0.0.1:0" };
    let options = options.replace("unix:", &format!("unix:{}/", scratch.path().display()));
    let app = Launch::app(&scratch, &format!("server web {at} {PATIENT} {options}")).spawn();
    let target = app.target("web").await;
    (app, target, scratch)
}

/// `count` clients that have received an answer and keep their connections.
async fn idle(target: &Target, count: usize) -> Vec<Client> {
    all(count, || async {
        let mut client = Client::connect(target).await.expect("a connection");
        assert_eq!(client.get("/ping").await.expect("an answer").status, 200);
        client
    })
    .await
}

/// The results of `count` clients at the same time.
async fn all<T, F: Future<Output = T>>(count: usize, client: impl Fn() -> F) -> Vec<T> {
    futures_util::future::join_all((0..count).map(|_| client())).await
}

/// `count` clients at the same time. Each sends one request and keeps its connection for a while. Returns how long the
/// last one waited.
async fn newly_come(target: &Target, count: usize) -> Duration {
    let begun = Instant::now();
    let waited = all(count, || async {
        let client = Client::connect(target).await.expect("a connection");
        let mut client = client.limit(Duration::from_secs(60));
        let reply = client.get("/ping").await.expect("an answer");
        assert_eq!(reply.status, 200);
        let waited = begun.elapsed();
        if reply.closes() {
            client.closed().await.expect("the close that was announced");
            return (None, waited);
        }
        (Some(client), waited)
    })
    .await;
    waited.iter().map(|(_, waited)| *waited).max().expect("at least one client")
}

#[tokio::test]
async fn b6_idle_connections_make_room_for_four_hundred_clients() {
    for transport in ["", "tls=self_signed", "unix:web.sock"] {
        let (_app, target, _scratch) = start(&format!("{transport} max_conns=100")).await;
        let mut idle = idle(&target, 100).await;
        tokio::time::sleep(SETTLED).await;
        let waited = newly_come(&target, 400).await;
        println!("{transport}: the last of 400 waited {waited:?}");
        assert!(waited < PATIENCE, "{transport}: {waited:?}");
        let mut closed = 0;
        for client in &mut idle {
            match client.pause(Duration::ZERO).await {
                Pause::Open => {}
                Pause::Closed => closed += 1,
                Pause::Failed(failure) => panic!("{transport}: {failure}"),
            }
        }
        println!("{transport}: {closed} of 100 were closed");
        assert!(closed > 0, "{transport}");
    }
}

/// The server closes only the connections that it has to close.
#[tokio::test]
async fn b6_each_waiting_client_takes_the_place_of_the_client_that_was_idle_longest() {
    for transport in ["", "tls=self_signed"] {
        let (_app, target, _scratch) = start(&format!("{transport} max_conns=4")).await;
        let mut clients = idle(&target, 4).await;
        tokio::time::sleep(SETTLED).await;
        // This request makes the first client the most recently active one. After the pause it is as settled as the
        // others.
        assert!(!clients[0].get("/ping").await.unwrap().closes());
        tokio::time::sleep(SETTLED).await;
        let mut new = Client::connect(&target).await.unwrap();
        assert_eq!(new.get("/ping").await.unwrap().status, 200);
        let mut open = 0;
        for client in &mut clients {
            open += usize::from(client.pause(Duration::from_millis(100)).await == Pause::Open);
        }
        assert_eq!(open, 3, "{transport}");
        assert_eq!(clients[0].get("/ping").await.unwrap().status, 200, "{transport}");
    }
}

/// After one second of idleness, a request that was on its way to the connection has arrived.
#[tokio::test]
async fn b6_a_connection_that_is_idle_for_less_than_a_second_stays_open() {
    for transport in ["", "tls=self_signed"] {
        let (_app, target, _scratch) = start(&format!("{transport} max_conns=4")).await;
        let mut clients = idle(&target, 4).await;
        let begun = Instant::now();
        for client in &mut clients {
            assert!(!client.get("/ping").await.unwrap().closes());
        }
        assert_eq!(get_once(&target, "/ping").await.unwrap().status, 200);
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(1) && waited < PATIENCE, "{transport}: {waited:?}");
    }
}

/// The server accepts each client and closes its connection after the answer. The client then keeps its own side open.
#[tokio::test]
async fn b6_clients_that_keep_their_side_open_do_not_delay_waiting_clients() {
    for transport in ["", "tls=self_signed"] {
        let (_app, target, _scratch) = start(&format!("{transport} max_conns=1")).await;
        let begun = Instant::now();
        let clients = all(10, || async {
            let mut client = Client::connect(&target).await.expect("a connection");
            assert_eq!(client.get("/ping").await.expect("an answer").status, 200);
            client
        })
        .await;
        let waited = begun.elapsed();
        println!("{transport}: the last of ten was answered after {waited:?}");
        assert!(waited < PATIENCE, "{transport}: {waited:?}");
        drop(clients);
    }
}

/// A client that never leaves and never pauses.
async fn busy(target: Target, stop: Arc<AtomicBool>, closes: Arc<AtomicUsize>) {
    while !stop.load(Ordering::SeqCst) {
        let mut client = Client::connect(&target).await.expect("a connection").limit(Duration::from_secs(60));
        while !stop.load(Ordering::SeqCst) {
            let reply = client.get("/slow?ms=30").await.expect("an answer");
            assert_eq!(reply.status, 200);
            if reply.closes() {
                client.closed().await.expect("the close that was announced");
                closes.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
    }
}

#[tokio::test]
async fn b6_busy_clients_make_room_with_connection_close_and_lose_nothing() {
    for transport in ["", "tls=self_signed"] {
        let (app, target, _scratch) = start(&format!("{transport} max_conns=100")).await;
        let (stop, closes) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = JoinSet::new();
        for _ in 0..100 {
            clients.spawn(busy(target.clone(), stop.clone(), closes.clone()));
        }
        tests::patience::eventually("100 that are busy", || app.log.count(0, "slow begins") > 200).await;
        let waited = newly_come(&target, 400).await;
        stop.store(true, Ordering::SeqCst);
        while let Some(client) = clients.join_next().await {
            client.expect("no request that failed");
        }
        let closes = closes.load(Ordering::SeqCst);
        println!("{transport}: the last of 400 waited {waited:?}; {closes} orderly closes");
        assert!(waited < Duration::from_secs(30), "{transport}: {waited:?}");
        assert!(closes > 0, "{transport}");
    }
}

/// The same client over HTTP/2: its requests overlap, so its connection is never idle.
async fn busy_over_http2(target: Target, stop: Arc<AtomicBool>, closes: Arc<AtomicUsize>) {
    while !stop.load(Ordering::SeqCst) {
        let client = Http2::connect(&target).await.expect("a connection");
        let requests = (1..=3).map(|number| {
            let (mut client, stop) = (client.clone(), &stop);
            async move {
                while !stop.load(Ordering::SeqCst) && client.is_open().await {
                    match client.get(&format!("/slow?ms={}", 70 * number)).await.expect("an answer") {
                        Outcome::Reply(reply) => assert_eq!(reply.status, 200),
                        Outcome::NotSent => return,
                    }
                }
            }
        });
        futures_util::future::join_all(requests).await;
        closes.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn b6_http2_connections_make_room_with_goaway_idle_or_busy() {
    for transport in ["", "tls=self_signed"] {
        let (app, target, _scratch) = start(&format!("{transport} max_conns=4")).await;
        let (stop, closes) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let busy: Vec<_> = (0..2)
            .map(|_| tokio::spawn(busy_over_http2(target.clone(), stop.clone(), closes.clone())))
            .collect();
        tests::patience::eventually("six that are busy", || app.log.count(0, "slow begins") > 6).await;
        let mut idle = Vec::new();
        for _ in 0..2 {
            let mut client = Http2::connect(&target).await.unwrap();
            assert!(matches!(client.get("/ping").await.unwrap(), Outcome::Reply(_)));
            idle.push(client);
        }
        tokio::time::sleep(SETTLED).await;
        let begun = Instant::now();
        // None of these connections is ever idle for long enough to make room for another.
        let waiting = (0..3).map(|_| async {
            let mut client = Client::connect(&target).await.unwrap();
            let reply = client.get("/slow?ms=4000").await.unwrap();
            assert_eq!(reply.status, 200);
            begun.elapsed()
        });
        let waited = futures_util::future::join_all(waiting).await;
        println!("{transport}: three that waited were answered after {waited:?}");
        stop.store(true, Ordering::SeqCst);
        for client in busy {
            client.await.expect("no request that failed");
        }
        assert!(waited.iter().all(|waited| *waited < PATIENCE), "{transport}: {waited:?}");
    }
}

/// Clients that connect and owe their first request.
#[derive(Clone, Copy, Debug)]
enum Slow {
    Silent,
    Bytes(&'static [u8]),
    /// An HTTP/2 connection without a request.
    Http2,
}

impl Slow {
    async fn come(self, target: &Target) -> Box<dyn std::any::Any> {
        match self {
            Self::Http2 => Box::new(Connection::open(target).await),
            Self::Silent => Box::new(TcpStream::connect(target.address()).await.expect("a connection")),
            Self::Bytes(bytes) => {
                let mut stream = TcpStream::connect(target.address()).await.expect("a connection");
                stream.write_all(bytes).await.expect("an open connection");
                Box::new(stream)
            }
        }
    }
}

#[tokio::test]
async fn slow_newcomers_have_a_share_and_starve_no_other_client() {
    // The first bytes of a record with a ClientHello.
    let half_hello: &[u8] = &[22, 3, 1, 1, 0, 1];
    let kinds = [
        ("", Slow::Silent),
        ("", Slow::Bytes(b"PRI * HTTP/2.0\r\n")),
        ("", Slow::Bytes(b"GET /ping HTTP/1.1\r\nHost: x\r\n")),
        ("", Slow::Http2),
        ("tls=self_signed", Slow::Silent),
        ("tls=self_signed", Slow::Bytes(half_hello)),
        ("tls=self_signed", Slow::Http2),
    ];
    let cases = kinds.map(|(transport, slow)| async move {
        let (_app, target, _scratch) = start(&format!("{transport} max_conns=100")).await;
        let newcomers = all(100, || slow.come(&target)).await;
        let begun = Instant::now();
        let reply = get_once(&target, "/ping").await;
        let waited = begun.elapsed();
        assert_eq!(reply.unwrap().status, 200, "{transport} {slow:?}");
        println!("{transport} {slow:?}: answered after {waited:?}");
        drop(newcomers);
        (transport, slow, waited)
    });
    for (transport, slow, waited) in futures_util::future::join_all(cases).await {
        assert!(waited < PATIENCE, "{transport} {slow:?}: {waited:?}");
    }
}

/// Newcomers get no more than their share, so clients that use their connections keep the rest.
#[tokio::test]
async fn slow_newcomers_displace_no_other_client() {
    let (_app, target, _scratch) = start("max_conns=10").await;
    let mut idle = idle(&target, 5).await;
    tokio::time::sleep(SETTLED).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(target.address()).await.unwrap());
    }
    tokio::time::sleep(3 * SETTLED).await;
    for client in &mut idle {
        assert_eq!(client.get("/ping").await.unwrap().status, 200);
    }
}

/// The clients come and go before the server may close a connection for them. When the server first looks, it counts
/// them all in the queue and closes connections up to the newcomers' share. After that it closes none.
#[tokio::test]
async fn clients_that_left_the_queue_cost_no_connection() {
    let left = all(8, || async {
        let (_app, target, _scratch) = start("max_conns=10").await;
        let mut idle = idle(&target, 10).await;
        for _ in 0..20 {
            drop(TcpStream::connect(target.address()).await.unwrap());
        }
        tokio::time::sleep(2 * SETTLED).await;
        let mut open = 0;
        for client in &mut idle {
            open += usize::from(client.pause(Duration::ZERO).await == Pause::Open);
        }
        open
    })
    .await;
    println!("of 10 are left: {left:?}");
    assert!(left.iter().all(|open| *open >= 5), "of 10 are left: {left:?}");
}

#[tokio::test]
async fn with_when_full_wait_no_connection_is_closed_for_others() {
    let (_app, target, _scratch) = start("max_conns=2 when_full=wait").await;
    let mut idle = idle(&target, 2).await;
    let mut waits = Client::connect(&target).await.unwrap();
    waits.send(get("/ping")).await.unwrap();
    assert_eq!(waits.pause(2 * SETTLED).await, Pause::Open);
    assert!(!idle[0].get("/ping").await.unwrap().closes());
    drop(idle);
    assert_eq!(waits.reply().await.unwrap().status, 200);
}

/// The server does not cut an answer over HTTP/2 either: GOAWAY refuses no stream that the client opened before it.
#[tokio::test]
async fn a_stream_that_crosses_goaway_is_answered() {
    let (_app, target, _scratch) = start("max_conns=1").await;
    let mut connection = Connection::open(&target).await;
    connection.send(&[Frame::get(1, "/ping")]).await;
    connection.answer(1).await;
    tokio::time::sleep(SETTLED).await;
    let waits = tokio::spawn(async move { get_once(&target, "/ping").await });
    loop {
        let frames = connection.frames().await;
        if frames.iter().any(|frame| frame.goaway().is_some()) {
            break;
        }
    }
    connection.send(&[Frame::get(3, "/ping")]).await;
    connection.answer(3).await;
    drop(connection);
    assert_eq!(waits.await.unwrap().unwrap().status, 200);
}

/// The last answer announces the close.
#[tokio::test]
async fn b6_pipelined_requests_are_all_answered_before_their_connection_makes_room() {
    let (app, target, _scratch) = start("max_conns=1").await;
    let mut client = Client::connect(&target).await.unwrap();
    let begins = app.log.end();
    client.send(get("/slow?ms=1500").repeat(3)).await.unwrap();
    app.log.line(begins, "slow begins").await;
    let waits = tokio::spawn(async move { get_once(&target, "/ping").await });
    for number in 1..=3 {
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.status, reply.closes()), (200, number == 3), "answer {number}");
    }
    client.closed().await.unwrap();
    drop(client);
    assert_eq!(waits.await.unwrap().unwrap().status, 200);
}

/// A stop serves all clients in the queue, and slow clients make room for them.
#[tokio::test]
async fn a_stop_empties_the_queue_despite_slow_newcomers() {
    let (app, target, _scratch) = start("max_conns=4").await;
    let half_head = Slow::Bytes(b"GET /ping HTTP/1.1\r\nHost: x\r\n");
    let newcomers = all(4, || half_head.come(&target)).await;
    let mut waits = Client::connect(&target).await.unwrap();
    waits.send(get("/ping")).await.unwrap();
    let begun = Instant::now();
    app.signal(Signal::TERM);
    assert_eq!(waits.reply().await.unwrap().status, 200);
    println!("answered after {:?}", begun.elapsed());
    // The limit of the drain is 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(newcomers);
}
