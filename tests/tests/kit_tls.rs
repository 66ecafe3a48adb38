//! Tests of the test kit's TLS clients against rustls' own server: what they send arrives, and what they count can be
//! another number.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tests::load::Style;
use tests::tls::{self, Record, SUITES, VERSIONS, Wire};
use tests::{Kind, Load, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

const PONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\npong by pid:1";

/// A server that treats every connection like this after its handshake.
async fn server<F>(treat: impl Fn(TlsStream<TcpStream>) -> F + Send + 'static) -> (Target, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("both versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let target = Target::Tls(listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.expect("a handshake");
            tokio::spawn(treat(stream));
        }
    });
    (target, server)
}

/// Reads one request without a body, and returns how many reads it took; none at the end of the connection.
async fn request(stream: &mut TlsStream<TcpStream>) -> Option<usize> {
    let (mut head, mut reads) = (Vec::new(), 0);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        reads += 1;
    }
    Some(reads)
}

async fn honest(mut stream: TlsStream<TcpStream>) {
    while request(&mut stream).await.is_some() {
        _ = stream.write_all(PONG.as_bytes()).await;
        _ = stream.flush().await;
    }
    _ = stream.shutdown().await;
}

#[tokio::test]
async fn ragged_clients_keep_their_connections_and_cut_their_requests() {
    let (connections, reads) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&connections), Arc::clone(&reads));
    let (target, _server) = server(move |mut stream| {
        let (connections, reads) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
        async move {
            connections.fetch_add(1, Ordering::SeqCst);
            while let Some(more) = request(&mut stream).await {
                reads.fetch_add(more, Ordering::SeqCst);
                _ = stream.write_all(PONG.as_bytes()).await;
                _ = stream.flush().await;
            }
        }
    })
    .await;
    let load = Load::on(&target).pause(Duration::from_millis(2)).ragged(Duration::from_millis(2));
    let load = load.clients(6, Style::Get).clients(6, Style::HalfHead);
    load.answers(300).await;
    let report = load.stop().await;
    report.assert_unnoticed();
    assert_eq!((report.connections, connections.load(Ordering::SeqCst)), (12, 12));
    // A smooth client needs one read for a request, or two for half heads.
    assert!(2 * reads.load(Ordering::SeqCst) as u64 > 3 * report.requests, "{reads:?}");
}

#[tokio::test]
async fn ragged_client_that_connects_again_counts() {
    let (target, _server) = server(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(PONG.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).await;
        _ = stream.shutdown().await;
    })
    .await;
    let load = Load::on(&target).ragged(Duration::from_millis(1)).clients(1, Style::Get);
    load.answers(3).await;
    let report = load.stop().await;
    report.assert_polite();
    assert!(report.connections > 1 && report.promised_closes == report.answers, "{report}");
}

#[tokio::test]
async fn cut_records_arrive_when_their_rest_does() {
    let (target, _server) = server(honest).await;
    for suite in SUITES {
        let wire = Wire::open(target.address(), tls::only(suite, &[])).await.unwrap();
        let mut client = wire.client().await.unwrap();
        assert_eq!(client.wire().session().negotiated_cipher_suite(), Some(suite));
        let record = client.wire().seal("GET / HTTP/1.1\r\n\r\n");
        assert_eq!(Record::all(&record).len(), 1);
        for byte in &record {
            client.wire().pass(&[*byte]).await.unwrap();
        }
        assert_eq!(client.reply().await.unwrap().pid(), Some(1));
        assert_eq!(client.wire().later_handshakes(), 0);
        let notice = client.wire().close_notify();
        client.wire().pass(&notice).await.unwrap();
        client.closed().await.unwrap();
    }
}

#[tokio::test]
async fn key_updates_of_the_server_count() {
    let (target, _server) = server(honest).await;
    let wire = Wire::open(target.address(), tls::only(VERSIONS[0], &[])).await.unwrap();
    let mut client = wire.client().await.unwrap();
    for expected in 0..3 {
        assert_eq!(client.get("/").await.unwrap().pid(), Some(1));
        assert_eq!(client.wire().received().key_updates(), expected);
        let update = client.wire().key_update();
        client.wire().pass(&update).await.unwrap();
    }
}

#[tokio::test]
async fn end_without_a_close_notify_counts() {
    let (target, _server) = server(async |mut stream| {
        request(&mut stream).await;
        _ = stream.write_all(PONG.as_bytes()).await;
        _ = stream.flush().await;
    })
    .await;
    for suite in VERSIONS {
        let wire = Wire::open(target.address(), tls::only(suite, &[])).await.unwrap();
        let mut client = wire.client().await.unwrap();
        assert_eq!(client.get("/").await.unwrap().pid(), Some(1));
        assert_eq!(client.closed().await.unwrap_err().kind, Kind::Truncated);
    }
}
