//! Connections between two requests, and before their first one.

use tests::client::get;
use tests::tls::{SUITES, VERSIONS};
use tests::{Exit, Launch, Scratch, Target};
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::version::TLS13;

use super::*;

#[tokio::test]
async fn idle_connection_of_every_suite_moves() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        get_by(&mut client, service.app.pid()).await;
        clients.push(client);
    }
    for _ in 0..2 {
        let pid = restart_and_leave(&service).await;
        for client in &mut clients {
            get_by(client, pid).await;
            get_by(client, pid).await;
        }
    }
    all_leave_cleanly(&service).await;
}

/// The predecessor has not left yet: it answers, or the connection has moved.
#[tokio::test]
async fn idle_connection_is_answered_while_it_moves() {
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    for _ in 0..3 {
        let successor = service.app.restart().await;
        for client in &mut clients {
            client.moves_to(successor.pid()).await;
        }
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn connection_moves_right_after_its_handshake() {
    let service = Service::new(TLS).await;
    let mut fresh = clients(&service).await;
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    // Twice: it rested in the successor, too.
    let third = restart_and_leave(&service).await;
    assert_ne!(pid, third);
    for client in &mut fresh {
        get_by(client, third).await;
    }
    all_leave_cleanly(&service).await;
}

/// The server's part of the handshake is done, but the client has not read its end.
#[tokio::test]
async fn connection_moves_before_its_client_reads_the_tickets() {
    let service = Service::new(TLS).await;
    for suite in VERSIONS {
        let mut wire = wire(&service.target, suite).await;
        let hello = wire.flight();
        wire.pass(&hello).await.unwrap();
        let finished = wire.next_flight().await.unwrap();
        wire.pass(&finished).await.unwrap();
        settled(&service).await;
        let pid = restart_and_leave(&service).await;
        let mut client = wire.client().await.unwrap();
        get_by(&mut client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// What a handler can know of its connection stays the same.
#[tokio::test]
async fn facts_of_a_connection_are_equal_before_and_after_its_moves() {
    let service = Service::new(TLS).await;
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        let before = client.get("/facts").await.unwrap();
        let port = client.port().expect("TCP");
        assert_eq!(before.header("peer"), Some(&*format!("127.0.0.1:{port}")));
        assert_eq!(before.header("tls-sni"), Some("localhost"));
        assert_eq!(before.header("tls-alpn"), Some("http/1.1"));
        let version = if suite.version() == &TLS13 { "TLSv1.3" } else { "TLSv1.2" };
        assert_eq!(before.header("tls-version"), Some(version));
        // rustls names the suites of TLS 1.3 in its own way.
        let cipher = format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
        assert_eq!(before.header("tls-cipher"), Some(&*cipher));
        for _ in 0..2 {
            let pid = restart_and_leave(&service).await;
            let after = client.get("/facts").await.unwrap();
            assert_eq!(after.pid(), Some(pid));
            for fact in ["peer", "tls-version", "tls-cipher", "tls-sni", "tls-alpn"] {
                assert!(after.header(fact).is_some(), "{fact} in {after:?}");
                assert_eq!(after.header(fact), before.header(fact), "{fact}");
            }
        }
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn facts_that_a_client_has_not_told_stay_absent() {
    let service = Service::new(TLS).await;
    for suite in VERSIONS {
        let mut config = tls::only(suite, &[]);
        config.enable_sni = false;
        let wire = Wire::open(service.target.address(), config).await.unwrap();
        let mut client = wire.client().await.unwrap();
        for _ in 0..2 {
            let reply = client.get("/facts").await.unwrap();
            assert_eq!(reply.pid(), Some(service.app.pid()));
            assert_eq!((reply.header("tls-sni"), reply.header("tls-alpn")), (Some("none"), Some("none")));
            restart_and_leave(&service).await;
        }
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn connections_of_a_unix_socket_move() {
    let scratch = Scratch::new();
    let path = scratch.join("tls.sock");
    let plan = format!("server tls unix:{} tls=self_signed", path.display());
    let app = Launch::app(&scratch, &plan).start("tls").await;
    let target = Target::Unix(path);
    let mut idle = Vec::new();
    let mut half = Vec::new();
    for suite in SUITES {
        let mut client = wire(&target, suite).await.client().await.unwrap();
        get_by(&mut client, app.pid()).await;
        idle.push(client);
        let mut client = wire(&target, suite).await.client().await.unwrap();
        let record = client.wire().seal(get("/ping"));
        let (first, rest) = record.split_at(record.len() / 2);
        client.wire().pass(first).await.unwrap();
        half.push((client, rest.to_vec()));
    }
    eventually("the server to have read", || app.current().is_asleep()).await;
    let successor = app.restart().await;
    app.predecessors_leave_cleanly().await;
    for client in &mut idle {
        get_by(client, successor.pid()).await;
    }
    for (client, rest) in &mut half {
        client.wire().pass(rest).await.unwrap();
        answered_by(client, successor.pid()).await;
    }
    drop((idle, half));
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// A ticket that came over a connection before it moved resumes a session on a new connection. The old connection goes
/// on.
#[tokio::test]
async fn ticket_of_a_connection_that_moved_resumes_its_session() {
    let service = Service::new(TLS).await;
    for suite in VERSIONS {
        let config = std::sync::Arc::new(tls::only(suite, &["http/1.1"]));
        let address = service.target.address();
        let mut first = Wire::open(address, config.clone()).await.unwrap().client().await.unwrap();
        // Tickets of TLS 1.3 come behind the handshake.
        get_by(&mut first, service.app.pid()).await;
        for _ in 0..2 {
            let pid = restart_and_leave(&service).await;
            get_by(&mut first, pid).await;
            let mut second = Wire::open(address, config.clone()).await.unwrap().client().await.unwrap();
            get_by(&mut second, pid).await;
            assert_eq!(second.wire().session().handshake_kind(), Some(HandshakeKind::Resumed));
            let third = restart_and_leave(&service).await;
            get_by(&mut second, third).await;
            get_by(&mut first, third).await;
        }
    }
    all_leave_cleanly(&service).await;
}
