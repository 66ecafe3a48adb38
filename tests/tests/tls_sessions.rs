//! TLS sessions outlive the process that began them: a client with a ticket of an earlier generation needs no full
//! handshake. They are for the server and the name that they were made for.

use std::net::SocketAddr;
use std::sync::Arc;

use tests::certificates::{Pair, leaf};
use tests::tls::{Authority, Identity};
use tests::{App, Client, Exit, Launch, Scratch, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, SupportedProtocolVersion,
};

const TLS: &str = "server tls 127.0.0.1:0 tls=self_signed";
const RESTARTS: usize = 10;

/// A client with a store for its own sessions.
struct Returning {
    connector: TlsConnector,
    version: ProtocolVersion,
}

impl Returning {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let config = tests::tls::config(&["http/1.1"], &[version]);
        Self { connector: TlsConnector::from(Arc::new(config)), version: version.version }
    }

    /// Connects once more, and returns the kind of the handshake and the pid of the answer.
    async fn visit(&self, app: &App) -> (HandshakeKind, u32) {
        let tcp = TcpStream::connect(app.address("tls").await).await.expect("a connection");
        let name = "localhost".try_into().expect("a name");
        let mut stream = self.connector.connect(name, tcp).await.expect("a handshake");
        stream
            .write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .expect("a request");
        // It reads to the end, since tickets of TLS 1.3 follow the handshake.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, and a proper end");
        let (_, pid) = answer.rsplit_once("pid:").unwrap_or_else(|| panic!("{answer}"));
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(self.version));
        (session.handshake_kind().expect("a finished handshake"), pid.parse().expect("a pid"))
    }
}

async fn start(scratch: &Scratch) -> App {
    let app = Launch::app(scratch, TLS).spawn();
    app.url("tls").await;
    app
}

async fn restart(app: &App) -> u32 {
    let successor = app.restart().await;
    app.serves(&app.target("tls").await, &successor).await;
    successor.pid()
}

#[tokio::test]
async fn case_51_tickets_stay_valid_over_ten_restarts() {
    for version in [&TLS13, &TLS12] {
        let scratch = Scratch::new();
        let app = start(&scratch).await;
        let clients: Vec<Returning> = (0..20).map(|_| Returning::new(version)).collect();
        for client in &clients {
            assert_eq!(client.visit(&app).await.0, HandshakeKind::Full, "a first visit");
        }
        let (mut offered, mut resumed) = (0, 0);
        for _ in 0..RESTARTS {
            let pid = restart(&app).await;
            for client in &clients {
                let (kind, answered) = client.visit(&app).await;
                assert_eq!(answered, pid);
                offered += 1;
                resumed += usize::from(kind == HandshakeKind::Resumed);
            }
        }
        println!("{:?}: {resumed} of {offered} sessions resumed over {RESTARTS} restarts", version.version);
        assert_eq!(resumed, offered);
        app.predecessors_leave_cleanly().await;
        assert_eq!(app.stop().await, Exit::Code(0));
    }
}

#[tokio::test]
async fn case_51_ticket_is_valid_two_generations_later() {
    for version in [&TLS13, &TLS12] {
        let scratch = Scratch::new();
        let app = start(&scratch).await;
        let (next, after_next) = (Returning::new(version), Returning::new(version));
        next.visit(&app).await;
        after_next.visit(&app).await;
        let second = restart(&app).await;
        assert_eq!(next.visit(&app).await, (HandshakeKind::Resumed, second));
        let third = restart(&app).await;
        assert_eq!(after_next.visit(&app).await, (HandshakeKind::Resumed, third), "from N to N+2");
        assert_eq!(next.visit(&app).await, (HandshakeKind::Resumed, third), "from N+1 to N+2");
    }
}

#[tokio::test]
async fn case_51_predecessor_resumes_sessions_after_its_successor_dies_in_standby() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, TLS).env("GRACEHTTP_STANDBY", "5s").start("tls").await;
    let old = app.first();
    let (before, during) = (Returning::new(&TLS13), Returning::new(&TLS13));
    before.visit(&app).await;
    let successor = app.restart().await;
    app.serves(&app.target("tls").await, &successor).await;
    assert_eq!(during.visit(&app).await.0, HandshakeKind::Full);
    successor.kill();
    app.serves(&app.target("tls").await, &old).await;
    assert_eq!(before.visit(&app).await, (HandshakeKind::Resumed, old.pid()));
    assert_eq!(during.visit(&app).await, (HandshakeKind::Resumed, old.pid()), "the successor's own ticket");
}

/// The first visit happens while the successor starts, and gets the predecessor's first ticket.
#[tokio::test]
async fn case_51_ticket_from_the_time_of_a_restart_is_valid() {
    let scratch = Scratch::new();
    let app = start(&scratch).await;
    scratch.write("plan", format!("{TLS}\nstart sleep 700"));
    let log = app.log.end();
    app.signal(Signal::USR2);
    app.log.line(log, "start-up code of pid").await;
    let client = Returning::new(&TLS13);
    assert_eq!(client.visit(&app).await, (HandshakeKind::Full, app.first().pid()));
    let successor = app.successor_since(log).await;
    app.serves(&app.target("tls").await, &successor).await;
    assert_eq!(client.visit(&app).await, (HandshakeKind::Resumed, successor.pid()));
}

