//! Connections with client certificates in restarts: each keeps the identity of its client, and loses it, or ends, where the
//! next generation would not accept it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tests::access::AccessLog;
use tests::client::{Pause, get, get_once};
use tests::control::Stage;
use tests::patience::{PATIENCE, eventually, within};
use tests::process::bin;
use tests::tls::{self, Authority, Identity};
use tests::{Client, Generation, Launch, Scratch, Signal, Target};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

type Visitor = Client<TlsStream<TcpStream>>;

/// A server whose file may change from one generation to the next. Only a restart has it read again.
struct Served {
    stage: Stage,
    scratch: Scratch,
}

/// What the file says of clients.
fn file(scratch: &Scratch, clients: &str) -> String {
    let path = |name: &str| scratch.join(name).display().to_string();
    let pair = format!("cert = \"{}\"\nkey = \"{}\"\n", path("server.pem"), path("server.key"));
    let clients = clients.replace("clients.", &path("clients."));
    let log = path("access.log");
    format!(
        "[server.web]\naccess_log = \"json\"\naccess_log_to = \"{log}\"\naccess_log_handshakes = true\n\
         [server.web.tls]\nreload_interval = \"0s\"\n{pair}{clients}\n"
    )
}

const REQUIRED: &str = "client_ca = \"clients.pem\"";
const OPTIONAL: &str = "client_ca = \"clients.pem\"\nclient_auth = \"optional\"";
const LISTED: &str = "client_ca = \"clients.pem\"\nclient_crl = \"clients.crl\"";

impl Served {
    async fn new(authorities: &[&Authority], clients: &str) -> Self {
        let scratch = Scratch::new();
        scratch.certificate("server");
        Self::trust(&scratch, authorities);
        if let Some(first) = authorities.first() {
            scratch.write("clients.crl", first.list(&[]));
        }
        let config: PathBuf = scratch.write("app.toml", file(&scratch, clients));
        let stage = Stage::with(|launch| {
            launch.env("GRACEHTTP_CONFIG", config).env("GRACEHTTP_ADMIN", "127.0.0.1:0")
        })
        .await;
        Self { stage, scratch }
    }

    fn trust(scratch: &Scratch, authorities: &[&Authority]) {
        let all: Vec<&str> = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        scratch.write("clients.pem", all.concat());
    }

    /// The next generation has this file.
    async fn restart(&self, clients: &str) -> Arc<Generation> {
        self.scratch.write("app.toml", file(&self.scratch, clients));
        self.stage.app.restart().await
    }

    fn address(&self) -> SocketAddr {
        self.stage.web.address()
    }

    async fn visitor(&self, version: &'static SupportedProtocolVersion, who: Option<&Identity>) -> Visitor {
        let config = match who {
            Some(identity) => identity.config(&["http/1.1"], version),
            None => Arc::new(tls::config(&["http/1.1"], &[version])),
        };
        Client::over(tls::connect(self.address(), &config, "localhost").await.expect("a handshake"))
    }

    /// One for each version.
    async fn visitors(&self, who: Option<&Identity>, subject: &str) -> Vec<Visitor> {
        let mut visitors = Vec::new();
        for version in VERSIONS {
            let mut visitor = self.visitor(version, who).await;
            assert_eq!(seen(&mut visitor).await.0, subject);
            visitors.push(visitor);
        }
        visitors
    }

    /// How many connections are parked.
    async fn parked(&self) -> u64 {
        let status: Value =
            serde_json::from_str(&self.stage.run(&["status", "--json"]).await.succeeded()).expect("JSON");
        status["servers"][0]["connections"]["parked"].as_u64().expect("a number")
    }

    async fn metric(&self, sample: &str) -> u64 {
        let line = self.stage.app.log.line(0, "status page on ").await;
        let url = line.split("status page on ").nth(1).and_then(|url| url.split_whitespace().next());
        let text =
            get_once(&Target::from_url(url.expect("a URL")), "/metrics").await.expect("metrics").text();
        let line = text.lines().find(|line| line.starts_with(sample));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    }
}

/// Who the handler says that the client is, and its process.
async fn seen(visitor: &mut Visitor) -> (String, u32) {
    let reply = visitor.get("/facts").await.expect("an answer");
    assert!(!reply.closes(), "{reply:?}");
    (reply.header("client-subject").expect("a field").to_owned(), reply.pid().expect("a pid"))
}

