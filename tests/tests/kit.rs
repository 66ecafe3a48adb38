//! Tests of the test kit: each of its counters can fail. A hostile server commits the faults that gracehttp must not
//! commit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tests::load::Style;
use tests::patience::{GLANCE, PATIENCE, eventually};
use tests::process::ReservedPort;
use tests::{Client, Exit, Generation, Kind, Launch, Load, Report, Signal, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const PONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\npong by pid:1";
const LAST_PONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\npong by pid:1";

/// A server that treats every connection like this.
async fn hostile<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> (Target, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let target = Target::Plain(listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    (target, server)
}

/// Reads one request without a body.
async fn request(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
}

/// The report of a load, once it has counted what is awaited. The caller checks that: in vain, it sees the counts.
async fn once(load: Load, is_seen: impl Fn(&Report) -> bool) -> Report {
    let seen = async {
        while !is_seen(&load.so_far()) {
            tokio::time::sleep(GLANCE).await;
        }
    };
    _ = tokio::time::timeout(PATIENCE, seen).await;
    load.stop().await
}

/// The report of two clients, once they have counted such a failure.
async fn failing(style: Style, target: &Target, kind: Kind) -> Report {
    once(Load::on(target).clients(2, style), |report| report.count(kind) > 0).await
}

#[tokio::test]
async fn an_honest_server_passes() {
    let (target, _server) = hostile(async |mut stream| {
        loop {
            request(&mut stream).await;
            if stream.write_all(PONG.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let report = once(Load::on(&target).clients(2, Style::Get), |report| report.answers > 10).await;
    report.assert_unnoticed();
    assert!(report.answers > 10, "{report}");
    assert_eq!(report.pids.keys().copied().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_refused_connection_counts() {
    let reserved = ReservedPort::new();
    let report = failing(Style::Fresh, &Target::Plain(reserved.address()), Kind::Refused).await;
    assert!(report.count(Kind::Refused) > 0, "{report}");
    assert_eq!(report.answers, 0);
}

#[tokio::test]
async fn a_reset_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let report = failing(Style::Get, &target, Kind::Reset).await;
    assert!(report.count(Kind::Reset) > 0, "{report}");
}

#[tokio::test]
async fn a_reset_of_an_idle_connection_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        stream.write_all(PONG.as_bytes()).await.unwrap();
        // The client must read the answer before the reset drops it.
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let load = Load::on(&target).pause(Duration::from_millis(200)).clients(4, Style::Get);
    let report = once(load, |report| report.count(Kind::Reset) > 0).await;
    assert!(report.count(Kind::Reset) > 0, "{report}");
}

#[tokio::test]
async fn a_close_instead_of_an_answer_counts() {
    let (target, _server) = hostile(async |mut stream| request(&mut stream).await).await;
    let report = failing(Style::Get, &target, Kind::Unanswered).await;
    assert!(report.count(Kind::Unanswered) > 0, "{report}");
}

#[tokio::test]
async fn half_an_answer_counts() {
    for half in [&PONG[..20], &PONG[..PONG.len() - 3]] {
        let (target, _server) = hostile(async move |mut stream| {
            request(&mut stream).await;
            _ = stream.write_all(half.as_bytes()).await;
        })
        .await;
        let report = failing(Style::Get, &target, Kind::HalfAnswered).await;
        assert!(report.count(Kind::HalfAnswered) > 0, "{report}");
    }
}

#[tokio::test]
async fn another_answer_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let report = failing(Style::Get, &target, Kind::Unexpected).await;
    assert!(report.count(Kind::Unexpected) > 0, "{report}");
}

#[tokio::test]
async fn an_echo_of_something_else_counts() {
    let (target, _server) = hostile(async |mut stream| {
        loop {
            request(&mut stream).await;
            if stream.write_all(PONG.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let report = failing(Style::Post, &target, Kind::Unexpected).await;
    assert!(report.count(Kind::Unexpected) > 0, "{report}");
}

#[tokio::test]
async fn an_idle_close_counts_but_is_no_loss() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(PONG.as_bytes()).await;
    })
    .await;
    // The answer arrives, then the end. A client can see the end in a pause.
    let mut client = Client::connect(&target).await.unwrap();
    assert_eq!(client.get("/ping").await.unwrap().status, 200);
    assert_eq!(client.pause(Duration::from_secs(5)).await, tests::client::Pause::Closed);
    let report = once(Load::on(&target).clients(2, Style::Get), |report| report.closed_idle > 0).await;
    assert!(report.closed_idle > 0, "{report}");
}

#[tokio::test]
async fn an_unanswered_request_counts_as_crossed_only_after_a_long_pause() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(PONG.as_bytes()).await;
        request(&mut stream).await;
    })
    .await;
    let load = Load::on(&target).pause(Duration::from_secs(2)).clients(40, Style::Get);
    let report = once(load, |report| report.raced() > 0 && report.count(Kind::Unanswered) > 0).await;
    assert!(report.raced() > 0 && report.count(Kind::Unanswered) > 0, "{report}");
}

#[tokio::test]
async fn an_idle_close_counts_in_a_pool() {
    for style in [Style::JavaPool, Style::GoPool] {
        let (target, _server) = hostile(async |mut stream| {
            request(&mut stream).await;
            _ = stream.write_all(PONG.as_bytes()).await;
        })
        .await;
        let load = Load::on(&target).pause(Duration::from_millis(40)).clients(4, style);
        let report = once(load, |report| report.answers > 0 && report.closed_idle > 0).await;
        assert!(report.answers > 0 && report.closed_idle > 0, "{report}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_an_upload_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(LAST_PONG.as_bytes()).await;
        // The server closes with unread bytes, so the close is a reset.
    })
    .await;
    let report = failing(Style::EarlyAnswer, &target, Kind::Reset).await;
    assert!(report.count(Kind::Reset) > 0, "{report}");
}

#[tokio::test]
async fn an_announced_close_is_no_failure() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(LAST_PONG.as_bytes()).await;
    })
    .await;
    let report = once(Load::on(&target).clients(2, Style::Get), |report| report.promised_closes > 0).await;
    report.assert_polite();
    assert!(report.promised_closes > 0, "{report}");
}

