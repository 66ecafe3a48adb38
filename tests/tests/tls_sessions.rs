//! TLS sessions outlive the process that began them: a client with a ticket of an earlier generation needs no full
//! handshake.

use std::sync::Arc;

use tests::{App, Exit, Launch, Scratch, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion, SupportedProtocolVersion};

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