/// They get no further answer, and a close in order.
async fn are_closed(visitors: Vec<Visitor>) {
    for mut visitor in visitors {
        assert_eq!(visitor.pause(PATIENCE).await, Pause::Closed);
    }
}

/// They move, and their client is the same.
async fn are_in(visitors: &mut [Visitor], successor: &Generation, subject: &str) {
    for visitor in visitors {
        visitor.moves_to(successor.pid()).await;
        assert_eq!(seen(visitor).await, (subject.to_owned(), successor.pid()));
    }
}

#[tokio::test]
async fn connections_park_and_move_with_the_identity_of_their_client() {
    let authority = Authority::new();
    let served = Served::new(&[&authority], REQUIRED).await;
    let alice = authority.issue("alice", 2, |_| {});
    let bob = authority.intermediate("department").issue("bob", 3, |_| {});
    let mut alices = served.visitors(Some(&alice), "CN=alice").await;
    let mut bobs = served.visitors(Some(&bob), "CN=bob").await;
    while served.parked().await != 4 {
        sleep(Duration::from_millis(10)).await;
    }
    // Woken from there, they are the same.
    for (visitors, subject) in [(&mut alices, "CN=alice"), (&mut bobs, "CN=bob")] {
        for visitor in visitors {
            assert_eq!(seen(visitor).await.0, subject);
        }
    }
    for restart in 1..=2 {
        // These are awake when the restart comes.
        let mut awake = served.visitors(Some(&bob), "CN=bob").await;
        for visitor in &mut awake {
            visitor.send(get("/slow?ms=300")).await.expect("room");
        }
        eventually("both handlers", || served.stage.app.log.count(0, "slow begins") == 2 * restart).await;
        let successor = served.restart(REQUIRED).await;
        for visitor in &mut awake {
            assert!(!visitor.reply().await.expect("an answer").closes());
        }
        are_in(&mut awake, &successor, "CN=bob").await;
        are_in(&mut alices, &successor, "CN=alice").await;
        are_in(&mut bobs, &successor, "CN=bob").await;
    }
    served.stage.app.predecessors_leave_cleanly().await;
}

