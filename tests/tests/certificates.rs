//! Certificates that are renewed while their server runs: every handshake is made, every request answered.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::control::Stage;
use tests::patience::{PATIENCE, within};
use tests::{Launch, Scratch, Service, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind};
use tokio_rustls::{TlsConnector, rustls};

/// A certificate with its key, both in PEM.
struct Pair {
    cert: String,
    key: String,
    der: Vec<u8>,
}

impl Pair {
    fn new(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    fn with(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        change(&mut params);
        let made = params.self_signed(&key).expect("a certificate");
        Self { cert: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
    }

    /// Writes both files at their place.
    fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("writable");
        replace(&directory.join("cert.pem"), &self.cert);
        replace(&directory.join("key.pem"), &self.key);
    }
}

/// Replaces a file whole.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("writable");
    fs::rename(&new, path).expect("writable");
}

fn replace_link(path: &Path, target: &str) {
    let new = path.with_file_name("link to be");
    symlink(target, &new).expect("writable");
    fs::rename(&new, path).expect("writable");
}

/// A server whose certificate is in a directory of its own, and the change of how it is launched.
struct Served {
    service: Service,
    directory: PathBuf,
    _scratch: Scratch,
}

impl Served {
    async fn new(pair: &Pair) -> Self {
        Self::with(|directory| pair.write(directory), |launch| launch).await
    }

    async fn with(write: impl FnOnce(&Path), change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let directory = scratch.join("certificates");
        fs::create_dir(&directory).expect("writable");
        write(&directory);
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        let plan = format!("server web 127.0.0.1:0 cert={} key={}", cert.display(), key.display());
        Self { service: Service::with(&plan, change).await, directory, _scratch: scratch }
    }

    fn address(&self) -> SocketAddr {
        self.service.target.address()
    }

    /// Waits until new handshakes get this certificate.
    async fn presents(&self, pair: &Pair) {
        let presented = async {
            while shown(self.address(), "localhost").await.expect("a handshake") != pair.der {
                sleep(Duration::from_millis(10)).await;
            }
        };
        within(PATIENCE, "the renewed certificate", presented).await;
    }

    async fn logs(&self, part: &str) -> String {
        within(PATIENCE, part, self.service.app.log.line(0, part)).await
    }
}

fn any() -> Arc<ClientConfig> {
    Arc::new(tls::config(&["http/1.1"], ALL_VERSIONS))
}

async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(config.clone()).connect(name, tcp).await
}

/// The certificate that a client gets for this name.
async fn shown(address: SocketAddr, name: &str) -> io::Result<Vec<u8>> {
    let stream = connect(address, &any(), name).await?;
    Ok(leaf(&stream))
}

fn leaf(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

/// One request and its whole answer, without any retry. Returns whether the connection takes another one.
async fn ask(stream: &mut TlsStream<TcpStream>) -> io::Result<bool> {
    stream.write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if length.is_some_and(|length| body.len() >= length.parse::<usize>().expect("a length")) {
            return Ok(!head.to_ascii_lowercase().contains("connection: close"));
        }
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_that_of_new_handshakes_and_connections_and_tickets_live_on() {
    let (old, new) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let served = Served::new(&old).await;
    let mut streams = Vec::new();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(tls::config(&["http/1.1"], &[version]));
        let mut stream = connect(served.address(), &config, "localhost").await.expect("a handshake");
        assert_eq!(leaf(&stream), old.der);
        ask(&mut stream).await.expect("an answer");
        streams.push((stream, config));
    }
    new.write(&served.directory);
    served.presents(&new).await;
    let line = served.logs("new handshakes use the renewed certificate").await;
    assert!(line.contains("server `web`") && line.contains("cert.pem (key "), "{line}");
    for (mut stream, config) in streams {
        ask(&mut stream).await.expect("an answer on the connection of before");
        let mut again = connect(served.address(), &config, "localhost").await.expect("a handshake");
        assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        ask(&mut again).await.expect("an answer");
    }
}

/// certbot has a link for each file, Kubernetes one for all of them.
#[tokio::test]
async fn links_that_are_replaced_are_followed() {
    let pairs = [Pair::new(&["localhost"]), Pair::new(&["localhost"]), Pair::new(&["localhost"])];
    let quick = |launch: Launch| launch.env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "1h");
    let certbot = Served::with(
        |directory| {
            pairs[0].write(&directory.join("../archive/1"));
            for name in ["cert.pem", "key.pem"] {
                symlink(format!("../archive/1/{name}"), directory.join(name)).expect("writable");
            }
        },
        quick,
    )
    .await;
    for (number, pair) in [(2, &pairs[1]), (3, &pairs[2])] {
        pair.write(&certbot.directory.join(format!("../archive/{number}")));
        for name in ["cert.pem", "key.pem"] {
            replace_link(&certbot.directory.join(name), &format!("../archive/{number}/{name}"));
        }
        certbot.presents(pair).await;
    }

    let kubernetes = Served::with(
        |directory| {
            pairs[0].write(&directory.join("..1"));
            symlink("..1", directory.join("..data")).expect("writable");
            for name in ["cert.pem", "key.pem"] {
                symlink(format!("..data/{name}"), directory.join(name)).expect("writable");
            }
        },
        quick,
    )
    .await;
    for (number, pair) in [(2, &pairs[1]), (3, &pairs[2])] {
        pair.write(&kubernetes.directory.join(format!("..{number}")));
        replace_link(&kubernetes.directory.join("..data"), &format!("..{number}"));
        fs::remove_dir_all(kubernetes.directory.join(format!("..{}", number - 1))).expect("writable");
        kubernetes.presents(pair).await;
    }
}

