//! `openssl s_client`, which renews keys on command.

use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use tests::Client;
use tests::client::Stream;
use tests::patience::{PATIENCE, within};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader, Join, Lines, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::*;

/// Its standard streams carry what the connection does.
#[derive(Debug)]
struct Pipes(Join<ChildStdout, ChildStdin>);

impl Stream for Pipes {
    fn port(&self) -> Option<u16> {
        None
    }
}

impl AsyncRead for Pipes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A running `s_client`: it connects once, and ends with its connection.
struct SClient {
    child: Child,
    http: Client<Pipes>,
    messages: Lines<BufReader<ChildStderr>>,
}

impl SClient {
    fn start(service: &Service, options: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-brief", "-alpn", "http/1.1", "-connect"])
            .arg(service.target.address().to_string())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl");
        let (stdout, stdin) = (child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        let messages = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, http: Client::over(Pipes(tokio::io::join(stdout, stdin))), messages }
    }

    /// Waits for a line of its messages.
    async fn says(&mut self, words: &str) {
        within(PATIENCE, &format!("{words:?} of s_client"), async {
            loop {
                let line = self.messages.next_line().await.expect("UTF-8").expect("s_client to go on");
                if line.contains(words) {
                    return;
                }
            }
        })
        .await;
    }

    /// `K` asks the server to renew its key, too; `k` does not.
    async fn renews(&mut self, command: &str) {
        self.http.send(format!("{command}\n")).await.expect("s_client reads");
        self.says("KEYUPDATE").await;
    }

    async fn ends(mut self) {
        drop(self.http);
        let status = within(PATIENCE, "the end of s_client", self.child.wait()).await.expect("our own child");
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn openssl_renews_its_keys_over_restarts() {
    if !tool("openssl") {
        return;
    }
    let service = Service::new(TLS).await;
    let mut client = SClient::start(&service, &["-tls1_3"]);
    client.says("CONNECTION ESTABLISHED").await;
    client.http.moves_to(service.app.pid()).await;
    for commands in [["k", "K"], ["K", "k"], ["K", "K"], ["k", "k"]] {
        client.renews(commands[0]).await;
        let successor = service.app.restart().await;
        client.renews(commands[1]).await;
        client.http.moves_to(successor.pid()).await;
        client.renews(commands[1]).await;
        client.http.moves_to(successor.pid()).await;
    }
    client.ends().await;
    service.app.predecessors_leave_cleanly().await;
    assert!(service.app.stop().await.is_clean());
}

#[tokio::test]
async fn openssl_asks_after_restarts_under_every_suite() {
    if !tool("openssl") {
        return;
    }
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        clients.push(SClient::start(&service, &["-tls1_3", "-ciphersuites", suite]));
    }
    for cipher in ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"] {
        clients.push(SClient::start(&service, &["-tls1_2", "-cipher", &format!("ECDHE-ECDSA-{cipher}")]));
    }
    for client in &mut clients {
        client.says("CONNECTION ESTABLISHED").await;
    }
    for _ in 0..2 {
        let successor = service.restart().await;
        service.app.predecessors_leave_cleanly().await;
        for client in &mut clients {
            let reply = client.http.get("/ping").await.expect("an answer");
            assert_eq!((reply.pid(), reply.closes()), (Some(successor.pid()), false));
            assert_eq!(client.http.pause(Duration::ZERO).await, tests::client::Pause::Open);
        }
    }
    for client in clients {
        client.ends().await;
    }
    assert!(service.app.stop().await.is_clean());
}

/// The alert comes under the key that moved: the client can read it. It ends the connection by itself.
#[tokio::test]
async fn openssl_may_not_renegotiate_after_a_move() {
    if !tool("openssl") {
        return;
    }
    let service = Service::new(TLS).await;
    let mut client = SClient::start(&service, &["-tls1_2", "-legacy_renegotiation"]);
    client.says("CONNECTION ESTABLISHED").await;
    let successor = service.restart().await;
    client.http.moves_to(successor.pid()).await;
    client.http.send("R\n").await.expect("s_client reads");
    client.says("no renegotiation").await;
    service.app.predecessors_leave_cleanly().await;
    assert!(service.app.stop().await.is_clean());
}
