//! Connections behind a proxy in restarts: each keeps its client, and never gets another one's address.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tests::client::{Stream, get};
use tests::patience::{PATIENCE, eventually};
use tests::process::bin;
use tests::tls;
use tests::{App, Client, Failure, Generation, Launch, Reply, Scratch, Signal, Target};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n";

/// Version 2, from 192.0.2.1, with the authority `a.example` and TLS 1.3 at the proxy.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x2a\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x01\xbb\
                    \x02\x00\x09a.example\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3";

/// The two proxies.
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

struct Stage {
    app: App,
    plain: SocketAddr,
    secure: SocketAddr,
    target: Target,
    scratch: Scratch,
}

fn plan(listed: Ipv4Addr) -> String {
    format!(
        "server plain 127.0.0.1:0 proxy_protocol={listed}\n\
         server secure 127.0.0.1:0 tls=self_signed proxy_protocol={listed}"
    )
}

impl Stage {
    /// An application that expects headers from the first proxy.
    async fn new() -> Self {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &plan(ONE)).env("GRACEHTTP_STANDBY", "60s").spawn();
        let target = app.target("plain").await;
        let (plain, secure) = (app.address("plain").await, app.address("secure").await);
        Self { app, plain, secure, target, scratch }
    }

    /// The next generation expects headers from this proxy.
    async fn restart(&self, listed: Ipv4Addr) -> std::sync::Arc<Generation> {
        self.scratch.write("plan", plan(listed));
        let successor = self.app.restart().await;
        self.app.serves(&self.target, &successor).await;
        successor
    }

    async fn plain(&self, from: Ipv4Addr, header: &[u8]) -> Client<TcpStream> {
        Client::over(connect(from, self.plain, header).await)
    }

    async fn secure(&self, header: &[u8]) -> Client<impl Stream + use<>> {
        let stream = connect(ONE, self.secure, header).await;
        let name = "localhost".try_into().expect("a name");
        Client::over(tls::connector(&["http/1.1"]).connect(name, stream).await.expect("a handshake"))
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr, header: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("a free port");
    let mut stream = socket.connect(to).await.expect("a connection");
    stream.write_all(header).await.expect("room");
    stream
}

/// Who asks on this connection, how, and for whom the proxy speaks.
async fn seen<S: Stream>(client: &mut Client<S>) -> String {
    words(&client.get("/facts").await.expect("an answer"))
}

fn words(reply: &Reply) -> String {
    ["client", "scheme", "proxy"].map(|fact| reply.header(fact).unwrap_or("nothing")).join(" ")
}

/// The connection is refused: it gets no answer, or that its request is bad.
fn assert_refused(reply: &Result<Reply, Failure>) {
    assert!(reply.as_ref().is_ok_and(|reply| reply.status == 400) || reply.is_err(), "{reply:?}");
}

const OF_V1: &str = "192.0.2.1 http unnamed";
const OF_V2: &str = "192.0.2.1 https a.example";
const OVER_TLS: &str = "192.0.2.1 https unnamed";

#[tokio::test]
async fn connections_keep_their_client_in_two_restarts() {
    let stage = Stage::new().await;
    let mut parked = stage.plain(ONE, V1).await;
    assert_eq!(seen(&mut parked).await, OF_V1);
    // Its header alone was read.
    let mut fresh = stage.plain(ONE, V2).await;
    fresh.pause(Duration::from_millis(100)).await;
    let mut secure = stage.secure(V1).await;
    assert_eq!(seen(&mut secure).await, OVER_TLS);
    for restart in 1..=2 {
        // These are awake when the restart comes.
        let mut awake = stage.plain(ONE, V2).await;
        let mut secure_awake = stage.secure(V2).await;
        awake.send(get("/slow?ms=400")).await.expect("room");
        secure_awake.send(get("/slow?ms=400")).await.expect("room");
        let begun = 2 * restart;
        eventually("both handlers", || stage.app.log.count(0, "slow begins") == begun).await;
        let successor = stage.restart(ONE).await.pid();
        for reply in [awake.reply().await, secure_awake.reply().await] {
            assert!(!reply.expect("an answer").closes(), "{}", stage.app.log);
        }
        awake.moves_to(successor).await;
        secure_awake.moves_to(successor).await;
        parked.moves_to(successor).await;
        secure.moves_to(successor).await;
        if restart == 2 {
            fresh.moves_to(successor).await;
            assert_eq!(seen(&mut fresh).await, OF_V2);
        }
        assert_eq!((seen(&mut parked).await, seen(&mut secure).await), (OF_V1.into(), OVER_TLS.into()));
        assert_eq!((seen(&mut awake).await, seen(&mut secure_awake).await), (OF_V2.into(), OF_V2.into()));
    }
}

