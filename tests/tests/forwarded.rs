//! What trusted proxies say about a client, over real connections: and what a client can't say.

use std::net::SocketAddr;

use gracehttp::test::TestServer;
use gracehttp::{ClientAddr, Host, IntoServer, PeerAddr, Scheme, server};
use tests::{Client, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn words(client: Option<ClientAddr>, scheme: Scheme, host: Option<Host>, peer: PeerAddr) -> String {
    let client = client.map_or("nobody".to_owned(), |client| client.0.to_string());
    let host = host.map_or("nowhere".to_owned(), |host| host.0);
    assert!(peer.0.ip().is_loopback(), "the peer is the peer, whatever a proxy says");
    format!("{client} {scheme} {host}")
}

macro_rules! servers {
    ($($name:ident($($keys:tt)*);)*) => {
        $(
            #[server(port = 0 $($keys)*)]
            async fn $name(
                client: Option<ClientAddr>,
                scheme: Scheme,
                host: Option<Host>,
                peer: PeerAddr,
            ) -> String {
                words(client, scheme, host, peer).await
            }
        )*
    };
}

servers! {
    alone();
    behind(, trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]);
    by_host(, trusted_proxies = "127.0.0.1", forwarded = ["x-forwarded-for", "x-forwarded-host"]);
    redirecting(, trusted_proxies = "127.0.0.1", forwarded = ["x-forwarded-proto", "x-forwarded-host"],
        redirect_to_https = 8443);
    standard(, trusted_proxies = ["127.0.0.1"], forwarded = "forwarded");
    elsewhere(, trusted_proxies = ["10.0.0.0/8", "unix", "::1"]);
}

/// What a server understands of a request with these fields.
async fn seen<T: IntoServer<(), M>, M>(server: fn() -> T, fields: &str) -> String {
    let server = TestServer::spawn(server(), ()).await;
    let seen = ask(server.address(), fields).await;
    server.shutdown().await;
    seen
}

async fn ask(address: SocketAddr, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.expect("room");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("a response");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    response.rsplit("\r\n").next().expect("a body").to_owned()
}

const EVERYTHING: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\n\
                          Forwarded: for=198.51.100.1;proto=https;host=b.example\r\n";

#[tokio::test]
async fn only_the_fields_count_that_the_proxy_is_said_to_set() {
    assert_eq!(seen(alone::server, EVERYTHING).await, "127.0.0.1 http example.com");
    assert_eq!(seen(elsewhere::server, EVERYTHING).await, "127.0.0.1 http example.com");
    assert_eq!(seen(behind::server, EVERYTHING).await, "192.0.2.1 https example.com");
    assert_eq!(seen(by_host::server, EVERYTHING).await, "192.0.2.1 http a.example");
    assert_eq!(seen(standard::server, EVERYTHING).await, "198.51.100.1 https b.example");
}

#[tokio::test]
async fn a_client_can_not_choose_its_address() {
    let server = TestServer::spawn(behind::server(), ()).await;
    let thousands = "6.6.6.6,".repeat(3000);
    for (fields, expected) in [
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1", "192.0.2.1"),
        (&format!("X-Forwarded-For: {thousands}192.0.2.1"), "192.0.2.1"),
        ("X-Forwarded-For: 10.9.9.9, \"unfinished, 192.0.2.1", "192.0.2.1"),
        ("X-Forwarded-For: 192.0.2.1, 10.0.0.999", "127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.1, unknown", "nobody"),
        ("X-Forwarded-For: [2001:db8::1]:4711", "2001:db8::1"),
        ("X-Forwarded-For: ::ffff:192.0.2.1", "192.0.2.1"),
        ("X-Forwarded-For: \u{fc}, 192.0.2.1", "192.0.2.1"),
        ("X-Forwarded-Host: evil.example", "127.0.0.1"),
    ] {
        let seen = ask(server.address(), &format!("{fields}\r\n")).await;
        assert_eq!(seen, format!("{expected} http example.com"), "{fields}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_host_that_is_none_is_not_believed() {
    for host in ["evil/path", "user@evil", "", "a b", "evil:99999"] {
        let fields = format!("X-Forwarded-Host: {host}\r\n");
        assert_eq!(seen(by_host::server, &fields).await, "127.0.0.1 http example.com", "{host}");
    }
}

/// A redirect leads to the host that the client knows: it can't reach the one behind the proxy.
#[tokio::test]
async fn a_redirect_names_the_host_that_the_client_has_asked_for() {
    let server = TestServer::spawn(redirecting::server(), ()).await;
    let target = Target::from_url(&server.url());
    for (fields, expected) in [
        ("X-Forwarded-Host: shop.example:80\r\n", "https://shop.example:8443/a?b"),
        ("X-Forwarded-Host: evil/path\r\n", "https://inner:8443/a?b"),
        ("", "https://inner:8443/a?b"),
    ] {
        let mut client = Client::connect(&target).await.expect("a connection");
        let request = format!("GET /a?b HTTP/1.1\r\nHost: inner:8080\r\n{fields}\r\n");
        client.send(request).await.expect("room");
        let reply = client.reply().await.expect("a response");
        assert_eq!((reply.status, reply.header("location")), (308, Some(expected)), "{fields}");
    }
    // One that speaks TLS with the proxy would be redirected again and again.
    assert_eq!(ask(server.address(), "X-Forwarded-Proto: https\r\n").await, "127.0.0.1 https example.com");
    server.shutdown().await;
}

/// The facts are the connection's, and each request says its own.
#[tokio::test]
async fn each_request_of_a_connection_has_its_client() {
    let server = TestServer::spawn(behind::server(), ()).await;
    let target = Target::from_url(&server.url());
    let mut client = Client::connect(&target).await.expect("a connection");
    for number in 1..4 {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.{number}\r\n\r\n");
        let response = {
            client.send(request).await.expect("room");
            client.reply().await.expect("a response")
        };
        assert_eq!(response.text(), format!("192.0.2.{number} http a"));
    }
    server.shutdown().await;
}
