//! Authorities that mean harm: the service lives on, and little memory and time is lost on them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::client::get_once;
use tests::{App, Launch, Scratch, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::authority::server_config;

/// How it answers whatever comes.
#[derive(Clone)]
enum Manner {
    /// Never.
    Silent,
    /// With this, and then the same bytes again and again.
    Endless { beginning: &'static str, again: Vec<u8> },
    /// With this, and the end.
    With(String),
}

struct Hostile {
    address: SocketAddr,
    ca: PathBuf,
    /// How many bytes it got rid of, and how many connections came.
    sent: Arc<AtomicUsize>,
    came: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Hostile {
    async fn start(scratch: &Scratch, manner: Manner) -> Self {
        let (ca, config) = server_config(scratch);
        let acceptor = TlsAcceptor::from(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (sent, came) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (sent.clone(), came.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, manner, (sent, came)) = (acceptor.clone(), manner.clone(), counts.clone());
                tokio::spawn(async move {
                    came.fetch_add(1, Ordering::Relaxed);
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = [0; 4096];
                    _ = stream.read(&mut head).await;
                    match manner {
                        Manner::Silent => std::future::pending().await,
                        Manner::With(answer) => {
                            _ = stream.write_all(answer.as_bytes()).await;
                            _ = stream.shutdown().await;
                        }
                        Manner::Endless { beginning, again } => {
                            let mut next = beginning.as_bytes();
                            while stream.write_all(next).await.is_ok() {
                                sent.fetch_add(next.len(), Ordering::Relaxed);
                                next = &again;
                            }
                        }
                    }
                });
            }
        });
        Self { address, ca, sent, came, task }
    }

    fn launch(&self, scratch: &Scratch) -> App {
        let cache = scratch.join("cache");
        let (directory, ca) =
            (format!("https://localhost:{}/directory", self.address.port()), self.ca.display());
        let plan = format!(
            "server web 127.0.0.1:0 plain=127.0.0.2:0 acme=a.test;{};{directory};{ca}",
            cache.display()
        );
        Launch::app(scratch, &plan).spawn()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The service serves, restarts and stops, whatever the authority does.
async fn assert_serves(app: &App) {
    let line = app.log.line(0, "serving web on http://").await;
    let url = line.split("serving web on ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a URL");
    let plain = Target::from_url(url);
    assert_eq!(get_once(&plain, "/ping").await.expect("an answer").status, 200);
    let successor = app.restart().await;
    app.serves(&plain, &successor).await;
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn an_authority_that_never_answers_delays_neither_a_restart_nor_a_stop() {
    let scratch = Scratch::new();
    let hostile = Hostile::start(&scratch, Manner::Silent).await;
    let app = hostile.launch(&scratch);
    tests::patience::eventually("the authority to be asked", || hostile.came.load(Ordering::Relaxed) > 0)
        .await;
    assert_serves(&app).await;
}

#[tokio::test]
async fn an_authority_that_never_ends_is_given_up() {
    const KIB: usize = 1 << 10;
    let body = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n";
    for (beginning, again) in [
        (body, vec![b' '; 64 * KIB]),
        ("HTTP/1.1 200 OK\r\n", [&b"X-Padding: "[..], &[b'a'; 64 * KIB], b"\r\n"].concat()),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            [&b"10000\r\n"[..], &[b' '; 64 * KIB], b"\r\n"].concat(),
        ),
    ] {
        let scratch = Scratch::new();
        let hostile = Hostile::start(&scratch, Manner::Endless { beginning, again }).await;
        let app = hostile.launch(&scratch);
        let line = app.log.line(0, "no new certificate").await;
        assert!(line.contains("handshakes are refused until there is one"), "{line}");
        // What the buffers of both ends hold is sent, too.
        let sent = hostile.sent.load(Ordering::Relaxed);
        assert!(sent < 16 * KIB * KIB, "{sent} bytes were read");
        assert_serves(&app).await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let scratch = Scratch::new();
    let other = Hostile::start(&scratch, Manner::Silent).await;
    for status in ["301 Moved Permanently", "307 Temporary Redirect"] {
        let location = format!("https://localhost:{}/directory", other.address.port());
        let answer = format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let hostile = Hostile::start(&scratch, Manner::With(answer)).await;
        let app = hostile.launch(&scratch);
        app.log.line(0, "no new certificate").await;
        assert_eq!(other.came.load(Ordering::Relaxed), 0);
        assert_serves(&app).await;
    }
}

#[tokio::test]
async fn the_longest_pause_is_a_day() {
    let scratch = Scratch::new();
    let answer =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 18446744073709551615\r\nContent-Length: 0\r\n\r\n";
    let hostile = Hostile::start(&scratch, Manner::With(answer.to_owned())).await;
    let app = hostile.launch(&scratch);
    let line = app.log.line(0, "no new certificate").await;
    assert!(line.contains("the next attempt is in 1day"), "{line}");
    assert_serves(&app).await;
}

#[tokio::test]
async fn an_authority_that_wants_no_pause_is_not_asked_without_end() {
    let scratch = Scratch::new();
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    let hostile = Hostile::start(&scratch, Manner::With(answer.to_owned())).await;
    let app = hostile.launch(&scratch);
    app.log.line(0, "the next attempt is in 5s").await;
    assert_eq!(hostile.came.load(Ordering::Relaxed), 2);
    assert_serves(&app).await;
}
