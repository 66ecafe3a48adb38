//! Handshakes under way at the commit: the predecessor finishes them, then their connections move.

use std::sync::Arc;

use tests::client::get;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use super::*;

/// A client whose next flight was cut after this many bytes, before a restart.
struct UnderWay {
    wire: Wire,
    rest: Vec<u8>,
    what: String,
}

impl UnderWay {
    /// Cuts the `number`th flight of a handshake with this configuration at this fraction.
    async fn cut(service: &Service, config: Arc<ClientConfig>, number: usize, at: f64, what: &str) -> Self {
        let mut wire = Wire::open(service.target.address(), config).await.expect("a connection");
        let mut flight = wire.flight();
        for _ in 1..number {
            wire.pass(&flight).await.expect("room for a flight");
            flight = wire.next_flight().await.expect("the server's flight");
        }
        assert!(!flight.is_empty(), "{what}: flight {number}");
        let place = (flight.len() as f64 * at) as usize;
        wire.pass(&flight[..place]).await.expect("room for a part");
        Self { wire, rest: flight[place..].to_vec(), what: format!("{what}, flight {number} cut at {place}") }
    }

    /// Sends the rest, and ends the handshake.
    async fn finish(mut self) -> (Client<Wire>, String) {
        self.wire.pass(&self.rest).await.expect("room for the rest");
        let client = self.wire.client().await.unwrap_or_else(|failure| panic!("{}: {failure}", self.what));
        (client, self.what)
    }
}

/// Cuts in the ClientHello and in the client's last flight, with and without a session to resume.
async fn under_way(service: &Service) -> Vec<UnderWay> {
    let mut all = Vec::new();
    for suite in VERSIONS {
        let full = || Arc::new(tls::only(suite, &["http/1.1"]));
        for (number, at) in [(1, 0.0), (1, 0.01), (1, 0.5), (2, 0.0), (2, 0.1), (2, 0.95)] {
            all.push(UnderWay::cut(service, full(), number, at, &format!("{suite:?}")).await);
        }
        let returning = full();
        let first = Wire::open(service.target.address(), returning.clone()).await.expect("a connection");
        get_by(&mut first.client().await.expect("a handshake"), service.app.pid()).await;
        for (number, at) in [(1, 0.5), (2, 0.5)] {
            let what = format!("{suite:?}, resumed");
            all.push(UnderWay::cut(service, returning.clone(), number, at, &what).await);
        }
    }
    all
}

#[tokio::test]
async fn handshake_under_way_is_finished_before_its_connection_moves() {
    let service = Service::new(TLS).await;
    let all = under_way(&service).await;
    settled(&service).await;
    service.restart().await;
    let mut clients = Vec::new();
    for cut in all {
        let resumed = cut.what.contains("resumed");
        let (client, what) = cut.finish().await;
        let expected = if resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
        let mut client = client;
        assert_eq!(client.wire().session().handshake_kind(), Some(expected), "{what}");
        clients.push(client);
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The end of the handshake, a request, and a part of the next one come in one write.
#[tokio::test]
async fn what_comes_with_the_end_of_a_handshake_is_answered_and_moves() {
    let service = Service::new(TLS).await;
    let mut all = Vec::new();
    // Only TLS 1.3 lets a client send a request with its Finished.
    for place in [0, 1, 4, 5, 30, 70] {
        let config = Arc::new(tls::only(VERSIONS[0], &["http/1.1"]));
        let mut cut = UnderWay::cut(&service, config, 2, 0.5, &format!("{place} bytes of the next")).await;
        cut.rest.extend(cut.wire.seal(get("/numbered?number=1")));
        let next = cut.wire.seal(get("/numbered?number=2"));
        cut.rest.extend(&next[..place]);
        all.push((cut, next[place..].to_vec()));
    }
    settled(&service).await;
    service.restart().await;
    let mut clients = Vec::new();
    for (cut, next) in all {
        let (mut client, what) = cut.finish().await;
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_eq!((reply.header("number"), reply.closes()), (Some("1"), false), "{what}: {reply:?}");
        clients.push((client, next, what));
    }
    service.app.predecessors_leave_cleanly().await;
    for (client, next, what) in &mut clients {
        client.wire().pass(next).await.unwrap();
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_eq!((reply.header("number"), reply.pid()), (Some("2"), Some(service.app.pid())), "{what}");
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// A KeyUpdate right behind Finished, and nothing else.
#[tokio::test]
async fn key_update_with_the_end_of_a_handshake_is_obeyed_after_the_move() {
    let service = Service::new(TLS).await;
    let mut all = Vec::new();
    for at in [0.0, 0.5] {
        let config = Arc::new(tls::only(VERSIONS[0], &["http/1.1"]));
        let mut cut = UnderWay::cut(&service, config, 2, at, "with a KeyUpdate").await;
        cut.rest.extend(cut.wire.key_update());
        all.push(cut);
    }
    settled(&service).await;
    service.restart().await;
    let mut clients = Vec::new();
    for cut in all {
        clients.push(cut.finish().await.0);
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
        assert_eq!(client.wire().received().key_updates(), 1);
    }
    all_leave_cleanly(&service).await;
}

/// The successor accepts, and the handshake begins at any moment around the commit.
#[tokio::test]
async fn handshakes_at_every_moment_of_a_restart_succeed() {
    let service = Service::new(TLS).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut coming = tokio::task::JoinSet::new();
    for suite in VERSIONS {
        let (target, stopped) = (service.target.clone(), stopped.clone());
        coming.spawn(async move {
            let mut kept = Vec::new();
            while !*stopped.borrow() {
                let mut client = wire(&target, suite).await.client().await.expect("a handshake");
                let reply = client.get("/ping").await.expect("an answer");
                assert!(reply.pid().is_some() && !reply.closes(), "{reply:?}");
                if kept.len() < 200 {
                    kept.push(client);
                }
            }
            kept
        });
    }
    for _ in 0..3 {
        service.restart().await;
    }
    stop.send_replace(true);
    let kept: Vec<_> = coming.join_all().await.into_iter().flatten().collect();
    service.app.predecessors_leave_cleanly().await;
    assert!(kept.len() > 10);
    for mut client in kept {
        get_by(&mut client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}
