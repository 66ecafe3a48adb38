//! Handshakes of strangers that look like those of an authority.

use std::net::SocketAddr;

use tests::patience::{PATIENCE, within};
use tests::{Launch, Scratch};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::Authority;
use crate::validation::{looks_right, onlooker, trusted_get};
use crate::{DAY, ISSUED, endpoint, plan, sample, until_counted};

/// How a handshake with these protocols fails.
async fn refused(endpoint: SocketAddr, name: &str, protocols: &[&str]) -> String {
    let stream = TcpStream::connect(endpoint).await.expect("a connection");
    let connector = TlsConnector::from(onlooker(protocols));
    let handshake = connector.connect(name.to_owned().try_into().expect("a name"), stream);
    match within(PATIENCE, "an answer", handshake).await {
        Ok(_) => panic!("{name} is answered to {protocols:?}"),
        Err(error) => error.to_string(),
    }
}

/// Without an order they are refused before anything is signed, whichever name they ask for; during one, those that ask for
/// another name.
#[tokio::test]
async fn a_challenge_that_nobody_expects_is_refused_and_counted() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"))
        .env("GRACEHTTP_ADMIN", "127.0.0.1:0")
        .spawn();
    let endpoint = endpoint(&app).await;
    let is_under_way = |books: &crate::books::Books| {
        books.orders.first().is_some_and(|order| order.statuses == ["processing"])
    };
    authority.until("no challenge was answered", is_under_way).await;
    let unexpected = "failed_tls_handshakes_total{server=\"web\",reason=\"unexpected_challenge\"}";
    let alert = "UnrecognisedName";
    assert!(refused(endpoint, "b.test", &["acme-tls/1"]).await.contains(alert));
    until_counted(&app, unexpected, 1.0).await;
    // Anyone may look at the right one. It proves nothing to a stranger.
    assert!(looks_right(endpoint, "a.test", &[7; 32]).await.unwrap_err().contains("lacks the digest"));
    assert_eq!(sample(&app, unexpected).await, Some(1.0));
    authority.validate_at(endpoint);
    app.log.line(0, ISSUED).await;
    for name in ["a.test", "b.test", "a.test"] {
        let why = refused(endpoint, name, &["acme-tls/1"]).await;
        assert!(why.contains(alert), "{name}: {why}");
    }
    until_counted(&app, unexpected, 4.0).await;
    // One that also offers HTTP is a client like any other.
    let stream = TcpStream::connect(endpoint).await.unwrap();
    let connector = TlsConnector::from(onlooker(&["acme-tls/1", "http/1.1"]));
    let stream = connector.connect("a.test".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(trusted_get(endpoint, "a.test", authority.root()).await.is_ok());
    assert_eq!(sample(&app, unexpected).await, Some(4.0));
}