#[tokio::test]
async fn an_announced_close_that_does_not_come_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(LAST_PONG.as_bytes()).await;
        request(&mut stream).await;
    })
    .await;
    let mut client = Client::connect(&target).await.unwrap();
    assert!(client.get("/ping").await.unwrap().closes());
    let mut client = client.limit(Duration::from_millis(50));
    assert_eq!(client.closed().await.unwrap_err().kind, Kind::KeptOpen);
}

#[tokio::test]
async fn silence_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        request(&mut stream).await;
    })
    .await;
    let mut client = Client::connect(&target).await.unwrap().limit(Duration::from_millis(50));
    assert_eq!(client.get("/ping").await.unwrap_err().kind, Kind::TimedOut);
}

#[tokio::test]
async fn tls_without_a_close_notify_counts() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (target, _server) = hostile(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            _ = stream.read(&mut [0; 512]).await;
            stream.write_all(PONG.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            // The server drops the connection without a shutdown.
        }
    })
    .await;
    let mut client = Client::connect(&Target::Tls(target.address())).await.unwrap();
    assert_eq!(client.get("/ping").await.unwrap().status, 200);
    assert_eq!(client.closed().await.unwrap_err().kind, Kind::Truncated);
}

#[tokio::test]
async fn a_pipelined_pair_out_of_order_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        for number in [2, 1] {
            _ = stream.write_all(numbered(PONG, number).as_bytes()).await;
        }
    })
    .await;
    let report = failing(Style::Pipelined, &target, Kind::Unexpected).await;
    assert_eq!((report.answers, report.count(Kind::Unexpected) > 0), (0, true), "{report}");
}

/// The answer to the request with this number.
fn numbered(answer: &str, number: u32) -> String {
    answer.replacen("\r\n", &format!("\r\nnumber: {number}\r\n"), 1)
}

#[tokio::test]
async fn a_dropped_half_of_a_pipelined_pair_counts() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(numbered(LAST_PONG, 1).as_bytes()).await;
        request(&mut stream).await;
    })
    .await;
    let report = failing(Style::Pipelined, &target, Kind::Unanswered).await;
    assert!(report.count(Kind::Unanswered) > 0, "{report}");
}

