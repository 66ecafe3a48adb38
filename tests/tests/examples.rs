//! Each example runs and does what its head says.

use std::path::PathBuf;
use std::time::Duration;

use tests::client::{get, get_once};
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::{App, Client, Exit, Launch, Reply, Scratch, Signal, Target};

/// An example on ports that the kernel chooses.
fn launch(name: &str, servers: &[&str]) -> Launch {
    servers.iter().fold(Launch::example(name), |launch, server| launch.listen(server, "127.0.0.1:0"))
}

/// Well before the drain's limit of a minute.
const WELL_BEFORE: Duration = Duration::from_secs(30);

async fn ask(target: &Target, path: &str) -> Reply {
    get_once(target, path).await.expect("an answer")
}

/// Restarts and waits for the first answer that differs from the one before.
async fn restart_changes(app: &App, signal: Signal, target: &Target, path: &str) -> String {
    let before = ask(target, path).await.text();
    app.restart_by(signal).await;
    within(PATIENCE, "another answer after the restart", async {
        loop {
            let after = ask(target, path).await.text();
            if after != before {
                return after;
            }
        }
    })
    .await
}

async fn post_json(client: &mut Client, path: &str, body: &str) -> Reply {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await.expect("sent");
    client.reply().await.expect("an answer")
}

/// The rest of a chunked response, up to its proper end.
async fn rest(client: &mut Client) -> String {
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        let piece = client.piece().await.expect("no fault");
        rest.extend_from_slice(&piece.expect("the end of the stream"));
    }
    String::from_utf8_lossy(&rest).into_owned()
}

/// The transcript of the README.
#[tokio::test]
async fn ping_restarts_and_stops() {
    let app = launch("ping", &["ping"]).spawn();
    let target = app.target("ping").await;
    let first = app.pid();
    assert_eq!(ask(&target, "/ping").await.text(), format!("pong by pid:{first}\n"));
    assert_eq!(ask(&target, "/anything").await.text(), "unknown\n");
    let after = restart_changes(&app, Signal::USR1, &target, "/ping").await;
    assert_eq!(after, format!("pong by pid:{}\n", app.pid()));
    assert_ne!(app.pid(), first);
    app.signal(Signal::QUIT);
    assert!(app.current().exit().await.is_clean());
    assert_eq!(
        app.first().exit().await,
        Exit::Code(0),
        "the predecessor does not take over from a stopped successor"
    );
    assert!(std::net::TcpStream::connect(target.address()).is_err());
}

#[tokio::test]
async fn multi_serves_three_and_restarts_them_together() {
    let servers = ["public", "admin", "secure"];
    let app = launch("multi", &servers).spawn();
    let first = app.pid();
    let mut targets = Vec::new();
    for name in servers {
        let target = app.target(name).await;
        assert_eq!(matches!(target, Target::Tls(_)), name == "secure");
        assert_eq!(ask(&target, "/").await.text(), format!("{name}, pid {first}\n"));
        targets.push(target);
    }
    let successor = app.restart_by(Signal::USR1).await;
    for (name, target) in servers.iter().zip(&targets) {
        let expected = format!("{name}, pid {}\n", successor.pid());
        within(PATIENCE, "the successor's answer", async {
            while ask(target, "/").await.text() != expected {}
        })
        .await;
    }
    assert!(app.stop().await.is_clean());
    app.predecessors_exit().await;
    for target in targets {
        assert!(std::net::TcpStream::connect(target.address()).is_err());
    }
}

