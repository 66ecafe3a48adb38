//! TLS connections move in a restart, in every state: the client keeps its connection and its session, and the next
//! generation answers.
//!
//! The clients are [`Wire`]s. They never connect again and take part in no second handshake, so an answer of the next
//! generation shows that the session moved.

mod chains;
mod crowds;
mod cut_records;
mod endings;
mod exchanges;
mod failures;
mod handshakes;
mod idle;
mod key_updates;
mod pipelines;
mod placements;

use tests::patience::eventually;
use tests::tls::{self, VERSIONS, Wire};
use tests::{Client, Exit, Service, Target};
use tokio_rustls::rustls::SupportedCipherSuite;

const TLS: &str = "server tls 127.0.0.1:0 tls=self_signed";

/// A client that has had no answer yet, with this suite.
async fn client_with(service: &Service, suite: SupportedCipherSuite) -> Client<Wire> {
    let mut client = wire(&service.target, suite).await.client().await.expect("a handshake");
    assert_eq!(client.wire().session().negotiated_cipher_suite(), Some(suite));
    client
}

/// A connection before its handshake, with this suite.
async fn wire(target: &Target, suite: SupportedCipherSuite) -> Wire {
    let config = tls::only(suite, &["http/1.1"]);
    match target {
        Target::Unix(path) => Wire::open_unix(path, config).await,
        target => Wire::open(target.address(), config).await,
    }
    .expect("a connection")
}

/// One client for each version.
async fn clients(service: &Service) -> Vec<Client<Wire>> {
    let mut clients = Vec::new();
    for suite in VERSIONS {
        clients.push(client_with(service, suite).await);
    }
    clients
}

/// Waits until the server has taken in what was sent, and has nothing to do.
async fn settled(service: &Service) {
    let current = service.app.current();
    eventually("the server to have nothing to do", || current.is_asleep()).await;
}

/// Restarts, and waits until the predecessor has left: all connections have moved then. Returns the new pid.
async fn restart_and_leave(service: &Service) -> u32 {
    let successor = service.restart().await;
    service.app.predecessors_leave_cleanly().await;
    successor.pid()
}

/// The next answer comes from this process, and the connection stays.
async fn answered_by(client: &mut Client<Wire>, pid: u32) {
    let reply = client.reply().await.expect("an answer");
    assert_eq!((reply.status, reply.pid()), (200, Some(pid)), "{reply:?}");
    assert!(!reply.closes(), "{reply:?}");
    assert_eq!(client.wire().later_handshakes(), 0);
}

/// A request gets an answer of this process.
async fn get_by(client: &mut Client<Wire>, pid: u32) {
    client.send(tests::client::get("/ping")).await.expect("room for a request");
    answered_by(client, pid).await;
}

/// Every predecessor has left with status 0, and so does the last process.
async fn all_leave_cleanly(service: &Service) {
    service.app.predecessors_leave_cleanly().await;
    assert_eq!(service.app.log.count(0, "ERROR") + service.app.log.count(0, "cutting"), 0);
    assert_eq!(service.app.stop().await, Exit::Code(0));
}