/// A stop and a new start lose the keys, as they should: only the processes hold them.
#[tokio::test]
async fn ticket_of_another_application_needs_a_full_handshake() {
    let (here, there) = (Scratch::new(), Scratch::new());
    let (one, other) = (start(&here).await, start(&there).await);
    let client = Returning::new(&TLS13);
    client.visit(&one).await;
    assert_eq!(client.visit(&other).await.0, HandshakeKind::Full);
}

/// A store that offers the last session to every server, whatever its name.
#[derive(Debug)]
struct Careless(ClientSessionMemoryCache);

/// The one name under which all sessions are kept.
fn one_name() -> ServerName<'static> {
    "localhost".try_into().expect("a name")
}

impl ClientSessionStore for Careless {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(one_name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&one_name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(one_name(), session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&one_name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one_name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(one_name(), session);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one_name())
    }
}

/// A client that keeps its last session and offers it everywhere.
struct Wanderer(Arc<ClientConfig>);

impl Wanderer {
    fn new(version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> Self {
        let config = match identity {
            Some(identity) => identity.config(&["http/1.1"], version),
            None => Arc::new(tests::tls::config(&["http/1.1"], &[version])),
        };
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::store(Arc::new(Careless(ClientSessionMemoryCache::new(8))));
        Self(Arc::new(config))
    }

    /// Asks once. Returns the kind of the handshake, and the certificate. `None` if it is refused.
    async fn visit(&self, address: SocketAddr, name: &str) -> Option<(HandshakeKind, Vec<u8>)> {
        let stream = tests::tls::connect(address, &self.0, name).await.ok()?;
        let (kind, leaf) = (stream.get_ref().1.handshake_kind()?, leaf(&stream));
        // Tickets of TLS 1.3 follow the handshake.
        Client::over(stream).get("/ping").await.ok()?;
        Some((kind, leaf))
    }
}

/// RFC 6066 section 3, RFC 8446 section 4.2.11: a session is for the name that it was made for.
#[tokio::test]
async fn a_session_of_one_name_is_not_resumed_under_another_and_opens_no_strict_server() {
    for (version, is_strict) in [(&TLS12, false), (&TLS12, true), (&TLS13, false), (&TLS13, true)] {
        let scratch = Scratch::new();
        let (a, b) = (Pair::new(&["a.test", "*.a.test"]), Pair::new(&["b.test"]));
        let paths = [("a", &a), ("b", &b)].map(|(name, pair)| {
            let path = |file| scratch.join(name).join(file).display().to_string();
            pair.write(&scratch.join(name));
            format!("{}:{}", path("cert.pem"), path("key.pem"))
        });
        let app = Launch::app(&scratch, TLS)
            .env("GRACEHTTP_SERVER__TLS__TLS__CERTS", paths.join(", "))
            .env("GRACEHTTP_SERVER__TLS__TLS__SNI_STRICT", is_strict.to_string())
            .start("tls")
            .await;
        let address = app.address("tls").await;
        let default = (!is_strict).then_some(&a);
        // The session of `a.test` is offered under each of these names.
        for (name, shown) in [("b.test", Some(&b)), ("x.a.test", Some(&a)), ("c.test", default)] {
            let client = Wanderer::new(version, None);
            assert_eq!(client.visit(address, "a.test").await, Some((HandshakeKind::Full, a.der.clone())));
            assert_eq!(client.visit(address, "a.test").await, Some((HandshakeKind::Resumed, a.der.clone())));
            let seen = client.visit(address, name).await;
            assert_eq!(seen, shown.map(|pair| (HandshakeKind::Full, pair.der.clone())), "{name}");
        }
    }
}

/// Of two servers with the same certificate one asks for client certificates, and the other does not.
#[tokio::test]
async fn a_session_of_a_server_without_client_certificates_opens_none_with() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let pair = Pair::new(&["localhost"]);
    pair.write(scratch.path());
    let (cert, key) = (scratch.join("cert.pem"), scratch.join("key.pem"));
    let (cert, key) = (cert.display(), key.display());
    let plan = ["open", "closed"].map(|name| format!("server {name} 127.0.0.1:0 cert={cert} key={key}"));
    let app = Launch::app(&scratch, &plan.join("\n"))
        .env("GRACEHTTP_SERVER__CLOSED__TLS__CLIENT_CA", scratch.write("clients.pem", &authority.pem))
        .start("closed")
        .await;
    let (open, closed) = (app.address("open").await, app.address("closed").await);
    for version in [&TLS12, &TLS13] {
        let stranger = Wanderer::new(version, None);
        assert!(stranger.visit(open, "localhost").await.is_some());
        assert_eq!(stranger.visit(closed, "localhost").await, None);
        let alice = Wanderer::new(version, Some(&authority.issue("alice", 2, |_| {})));
        for (address, kind) in [
            (open, HandshakeKind::Full),
            (open, HandshakeKind::Resumed),
            (closed, HandshakeKind::Full),
            (closed, HandshakeKind::Resumed),
            (open, HandshakeKind::Full),
        ] {
            assert_eq!(alice.visit(address, "localhost").await, Some((kind, pair.der.clone())));
        }
    }
}
