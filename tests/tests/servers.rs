//! Servers of every kind in one process, and the errors of those that can't start.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once};
use tests::h2::{Http2, Outcome};
use tests::patience::PATIENCE;
use tests::process::{ReservedPort, ipv6};
use tests::{App, Client, Exit, Kind, Launch, Scratch, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn start(plan: &str) -> (App, Scratch) {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, plan).spawn();
    (app, scratch)
}

async fn http2_get(target: &Target) -> tests::Reply {
    match Http2::connect(target).await.expect("HTTP/2").get("/ping").await.expect("an answer") {
        Outcome::Reply(reply) => reply,
        Outcome::NotSent => panic!("not sent"),
    }
}

#[tokio::test]
async fn several_servers_speak_http1_and_http2_with_and_without_tls() {
    let plan = "server one 127.0.0.1:0\nserver two 127.0.0.1:0\nserver tls 127.0.0.1:0 tls=self_signed";
    let (app, _scratch) = start(plan).await;
    for name in ["one", "two", "tls"] {
        let target = app.target(name).await;
        assert_eq!(matches!(target, Target::Tls(_)), name == "tls", "{target:?}");
        assert_eq!(get_once(&target, "/ping").await.unwrap().pid(), Some(app.pid()));
        assert_eq!(http2_get(&target).await.pid(), Some(app.pid()));
    }
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn certificate_and_key_files_serve_tls() {
    let scratch = Scratch::new();
    let (cert, key) = scratch.certificate("tls");
    let plan = format!("server tls 127.0.0.1:0 cert={} key={}", cert.display(), key.display());
    let app = Launch::app(&scratch, &plan).spawn();
    let target = app.target("tls").await;
    assert_eq!(get_once(&target, "/ping").await.unwrap().status, 200);
    assert_eq!(http2_get(&target).await.status, 200);
}

#[tokio::test]
async fn ipv6_host_name_and_unix_socket_endpoints_are_served() {
    if !ipv6() {
        return;
    }
    let scratch = Scratch::new();
    let socket = scratch.join("web.sock");
    let plan = format!("server v6 [::1]:0\nserver name localhost:0\nserver unix unix:{}", socket.display());
    let app = Launch::app(&scratch, &plan).spawn();
    for name in ["v6", "name", "unix"] {
        let target = app.target(name).await;
        assert_eq!(get_once(&target, "/ping").await.unwrap().status, 200, "{target:?}");
        assert_eq!(http2_get(&target).await.status, 200, "{target:?}");
    }
    let Target::Unix(path) = app.target("unix").await else { panic!("no path in the banner") };
    assert_eq!(path, socket);
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(!socket.exists(), "the socket's file goes with the last process");
}

#[tokio::test]
async fn port_alone_serves_every_interface_of_both_families() {
    if !ipv6() {
        return;
    }
    let (app, _scratch) = start("server web :0").await;
    let port = app.address("web").await.port();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let target = Target::Plain(address.parse().unwrap());
        assert_eq!(get_once(&target, "/ping").await.unwrap().status, 200, "{target:?}");
    }
}

#[tokio::test]
async fn server_with_two_endpoints_serves_both() {
    if !ipv6() {
        return;
    }
    let (app, scratch) = start("server web 127.0.0.1:0 [::1]:0").await;
    app.target("web").await;
    tests::patience::eventually("two banners", || app.log.count(0, "serving web on ") == 2).await;
    let ports = app.current().listening_ports();
    assert_eq!(ports.len(), 2);
    for line in app.log.since(0).iter().filter(|line| line.contains("serving web on ")) {
        let url = line.split(" on ").nth(1).unwrap().split_whitespace().next().unwrap();
        assert_eq!(get_once(&Target::from_url(url), "/ping").await.unwrap().status, 200);
    }
    drop(scratch);
}

