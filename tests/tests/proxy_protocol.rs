//! The PROXY protocol, byte by byte, over plain text and TLS.

use std::net::SocketAddr;
use std::time::Duration;

use gracehttp::test::TestServer;
use gracehttp::{ClientAddr, PeerAddr, ProxyInfo, Scheme, server};
use tests::Client;
use tests::patience::{PATIENCE, within};
use tests::tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Version 2, from 192.0.2.1, with the authority `a.example` and TLS 1.3 at the proxy.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x2a\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x01\xbb\
                    \x02\x00\x09a.example\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3";

async fn words(
    client: Option<ClientAddr>,
    scheme: Scheme,
    proxy: Option<ProxyInfo>,
    peer: PeerAddr,
) -> String {
    assert!(peer.0.ip().is_loopback());
    let client = client.map_or("nobody".to_owned(), |client| client.0.to_string());
    let proxy = proxy.map_or("none".to_owned(), |proxy| {
        let version = proxy.ssl().and_then(|ssl| ssl.version()).unwrap_or("plain");
        format!("{} {version}", proxy.authority().unwrap_or("unnamed"))
    });
    format!("{client} {scheme} {proxy}")
}

macro_rules! servers {
    ($($name:ident($($keys:tt)*);)*) => {
        $(
            #[server(port = 0, $($keys)*)]
            async fn $name(
                client: Option<ClientAddr>,
                scheme: Scheme,
                proxy: Option<ProxyInfo>,
                peer: PeerAddr,
            ) -> String {
                words(client, scheme, proxy, peer).await
            }
        )*
    };
}

servers! {
    listed(proxy_protocol = "127.0.0.0/8");
    brief(proxy_protocol = "127.0.0.0/8", handshake_timeout = "300ms");
    unlisted(proxy_protocol = ["10.0.0.0/8", "unix"]);
    both(proxy_protocol = "127.0.0.1", trusted_proxies = "192.0.2.0/24");
    secure(proxy_protocol = "127.0.0.1", tls = self_signed);
}

/// Sends pieces one after the other. Returns all that comes back, until the server closes.
async fn answer(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    for piece in pieces {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    let read = async { stream.read_to_end(&mut answer).await };
    // A reset, too, is an end without an answer.
    let _ = within(PATIENCE, "the end", read).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn body(answer: &str) -> &str {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.rsplit("\r\n").next().expect("a body")
}

#[tokio::test]
async fn headers_of_both_versions_name_the_client_at_every_split() {
    let server = TestServer::spawn(listed::server(), ()).await;
    for (header, expected) in
        [(V1, "192.0.2.1 http unnamed plain"), (V2, "192.0.2.1 https a.example TLSv1.3")]
    {
        let all = [header, REQUEST].concat();
        for split in 0..=all.len() {
            let (one, two) = all.split_at(split);
            assert_eq!(body(&answer(server.address(), &[one, two]).await), expected, "{split}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(body(&answer(server.address(), &bytes).await), expected);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_is_the_client() {
    let server = TestServer::spawn(listed::server(), ()).await;
    // It may fill in addresses, which mean nothing.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x01\xbb";
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", local] {
        let seen = answer(server.address(), &[header, REQUEST]).await;
        assert_eq!(body(&seen), "127.0.0.1 http unnamed plain");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_listed_peer_without_a_header_is_not_served() {
    let server = TestServer::spawn(listed::server(), ()).await;
    let mut wrong_version = V2.to_vec();
    wrong_version[12] = 0x31;
    let wrong_sum = [&V2[..14], &[0, 19], &V2[16..28], b"\x03\x00\x04\x00\x00\x00\x00"].concat();
    for bytes in [
        REQUEST,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 1 2 3 4\r\n",
        &wrong_version,
        &wrong_sum,
        b"\r\n\r\n\0x",
    ] {
        assert_eq!(answer(server.address(), &[bytes, REQUEST]).await, "");
    }
    server.shutdown().await;
}

/// Otherwise any client could choose its address.
#[tokio::test]
async fn a_header_of_another_peer_is_no_request() {
    let server = TestServer::spawn(unlisted::server(), ()).await;
    for header in [V1, V2, b"PROXY UNKNOWN\r\n"] {
        let seen = answer(server.address(), &[header, REQUEST]).await;
        assert!(!seen.contains(" 200 "), "{seen}");
    }
    assert_eq!(body(&answer(server.address(), &[REQUEST]).await), "127.0.0.1 http none");
    server.shutdown().await;
}

#[tokio::test]
async fn a_second_header_is_a_bad_request() {
    let server = TestServer::spawn(listed::server(), ()).await;
    let seen = answer(server.address(), &[V1, b"PROXY TCP4 6.6.6.6 6.6.6.6 6 6\r\n", REQUEST]).await;
    assert!(seen.starts_with("HTTP/1.1 400"), "{seen}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_slow_header_has_its_time() {
    let server = TestServer::spawn(brief::server(), ()).await;
    let begun = std::time::Instant::now();
    assert_eq!(answer(server.address(), &[&V1[..20]]).await, "");
    assert!(begun.elapsed() >= Duration::from_millis(300) && begun.elapsed() < Duration::from_secs(5));
    server.shutdown().await;
}

/// Whether the fields of a request count is decided by the client that the header names.
#[tokio::test]
async fn fields_are_believed_if_the_named_client_is_trusted() {
    let server = TestServer::spawn(both::server(), ()).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    let seen = answer(server.address(), &[V1, request]).await;
    assert_eq!(body(&seen), "203.0.113.9 http unnamed plain");
    let stranger = b"PROXY TCP4 198.51.100.7 198.51.100.1 4711 443\r\n";
    let seen = answer(server.address(), &[stranger, request]).await;
    assert_eq!(body(&seen), "198.51.100.7 http unnamed plain");
    server.shutdown().await;
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let server = TestServer::spawn(secure::server(), ()).await;
    for protocol in [&["http/1.1"][..], &[]] {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        stream.write_all(V1).await.expect("room");
        let name = "localhost".try_into().expect("a name");
        let stream = tls::connector(protocol).connect(name, stream).await.expect("a handshake");
        let mut client = Client::over(stream);
        for _ in 0..2 {
            let reply = client.get("/").await.expect("an answer");
            assert_eq!(reply.text(), "192.0.2.1 https unnamed plain");
            // It is parked in between, and wakes.
            client.pause(Duration::from_millis(100)).await;
        }
    }
    server.shutdown().await;
}

/// A parked connection keeps its client, one that has sent its header alone and one between two requests.
#[tokio::test]
async fn a_parked_connection_keeps_its_client() {
    let server = TestServer::spawn(listed::server(), ()).await;
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    stream.write_all(V1).await.expect("room");
    let mut client = Client::over(stream);
    for _ in 0..3 {
        client.pause(Duration::from_millis(100)).await;
        assert_eq!(client.get("/").await.expect("an answer").text(), "192.0.2.1 http unnamed plain");
    }
    server.shutdown().await;
}