/// Whoever makes a directory anew, or puts another one in its place, replaces what is watched, too.
#[tokio::test]
async fn directories_that_are_replaced_are_followed() {
    let pairs: Vec<_> = (0..5).map(|_| Pair::new(&["localhost"])).collect();
    let slow = |launch: Launch| launch.env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "1h");
    let served = Served::with(|directory| pairs[0].write(directory), slow).await;
    let directory = &served.directory;
    fs::remove_dir_all(directory).expect("writable");
    sleep(Duration::from_millis(300)).await;
    pairs[1].write(directory);
    served.presents(&pairs[1]).await;
    pairs[2].write(directory);
    served.presents(&pairs[2]).await;
    let other = directory.with_file_name("other");
    pairs[3].write(&other);
    fs::rename(directory, directory.with_file_name("former")).expect("writable");
    fs::rename(&other, directory).expect("writable");
    served.presents(&pairs[3]).await;
    pairs[4].write(directory);
    served.presents(&pairs[4]).await;
}

/// What is no file could be read, or waited for, without end. Then nothing would be renewed any more.
#[tokio::test]
async fn a_pipe_a_device_or_a_huge_file_in_place_of_a_certificate_is_a_fault_and_no_wait() {
    let (old, new) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let served = Served::new(&old).await;
    let cert = served.directory.join("cert.pem");
    let put = |what: &str| {
        let other = cert.with_extension("other");
        match what {
            "pipe" => {
                let made = std::process::Command::new("mkfifo").arg(&other).status().expect("a program");
                assert!(made.success());
            }
            "device" => symlink("/dev/zero", &other).expect("writable"),
            _ => fs::File::create(&other).and_then(|file| file.set_len(64 << 20)).expect("writable"),
        }
        fs::rename(&other, &cert).expect("writable");
    };
    for (what, reason) in [("pipe", "a pipe"), ("device", "a device"), ("huge", "longer than 16 MiB")] {
        let start = served.service.app.log.end();
        put(what);
        within(PATIENCE, what, served.service.app.log.line(start, reason)).await;
        let pair = if what == "device" { &old } else { &new };
        pair.write(&served.directory);
        served.presents(pair).await;
    }
}

/// One flaw does not excuse another.
#[tokio::test]
async fn a_certificate_with_a_flaw_is_replaced_by_none_with_another_flaw() {
    let (other, next) = (Pair::new(&["elsewhere.test"]), Pair::new(&["localhost"]));
    let mut old = Pair::with(&["localhost"], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "out of order");
    });
    old.cert += &other.cert;
    let expired = Pair::with(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2001, 2, 3));
    let served = Served::new(&old).await;
    expired.write(&served.directory);
    let line = served.logs("stays in use").await;
    assert!(line.contains("it expired at 2001-02-03"), "{line}");
    assert_eq!(shown(served.address(), "localhost").await.expect("a handshake"), old.der);
    next.write(&served.directory);
    served.presents(&next).await;
}

/// A file that changes over another of its names: the directory tells nothing of it, as on a network file system.
#[tokio::test]
async fn a_change_that_no_directory_tells_of_is_found_after_the_interval() {
    let (old, new) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let served = Served::with(
        |directory| old.write(directory),
        |launch| launch.env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "200ms"),
    )
    .await;
    let elsewhere = served.directory.join("../elsewhere");
    fs::create_dir(&elsewhere).expect("writable");
    for (name, text) in [("cert.pem", &new.cert), ("key.pem", &new.key)] {
        fs::hard_link(served.directory.join(name), elsewhere.join(name)).expect("writable");
        fs::write(elsewhere.join(name), text).expect("writable");
    }
    served.presents(&new).await;
}