#[tokio::test]
async fn disabled_protocol_is_refused() {
    let plan = "server one 127.0.0.1:0 http2=no\nserver two 127.0.0.1:0 http1=no\n\
                server tls 127.0.0.1:0 tls=self_signed http2=no\nserver tls2 127.0.0.1:0 tls=self_signed http1=no";
    let (app, _scratch) = start(plan).await;
    let (one, two, tls) = (app.target("one").await, app.target("two").await, app.target("tls").await);
    assert_eq!(get_once(&one, "/ping").await.unwrap().status, 200);
    assert_eq!(http2_get(&two).await.status, 200);
    assert_eq!(get_once(&tls, "/ping").await.unwrap().status, 200);
    let answer = Http2::connect(&one).await.unwrap().get("/ping").await;
    assert!(!matches!(answer, Ok(Outcome::Reply(_))), "HTTP/2 where it is off: {answer:?}");
    let answer = get_once(&two, "/ping").await;
    assert!(answer.as_ref().is_err() || answer.as_ref().unwrap().status >= 400, "{answer:?}");
    Http2::connect(&tls).await.expect_err("no protocol in common");
    let tls2 = app.target("tls2").await;
    assert_eq!(http2_get(&tls2).await.status, 200);
    // This holds also for a client that does not announce its protocol.
    let mut silent = tls2.connect(&[]).await.unwrap();
    silent.write_all(get("/ping").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    _ = silent.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1"), "{}", String::from_utf8_lossy(&answer));
}

/// Sends these bytes and then nothing, and returns the time until the server ends the connection.
async fn ended_after(target: Target, words: String) -> Duration {
    let mut client = Client::connect(&target).await.unwrap_or_else(|failure| panic!("{words:?}: {failure}"));
    client.send(words).await.expect("written");
    let start = Instant::now();
    // The end may be silent, an answer 408, GOAWAY, or a TLS alert.
    while let Ok(Some(_)) = client.piece().await {}
    start.elapsed()
}

#[tokio::test]
async fn silent_connection_of_each_kind_is_closed() {
    let limits = "handshake_timeout=700ms header_read_timeout=700ms idle_timeout=700ms";
    let plan = format!("server web 127.0.0.1:0 {limits}\nserver tls 127.0.0.1:0 tls=self_signed {limits}");
    let (app, _scratch) = start(&plan).await;
    let (web, tls) = (app.target("web").await, app.target("tls").await);
    let tcp_of_tls = Target::Plain(tls.address());
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let cases = [
        (&web, "", "nothing"),
        (&web, "P", "one byte"),
        (&web, &preface[..12], "half a preface"),
        (&web, preface, "a preface alone"),
        (&web, "GET / HTTP/1.1\r\nHo", "half a head"),
        (&web, &get("/ping"), "a request, then nothing"),
        (&tcp_of_tls, "", "no handshake"),
        (&tcp_of_tls, "\u{16}", "one byte of a handshake"),
        (&tls, "", "nothing after a handshake"),
        (&tls, "GET / HT", "half a head over TLS"),
    ];
    // All cases run at once, since one after the other would take seven seconds.
    let running = cases
        .map(|(target, words, what)| (what, tokio::spawn(ended_after(target.clone(), words.to_owned()))));
    for (what, ended) in running {
        let took = ended.await.unwrap();
        println!("{what}: ended after {took:?}");
        assert!(took < PATIENCE, "{what} took {took:?}");
        assert!(took > Duration::from_millis(500), "{what} was cut too early, after {took:?}");
    }
}

#[tokio::test]
async fn request_past_its_time_limit_is_answered() {
    let (app, _scratch) = start("server web 127.0.0.1:0 request_timeout=300ms").await;
    let web = app.target("web").await;
    let reply = get_once(&web, "/slow?ms=600000").await.unwrap();
    assert!(matches!(reply.status, 408 | 503 | 504), "{reply:?}");
}

#[tokio::test]
async fn idle_connection_outlasts_the_time_limit_of_a_head() {
    let (app, _scratch) =
        start("server web 127.0.0.1:0 header_read_timeout=200ms handshake_timeout=200ms").await;
    let mut client = Client::connect(&app.target("web").await).await.unwrap();
    client.get("/ping").await.unwrap();
    assert_eq!(client.pause(Duration::from_millis(900)).await, Pause::Open);
    client.get("/ping").await.unwrap();
}

#[tokio::test]
async fn environment_overrides_endpoint_port_and_limit() {
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let app = Launch::example("ping").env("GRACEHTTP_SERVER__PING__PORT", port.to_string()).spawn();
    assert_eq!(app.address("ping").await.port(), port);
    assert_eq!(app.stop().await, Exit::Code(0));

    let app = Launch::example("ping")
        .listen("ping", "127.0.0.1:0")
        .env("GRACEHTTP_SERVER__PING__MAX_CONNS", "3")
        .spawn();
    let target = app.target("ping").await;
    let banner = app.log.line(0, "serving ping on ").await;
    assert!(banner.contains("max 3 connections"), "{banner}");
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&target).await.unwrap();
        client.get("/ping").await.unwrap();
        held.push(client);
    }
    let mut fourth = Client::connect(&target).await.unwrap().limit(Duration::from_millis(500));
    fourth.send(get("/ping")).await.unwrap();
    assert_eq!(fourth.reply().await.unwrap_err().kind, Kind::TimedOut, "a fourth connection was accepted");
}

