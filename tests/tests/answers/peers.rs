//! The client address that a handler gets.

use super::*;

#[tokio::test]
async fn c3_c4_an_ipv4_client_has_an_ipv4_address_for_axum_too() {
    let scratch = Scratch::new();
    let socket = scratch.join("nameless");
    let app = launch().listen("nameless", &format!("unix:{}", socket.display())).start("nameless").await;
    for (server, path) in [("routed", "/peer"), ("dual", "/")] {
        let port = app.target(server).await.address().port();
        let target = Target::Plain(([127, 0, 0, 1], port).into());
        let text = client(&target).await.get(path).await.unwrap().text();
        let (axums, own) = text.split_once(' ').unwrap();
        assert!(axums.starts_with("127.0.0.1:") && axums == own, "{server}: {text}");
        let over_http2 = ask2(&target, Method::GET, path).await.unwrap().text();
        assert!(over_http2.starts_with("127.0.0.1:"), "{server}: {over_http2}");
    }
    let factory = app.target("factory").await;
    assert!(client(&factory).await.get("/peer").await.unwrap().text().starts_with("127.0.0.1:"));
    // An IPv6 client keeps its own address.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let port = app.target("dual").await.address().port();
        let target = Target::Plain((std::net::Ipv6Addr::LOCALHOST, port).into());
        let text = get_once(&target, "/").await.unwrap().text();
        assert!(text.starts_with("[::1]:"), "{text}");
    }
    // Clients of a Unix socket have no address, so axum itself rejects the request.
    let reply = get_once(&Target::Unix(socket), "/").await.unwrap();
    assert!(reply.status == 500 && reply.text().contains("ConnectInfo"), "{reply:?}");
}

#[server(port = 1)]
async fn whoami(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    peer.to_string()
}

#[tokio::test]
async fn c4_connect_info_works_in_tests_of_users() {
    let server = TestServer::spawn(whoami::server(), ()).await;
    let text = test::text(server.get("/").await).await;
    assert!(text.starts_with("127.0.0.1:"), "{text}");
    server.shutdown().await;
    let mut request = test::get("/");
    assert_eq!(test::call(whoami::server(), (), test::get("/")).await.status(), 500);
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 4711))));
    let response = test::call(whoami::server(), (), request).await;
    assert_eq!(test::text(response).await, "10.0.0.1:4711");
}