#[tokio::test]
async fn of_a_pair_that_is_half_replaced_the_one_before_stays_and_it_is_told_once() {
    let (old, new, last) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let served = Served::with(
        |directory| old.write(directory),
        |launch| launch.env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "100ms"),
    )
    .await;
    let log = &served.service.app.log;
    replace(&served.directory.join("cert.pem"), &new.cert);
    let told = "the key does not belong to the certificate";
    let line = served.logs(told).await;
    assert!(line.ends_with("; what was there before stays in use"), "{line}");
    assert_eq!(shown(served.address(), "localhost").await.expect("a handshake"), old.der);
    // Several more looks.
    sleep(Duration::from_secs(1)).await;
    served.service.app.catch_up().await;
    assert_eq!(log.count(0, told), 1, "{log}");
    replace(&served.directory.join("key.pem"), &new.key);
    served.presents(&new).await;

    // One that is worse than the present one is not taken, either.
    let expired = Pair::with(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2001, 2, 3));
    expired.write(&served.directory);
    let line = served.logs("it expired at 2001-02-03").await;
    assert!(line.contains("stays in use"), "{line}");
    fs::remove_file(served.directory.join("key.pem")).expect("writable");
    served.logs("key.pem does not exist").await;
    assert_eq!(shown(served.address(), "localhost").await.expect("a handshake"), new.der);
    last.write(&served.directory);
    served.presents(&last).await;
}

#[tokio::test]
async fn a_command_has_certificates_read_again_and_says_how_that_went() {
    let scratch = Scratch::new();
    let pair = Pair::new(&["localhost"]);
    pair.write(scratch.path());
    let stage = Stage::with(|launch| {
        launch
            .env("GRACEHTTP_SERVER__WEB__TLS__CERT", scratch.join("cert.pem"))
            .env("GRACEHTTP_SERVER__WEB__TLS__KEY", scratch.join("key.pem"))
            .env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "0s")
    })
    .await;
    let told = stage.run(&["reload-certs"]).await.succeeded();
    assert!(told.contains("cert.pem") && told.contains("is unchanged"), "{told}");

    let new = Pair::new(&["localhost"]);
    replace(&scratch.join("cert.pem"), &new.cert);
    let told = stage.run(&["reload-certs"]).await.failed();
    assert!(told.contains("the key does not belong to the certificate"), "{told}");
    assert_eq!(shown(stage.web.address(), "localhost").await.expect("a handshake"), pair.der);

    replace(&scratch.join("key.pem"), &new.key);
    let told = stage.run(&["reload-certs"]).await.succeeded();
    assert!(told.contains("new handshakes use the renewed certificate"), "{told}");
    assert_eq!(shown(stage.web.address(), "localhost").await.expect("a handshake"), new.der);
}

#[tokio::test]
async fn a_server_without_certificates_has_none_to_reload() {
    let stage = Stage::new().await;
    let told = stage.run(&["reload-certs"]).await.failed();
    assert!(told.contains("no server has certificates"), "{told}");
}

#[tokio::test]
async fn several_certificates_are_chosen_by_name_and_each_is_renewed_for_itself() {
    let scratch = Scratch::new();
    let (a, b) = (Pair::new(&["a.test"]), Pair::new(&["b.test", "*.b.test"]));
    a.write(&scratch.join("a"));
    b.write(&scratch.join("b"));
    let place = |name: &str| {
        let directory = scratch.join(name);
        format!("{}:{}", directory.join("cert.pem").display(), directory.join("key.pem").display())
    };
    let certs = format!("{}, {}", place("a"), place("b"));
    let service = Service::with("server web 127.0.0.1:0", |launch| {
        launch
            .env("GRACEHTTP_SERVER__WEB__TLS__CERTS", &certs)
            .env("GRACEHTTP_SERVER__WEB__TLS__SNI_STRICT", "true")
    })
    .await;
    let address = service.target.address();
    for (name, pair) in [("a.test", &a), ("b.test", &b), ("x.b.test", &b), ("127.0.0.1", &a)] {
        assert_eq!(shown(address, name).await.expect("a handshake"), pair.der, "{name}");
    }
    for name in ["c.test", "x.x.b.test"] {
        let error = shown(address, name).await.unwrap_err();
        let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let expected = rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName);
        assert_eq!(alert, Some(&expected), "{name}");
    }
    let new = Pair::new(&["b.test", "c.test"]);
    fs::write(scratch.join("a/cert.pem"), "nonsense").expect("writable");
    new.write(&scratch.join("b"));
    let renewed = async {
        while shown(address, "c.test").await.ok().as_ref() != Some(&new.der) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(PATIENCE, "the renewed certificate", renewed).await;
    assert_eq!(shown(address, "a.test").await.expect("a handshake"), a.der);
    within(PATIENCE, "a fault", service.app.log.line(0, "holds no certificate")).await;
}

