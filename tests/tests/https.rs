//! One server with endpoints in plain text and over TLS, the redirect from the one to the other, and HSTS.

use tests::client::{Pause, get, get_once};
use tests::h2::{Http2, Outcome};
use tests::load::Style;
use tests::{App, Client, Exit, Launch, Load, Reply, Scratch, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BOTH: &str = "server web 127.0.0.1:0 plain=127.0.0.2:0 tls=self_signed";

/// The endpoint of `web` over TLS, and the one in plain text.
async fn targets(app: &App) -> (Target, Target) {
    let plain = app.log.line(0, "serving web on http://").await;
    let (_, rest) = plain.split_once("serving web on ").expect("found by these words");
    let plain = Target::from_url(rest.split_whitespace().next().expect("a URL"));
    let secure = app.log.line(0, "serving web on https://").await;
    let (_, rest) = secure.split_once("serving web on ").expect("found by these words");
    (Target::from_url(rest.split_whitespace().next().expect("a URL")), plain)
}

async fn reply(target: &Target, request: &str) -> Reply {
    let mut client = Client::connect(target).await.expect("a connection");
    client.send(request).await.expect("room");
    client.reply().await.expect("an answer")
}

fn location(reply: &Reply) -> Option<&str> {
    assert_eq!((reply.status, reply.body.len()), (308, 0), "{reply:?}");
    reply.header("location")
}

/// The metrics, the command and the status page's document tell the endpoints apart.
#[tokio::test]
async fn operators_see_what_comes_in_plain_text() {
    let scratch = Scratch::new();
    let control = scratch.join("control.sock");
    let app = Launch::app(&scratch, BOTH)
        .env("GRACEHTTP_ADMIN", "127.0.0.1:0")
        .env("GRACEHTTP_CONTROL", format!("unix:{}", control.display()))
        .spawn();
    let (secure, plain) = targets(&app).await;
    for (target, requests) in [(&secure, 2), (&plain, 3)] {
        for _ in 0..requests {
            assert_eq!(get_once(target, "/ping").await.unwrap().status, 200);
        }
    }
    // One that is under way.
    let mut asking = Client::connect(&plain).await.unwrap();
    asking.send("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    app.log.line(0, "never begins").await;
    let line = app.log.line(0, "status page on ").await;
    let url = line.split("status page on ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let metrics = get_once(&Target::from_url(url.expect("a URL")), "/metrics").await.unwrap().text();
    let count = |name: &str, scheme: &str| {
        let start = format!("{name}{{server=\"web\",url_scheme=\"{scheme}\"");
        let line = metrics.lines().find(|line| line.starts_with(&start));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.unwrap_or_else(|| panic!("no {start} in {metrics}")).parse::<f64>().expect("a number")
    };
    let counted = ["https", "http"].map(|scheme| count("http_server_request_duration_seconds_count", scheme));
    assert_eq!(counted, [2.0, 3.0]);
    let active = ["https", "http"].map(|scheme| count("http_server_active_requests", scheme));
    assert_eq!(active, [0.0, 1.0]);
    let told = std::process::Command::new(tests::process::bin("app"))
        .args(["status", "--control"])
        .arg(&control)
        .output()
        .expect("a command");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let endpoints = format!("web  {}, {} (plain)  ", secure.address(), plain.address());
    assert!(told.contains(&endpoints), "{endpoints}: {told}");
}

#[tokio::test]
async fn one_server_speaks_plain_text_and_tls_with_one_limit() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("{BOTH} max_conns=2 when_full=wait")).spawn();
    let (secure, plain) = targets(&app).await;
    let mut over_tls = Client::connect(&secure).await.unwrap();
    assert!(
        over_tls
            .get("/facts")
            .await
            .unwrap()
            .header("tls-version")
            .is_some_and(|version| version.starts_with("TLS"))
    );
    let mut in_plain = Client::connect(&plain).await.unwrap();
    assert_eq!(in_plain.get("/facts").await.unwrap().header("tls-version"), Some("no TLS"));
    // The third has to wait, wherever it comes from, and is served once one of the two has left.
    let mut third = Client::connect(&plain).await.unwrap();
    third.send(get("/ping")).await.unwrap();
    assert_eq!(third.pause(std::time::Duration::from_millis(300)).await, Pause::Open);
    drop(over_tls);
    assert_eq!(third.reply().await.unwrap().status, 200);
    // Neither endpoint takes what belongs to the other.
    drop((in_plain, third));
    let to_wrong_port = Client::connect(&Target::Plain(secure.address())).await.unwrap().get("/ping").await;
    assert!(to_wrong_port.is_err(), "{to_wrong_port:?}");
    assert!(Client::connect(&Target::Tls(plain.address())).await.is_err());
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn connections_of_both_kinds_move_in_a_restart() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, BOTH).spawn();
    let (secure, plain) = targets(&app).await;
    let ports = app.current().listening_ports();
    let mut clients = Vec::new();
    for target in [&secure, &plain] {
        let mut idle = Client::connect(target).await.unwrap();
        idle.get("/ping").await.unwrap();
        clients.push(idle);
    }
    // One that has sent nothing yet.
    clients.push(Client::connect(&plain).await.unwrap());
    let loads =
        [&secure, &plain].map(|target| Load::on(target).clients(2, Style::Get).clients(2, Style::Fresh));
    for load in &loads {
        load.answers(10).await;
    }
    let successor = app.restart().await;
    for target in [&secure, &plain] {
        app.serves(target, &successor).await;
    }
    assert_eq!(app.current().listening_ports(), ports);
    for client in &mut clients {
        assert_eq!(client.get("/ping").await.unwrap().pid(), Some(successor.pid()));
    }
    for load in loads {
        load.stop().await.assert_unnoticed();
    }
    app.predecessors_leave_cleanly().await;
}

