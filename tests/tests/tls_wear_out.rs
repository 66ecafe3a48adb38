//! A key of TLS seals a limited number of records. TLS 1.3 renews it; a connection of TLS 1.2 ends before.
//!
//! The limit belongs to the process, so these tests have one of their own.

use std::sync::{Arc, Once};

use gracehttp::test::TestServer;
use gracehttp::{Request, server};
use tests::frames::{Connection, Frame, HEADERS, PREFACE};
use tests::tls::{self, VERSIONS, Wire};
use tests::{Client, Kind};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::SupportedCipherSuite;
use tokio_rustls::rustls::version::TLS12;

/// How many records a key may seal.
const LIMIT: usize = 100;

/// A record of plain text.
const RECORD: usize = 1 << 14;

/// The path is the length of the answer.
#[server(port = 8080, tls = self_signed)]
async fn api(request: Request) -> String {
    "x".repeat(request.uri().path()[1..].parse().unwrap_or_default())
}

async fn start() -> TestServer {
    static LOWERED: Once = Once::new();
    LOWERED.call_once(|| gracehttp::__private::lower_record_limit(LIMIT as u64));
    TestServer::spawn(api::server(), ()).await
}

async fn client(server: &TestServer, suite: SupportedCipherSuite) -> Client<Wire> {
    let wire = Wire::open(server.address(), tls::only(suite, &["http/1.1"])).await.expect("a connection");
    wire.client().await.expect("a handshake")
}

#[tokio::test]
async fn the_last_response_under_a_key_of_tls_1_2_says_so() {
    let server = start().await;
    let mut client = client(&server, VERSIONS[1]).await;
    let mut answered = 1;
    while !client.get("/10").await.expect("an answer").closes() {
        answered += 1;
    }
    client.closed().await.expect("the close that was announced");
    assert!(answered > LIMIT / 2 && answered < LIMIT, "{answered} answers");
}

#[tokio::test]
async fn a_response_longer_than_a_key_of_tls_1_2_ends_with_close_notify() {
    let server = start().await;
    let mut client = client(&server, VERSIONS[1]).await;
    let failure = client.get(&format!("/{}", RECORD * LIMIT * 2)).await.expect_err("too long");
    // The client has seen close_notify, and counts the bytes.
    assert_eq!(failure.kind, Kind::HalfAnswered, "{failure}");
}

#[tokio::test]
async fn keys_of_tls_1_3_are_renewed() {
    let server = start().await;
    let mut client = client(&server, VERSIONS[0]).await;
    for _ in 0..3 * LIMIT {
        assert!(!client.get("/10").await.expect("an answer").closes());
    }
    let body = client.get(&format!("/{}", RECORD * LIMIT * 2)).await.expect("an answer").body;
    assert_eq!(body.len(), RECORD * LIMIT * 2);
    let renewed = client.wire().received().key_updates();
    assert!(renewed >= 5, "{renewed} times");
}

#[tokio::test]
async fn http2_announces_its_end_before_a_key_of_tls_1_2_is_worn_out() {
    let server = start().await;
    let config = tls::config(&["h2"], &[&TLS12]);
    let tcp = TcpStream::connect(server.address()).await.expect("a connection");
    let name = "localhost".try_into().expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    stream.write_all(&[PREFACE, &Frame::window(65_535).bytes()].concat()).await.unwrap();
    let mut connection = Connection::over(Box::new(stream));
    for stream in (1..).step_by(2).take(LIMIT) {
        connection.send(&[Frame::get(stream, "/10")]).await;
        let mut answered = false;
        while !answered {
            let frames = connection.frames().await;
            assert!(!frames.is_empty(), "closed without an answer to stream {stream}");
            if frames.iter().any(|frame| frame.goaway().is_some()) {
                return;
            }
            answered = frames.iter().any(|frame| frame.kind == HEADERS && frame.stream == stream);
        }
    }
    panic!("{LIMIT} answers without a GOAWAY");
}