#[tokio::test]
async fn versions_and_suites_are_chosen_by_key() {
    let pair = Pair::new(&["localhost"]);
    let served = Served::with(
        |directory| pair.write(directory),
        |launch| {
            launch
                .env("GRACEHTTP_SERVER__WEB__TLS__MIN_VERSION", "1.3")
                .env("GRACEHTTP_SERVER__WEB__TLS__CIPHER_SUITES", "TLS_CHACHA20_POLY1305_SHA256")
                .env("GRACEHTTP_SERVER__WEB__TLS__CURVES", "secp384r1")
        },
    )
    .await;
    let old = Arc::new(tls::config(&["http/1.1"], &[&TLS12]));
    assert!(connect(served.address(), &old, "localhost").await.is_err());
    let stream = connect(served.address(), &any(), "localhost").await.expect("a handshake");
    let session = stream.get_ref().1;
    let suite = session.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let group = session.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(group, rustls::NamedGroup::secp384r1);
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_told() {
    let soon = std::time::SystemTime::now() + Duration::from_secs(2 * 24 * 3600 + 3600);
    let pair = Pair::with(&["localhost", "b.test"], |params| params.not_after = soon.into());
    let served = Served::new(&pair).await;
    let line = served.logs("the certificate for localhost, b.test expires in").await;
    assert!(line.contains("expires in 2 days"), "{line}");
}

/// How often the races are run: some times by default, and a hundred times if asked for.
fn rounds(few: u64) -> u64 {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { 100 } else { few }
}

/// Clients that make a new connection for each few requests, and never retry.
struct Load {
    clients: JoinSet<()>,
    is_over: Arc<AtomicBool>,
    handshakes: Arc<AtomicU64>,
}

impl Load {
    fn new(address: SocketAddr, count: usize) -> Self {
        let (is_over, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for number in 0..count {
            let (is_over, handshakes) = (is_over.clone(), handshakes.clone());
            let version = [&TLS12, &TLS13][number % 2];
            clients.spawn(async move {
                // Half of them resume their sessions.
                let shared = Arc::new(tls::config(&["http/1.1"], &[version]));
                while !is_over.load(Ordering::Relaxed) {
                    let config = match number / 2 % 2 {
                        0 => shared.clone(),
                        _ => Arc::new(tls::config(&["http/1.1"], &[version])),
                    };
                    let mut stream = connect(address, &config, "localhost").await.expect("a handshake");
                    handshakes.fetch_add(1, Ordering::Relaxed);
                    for _ in 0..3 {
                        if !ask(&mut stream).await.expect("an answer") {
                            break;
                        }
                    }
                }
            });
        }
        Self { clients, is_over, handshakes }
    }

    /// Ends it. Every client has had all its answers.
    async fn end(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no failure");
        }
        self.handshakes.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_fail_no_handshake_and_lose_no_request() {
    let served = Served::new(&Pair::new(&["localhost"])).await;
    let load = Load::new(served.address(), 8);
    let begun = Instant::now();
    for _ in 0..rounds(10) {
        let pair = Pair::new(&["localhost"]);
        pair.write(&served.directory);
        served.presents(&pair).await;
    }
    let handshakes = load.end().await;
    eprintln!("{} renewals, {handshakes} handshakes in {:?}, no failure", rounds(10), begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_and_a_restart_at_the_same_moment_fail_nothing() {
    let served = Served::new(&Pair::new(&["localhost"])).await;
    let load = Load::new(served.address(), 4);
    let begun = Instant::now();
    for round in 0..rounds(4) {
        let pair = Pair::new(&["localhost"]);
        // The two files are replaced at different times of the start.
        let pause = Duration::from_millis(round * 7 % 40);
        let write = async {
            sleep(pause).await;
            replace(&served.directory.join("cert.pem"), &pair.cert);
            sleep(pause / 2).await;
            replace(&served.directory.join("key.pem"), &pair.key);
        };
        let (successor, ()) = tokio::join!(served.service.app.restart(), write);
        served.service.app.serves(&served.service.target, &successor).await;
        served.presents(&pair).await;
    }
    let handshakes = load.end().await;
    eprintln!("{} restarts, {handshakes} handshakes in {:?}, no failure", rounds(4), begun.elapsed());
}
