//! Peers that have to send a PROXY header and send none: their clients get no answer, so the log has a notice.

use std::net::SocketAddr;

use tests::access::AccessLog;
use tests::client::{get, get_once};
use tests::patience::{GLANCE, PATIENCE, within};
use tests::{App, Client, Exit, Launch, Scratch, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

const NO_HEADER: &str = "no PROXY header from 127.0.0.1:";

/// What the notice says beside who it was.
const WAY_OUT: &str = "have it do so, or take it off the list";

async fn launch(scratch: &Scratch) -> App {
    let plan = "server plain 127.0.0.1:0 proxy_protocol=127.0.0.1 handshake_timeout=300ms\n\
                server secure 127.0.0.1:0 tls=self_signed proxy_protocol=127.0.0.1 handshake_timeout=300ms";
    let mut launch = Launch::app(scratch, plan).env("GRACEHTTP_ADMIN", "127.0.0.1:0");
    for (key, value) in [("ACCESS_LOG", "json"), ("ACCESS_LOG_HANDSHAKES", "true")] {
        launch = launch.env(&format!("GRACEHTTP_SERVER__SECURE__{key}"), value);
    }
    launch.env("GRACEHTTP_SERVER__SECURE__ACCESS_LOG_TO", scratch.join("access.log")).spawn()
}

/// Sends this, and waits until the server closes without an answer.
async fn refused(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("room");
    let mut answer = Vec::new();
    // A reset, too, is an end without an answer.
    _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
}

/// How often the connections of this server have failed for this reason.
async fn counted(app: &App, server: &str, reason: &str) -> u64 {
    let line = app.log.line(0, "status page on ").await;
    let url = line.split("status page on ").nth(1).and_then(|url| url.split_whitespace().next());
    let text = get_once(&Target::from_url(url.expect("a URL")), "/metrics").await.expect("metrics").text();
    let sample = format!("gracehttp_failed_proxy_headers_total{{server=\"{server}\",reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&sample));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_peer_without_a_header_is_named_once_for_each_server_and_counted_each_time() {
    let scratch = Scratch::new();
    let app = launch(&scratch).await;
    for server in ["plain", "secure"] {
        let address = app.address(server).await;
        for round in 0..3 {
            refused(address, get("/ping").as_bytes()).await;
            let notice = app.log.line(0, &format!("server `{server}`: {NO_HEADER}")).await;
            assert!(notice.contains("WARN") && notice.contains(WAY_OUT), "{round}: {notice}");
        }
        refused(address, b"PROXY TCP4 192.0.2.1").await;
        assert_eq!(
            (counted(&app, server, "refused").await, counted(&app, server, "timed_out").await),
            (3, 1)
        );
    }
    assert_eq!(app.log.count(0, NO_HEADER), 2, "{}", app.log);
    // No handshake has begun, so none has failed for a reason of TLS.
    let log = AccessLog::at(scratch.join("access.log"));
    let lines = log.has(4).await;
    assert!(lines.iter().all(|line| line["tls_failure"] == "no_proxy_header"), "{lines:?}");
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// Many balancers look in this way whether a server is up.
#[tokio::test]
async fn a_peer_that_only_connects_is_no_fault() {
    let scratch = Scratch::new();
    let app = launch(&scratch).await;
    for server in ["plain", "secure"] {
        let address = app.address(server).await;
        drop(TcpStream::connect(address).await.expect("a connection"));
        // One that says nothing for too long is no fault of its header, either.
        if server == "secure" {
            refused(address, b"").await;
        }
        let mut cut = TcpStream::connect(address).await.expect("a connection");
        cut.write_all(b"PROXY TCP4 192").await.expect("room");
        drop(cut);
        // This one is served.
        if server == "plain" {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(b"PROXY UNKNOWN\r\n").await.expect("room");
            assert_eq!(Client::over(stream).get("/ping").await.expect("an answer").status, 200);
        }
        within(PATIENCE, "the cut header to be counted", async {
            while counted(&app, server, "closed").await == 0 {
                sleep(GLANCE).await;
            }
        })
        .await;
        assert_eq!(counted(&app, server, "closed").await, 1);
        assert_eq!(
            (counted(&app, server, "refused").await, counted(&app, server, "timed_out").await),
            (0, 0)
        );
    }
    let log = app.log.clone();
    assert_eq!(app.stop().await, Exit::Code(0));
    assert_eq!(log.count(0, NO_HEADER), 0, "{log}");
}
