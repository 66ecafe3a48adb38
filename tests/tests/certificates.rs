//! Certificates that are renewed while their server runs: every handshake is made, every request answered.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tests::certificates::{Pair, Served, leaf, replace, shown};
use tests::client::get_once;
use tests::control::Stage;
use tests::patience::{PATIENCE, within};
use tests::{Client, Launch, Scratch, Target, tls};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::version::{TLS12, TLS13};

fn replace_link(path: &Path, target: &str) {
    let new = path.with_file_name("link to be");
    symlink(target, &new).expect("writable");
    fs::rename(&new, path).expect("writable");
}

#[tokio::test]
async fn a_renewed_certificate_is_that_of_new_handshakes_and_connections_and_tickets_live_on() {
    let (old, new) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let served = Served::new(&old).await;
    let mut clients = Vec::new();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(tls::config(&["http/1.1"], &[version]));
        let stream = tls::connect(served.address(), &config, "localhost").await.expect("a handshake");
        assert_eq!(leaf(&stream), old.der);
        let mut client = Client::over(stream);
        client.get("/ping").await.expect("an answer");
        clients.push((client, config));
    }
    new.write(&served.directory);
    served.presents(&new).await;
    let line = served.logs("new handshakes use the renewed certificate").await;
    assert!(line.contains("server `web`") && line.contains("cert.pem (key "), "{line}");
    for (mut client, config) in clients {
        client.get("/ping").await.expect("an answer on the connection of before");
        let again = tls::connect(served.address(), &config, "localhost").await.expect("a handshake");
        assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        Client::over(again).get("/ping").await.expect("an answer");
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

/// A program that replaces them without end does not make the process read them without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_replaced_again_and_again_are_read_when_they_are_left_alone_or_once_a_second() {
    let pairs = [Pair::new(&["localhost"]), Pair::new(&["localhost"])];
    let served = Served::new(&pairs[0]).await;
    let (begun, mut last, mut pauses) = (Instant::now(), Instant::now(), 0);
    for pair in pairs.iter().cycle() {
        for (name, text) in [("cert.pem", &pair.cert), ("key.pem", &pair.key)] {
            replace(&served.directory.join(name), text);
            pauses += u128::from(last.elapsed() > Duration::from_millis(40));
            last = Instant::now();
        }
        if begun.elapsed() > Duration::from_secs(2) {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let most = begun.elapsed().as_millis() / 1000 + 1 + pauses;
    served.service.app.catch_up().await;
    let renewals = served.service.app.log.count(0, "new handshakes use the renewed certificate") as u128;
    assert!(renewals <= most, "{renewals} renewals, at most {most}");
    pairs[0].write(&served.directory);
    served.presents(&pairs[0]).await;
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
    // Two faults are one message.
    fs::remove_file(served.directory.join("cert.pem")).expect("writable");
    let line = served.logs("cert.pem does not exist").await;
    assert!(line.contains("key.pem does not exist") && line.ends_with("stays in use"), "{line}");
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

/// Programs read why a pair is not used.
#[tokio::test]
async fn a_json_log_has_the_outcome_and_the_reason() {
    let pair = Pair::new(&["localhost"]);
    let json = |launch: Launch| launch.env("GRACEHTTP_LOG_FORMAT", "json");
    let served = Served::with(|directory| pair.write(directory), json).await;
    replace(&served.directory.join("key.pem"), "nonsense");
    let line = served.logs("\"outcome\":\"kept\"").await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let reason = line["reason"].as_str().unwrap_or_else(|| panic!("no reason: {line}"));
    assert!(reason.contains("key.pem holds no private key") && !reason.contains("stays in use"), "{reason}");
    Pair::new(&["localhost"]).write(&served.directory);
    let line = served.logs("\"outcome\":\"renewed\"").await;
    assert!(line.contains("\"event\":\"certificate_reloaded\"") && !line.contains("\"reason\""), "{line}");
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_told() {
    let soon = SystemTime::now() + Duration::from_secs(2 * 24 * 3600 + 3600);
    let pair = Pair::with(&["localhost", "b.test"], |params| params.not_after = soon.into());
    let served = Served::new(&pair).await;
    let line = served.logs("the certificate for localhost, b.test expires in").await;
    assert!(line.contains("expires in 2 days"), "{line}");
}

/// The samples of a metric, each with its value.
async fn samples(served: &Served, metric: &str) -> Vec<String> {
    let line = served.logs("status page on ").await;
    let url = line.split("status page on ").nth(1).and_then(|url| url.split_whitespace().next());
    let text = get_once(&Target::from_url(url.expect("a URL")), "/metrics").await.expect("metrics").text();
    text.lines().filter(|line| line.starts_with(metric)).map(str::to_owned).collect()
}

#[tokio::test]
async fn metrics_have_the_end_of_the_certificate_and_count_renewals() {
    let pair_until = |year| Pair::with(&["localhost"], |p| p.not_after = rcgen::date_time_ymd(year, 1, 1));
    let (old, new) = (pair_until(2040), pair_until(2041));
    let change = |launch: Launch| {
        launch
            .env("GRACEHTTP_ADMIN", "127.0.0.1:0")
            .env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "50ms")
    };
    let served = Served::with(|directory| old.write(directory), change).await;
    let end = |year| rcgen::date_time_ymd(year, 1, 1).unix_timestamp() as f64;
    let told = async || {
        let lines = samples(&served, "gracehttp_certificate_not_after_seconds{").await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    assert_eq!(told().await, end(2040));
    replace(&served.directory.join("cert.pem"), "nonsense");
    served.logs("holds no certificate").await;
    new.write(&served.directory);
    served.presents(&new).await;
    served.logs("new handshakes use the renewed certificate").await;
    assert_eq!(told().await, end(2041));
    let mut counts = samples(&served, "gracehttp_certificate_reloads_total{").await;
    counts.sort();
    let of =
        |outcome| format!("gracehttp_certificate_reloads_total{{server=\"web\",outcome=\"{outcome}\"}} 1");
    assert_eq!(counts, [of("kept"), of("renewed")]);
}

/// What happens in standby is not lost with the successor.
#[tokio::test]
async fn a_certificate_that_is_renewed_in_standby_is_that_of_the_process_that_takes_back() {
    let (old, new) = (Pair::new(&["localhost"]), Pair::new(&["localhost"]));
    let served =
        Served::with(|directory| old.write(directory), |launch| launch.env("GRACEHTTP_STANDBY", "60s")).await;
    let successor = served.service.app.restart().await;
    served.service.app.serves(&served.service.target, &successor).await;
    new.write(&served.directory);
    served.presents(&new).await;
    successor.kill();
    served.logs("serves again").await;
    served.presents(&new).await;
    let last = Pair::new(&["localhost"]);
    last.write(&served.directory);
    served.presents(&last).await;
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
                    let stream = tls::connect(address, &config, "localhost").await.expect("a handshake");
                    handshakes.fetch_add(1, Ordering::Relaxed);
                    let mut client = Client::over(stream);
                    for _ in 0..3 {
                        if client.get("/ping").await.expect("an answer").closes() {
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
