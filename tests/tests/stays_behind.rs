//! Connections that can't move in a restart: the server closes them in order, one after the other, long before the
//! drain's deadline. The deadline is for connections that are in use.

use std::time::{Duration, Instant};

use tests::client::{Pause, post_head};
use tests::frames::{Connection, Frame, HEADERS};
use tests::h2::{Http2, Outcome};
use tests::process::{bin, run, tool};
use tests::{App, Client, Exit, Launch, Scratch, Service, Signal, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The server closes them within half of the drain's limit, and at most within this time: in the first half the ones
/// that have been quiet as long, then the others.
const SPREAD: Duration = Duration::from_secs(5);

/// The tolerance after that time.
const SLACK: Duration = Duration::from_secs(10);

const TLS: &str = "server web 127.0.0.1:0 tls=self_signed";

async fn start() -> Service {
    Service::with(TLS, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "20s")).await
}

/// An application that goes back to a release which takes no TLS sessions: its connections stay behind.
struct Downgrade {
    app: App,
    target: Target,
    scratch: Scratch,
}

impl Downgrade {
    async fn start() -> Self {
        let scratch = Scratch::new();
        let launch = Launch::program(scratch.install(&bin("app"), "app")).plan(&scratch, TLS);
        let app = launch.env("GRACEHTTP_STANDBY", "300ms").env("GRACEHTTP_DRAIN_TIMEOUT", "20s").spawn();
        let target = app.target("web").await;
        Self { app, target, scratch }
    }

    /// Restarts. The successor speaks version 2 of the handoff, and answers no client.
    async fn restart(&self) {
        self.scratch.install(&bin("impostor"), "app");
        self.scratch.write("plan", "impostor unconfirming");
        let start = self.app.log.end();
        self.app.signal(Signal::USR2);
        self.app.log.line(start, "start new process success").await;
    }

    async fn predecessor_leaves_early(&self, since: Instant) {
        assert_eq!(self.app.first().exit().await, Exit::Code(0), "{}", self.app.log);
        leaves_early(&self.app, since);
    }
}

/// The predecessor has ended long before its limit, and has logged no warning.
fn leaves_early(app: &App, since: Instant) {
    println!("the predecessor ended after {:?}", since.elapsed());
    assert!(since.elapsed() < SPREAD + SLACK, "it took {:?}\n{}", since.elapsed(), app.log);
    assert_eq!(app.log.count(0, "WARN") + app.log.count(0, "cutting"), 0, "{}", app.log);
}

/// This many clients, each with one answer.
async fn idle_clients(target: &Target, count: usize) -> Vec<Client> {
    let mut idle = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(target).await.expect("a connection");
        assert_eq!(client.get("/ping").await.expect("an answer").status, 200);
        idle.push(client);
    }
    idle
}

/// This many HTTP/2 clients, each with one answer.
async fn idle_http2_clients(target: &Target, count: usize) -> Vec<Connection> {
    let mut idle = Vec::new();
    for _ in 0..count {
        let mut client = Connection::open(target).await;
        client.send(&[Frame::get(1, "/ping")]).await;
        client.answer(1).await;
        idle.push(client);
    }
    idle
}

/// The times after `begun`, sorted.
async fn times(begun: Instant, closes: impl Iterator<Item = impl Future<Output = ()>>) -> Vec<Duration> {
    let closed = closes.map(|close| async move {
        close.await;
        begun.elapsed()
    });
    let mut closed = futures_util::future::join_all(closed).await;
    closed.sort();
    let last = closed.len() - 1;
    println!("closed from {:?} to {:?}, half of them after {:?}", closed[0], closed[last], closed[last / 2]);
    assert!(closed[last] - closed[0] > SPREAD / 4, "{closed:?}");
    closed
}

/// The times at which the server announces to them that it goes. Then they go, too.
async fn announcements(clients: Vec<Connection>, begun: Instant) -> Vec<Duration> {
    let announced = clients.into_iter().map(|mut client| async move {
        while !client.frames().await.iter().any(|frame| frame.goaway().is_some()) {}
    });
    times(begun, announced).await
}

/// A close can cross a request. So a client that may soon send a request gets the close late: its next answer may
/// announce it instead.
#[tokio::test]
async fn a17_idle_http2_connections_close_in_order_with_the_quiet_ones_first() {
    let service = start().await;
    let quiet = idle_http2_clients(&service.target, 40).await;
    tokio::time::sleep(SPREAD).await;
    let used = idle_http2_clients(&service.target, 40).await;
    let signalled = Instant::now();
    service.app.restart().await;
    let begun = Instant::now();
    let (quiet, used) = tokio::join!(announcements(quiet, begun), announcements(used, begun));
    assert!(quiet[20] < SPREAD / 2, "{quiet:?}");
    // The time began after the signal.
    assert!(used[0] + (begun - signalled) >= SPREAD / 2, "{used:?}");
    service.first_leaves(begun, SPREAD + SLACK).await;
    leaves_early(&service.app, begun);
}