/// The lines of its head, with one address for all servers.
#[tokio::test]
async fn behind_a_proxy_names_the_client() {
    let app = launch("behind_a_proxy", &["believing", "introduced"]).spawn();
    let (believing, introduced) = (app.target("believing").await, app.target("introduced").await);
    let answer = async |target: &Target, first: &str, fields: &str| {
        let mut client = Client::connect(target).await.unwrap();
        client.send(format!("{first}GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await.unwrap();
        client.reply().await.map(|reply| reply.text())
    };
    let said = answer(&believing, "", "").await.unwrap();
    assert_eq!(said, "127.0.0.1 asks for http://localhost/\n");
    let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n";
    let said = answer(&believing, "", fields).await.unwrap();
    assert_eq!(said, "203.0.113.7 asks for https://localhost/\n");
    app.log.line(0, "203.0.113.7 - - [").await;
    let header = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 80\r\n";
    let said = answer(&introduced, header, fields).await.unwrap();
    assert_eq!(said, "203.0.113.9 asks for http://localhost/\n", "its fields are those of a client");
    app.log.line(0, "203.0.113.9 - - [").await;
    assert!(answer(&introduced, "", "").await.is_err());
    app.restart().await;
    assert!(app.stop().await.is_clean());
    app.predecessors_exit().await;
}

#[tokio::test]
async fn router_takes_notes() {
    let app = launch("router", &["notes"]).spawn();
    let target = app.target("notes").await;
    let mut client = Client::connect(&target).await.unwrap();
    let written = post_json(&mut client, "/notes", r#"{"text": "buy milk"}"#).await;
    assert_eq!((written.status, written.text().as_str()), (201, r#"{"id":1,"text":"buy milk"}"#));
    let read = client.get("/notes/1").await.unwrap();
    assert_eq!((read.status, read.text()), (200, written.text()));
    assert_eq!(client.get("/notes/2").await.unwrap().status, 404);
    // Each generation runs its own start-up code, so the note is gone.
    assert_eq!(restart_changes(&app, Signal::HUP, &target, "/notes/1").await, "");
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn routes_find_their_handlers() {
    let app = launch("routes", &["api"]).spawn();
    let target = app.target("api").await;
    let mut client = Client::connect(&target).await.unwrap();
    let mut add = async |body: &str| {
        let reply = post_json(&mut client, "/users", body).await;
        (reply.status, reply.text())
    };
    let grace = r#"{"id":1,"name":"Grace"}"#;
    assert_eq!(add(r#"{"name": "Grace"}"#).await, (201, grace.to_owned()));
    assert_eq!(add(&format!(r#"{{"name": "{}"}}"#, "Grace".repeat(300))).await.0, 413);
    assert_eq!(ask(&target, "/users/1").await.text(), grace);
    assert_eq!(ask(&target, "/users/2").await.status, 404);
    assert_eq!(ask(&target, "/users/one").await.status, 400);
    assert_eq!(ask(&target, "/users").await.status, 405);
    assert_eq!(ask(&target, "/admin").await.text(), "1 user(s)\n");
    assert_eq!(ask(&target, "/nowhere").await.text(), "there is nothing at /nowhere\n");
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn layers_are_around_the_server_and_the_route() {
    let app = launch("layers", &["layered"]).env("RUST_LOG", "info").spawn();
    let target = app.target("layered").await;
    let mut client = Client::connect(&target).await.unwrap();
    let plain = client.get("/poem").await.unwrap();
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 3700));
    let headers = "Host: localhost\r\nAccept-Encoding: gzip\r\nOrigin: https://example.com\r\n";
    client.send(format!("GET /poem HTTP/1.1\r\n{headers}\r\n")).await.unwrap();
    let compressed = client.reply().await.unwrap();
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert!(compressed.body.starts_with(b"\x1f\x8b") && compressed.body.len() < 370, "{compressed:?}");
    assert_eq!(compressed.header("access-control-allow-origin"), Some("*"));
    assert_eq!(client.get("/slow").await.unwrap().status, 504);
    app.log.line(0, "uri=/poem").await;
    let line = app.log.line(0, "status=504").await;
    assert!(line.contains("latency="), "{line}");
    assert!(app.stop().await.is_clean());
}

/// The shop's configuration as shipped, except that the test sets the outbox and the price of tea.
fn configure_shop(scratch: &Scratch, price: &str) -> PathBuf {
    let shipped = include_str!("../../examples/shop/Gracehttp.toml");
    let outbox = scratch.join("outbox").display().to_string();
    assert!(shipped.contains("/tmp/shop-outbox.txt") && shipped.contains("cents = 350"));
    let config = shipped.replace("/tmp/shop-outbox.txt", &outbox);
    scratch.write("shop.toml", config.replace("cents = 350", &format!("cents = {price}")))
}

#[tokio::test]
async fn shop_finds_its_file_from_any_directory() {
    let scratch = Scratch::new();
    let app = Launch::example("shop").arg("check").directory(scratch.path()).spawn();
    app.log.line(0, "the configuration of public, admin is in order").await;
    assert_eq!(app.current().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn shop_takes_orders_through_a_restart_with_another_price_and_a_failed_restart() {
    let scratch = Scratch::new();
    let config = configure_shop(&scratch, "350");
    let socket = scratch.join("admin");
    let app = launch("shop", &["public"])
        .listen("admin", &format!("unix:{}", socket.display()))
        .env("GRACEHTTP_CONFIG", config)
        .env("GRACEHTTP_DRAIN_TIMEOUT", "60s")
        .spawn();
    let target = app.target("public").await;
    let first = app.current();
    let mut news = Client::connect(&target).await.unwrap();
    news.send(get("/news")).await.unwrap();
    news.piece().await.unwrap().expect("the head");
    let mut customer = Client::connect(&target).await.unwrap();
    let order = r#"{"product": "tea", "quantity": 2}"#;
    let taken = post_json(&mut customer, "/orders", order).await;
    assert_eq!((taken.status, taken.header("location")), (201, Some("/orders/1")), "{}", taken.text());

    configure_shop(&scratch, "360");
    let tea = restart_changes(&app, Signal::HUP, &target, "/products/tea").await;
    assert_eq!(tea, r#"{"cents":360,"stock":100000}"#);
    let events = rest(&mut news).await;
    assert!(events.contains("data: 2 tea") && events.contains("event: farewell"), "{events}");
    assert_eq!(first.exit_within(WELL_BEFORE).await, Exit::Code(0), "{}", app.log);
    app.log.line(0, "The Corner Shop closes. Orders: 1, cents: 700").await;
    let outbox = || std::fs::read_to_string(scratch.join("outbox")).expect("the outbox");
    assert_eq!(outbox(), "order 1: 2 tea for 700 cents\n");

    configure_shop(&scratch, "0");
    app.signal(Signal::HUP);
    let refused = app.log.line(0, "start new process failed").await;
    assert!(refused.contains("shop.toml:") && refused.contains("nonzero"), "{refused}");
    // The connection is older than the restarts.
    assert_eq!(post_json(&mut customer, "/orders", order).await.status, 201);
    let overview = ask(&Target::Unix(socket), "/overview").await.text();
    assert!(overview.contains(r#""generation":2,"orders":1,"cents":720"#), "{overview}");
    assert!(app.stop().await.is_clean());
    assert!(outbox().ends_with("order 1: 2 tea for 720 cents\n"), "{}", outbox());
}

#[tokio::test]
async fn stream_ends_cleanly_at_a_restart_and_at_a_stop() {
    let app = launch("stream", &["ticks"]).env("GRACEHTTP_DRAIN_TIMEOUT", "60s").spawn();
    let target = app.target("ticks").await;
    for signal in [Signal::USR1, Signal::TERM] {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get("/")).await.unwrap();
        client.piece().await.unwrap().expect("a tick");
        let generation = app.current();
        generation.signal(signal);
        // The last chunk is the proper end, even if the connection closes.
        assert!(rest(&mut client).await.contains("goodbye\n"));
        drop(client);
        let exit = generation.exit_within(WELL_BEFORE).await;
        assert_eq!(exit, Exit::Code(0), "well before the drain's limit\n{}", app.log);
    }
}

#[tokio::test]
async fn callbacks_get_every_line() {
    let app = launch("callbacks", &["hello"]).spawn();
    let target = app.target("hello").await;
    assert_eq!(ask(&target, "/").await.text(), "hello\n");
    app.restart_by(Signal::USR1).await;
    assert!(app.stop().await.is_clean());
    app.predecessors_exit().await;
    let strange =
        |line: &String| !["[info]  ", "[notice]", "[error] "].iter().any(|level| line.starts_with(level));
    assert_eq!(app.log.since(0).into_iter().find(strange), None);
    app.log.line(0, "[info]   Received SIG. [PID:").await;
    app.log.line(0, "[info]   start new process success, pid ").await;
}

#[tokio::test]
async fn callbacks_get_only_their_level() {
    let scratch = Scratch::new();
    let file = scratch.write("config", "");
    let app = launch("callbacks", &["hello"]).env("GRACEHTTP_CONFIG", &file).spawn();
    let target = app.target("hello").await;
    scratch.write("config", "drain_timeout = 1");
    app.signal(Signal::HUP);
    app.log.line(0, "[error]  start new process failed, pid ").await;
    let mut client = Client::connect(&target).await.unwrap();
    client.get("/").await.unwrap();
    app.signal(Signal::TERM);
    app.log.line(0, &format!("[info]   Received SIG. [PID:{}, SIG:SIGTERM]", app.pid())).await;
    assert!(app.stop().await.is_clean());
    app.log.line(0, "[notice] a second signal ends the drain at once, with 1 connection open").await;
}

#[tokio::test]
async fn builder_greets_and_survives_a_successor_that_fails() {
    let scratch = Scratch::new();
    let file = scratch.write("greeting", "hello, moon\n");
    let app = launch("builder", &["greeter", "counter"]).arg(&file).spawn();
    let (greeter, counter) = (app.target("greeter").await, app.target("counter").await);
    assert_eq!(ask(&counter, "/").await.text(), "greetings: 0\n");
    assert_eq!(ask(&greeter, "/").await.text(), "hello, moon\n");
    assert_eq!(ask(&counter, "/").await.text(), "greetings: 1\n");

    std::fs::remove_file(&file).unwrap();
    let serving = app.current();
    serving.signal(Signal::HUP);
    app.log.line(0, "No such file").await;
    eventually("the successor to be reaped", || serving.children().is_empty()).await;
    assert_eq!(ask(&greeter, "/").await.text(), "hello, moon\n");

    scratch.write("greeting", "hello, sun\n");
    assert_eq!(restart_changes(&app, Signal::HUP, &greeter, "/").await, "hello, sun\n");
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn builder_greets_the_world_without_a_file() {
    let app = launch("builder", &["greeter", "counter"]).spawn();
    assert_eq!(ask(&app.target("greeter").await, "/").await.text(), "hello, world\n");
    assert!(app.stop().await.is_clean());
}

/// The number of greetings that the example `app` shows to its operator.
async fn greetings(admin: &Target) -> u64 {
    let metrics = ask(admin, "/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("app_greetings_total "));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}

#[tokio::test]
async fn app_counts_on_over_a_restart_and_a_crash() {
    let scratch = Scratch::new();
    let admin = scratch.join("admin.sock");
    let app = launch("app", &["web"])
        .env("GRACEHTTP_ADMIN", format!("unix:{}", admin.display()))
        .env("GRACEHTTP_SUPERVISE", "always")
        .env("GRACEHTTP_STANDBY", "300ms")
        .spawn();
    let (web, admin) = (app.target("web").await, Target::Unix(admin));
    let greeted = ask(&web, "/").await.text();
    assert!(greeted.starts_with("hello from generation 1, pid "), "{greeted}");
    assert!(ask(&admin, "/readyz?verbose").await.text().contains("[+] check greeting: passed"));
    assert_eq!(greetings(&admin).await, 1);

    let after = restart_changes(&app, Signal::HUP, &web, "/").await;
    assert!(after.starts_with("hello from generation 2, pid "), "{after}");
    let counted = greetings(&admin).await;
    assert!(counted >= 3, "{counted}");

    // In standby the predecessor would serve again.
    app.log.line(0, "has ended; pid ").await;
    let pid = after.trim_end().rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
    app.hold(pid).kill();
    let fresh = async {
        loop {
            // The dying process may take one client along.
            match get_once(&web, "/").await.map(|reply| reply.text()) {
                Ok(greeting) if greeting.contains("generation 3") => return,
                _ => tokio::time::sleep(GLANCE).await,
            }
        }
    };
    within(PATIENCE, "the next generation", fresh).await;
    let last = greetings(&admin).await;
    assert!(last > counted, "{last} after {counted}");
    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
}