#[tokio::test]
async fn an_endpoint_becomes_plain_or_secure_by_a_restart() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, BOTH).spawn();
    let (secure, plain) = targets(&app).await;
    let (a, b) = (secure.address(), plain.address());
    scratch.write("plan", format!("server web {b} plain={a} tls=self_signed"));
    let successor = app.restart().await;
    let (secure, plain) = (Target::Tls(b), Target::Plain(a));
    for target in [&secure, &plain] {
        app.serves(target, &successor).await;
    }
    scratch.write("plan", format!("server web {a} {b}"));
    let successor = app.restart().await;
    for target in [Target::Plain(a), Target::Plain(b)] {
        app.serves(&target, &successor).await;
    }
}

#[tokio::test]
async fn plain_text_is_redirected_and_tls_is_not() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("{BOTH} redirect=8443 health=/healthz")).spawn();
    let (secure, plain) = targets(&app).await;
    let redirected = reply(&plain, "GET /a%20b/?c=d HTTP/1.1\r\nHost: web.test:80\r\n\r\n").await;
    assert_eq!(location(&redirected), Some("https://web.test:8443/a%20b/?c=d"));
    for method in ["GET", "DELETE", "OPTIONS"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
        assert_eq!(location(&reply(&plain, &request).await), Some("https://[::1]:8443/"), "{method}");
    }
    let Outcome::Reply(over_http2) = Http2::connect(&plain).await.unwrap().get("/ping?a").await.unwrap()
    else {
        panic!("not sent")
    };
    assert!(
        location(&over_http2).is_some_and(|location| location.ends_with(":8443/ping?a")),
        "{over_http2:?}"
    );
    assert_eq!(get_once(&secure, "/ping").await.unwrap().pid(), Some(app.pid()));
    assert_eq!(get_once(&plain, "/healthz").await.unwrap().text(), "ready\n");
    let challenge = get_once(&plain, "/.well-known/acme-challenge/token").await.unwrap();
    assert_eq!(challenge.status, 404, "the application answers: it has no such path");
    for path in ["", "../../ping", "%2e%2e/%2e%2e/ping", "token/.."] {
        let request = format!("GET /.well-known/acme-challenge/{path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(reply(&plain, &request).await.status, 308, "{path}");
    }
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_is_redirected_to_the_host_that_it_knows() {
    let redirected = async |trusted: &str| {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("{BOTH} redirect=443"))
            .env("GRACEHTTP_SERVER__WEB__TRUSTED_PROXIES", trusted)
            .env("GRACEHTTP_SERVER__WEB__FORWARDED", "x-forwarded-host, x-forwarded-proto")
            .spawn();
        let (_, plain) = targets(&app).await;
        let fields = "X-Forwarded-Host: shop.test:80\r\nX-Forwarded-Proto: http\r\n";
        let request = format!("GET /a HTTP/1.1\r\nHost: backend:8080\r\n{fields}\r\n");
        location(&reply(&plain, &request).await).map(str::to_owned)
    };
    assert_eq!(redirected("127.0.0.0/8").await.as_deref(), Some("https://shop.test/a"));
    assert_eq!(redirected("10.0.0.0/8").await.as_deref(), Some("https://backend/a"));
}