/// How many restarts there are: some by default, and a hundred if asked for.
fn rounds() -> usize {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { 100 } else { 6 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_is_ever_taken_for_another_one() {
    let authority = Authority::new();
    let served = Served::new(&[&authority], OPTIONAL).await;
    let mut clients = JoinSet::new();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for number in 0..32_u64 {
        // Each fourth is nobody. Each name has connections of its own, so that equal chains are shared, too.
        let name = format!("client-{}", number / 2);
        let is_known = number % 8 < 6;
        let identity = authority.issue(&name, number + 2, |_| {});
        let mut visitor = served.visitor(VERSIONS[number as usize % 2], is_known.then_some(&identity)).await;
        let expected = if is_known { format!("CN={name}") } else { "none".to_owned() };
        let over = over.clone();
        clients.spawn(async move {
            let mut answered_by = std::collections::BTreeSet::new();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let (told, pid) = seen(&mut visitor).await;
                assert_eq!(told, expected);
                answered_by.insert(pid);
                // Long enough to park now and then.
                sleep(Duration::from_millis(number * 7 % 60)).await;
            }
            answered_by.len()
        });
    }
    for _ in 0..rounds() {
        let successor = served.restart(OPTIONAL).await;
        served.stage.app.serves(&served.stage.web, &successor).await;
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    while let Some(generations) = clients.join_next().await {
        assert!(generations.expect("one identity") >= rounds() / 2);
    }
}

#[tokio::test]
async fn a_successor_with_other_authorities_takes_only_whom_they_vouch_for() {
    let (old, new) = (Authority::new(), Authority::new());
    let served = Served::new(&[&old, &new], REQUIRED).await;
    let alices = served.visitors(Some(&old.issue("alice", 2, |_| {})), "CN=alice").await;
    let mut bobs = served.visitors(Some(&new.issue("bob", 2, |_| {})), "CN=bob").await;
    // Her request is under way: it is answered where it began, and no further one is.
    let mut asking = served.visitors(Some(&old.issue("carol", 3, |_| {})), "CN=carol").await;
    for visitor in &mut asking {
        visitor.send(get("/slow?ms=300")).await.expect("room");
    }
    eventually("both handlers", || served.stage.app.log.count(0, "slow begins") == 2).await;
    Served::trust(&served.scratch, &[&new]);
    let successor = served.restart(REQUIRED).await;
    are_in(&mut bobs, &successor, "CN=bob").await;
    for visitor in &mut asking {
        visitor.reply().await.expect("an answer");
    }
    are_closed(alices).await;
    are_closed(asking).await;
    let refused = "gracehttp_failed_tls_handshakes_total{server=\"web\",reason=\"certificate\"}";
    assert_eq!(served.metric(refused).await, 4);
}

#[tokio::test]
async fn a_client_that_was_revoked_meanwhile_does_not_move() {
    let authority = Authority::new();
    let served = Served::new(&[&authority], LISTED).await;
    let mut alices = served.visitors(Some(&authority.issue("alice", 2, |_| {})), "CN=alice").await;
    let bobs = served.visitors(Some(&authority.issue("bob", 3, |_| {})), "CN=bob").await;
    served.scratch.write("clients.crl", authority.list(&[3]));
    let successor = served.restart(LISTED).await;
    are_in(&mut alices, &successor, "CN=alice").await;
    are_closed(bobs).await;
    // The log says why.
    let log = AccessLog::at(served.scratch.join("access.log"));
    let refused = || log.lines().iter().filter(|line| line["tls_failure"] == "certificate_revoked").count();
    eventually("a line of each connection that was refused", || refused() == VERSIONS.len()).await;
    // Without a list that is up to date no one can say who is revoked.
    served.scratch.write("clients.crl", authority.list_until(tests::tls::year(2021), &[]));
    served.restart(LISTED).await;
    are_closed(alices).await;
}

#[tokio::test]
async fn a_client_whose_certificate_has_expired_meanwhile_does_not_move() {
    let authority = Authority::new();
    let served = Served::new(&[&authority], REQUIRED).await;
    let mut alices = served.visitors(Some(&authority.issue("alice", 2, |_| {})), "CN=alice").await;
    // Certificates have whole seconds.
    let expires = SystemTime::now() + Duration::from_secs(3);
    let bob = authority.issue("bob", 3, |params| params.not_after = expires.into());
    let mut bobs = served.visitors(Some(&bob), "CN=bob").await;
    let over = expires + Duration::from_secs(1);
    sleep(over.duration_since(SystemTime::now()).unwrap_or_default()).await;
    // What is open stays open, parked or not.
    for bob in &mut bobs {
        assert_eq!(seen(bob).await.0, "CN=bob");
    }
    let successor = served.restart(REQUIRED).await;
    are_in(&mut alices, &successor, "CN=alice").await;
    are_closed(bobs).await;
}

#[tokio::test]
async fn where_certificates_become_required_only_connections_that_have_one_move() {
    let authority = Authority::new();
    let alice = authority.issue("alice", 2, |_| {});
    let served = Served::new(&[&authority], OPTIONAL).await;
    let mut alices = served.visitors(Some(&alice), "CN=alice").await;
    let nobodies = served.visitors(None, "none").await;
    let mut asking = served.visitors(None, "none").await;
    for visitor in &mut asking {
        visitor.send(get("/slow?ms=300")).await.expect("room");
    }
    eventually("both handlers", || served.stage.app.log.count(0, "slow begins") == 2).await;
    let successor = served.restart(REQUIRED).await;
    are_in(&mut alices, &successor, "CN=alice").await;
    for visitor in &mut asking {
        assert!(visitor.reply().await.expect("an answer").closes(), "it hears that the connection ends");
    }
    are_closed(asking).await;
    are_closed(nobodies).await;
    served.stage.app.predecessors_leave_cleanly().await;
}

/// No one could have shown a certificate.
#[tokio::test]
async fn where_certificates_are_asked_for_first_no_connection_is_taken_for_one_with() {
    let authority = Authority::new();
    let served = Served::new(&[&authority], "").await;
    let alice = authority.issue("alice", 2, |_| {});
    let visitors = served.visitors(Some(&alice), "none").await;
    served.restart(REQUIRED).await;
    are_closed(visitors).await;
}

#[tokio::test]
async fn where_certificates_are_asked_for_no_more_connections_go_on_without_identity() {
    let authority = Authority::new();
    let served = Served::new(&[&authority], REQUIRED).await;
    let mut alices = served.visitors(Some(&authority.issue("alice", 2, |_| {})), "CN=alice").await;
    let successor = served.restart("").await;
    are_in(&mut alices, &successor, "none").await;
    // Nor is one back by a further restart.
    let third = served.restart(OPTIONAL).await;
    are_in(&mut alices, &third, "none").await;
}

/// A successor of an earlier release would take the client for one without a certificate.
#[tokio::test]
async fn connections_stay_behind_if_the_successor_can_not_know_who_the_client_is() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let (cert, key) = scratch.certificate("server");
    let ca = scratch.write("clients.pem", &authority.pem);
    let plan = format!("server web 127.0.0.1:0 cert={} key={}", cert.display(), key.display());
    let launch = Launch::program(scratch.install(&bin("app"), "app")).plan(&scratch, &plan);
    let launch = launch.env("GRACEHTTP_DRAIN_TIMEOUT", "3s").env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CA", ca);
    let app = launch.env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_AUTH", "optional").spawn();
    let address = app.address("web").await;
    let alice = authority.issue("alice", 2, |_| {});
    let visitor = async |config| {
        let stream = tls::connect(address, &config, "localhost").await.expect("a handshake");
        let mut visitor = Client::over(stream);
        let who = seen(&mut visitor).await.0;
        (visitor, who)
    };
    let (mut known, who) = visitor(alice.config(&["http/1.1"], &TLS13)).await;
    assert_eq!(who, "CN=alice");
    let (_unknown, who) = visitor(Arc::new(tls::config(&["http/1.1"], &[&TLS13]))).await;
    assert_eq!(who, "none");
    scratch.install(&bin("impostor"), "app");
    scratch.write("plan", "impostor confirmer in version 6");
    let start = app.log.end();
    app.signal(Signal::USR2);
    app.log.line(start, "the confirmer has taken 1 connections").await;
    let reply = known.get("/facts").await.expect("an answer");
    assert_eq!((reply.header("client-subject"), reply.closes()), (Some("CN=alice"), true));
    assert_eq!(app.log.count(start, "has taken 2"), 0, "{}", app.log);
}

/// Beyond 16 KiB it is not kept: its connection stays awake, and ends in order.
#[tokio::test]
async fn a_connection_with_a_very_long_chain_is_served_and_ends_in_order() {
    let authority = Authority::new();
    let served = Served::new(&[&authority], REQUIRED).await;
    let mut alice = authority.issue("alice", 2, |_| {});
    let other = Authority::new();
    while alice.chain.iter().map(|certificate| certificate.len()).sum::<usize>() < 17 << 10 {
        alice.chain.push(other.der().clone());
    }
    let visitors = served.visitors(Some(&alice), "CN=alice").await;
    served.restart(REQUIRED).await;
    within(PATIENCE, "the end", are_closed(visitors)).await;
    served.stage.app.predecessors_leave_cleanly().await;
}

/// HTTP/2 connections do not move: they end as the protocol provides, and each request was of the same client.
#[tokio::test]
async fn an_http2_connection_keeps_its_client_to_its_end() {
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let authority = Authority::new();
    let served = Served::new(&[&authority], REQUIRED).await;
    let alice = authority.issue("alice", 2, |_| {}).config(&["h2"], &TLS13);
    let mut generations = Vec::new();
    for round in 0..2 {
        let stream = tls::connect(served.address(), &alice, "localhost").await.expect("a handshake");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        let connection = tokio::spawn(connection);
        for _ in 0..3 {
            let request = http::Request::get("https://localhost/facts").body(Empty::<bytes::Bytes>::new());
            let response = sender.send_request(request.expect("a request")).await.expect("an answer");
            assert_eq!(response.headers()["client-subject"], "CN=alice");
            generations.push(response.into_body().collect().await.expect("a body").to_bytes());
        }
        if round == 0 {
            served.restart(REQUIRED).await;
            within(PATIENCE, "GOAWAY", connection).await.expect("a task").expect("an end in order");
        }
    }
    generations.dedup();
    assert_eq!(generations.len(), 2, "each generation has answered");
}