/// Checks that the process exits with status 1, and that its error names all of these words.
async fn refuses_to_start(launch: Launch, words: &[&str]) {
    let app = launch.spawn();
    let exit = app.current().exit().await;
    assert_eq!(exit, Exit::Code(1), "{}", app.log);
    let matches = |line: &str| line.contains("ERROR") && words.iter().all(|word| line.contains(word));
    app.log.find(0, PATIENCE, &format!("an error that names {words:?}"), matches).await;
}

#[tokio::test]
async fn error_names_the_port_in_use_and_its_server() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupied.local_addr().unwrap().to_string();
    let scratch = Scratch::new();
    refuses_to_start(Launch::app(&scratch, &format!("server web {taken}")), &["web", &taken]).await;
    refuses_to_start(Launch::example("ping").listen("ping", &taken), &["ping", &taken]).await;
}

#[tokio::test]
async fn error_names_the_missing_certificate_and_its_server() {
    let scratch = Scratch::new();
    let (_, key) = scratch.certificate("tls");
    let plan = format!("server secure 127.0.0.1:0 cert=missing.pem key={}", key.display());
    refuses_to_start(Launch::app(&scratch, &plan), &["secure", "missing.pem"]).await;
}

#[tokio::test]
async fn error_names_the_mismatched_key_and_its_server() {
    let scratch = Scratch::new();
    let (cert, _) = scratch.certificate("one");
    let (_, key) = scratch.certificate("two");
    let plan = format!("server secure 127.0.0.1:0 cert={} key={}", cert.display(), key.display());
    refuses_to_start(Launch::app(&scratch, &plan), &["secure", "one.pem", "two.key"]).await;
}

#[tokio::test]
async fn errors_name_all_faults_of_a_kind_at_once() {
    let occupied = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [one, two] = occupied.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("server one {one}\nserver two {two}")).spawn();
    assert_eq!(app.current().exit().await, Exit::Code(1));
    app.log.line(0, &one).await;
    app.log.line(0, &two).await;
}

#[tokio::test]
async fn error_names_the_variable_of_a_wrong_value() {
    for (name, value) in [
        ("GRACEHTTP_SERVER__PING__PORT", "70000"),
        ("GRACEHTTP_SERVER__PING__MAX_CONNS", "many"),
        ("GRACEHTTP_SERVER__PING__IDLE_TIMEOUT", "soon"),
        ("GRACEHTTP_SERVER__PING__LISTEN", "nonsense"),
        ("GRACEHTTP_DRAIN_TIMEOUT", "later"),
        ("GRACEHTTP_READY_TIMEOUT", "-1s"),
    ] {
        refuses_to_start(Launch::example("ping").env(name, value), &[name, value]).await;
    }
}

#[tokio::test]
async fn misspelt_variable_is_refused_with_a_suggestion() {
    for (name, meant) in [
        ("GRACEHTTP_DRAIN_TIMOUT", "GRACEHTTP_DRAIN_TIMEOUT"),
        ("GRACEHTTP_SERVER__PING__PROT", "GRACEHTTP_SERVER__PING__PORT"),
        ("GRACEHTTP_SERVER__PIMG__PORT", "PING"),
    ] {
        refuses_to_start(Launch::example("ping").env(name, "1"), &[name, meant]).await;
    }
}

#[tokio::test]
async fn unusual_environment_does_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let garbage = OsStr::from_bytes(b"\xFF\xFE");
    let app = Launch::example("ping")
        .listen("ping", "127.0.0.1:0")
        .arg(garbage)
        .env("COLOUR", garbage)
        .start("ping")
        .await;
    let target = app.target("ping").await;
    let successor = app.restart().await;
    app.serves(&target, &successor).await;
}