#[tokio::test]
async fn a_redirected_body_is_not_taken_for_a_request() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 redirect=443").spawn();
    let plain = app.target("web").await;
    let mut client = Client::connect(&plain).await.unwrap();
    for _ in 0..3 {
        let reply = client.post("/upload", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(location(&reply), Some("https://localhost/upload"));
    }
}

#[tokio::test]
async fn a_request_without_host_or_path_is_refused() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 redirect=443").spawn();
    let plain = app.target("web").await;
    let mut old = TcpStream::connect(plain.address()).await.unwrap();
    old.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
    assert_eq!(reply(&plain, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n").await.status, 400);
    assert_eq!(reply(&plain, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn hsts_is_told_over_tls_alone_and_with_every_answer() {
    let scratch = Scratch::new();
    let plan = format!("{BOTH} hsts=365d,include_subdomains,preload health=/healthz");
    let app = Launch::app(&scratch, &plan).spawn();
    let (secure, plain) = targets(&app).await;
    let told = Some("max-age=31536000; includeSubDomains; preload");
    let field = "strict-transport-security";
    assert_eq!(get_once(&secure, "/ping").await.unwrap().header(field), told);
    assert_eq!(get_once(&secure, "/own_hsts").await.unwrap().header(field), Some("max-age=1"));
    assert_eq!(get_once(&secure, "/healthz").await.unwrap().header(field), told);
    let refused = reply(&secure, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert_eq!((refused.status, refused.header(field)), (400, told));
    assert_eq!(get_once(&plain, "/ping").await.unwrap().header(field), None);
}

/// The proxy that ends TLS before it has to tell browsers.
#[tokio::test]
async fn hsts_of_a_server_without_tls_is_noticed() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 hsts=180d").spawn();
    let line = app.log.line(0, "`hsts`, set in the code, has no effect").await;
    assert!(line.contains(" WARN ") && line.contains("server `web`"), "{line}");
    assert!(line.contains("let the proxy that ends TLS tell browsers"), "{line}");
    let reply = get_once(&app.target("web").await, "/ping").await.unwrap();
    assert_eq!(reply.header("strict-transport-security"), None);
    assert_eq!(app.log.count(0, "`hsts`"), 1, "it is told once\n{}", app.log);
}

#[tokio::test]
async fn endpoints_and_redirects_that_can_not_be_meant_are_refused() {
    for (plan, message) in [
        ("server web 127.0.0.1:0 plain=127.0.0.2:0", "server `web` has `plain_listen` and no `tls`"),
        ("server web 127.0.0.1:0 tls=self_signed redirect=443", "speaks TLS on all of its endpoints"),
        ("server web 127.0.0.1:8 plain=127.0.0.1:8 tls=self_signed", "to listen on 127.0.0.1:8 twice"),
        ("server web 127.0.0.1:0 tls=self_signed hsts=365d,preload", "`preload` needs `include_subdomains`"),
    ] {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, plan).spawn();
        assert!(app.log.line(0, message).await.contains(message));
        assert_ne!(app.first().exit().await, Exit::Code(0));
    }
}
