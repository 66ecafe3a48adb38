//! A connection goes to the server that has its listener in the successor, if this one serves such connections.

use std::net::TcpListener;

use tests::client::Pause;
use tests::patience::{GLANCE, PATIENCE, within};
use tests::tls::SUITES;
use tests::{App, Launch, Scratch};

use super::*;

/// An application with idle connections at a fixed port.
struct Stage {
    app: App,
    clients: Vec<Client<Wire>>,
    port: u16,
    scratch: Scratch,
}

impl Stage {
    /// A port that the kernel chooses belongs to its server alone.
    async fn new(plan: impl Fn(u16, &Scratch) -> String) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &plan(port, &scratch)).spawn();
        let target = Target::Tls(([127, 0, 0, 1], port).into());
        app.log.line(0, "serving ").await;
        let mut clients = Vec::new();
        for suite in SUITES {
            let mut client = wire(&target, suite).await.client().await.expect("a handshake");
            get_by(&mut client, app.pid()).await;
            clients.push(client);
        }
        Self { app, clients, port, scratch }
    }

    async fn restart_with(&self, plan: impl Fn(u16, &Scratch) -> String) -> u32 {
        self.scratch.write("plan", plan(self.port, &self.scratch));
        self.app.restart().await.pid()
    }

    /// This process announces the end in an answer, as HTTP/1.1 provides; the other one may answer before.
    async fn end_with(mut self, pid: u32) {
        for client in &mut self.clients {
            let told = async {
                loop {
                    let reply = client.get("/ping").await.expect("an answer");
                    if reply.closes() {
                        return reply.pid();
                    }
                    assert_eq!(client.pause(GLANCE).await, Pause::Open);
                }
            };
            assert_eq!(within(PATIENCE, "the announcement of the end", told).await, Some(pid));
            client.closed().await.expect("a proper end");
        }
        self.app.predecessors_leave_cleanly().await;
        assert_eq!(self.app.stop().await, Exit::Code(0));
    }

    async fn move_to(mut self, pid: u32) {
        self.app.predecessors_leave_cleanly().await;
        for client in &mut self.clients {
            get_by(client, pid).await;
        }
        assert_eq!(self.app.stop().await, Exit::Code(0));
    }
}

fn secure(port: u16, _: &Scratch) -> String {
    format!("server tls 127.0.0.1:{port} tls=self_signed")
}

/// The successor answers once more, and ends what it does not speak.
#[tokio::test]
async fn connections_that_move_to_a_server_without_http1_end() {
    let stage = Stage::new(secure).await;
    let pid = stage.restart_with(|port, scratch| secure(port, scratch) + " http1=no").await;
    stage.end_with(pid).await;
}

#[tokio::test]
async fn connections_of_a_removed_server_end() {
    let stage = Stage::new(secure).await;
    let old = stage.app.pid();
    stage.restart_with(|_, _| "server web 127.0.0.1:0".to_owned()).await;
    stage.end_with(old).await;
}

#[tokio::test]
async fn connections_follow_their_listener_to_a_server_of_another_name() {
    let stage = Stage::new(secure).await;
    let pid = stage.restart_with(|port, _| format!("server site 127.0.0.1:{port} tls=self_signed")).await;
    stage.move_to(pid).await;
}

/// A connection needs the certificate only in its handshake, so a new certificate changes nothing for it.
#[tokio::test]
async fn connections_move_to_a_server_with_another_certificate() {
    let with = |name: &'static str| {
        move |port: u16, scratch: &Scratch| {
            let (cert, key) = scratch.certificate(name);
            format!("server tls 127.0.0.1:{port} cert={} key={}", cert.display(), key.display())
        }
    };
    let stage = Stage::new(with("one")).await;
    let pid = stage.restart_with(with("other")).await;
    stage.move_to(pid).await;
}