/// They were parked, which tells nothing about their clients: all of them may send a request soon.
#[tokio::test]
async fn a17_idle_tls_connections_that_stay_close_in_order() {
    let service = Downgrade::start().await;
    let mut clients = idle_clients(&service.target, 40).await;
    assert_eq!(clients[39].pause(Duration::from_millis(300)).await, Pause::Open, "until all are parked");
    let signalled = Instant::now();
    service.restart().await;
    let begun = Instant::now();
    let closed = clients.iter_mut().map(|client| async {
        assert_eq!(client.pause(SPREAD + SLACK).await, Pause::Closed);
    });
    let closed = times(begun, closed).await;
    assert!(closed[0] + (begun - signalled) >= SPREAD / 2, "{closed:?}");
    service.predecessor_leaves_early(begun).await;
}

/// The server reads the crossing request, though it does not answer: a reset would say less, and might destroy data
/// that the client has yet to read.
#[tokio::test]
async fn a17_request_that_crosses_the_close_of_its_connection_gets_no_reset() {
    let service = Downgrade::start().await;
    let mut clients = idle_clients(&service.target, 8).await;
    service.restart().await;
    let crossed = clients.iter_mut().map(|client| async move {
        assert_eq!(client.pause(SPREAD + SLACK).await, Pause::Closed);
        // A reset would follow the first piece, and fail the second.
        client.send(post_head("/echo", 4)).await.expect("room for the head");
        client.send("body").await.expect("room for the body");
    });
    futures_util::future::join_all(crossed).await;
}

#[tokio::test]
async fn a17_next_response_announces_the_close_to_an_active_client() {
    let service = Downgrade::start().await;
    let clients = idle_clients(&service.target, 20).await;
    let old = service.app.first().pid();
    service.restart().await;
    let begun = Instant::now();
    // None of them has been idle long enough for a close.
    let asked = clients.into_iter().map(|mut client| async move {
        let reply = client.get("/ping").await.expect("an answer");
        assert_eq!((reply.pid(), reply.closes()), (Some(old), true));
        client.closed().await.expect("the close that was announced");
    });
    futures_util::future::join_all(asked).await;
    service.predecessor_leaves_early(begun).await;
}

#[tokio::test]
async fn a17_predecessor_ends_despite_idle_http2_silent_clients_and_half_a_handshake() {
    let service = start().await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut client = Http2::connect(&service.target).await.unwrap();
        assert!(matches!(client.get("/ping").await.unwrap(), Outcome::Reply(_)));
        idle.push(client);
    }
    let mut busy = Http2::connect(&service.target).await.unwrap();
    let silent_http2 = Connection::open(&service.target).await;
    let mut silent_http1 = service.client().await;
    let silent = TcpStream::connect(service.target.address()).await.unwrap();
    let mut half_hello = TcpStream::connect(service.target.address()).await.unwrap();
    half_hello.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
    let mut half_head = service.client().await;
    half_head.send("GET /ping HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut notified = Connection::open(&service.target).await;
    notified.send(&[Frame::get(1, "/slow?ms=2000")]).await;
    let begins = service.app.log.end();
    let slow = tokio::spawn(async move { busy.get("/slow?ms=2000").await });
    service.app.log.line(begins, "slow begins").await;
    service.app.restart().await;
    let begun = Instant::now();
    // The GOAWAY arrives during its stream: any further stream belongs to the successor.
    let mut heard = Vec::new();
    while !heard.iter().any(|frame: &Frame| frame.goaway().is_some()) {
        heard.extend(notified.frames().await);
    }
    assert!(!heard.iter().any(|frame| frame.kind == HEADERS), "{heard:?}");
    notified.answer(1).await;
    drop(notified);
    service.first_leaves(begun, SPREAD + SLACK).await;
    leaves_early(&service.app, begun);
    assert!(matches!(slow.await.unwrap().unwrap(), Outcome::Reply(reply) if reply.status == 200));
    // Connections over HTTP/1.1 have moved.
    half_head.send("\r\n").await.unwrap();
    assert_eq!(half_head.reply().await.unwrap().pid(), Some(service.app.pid()));
    assert_eq!(silent_http1.get("/ping").await.unwrap().pid(), Some(service.app.pid()));
    for mut stream in [silent, half_hello] {
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
    }
    drop((silent_http2, idle));
}

/// These connections could move, but find no room in the successor until the end.
#[tokio::test]
async fn a17_connections_without_room_in_the_successor_close_in_order_before_the_deadline() {
    if !tool("prlimit") {
        return;
    }
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0";
    let launch = Launch::program(scratch.install(&bin("app"), "app")).plan(&scratch, plan);
    let app = launch.env("GRACEHTTP_STANDBY", "300ms").env("GRACEHTTP_DRAIN_TIMEOUT", "5s").spawn();
    let target = app.target("web").await;
    let mut clients = idle_clients(&target, 150).await;
    // The test lowers the successor's limit of descriptors during its start-up code.
    scratch.write("plan", format!("{plan}\nstart sleep 3000"));
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
