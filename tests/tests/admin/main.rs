//! What an operator reads at the address `admin`, in every phase of a process, and what no client can do to it.

mod attacked;
mod life;

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::client::{get, get_once};
use tests::patience::within;
use tests::{App, Client, Exit, Launch, Scratch, Signal, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(30);

fn operated(scratch: &Scratch) -> Launch {
    let check = scratch.write("check", "");
    Launch::bin("operated").env("APP_CHECK", check).env("GRACEHTTP_ADMIN", "127.0.0.1:0")
}

/// Where the log says that operators can ask.
async fn admin_of(app: &App) -> Target {
    let line = app.log.line(0, "status page on http://").await;
    let url = line.split("status page on ").nth(1).expect("a URL");
    Target::from_url(url.split_whitespace().next().expect("a URL"))
}

async fn ask(admin: &Target, path: &str) -> (u16, String) {
    let reply = get_once(admin, path).await.expect("a reply");
    (reply.status, reply.text())
}

async fn until(admin: &Target, path: &str, status: u16) -> String {
    let limit = Instant::now() + LIMIT;
    loop {
        let (now, text) = ask(admin, path).await;
        if now == status {
            return text;
        }
        assert!(Instant::now() < limit, "{path} is {now} and never becomes {status}: {text}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Sends bytes, and returns all that comes until the end of the connection.
async fn raw(admin: &Target, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(admin.address()).await.expect("a connection");
    // A refusal may come before the server has read all of them.
    let _ = stream.write_all(bytes).await;
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    // A reset after a refusal ends it, too.
    let _ = within(LIMIT, "the end of a connection", read).await;
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn probes_tell_the_truth_from_the_start_to_the_end() {
    let scratch = Scratch::new();
    let gate = scratch.join("gate");
    let launch = operated(&scratch).env("APP_GATE", &gate).env("GRACEHTTP_LAME_DUCK", "30s");
    let app = launch.spawn();
    let admin = admin_of(&app).await;
    // The start-up code runs.
    assert_eq!(ask(&admin, "/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(ask(&admin, "/readyz").await, (503, "not ready\n".to_owned()));
    assert_eq!(ask(&admin, "/readyz?verbose").await.1, "not ready\n[-] stage: starting\n");
    assert!(ask(&admin, "/status.json").await.1.contains("\"phase\":\"starting\""));

    scratch.write("gate", "");
    let told = until(&admin, "/readyz?verbose", 200).await;
    assert!(
        told.starts_with("ready\n[+] stage: serving\n[+] worker threads: answer\n[+] check database: passed"),
        "{told}"
    );
    assert!(told.contains("\n[+] check cache: passed in "), "{told}");
    assert_eq!(ask(&admin, "/readyz").await.1, "ready\n");

    scratch.write("check", "fail <b>no</b> route");
    let told = until(&admin, "/readyz?verbose", 503).await;
    assert!(told.contains("[-] check database: <b>no</b> route\n"), "{told}");
    assert_eq!(ask(&admin, "/livez").await.0, 200);
    scratch.write("check", "");
    until(&admin, "/readyz", 200).await;

    // The lame duck: listeners are open, and the process says that it should get nothing new.
    app.signal(Signal::TERM);
    let told = until(&admin, "/readyz?verbose", 503).await;
    assert!(told.contains("[-] stage: stopping\n"), "{told}");
    let web = app.target("web").await;
    assert_eq!(get_once(&web, "/").await.unwrap().pid(), Some(app.pid()));
    app.signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn it_answers_while_all_workers_are_blocked_and_says_so() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let (admin, web) = (admin_of(&app).await, app.target("web").await);
    until(&admin, "/readyz", 200).await;
    let mut blocking = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&web).await.unwrap().limit(LIMIT);
        client.send("GET /block?8000 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        blocking.push(client);
    }
    let told = until(&admin, "/readyz?verbose", 503).await;
    assert!(told.contains("[-] worker threads: have not answered for "), "{told}");
    assert!(told.contains("[+] stage: serving"), "{told}");
    // It lives: they may answer again.
    assert!(ask(&admin, "/livez").await.1.starts_with("alive; the worker threads have not answered for "));
    let document = ask(&admin, "/status.json").await.1;
    assert!(document.contains("\"worker_threads_are_live\":false"), "{document}");
    for client in &mut blocking {
        assert_eq!(client.reply().await.unwrap().status, 200);
    }
    until(&admin, "/readyz", 200).await;
}

#[tokio::test]
async fn in_a_restart_one_process_or_the_other_always_answers() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    // Nobody who asks in between is refused, nor told that the service is not ready.
    let target = admin.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let asking = tokio::spawn(async move {
        let mut asked = 0;
        while asked <= 20 || stopped.try_recv().is_err() {
            assert_eq!(ask(&target, "/readyz").await, (200, "ready\n".to_owned()));
            asked += 1;
        }
    });
    let mut kept = Client::connect(&admin).await.unwrap();
    for _ in 0..3 {
        let before = app.pid();
        assert!(kept.get("/status.json").await.unwrap().text().contains(&format!("\"pid\":{before}")));
        let successor = app.restart().await;
        app.serves(&app.target("web").await, &successor).await;
        // A connection that was kept ends with the commit, and the next one reaches the successor.
        within(LIMIT, "the end of a connection", kept.closed()).await.unwrap();
        kept = Client::connect(&admin).await.unwrap();
        let document = kept.get("/status.json").await.unwrap().text();
        assert!(document.contains(&format!("\"pid\":{}", successor.pid())), "{document}");
    }
    // A successor that is not healthy: the old one goes on, here, too.
    stop.send(()).unwrap();
    asking.await.unwrap();
    scratch.write("check", "fail no route");
    let start = app.log.end();
    app.signal(Signal::HUP);
    app.log.line(start, "serves on").await;
    let told = until(&admin, "/readyz?verbose", 503).await;
    assert!(told.contains("[+] stage: serving") && told.contains("[-] check database: no route"), "{told}");
    assert!(app.stop().await.is_clean());
}

/// The document for operators, once it has come to a state.
async fn status_when(admin: &Target, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + LIMIT;
    loop {
        let status: Value = serde_json::from_str(&ask(admin, "/status.json").await.1).expect("JSON");
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < limit, "never {what}: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Generation and connections of each process that drains.
fn draining(status: &Value) -> Vec<(u64, u64)> {
    let predecessors = status["predecessors"].as_array().expect("a list").iter();
    let counts = predecessors.map(|one| (one["generation"].as_u64(), one["connections"]["held"].as_u64()));
    counts.map(|(generation, held)| (generation.expect("a number"), held.expect("a number"))).collect()
}

async fn busy(app: &App, web: &Target) -> Client {
    let start = app.log.end();
    let mut client = Client::connect(web).await.expect("a connection");
    client.send(get("/slow?ms=60000")).await.expect("a request that is sent");
    app.log.line(start, "slow begins").await;
    client
}

#[tokio::test]
async fn all_generations_that_still_have_connections_tell_their_own_counts() {
    let scratch = Scratch::new();
    let launch = Launch::app(&scratch, "server web 127.0.0.1:0").env("GRACEHTTP_ADMIN", "127.0.0.1:0");
    let app = launch.env("GRACEHTTP_STANDBY", "300ms").env("GRACEHTTP_DRAIN_TIMEOUT", "40s").spawn();
    let (admin, web, first) = (admin_of(&app).await, app.target("web").await, app.first());
    let mut idle = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(&web).await.unwrap();
        client.get("/ping").await.unwrap();
        idle.push(client);
    }
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(busy(&app, &web).await);
    }
    let status = status_when(&admin, "serving", |_| true).await;
    assert_eq!(draining(&status), []);

    app.restart().await;
    let status = status_when(&admin, "drained but for 3", |status| {
        draining(status) == [(1, 3)] && status["predecessors"][0]["phase"] == "draining"
    })
    .await;
    let told = &status["predecessors"][0];
    assert_eq!(told["pid"], first.pid());
    let counts = serde_json::json!({ "before": 8, "moved": 5, "held": 3, "parked": 0, "awake": 3 });
    assert_eq!((&told["connections"], &told["servers"][0]["connections"]), (&counts, &counts));
    assert_eq!(
        (&told["servers"][0]["name"], &told["servers"][0]["phase"]),
        (&"web".into(), &"handing over".into())
    );
    let left = told["deadline_in_seconds"].as_f64().unwrap();
    assert!((20.0..=40.0).contains(&left), "{told}");
    assert_eq!(status["servers"][0]["connections"]["foreign"], 3);

    slow.pop();
    status_when(&admin, "two", |status| draining(status) == [(1, 2)]).await;
    let of_second = busy(&app, &web).await;
    app.restart().await;
    status_when(&admin, "three generations", |status| draining(status) == [(2, 1), (1, 2)]).await;
    // One that is stopped tells nothing, and nothing is made up. That it is there is known.
    first.signal(Signal::STOP);
    let status = status_when(&admin, "silent", |status| draining(status) == [(2, 1)]).await;
    assert_eq!(status["process"]["has_predecessor"], true);
    first.signal(Signal::CONT);
    status_when(&admin, "three generations again", |status| draining(status) == [(2, 1), (1, 2)]).await;
    slow.clear();
    status_when(&admin, "two generations", |status| draining(status) == [(2, 1)]).await;
    drop(of_second);
    status_when(&admin, "one generation", |status| {
        draining(status).is_empty() && status["process"]["has_predecessor"] == false
    })
    .await;
    app.predecessors_leave_cleanly().await;
}

#[tokio::test]
async fn events_come_each_second_and_end_with_the_commit() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    let mut stream = TcpStream::connect(admin.address()).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 64 << 10]);
    while seen.matches("data: {").count() < 3 {
        let read = within(LIMIT, "an event", stream.read(&mut buffer)).await.unwrap();
        assert_ne!(read, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(seen.contains("content-type: text/event-stream") && seen.contains("retry: "), "{seen}");
    assert!(seen.contains(&format!("\"pid\":{}", app.pid())), "{seen}");
    app.restart().await;
    while within(LIMIT, "the end of the events", stream.read(&mut buffer)).await.unwrap() > 0 {}

    // Those beyond the limit are told to wait, and readiness is not affected.
    let mut watching = Vec::new();
    for number in 0..9 {
        let mut stream = TcpStream::connect(admin.address()).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
        let read = within(LIMIT, "an event", stream.read(&mut buffer)).await.unwrap();
        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let expected = if number < 8 { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
        assert!(head.starts_with(expected), "{number}: {head}");
        watching.push(stream);
    }
    assert_eq!(ask(&admin, "/readyz").await.0, 200);
}

#[tokio::test]
async fn nothing_there_takes_a_body_a_method_or_a_strangers_name() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    let close = "host: 127.0.0.1\r\nconnection: close\r\n";
    for (request, expected) in [
        (format!("POST /readyz HTTP/1.1\r\n{close}content-length: 0\r\n\r\n"), "HTTP/1.1 405"),
        (format!("DELETE / HTTP/1.1\r\n{close}\r\n"), "HTTP/1.1 405"),
        (format!("GET /readyz HTTP/1.1\r\n{close}content-length: 5\r\n\r\nhello"), "HTTP/1.1 413"),
        (format!("GET /nothing HTTP/1.1\r\n{close}\r\n"), "HTTP/1.1 404"),
        ("GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_owned(), "HTTP/1.1 421"),
        (
            format!("GET /events HTTP/1.1\r\nhost: evil.example:{}\r\nconnection: close\r\n\r\n", 80),
            "HTTP/1.1 421",
        ),
        (format!("GET / HTTP/1.1\r\n{close}x: {}\r\n\r\n", "a".repeat(9000)), "HTTP/1.1 431"),
        ("\x16\x03\x01 not HTTP\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let reply = raw(&admin, request.as_bytes()).await;
        assert!(reply.starts_with(expected), "{request:.60}: {reply}");
    }
    let reply = raw(&admin, format!("HEAD /readyz HTTP/1.1\r\n{close}\r\n").as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("\r\n\r\n"), "{reply}");
    let page = raw(&admin, format!("GET / HTTP/1.1\r\n{close}\r\n").as_bytes()).await;
    let head = page.split("\r\n\r\n").next().unwrap_or_default();
    for field in
        ["content-security-policy: default-src 'none'", "frame-ancestors 'none'", "nosniff", "no-store"]
    {
        assert!(head.contains(field), "{field}: {head}");
    }
}

#[tokio::test]
async fn clients_that_hold_connections_keep_no_probe_out() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let admin = admin_of(&app).await;
    let descriptors = app.first().descriptors();
    // Slow ones, silent ones, and such that ask for much and read nothing.
    let mut held = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(admin.address()).await.unwrap();
        let bytes: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET / HTTP/1.1\r\nhost: 127.",
            _ => b"GET /status.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        };
        // It may be closed already: a later one has taken its place.
        let _ = stream.write_all(bytes).await;
        held.push(stream);
        if number % 100 == 0 {
            assert_eq!(ask(&admin, "/readyz").await.0, 200, "after {number}");
        }
    }
    assert_eq!(ask(&admin, "/livez").await.0, 200);
    let now = app.first().descriptors();
    assert!(now <= descriptors + 40, "{descriptors} descriptors became {now}");
    // A head that never ends is cut after 5 s, and a client of the service notices nothing.
    let mut slow = TcpStream::connect(admin.address()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let begun = Instant::now();
    let end = within(LIMIT, "the end of a slow head", slow.read(&mut [0; 512])).await;
    assert!(begun.elapsed() > Duration::from_secs(4), "{end:?} after {:?}", begun.elapsed());
    assert_eq!(get_once(&app.target("web").await, "/").await.unwrap().status, 200);
    drop(held);
}

#[tokio::test]
async fn the_address_can_be_a_socket_file_and_must_be_valid() {
    let scratch = Scratch::new();
    let path = scratch.join("admin.sock");
    let app =
        operated(&scratch).env("GRACEHTTP_ADMIN", format!("unix:{}", path.display())).start("web").await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: any.name\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    within(LIMIT, "a reply", stream.read_to_string(&mut reply)).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(!path.exists());

    let app = operated(&scratch).env("GRACEHTTP_ADMIN", "9099").spawn();
    assert_eq!(app.first().exit().await, Exit::Code(1));
    app.catch_up().await;
    assert_eq!(app.log.count(0, "a port needs a colon before it"), 1, "{}", app.log);

    let app = operated(&scratch).env("GRACEHTTP_ADMIN", "0.0.0.0:0").start("web").await;
    app.log.line(0, "is open to other machines").await;
}