#[tokio::test]
async fn unrequested_bytes_count() {
    let (target, _server) = hostile(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(PONG.repeat(2).as_bytes()).await;
        _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let report = failing(Style::Get, &target, Kind::Unexpected).await;
    assert!(report.count(Kind::Unexpected) > 0, "{report}");
}

#[tokio::test]
async fn a_failed_tls_handshake_counts() {
    let (target, _server) = hostile(async |mut stream| {
        _ = stream.write_all(PONG.as_bytes()).await;
    })
    .await;
    let report = failing(Style::Fresh, &Target::Tls(target.address()), Kind::Handshake).await;
    assert!(report.count(Kind::Handshake) > 0, "{report}");
}

#[tokio::test]
async fn an_http2_stream_without_an_answer_counts() {
    let (target, _server) = hostile(async |mut stream| {
        // Preface and settings, then the requests, then an end without GOAWAY.
        _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        let mut bytes = [0; 4096];
        for _ in 0..2 {
            _ = stream.read(&mut bytes).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    })
    .await;
    let report =
        once(Load::on(&target).clients(2, Style::Http2), |report| !report.incidents.is_empty()).await;
    assert!(!report.incidents.is_empty(), "{report}");
}

#[tokio::test]
async fn a_failure_is_placed_between_its_marks() {
    let (target, _server) = hostile(async |mut stream| request(&mut stream).await).await;
    let load = Load::on(&target);
    load.mark("restart 1");
    let load = load.clients(1, Style::Get);
    eventually("a failure", || !load.so_far().incidents.is_empty()).await;
    load.mark("restart 2");
    let text = load.stop().await.to_string();
    assert!(text.contains("ms after \"restart 1\"") && text.contains("ms before \"restart 2\""), "{text}");
}

/// A shell that replaces an application: it writes the same lines and starts a "successor".
fn shell(script: &str) -> Launch {
    Launch::program("/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn the_kit_awaits_lines_and_follows_the_generations() {
    let app = shell("sleep 100 & echo INFO start new process success, pid $!.; echo more; exit 7").spawn();
    let first = app.first();
    assert_eq!(app.log.line(0, "more").await, "more");
    let successor = app.successor_since(0).await;
    assert_eq!(app.pid(), successor.pid());
    assert_eq!(first.exit().await, Exit::Code(7));
    assert!(successor.is_running());
    // The orphan is now a child of the test process, which can read its status.
    successor.signal(Signal::TERM);
    assert_eq!(successor.exit().await, Exit::Killed(15));
    assert!(!successor.is_running());
}

/// A process that restarts at once names its successor before its predecessor has named it.
#[tokio::test]
async fn the_kit_orders_generations_by_their_banners() {
    let banner = |number: u32, pid: &str| {
        format!(
            "echo 'INFO serving web on http://x (plain, max 9 connections, generation '{number}', pid '{pid}')'; "
        )
    };
    let names = |pid: &str| format!("echo INFO start new process success, pid {pid}.; ");
    let begins = "sleep 100 & second=$!; sleep 100 & third=$!; ".to_owned() + &banner(1, "$$");
    let (second, third) = (banner(2, "$second"), banner(3, "$third"));
    for lines in [
        [&names("$third"), &third, &second, &names("$second")],
        [&second, &third, &names("$third"), &names("$second")],
        [&names("$third"), &names("$second"), &third, &second],
    ] {
        let lines = lines.map(String::as_str).concat();
        let app = shell(&format!("{begins}{lines} echo third $third; sleep 100")).spawn();
        let line = app.log.line(0, "third").await;
        assert_eq!((app.generations(), format!("third {}", app.pid())), (3, line), "{}", app.log);
    }
}

#[tokio::test]
async fn nothing_outlives_a_test() {
    let app = shell("sleep 100 & echo begun; wait").spawn();
    app.log.line(0, "begun").await;
    let (shell, sleep) = (app.current(), Generation::hold(app.current().children()[0]).unwrap());
    assert!(shell.is_running() && sleep.is_running());
    drop(app);
    assert!(!shell.is_running() && !sleep.is_running());
}

#[tokio::test]
async fn the_kernel_reports_the_resources_of_a_process() {
    let app = shell("echo begun; exec sleep 100").spawn();
    app.log.line(0, "begun").await;
    let process = app.current();
    // The three standard streams, and descriptors that cargo leaves open for its own children.
    assert!(process.descriptors() >= 3);
    assert_eq!(process.threads(), 1);
    assert_eq!(process.children(), [] as [u32; 0]);
    assert!(process.resident_kib() > 0);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let itself = Generation::hold(std::process::id()).unwrap();
    assert!(itself.listening_ports().contains(&port));
    assert!(!process.listening_ports().contains(&port));
    assert!(itself.is_running());
}