/// A header that has come in part, or not at all, has to come in the successor, whose list is another one; and none is
/// asked for where none was owed.
#[tokio::test]
async fn what_a_connection_owes_does_not_change_with_the_list() {
    for restarts in [1, 2] {
        let stage = Stage::new().await;
        let (mut silent, mut liar) = (stage.plain(ONE, b"").await, stage.plain(ONE, b"").await);
        let mut half = stage.plain(ONE, &V2[..20]).await;
        let (mut client, mut believed) = (stage.plain(OTHER, b"").await, stage.plain(OTHER, b"").await);
        let mut half_of_request = stage.plain(OTHER, &get("/facts").as_bytes()[..9]).await;
        let mut successor = stage.app.first();
        for _ in 0..restarts {
            successor = stage.restart(OTHER).await;
        }
        silent.send(V1).await.expect("room");
        half.send(&V2[20..]).await.expect("room");
        for (mut client, expected) in [(silent, OF_V1), (half, OF_V2)] {
            let reply = client.get("/facts").await.expect("an answer");
            assert_eq!(words(&reply), expected);
            client.moves_to(successor.pid()).await;
        }
        assert_refused(&liar.get("/facts").await);
        assert_eq!(seen(&mut client).await, "127.0.0.3 http none");
        half_of_request.send(&get("/facts")[9..]).await.expect("room");
        assert_eq!(words(&half_of_request.reply().await.expect("an answer")), "127.0.0.3 http none");
        believed.send(V1).await.expect("room");
        assert_refused(&believed.get("/facts").await);
        // New connections follow the new list.
        assert_eq!(seen(&mut stage.plain(OTHER, V1).await).await, OF_V1);
        assert_refused(&stage.plain(OTHER, b"").await.get("/facts").await);
        assert_eq!(seen(&mut stage.plain(ONE, b"").await).await, "127.0.0.2 http none");
    }
}

/// The predecessor keeps what it knew. What only the successor has read is lost with it: the connection ends.
#[tokio::test]
async fn connections_come_back_from_a_dead_successor_with_their_client_or_not_at_all() {
    let stage = Stage::new().await;
    let mut known = stage.plain(ONE, V1).await;
    assert_eq!(seen(&mut known).await, OF_V1);
    let mut fresh = stage.plain(ONE, V2).await;
    fresh.pause(Duration::from_millis(100)).await;
    let (mut silent, mut liar) = (stage.plain(ONE, b"").await, stage.plain(ONE, b"").await);
    let (mut read, mut asked) = (stage.plain(ONE, b"").await, stage.plain(ONE, b"").await);
    let old = stage.app.first();
    let successor = stage.restart(ONE).await;
    known.moves_to(successor.pid()).await;
    // The successor reads these two headers.
    asked.send(V1).await.expect("room");
    assert_eq!(seen(&mut asked).await, OF_V1);
    asked.moves_to(successor.pid()).await;
    read.send(V1).await.expect("room");
    read.pause(Duration::from_millis(200)).await;
    eventually("the successor to sleep", || successor.is_asleep()).await;

    successor.signal(Signal::KILL);
    stage.app.log.find(0, 2 * PATIENCE, "a take-back", |line| line.contains("serves again")).await;
    stage.app.serves(&stage.target, &old).await;
    for (client, expected) in [(&mut known, OF_V1), (&mut fresh, OF_V2)] {
        let reply = client.get("/facts").await.expect("an answer");
        assert_eq!(words(&reply), expected);
        assert_eq!(client.get("/ping").await.expect("an answer").pid(), Some(old.pid()));
    }
    silent.send(V1).await.expect("room");
    assert_eq!(seen(&mut silent).await, OF_V1);
    assert_refused(&liar.get("/facts").await);
    for mut lost in [read, asked] {
        assert!(lost.get("/facts").await.is_err(), "no process knows its client");
    }
}

/// A successor of an earlier release would take the proxy for the client.
#[tokio::test]
async fn connections_stay_behind_if_the_successor_can_not_know_their_client() {
    let scratch = Scratch::new();
    let plan = format!("server web 127.0.0.1:0 proxy_protocol={ONE}");
    let launch = Launch::program(scratch.install(&bin("app"), "app")).plan(&scratch, &plan);
    let app = launch.env("GRACEHTTP_DRAIN_TIMEOUT", "3s").spawn();
    let address = app.address("web").await;
    let mut read = Client::over(connect(ONE, address, V1).await);
    assert_eq!(seen(&mut read).await, OF_V1);
    let mut silent = Client::over(connect(ONE, address, b"").await);
    // It needs no header, and leaves.
    let mut client = Client::over(connect(OTHER, address, b"").await);
    assert_eq!(seen(&mut client).await, "127.0.0.3 http none");
    scratch.install(&bin("impostor"), "app");
    scratch.write("plan", "impostor confirmer in version 6");
    let start = app.log.end();
    app.signal(Signal::USR2);
    app.log.line(start, "the confirmer has taken 1 connections").await;
    silent.send(V1).await.expect("room");
    for client in [&mut read, &mut silent] {
        let reply = client.get("/facts").await.expect("an answer");
        assert_eq!((words(&reply).as_str(), reply.closes()), (OF_V1, true));
    }
    assert_eq!(app.log.count(start, "has taken 2"), 0, "{}", app.log);
}
