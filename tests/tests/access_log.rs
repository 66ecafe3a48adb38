//! The access log: one line for each request, whatever becomes of it, and no line that a client has made.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tests::access::AccessLog;
use tests::client::{get, post_head};
use tests::control::Stage;
use tests::h2::Http2;
use tests::load::Style;
use tests::patience::eventually;
use tests::{App, Client, Exit, Launch, Load, Scratch, Signal, Target};

struct Logged {
    app: App,
    target: Target,
    log: AccessLog,
    path: PathBuf,
    _scratch: Scratch,
}

impl Logged {
    async fn new(plan: &str) -> Self {
        Self::with(plan, |launch| launch).await
    }

    async fn with(plan: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let path = scratch.join("access.log");
        let name = plan.split_whitespace().nth(1).expect("a name").to_owned();
        let key = |key: &str| format!("GRACEHTTP_SERVER__{}__{key}", name.to_uppercase());
        let launch =
            Launch::app(&scratch, plan).env(&key("ACCESS_LOG"), "json").env(&key("ACCESS_LOG_TO"), &path);
        let app = change(launch).spawn();
        Self { target: app.target(&name).await, app, log: AccessLog::at(&path), path, _scratch: scratch }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.target).await.expect("a connection")
    }

    /// Stops the application, which flushes, and returns all lines.
    async fn end(self) -> Vec<Value> {
        self.app.predecessors_leave_cleanly().await;
        assert_eq!(self.app.stop().await, Exit::Code(0));
        self.log.lines()
    }
}

#[tokio::test]
async fn a_line_has_what_is_known_of_a_request() {
    let logged = Logged::new("server web 127.0.0.1:0").await;
    let mut client = logged.client().await;
    client
        .send("GET /ping?token=secret HTTP/1.1\r\nHost: a\r\nUser-Agent: probe/1\r\nReferer: http://b/c?d=e#f\r\n\r\n")
        .await
        .unwrap();
    let body = client.reply().await.unwrap().body.len();
    let [line] = &logged.log.has(1).await[..] else { panic!() };
    for (field, expected) in [
        ("server", "web"),
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("path", "/ping"),
        ("protocol", "HTTP/1.1"),
        ("user_agent", "probe/1"),
        ("referer", "http://b/c"),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &body.into()));
    assert_eq!((&line["generation"], &line["cause"]), (&1.into(), &Value::Null));
    assert!(line["total_us"].as_u64() >= line["first_byte_us"].as_u64(), "{line}");
    assert!(
        line["time"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
        "{line}"
    );
    assert_eq!(logged.end().await.len(), 1);
}

#[tokio::test]
async fn each_request_has_one_line_whatever_becomes_of_it() {
    let limits = |launch: Launch| {
        launch
            .env("GRACEHTTP_SERVER__WEB__HEADER_READ_TIMEOUT", "300ms")
            .env("GRACEHTTP_SERVER__WEB__REQUEST_TIMEOUT", "300ms")
            .env("GRACEHTTP_SERVER__WEB__MAX_HEADER_SIZE", "2000")
            .env("GRACEHTTP_SERVER__WEB__HALF_CLOSE_TIMEOUT", "0s")
    };
    let logged = Logged::with("server web 127.0.0.1:0", limits).await;
    let mut expected = Vec::new();
    let mut expect = |path: &str, status: Option<u64>, cause: Option<&str>| {
        expected.push((path.to_owned(), status, cause.map(str::to_owned)));
    };

    // Pipelined, HEAD among them.
    let mut client = logged.client().await;
    let head = "HEAD /ping HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send([&get("/ping"), head, &get("/numbered?n=7")].concat()).await.unwrap();
    expect("/ping", Some(200), None);
    expect("/ping", Some(404), None);
    expect("/numbered", Some(200), None);
    logged.log.has(3).await;

    // What no handler sees.
    for (request, status, cause) in [
        ("GET /ping HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), 400, "malformed"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(3000)), 414, "target_too_long"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nB: {}\r\n\r\n", "x".repeat(3000)), 431, "head_too_large"),
        ("GET /half HTTP/1.1\r\nHo".to_owned(), 408, "request_timed_out"),
    ] {
        let mut client = logged.client().await;
        client.send(request).await.unwrap();
        assert_eq!(client.reply().await.unwrap().status, status);
        expect("", Some(status.into()), Some(cause));
    }

    // A handler that takes too long, and a route that is not there.
    let mut client = logged.client().await;
    client.send(get("/slow?millis=5000")).await.unwrap();
    assert_eq!(client.reply().await.unwrap().status, 503);
    expect("/slow", Some(503), Some("handler_timed_out"));
    assert_eq!(logged.client().await.get("/nowhere").await.unwrap().status, 404);
    expect("/nowhere", Some(404), None);

    // An upgrade.
    let mut client = logged.client().await;
    let upgrade = get("/upgrade").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    client.send(upgrade).await.unwrap();
    assert!(client.piece().await.unwrap().is_some());
    expect("/upgrade", Some(101), None);
    drop(client);

    // A client that leaves before its answer, and one that leaves in the middle of it.
    let start = logged.app.log.end();
    let mut client = logged.client().await;
    client.send(post_head("/never", 0)).await.unwrap();
    logged.app.log.line(start, "never begins").await;
    drop(client);
    expect("/never", None, Some("client_gone"));
    let mut client = logged.client().await;
    client.send(get("/events/endless")).await.unwrap();
    assert!(client.piece().await.unwrap().is_some());
    drop(client);
    expect("/events/endless", Some(200), Some("client_gone"));

    // A body that stops coming: the same request, not another one, gets the 408.
    let mut client = logged.client().await;
    client.send(post_head("/count", 100)).await.unwrap();
    let reply = client.reply().await.unwrap();
    expect(
        "/count",
        Some(reply.status.into()),
        Some(if reply.status == 408 { "request_timed_out" } else { "handler_timed_out" }),
    );

    let lines = logged.log.has(expected.len()).await;
    let mut seen: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |field: &str| line[field].as_str().map(str::to_owned);
            (text("path").unwrap_or_default(), line["status"].as_u64(), text("cause"))
        })
        .collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    assert_eq!(logged.end().await.len(), expected.len());
}

#[tokio::test]
async fn the_deadline_of_a_drain_cuts_requests_that_have_their_line() {
    let drain = |launch: Launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "200ms");
    let logged = Logged::with("server web 127.0.0.1:0", drain).await;
    let start = logged.app.log.end();
    let mut client = logged.client().await;
    client.send(get("/slow?millis=60000")).await.unwrap();
    logged.app.log.line(start, "slow begins").await;
    let Logged { app, log, .. } = logged;
    assert_eq!(app.stop().await, Exit::Code(0));
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["status"], &lines[0]["cause"]), (&Value::Null, &"deadline".into()), "{lines:?}");
}

#[tokio::test]
async fn the_end_of_the_process_leaves_no_request_without_a_line() {
    let drain = |launch: Launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "200ms");
    let logged = Logged::with("server web 127.0.0.1:0", drain).await;
    let start = logged.app.log.end();
    let mut blocks = logged.client().await;
    blocks.send(get("/block?millis=60000")).await.unwrap();
    logged.app.log.line(start, "block begins").await;
    let Logged { app, log, .. } = logged;
    assert_eq!(app.stop().await, Exit::Code(0));
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let text = |field: &str| lines[0][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(["client", "method", "path", "cause"].map(text), ["127.0.0.1", "GET", "/block", "exit"]);
    assert_eq!(lines[0]["status"], Value::Null);
    assert!(lines[0]["total_us"].as_u64() >= Some(200_000), "{lines:?}");
}

#[tokio::test]
async fn a_second_signal_to_stop_cuts_requests_that_have_their_line() {
    let logged = Logged::new("server web 127.0.0.1:0").await;
    let start = logged.app.log.end();
    let mut waits = logged.client().await;
    waits.send(get("/never")).await.unwrap();
    logged.app.log.line(start, "never begins").await;
    let process = logged.app.current();
    process.signal(Signal::TERM);
    logged.app.log.line(start, "Received SIG").await;
    process.signal(Signal::TERM);
    assert_eq!(process.exit().await, Exit::Code(0));
    let lines = logged.log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["status"], &lines[0]["cause"]), (&Value::Null, &"exit".into()), "{lines:?}");
}

#[tokio::test]
async fn a_client_that_has_left_is_not_taken_for_one_of_a_unix_socket() {
    let logged = Logged::new("server web 127.0.0.1:0").await;
    let process = logged.app.current();
    let stream = std::net::TcpStream::connect(logged.target.address()).unwrap();
    (&stream).write_all(get("/ping").as_bytes()).unwrap();
    logged.log.has(1).await;
    // Until it is parked: then its address is looked up anew.
    tokio::time::sleep(Duration::from_millis(300)).await;
    process.signal(Signal::STOP);
    eventually("a stopped process", || process.is_stopped()).await;
    (&stream).write_all(get("/numbered").as_bytes()).unwrap();
    // It leaves by a reset.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    process.signal(Signal::CONT);
    let line = &logged.log.has(2).await[1];
    assert_eq!((&line["path"], &line["client"]), (&"/numbered".into(), &"unknown".into()), "{line}");
    logged.end().await;
}

#[tokio::test]
async fn streams_of_http2_have_a_line_each() {
    let logged = Logged::new("server tls 127.0.0.1:0 tls=self_signed").await;
    let mut client = Http2::connect(&logged.target).await.unwrap();
    for _ in 0..20 {
        client.get("/ping").await.unwrap();
    }
    let start = logged.app.log.end();
    let mut leaving = Http2::connect(&logged.target).await.unwrap();
    let asked = tokio::spawn(async move { leaving.get("/never").await });
    logged.app.log.line(start, "never begins").await;
    asked.abort();
    let lines = logged.log.has(21).await;
    assert!(lines.iter().all(|line| line["protocol"] == "HTTP/2.0" && line["tls"] == "TLSv1.3"), "{lines:?}");
    let cut: Vec<_> = lines.iter().filter(|line| line["path"] == "/never").collect();
    assert_eq!((cut.len(), &cut[0]["status"], &cut[0]["cause"]), (1, &Value::Null, &"client_gone".into()));
    assert_eq!(logged.end().await.len(), 21);
}

#[tokio::test]
async fn no_client_forges_a_line() {
    let logged = Logged::new("server web 127.0.0.1:0").await;
    let forged: &[u8] = b"a\"}\\\x1b[2J\xff\xc3\xa4\t{\"status\":200";
    let mut client = logged.client().await;
    let request = [b"GET /ping HTTP/1.1\r\nHost: a\r\nUser-Agent: ", forged, b"\r\n\r\n"].concat();
    client.send(&request).await.unwrap();
    let status = client.reply().await.unwrap().status;
    let mut client = logged.client().await;
    let request =
        [b"GET /ping HTTP/1.1\r\nHost: a\r\nReferer: ", &b"\xe2\x80\xae\"x\\".repeat(800)[..], b"\r\n\r\n"]
            .concat();
    client.send(&request).await.unwrap();
    client.reply().await.unwrap();
    let lines = logged.log.has(2).await;
    if status == 200 {
        assert!(lines.iter().any(|line| line["user_agent"] == *String::from_utf8_lossy(forged)), "{lines:?}");
    }
    let text = std::fs::read_to_string(&logged.path).unwrap();
    assert!(text.lines().all(|line| line.len() < 4096), "it fits into one write to a pipe");
    logged.end().await;
}

#[tokio::test]
async fn restarts_in_a_storm_leave_one_line_for_each_answer() {
    let logged = Logged::new("server web 127.0.0.1:0").await;
    let load = Load::on(&logged.target)
        .pause(Duration::from_millis(2))
        .clients(8, Style::Get)
        .clients(4, Style::Post)
        .clients(4, Style::Pipelined)
        .clients(2, Style::Fresh);
    let mut last_answers = Vec::new();
    for round in 1..=6 {
        load.answers(150).await;
        // The process ends right behind this answer, in which its line is not written yet.
        let mut client = logged.client().await;
        client.send(get("/slow?ms=700")).await.unwrap();
        eventually("its handler", || logged.app.log.count(0, "slow begins") == round).await;
        last_answers.push(tokio::spawn(async move { client.reply().await.map(|reply| reply.status) }));
        logged.app.restart().await;
    }
    load.answers(150).await;
    let report = load.stop().await;
    for answer in last_answers {
        assert_eq!(answer.await.unwrap().unwrap(), 200);
    }
    let generations = logged.app.generations();
    let lines = logged.end().await;
    let answered = lines.iter().filter(|line| line["status"].is_u64()).count();
    report.assert_unnoticed();
    assert_eq!(answered as u64, report.answers + 6, "{} lines", lines.len());
    let last = lines.iter().filter_map(|line| line["generation"].as_u64()).max();
    assert_eq!(last, Some(generations as u64));
}

#[tokio::test]
async fn a_pipe_that_nothing_reads_holds_up_neither_requests_nor_the_end() {
    let scratch = Scratch::new();
    let fifo = scratch.join("access.fifo");
    tests::process::run("mkfifo", &[fifo.as_os_str()]);
    let logged = Logged::with("server web 127.0.0.1:0", |launch| {
        launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", &fifo)
    })
    .await;
    let load = Load::on(&logged.target).pause(Duration::ZERO).clients(8, Style::Get);
    load.answers(500).await;
    // A reader that reads nothing: the pipe fills up.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    load.answers(2000).await;
    logged.app.restart().await;
    load.answers(200).await;
    load.stop().await.assert_unnoticed();
    logged.app.log.line(0, "has lost").await;
    logged.end().await;
    drop(reader);
}

#[tokio::test]
async fn lines_that_a_full_pipe_has_not_taken_by_the_end_are_lost_and_counted() {
    let scratch = Scratch::new();
    let fifo = scratch.join("access.fifo");
    tests::process::run("mkfifo", &[fifo.as_os_str()]);
    let mut reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let logged = Logged::with("server web 127.0.0.1:0", |launch| {
        launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", &fifo)
    })
    .await;
    // More than a pipe takes, and less than the process keeps.
    let load = Load::on(&logged.target).pause(Duration::ZERO).clients(4, Style::Get);
    load.answers(2000).await;
    let answers = load.stop().await.answers;
    let Logged { app, .. } = logged;
    let log = app.log.clone();
    assert_eq!(app.stop().await, Exit::Code(0));
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let mut taken = Vec::new();
    // It ends with the error that there is no more.
    _ = std::io::Read::read_to_end(&mut reader, &mut taken);
    let taken = taken.iter().filter(|byte| **byte == b'\n').count() as u64;
    let told = log.line(0, "has lost").await;
    let lost = told.split("has lost ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(taken > 0 && taken + lost.expect("a number") == answers, "{taken} of {answers}: {told}");
}

/// One limit of 500 ms for its lines and for the messages together.
#[tokio::test]
async fn a_subscriber_that_hangs_on_a_line_holds_up_the_end_once() {
    let logged = Logged::with("server web 127.0.0.1:0\nstart subscribe hang", |launch| {
        launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", "tracing")
    })
    .await;
    let mut client = logged.client().await;
    client.get("/ping").await.unwrap();
    drop(client);
    let Logged { app, .. } = logged;
    app.log.line(0, "the access log hangs").await;
    app.signal(tests::Signal::TERM);
    app.log.line(0, "stopped, pid").await;
    let stopped = std::time::Instant::now();
    assert_eq!(app.current().exit().await, Exit::Code(0));
    let took = stopped.elapsed();
    assert!(took < Duration::from_millis(900), "{took:?}\n{}", app.log);
}

#[tokio::test]
async fn a_full_disk_costs_lines_and_nothing_else() {
    if !std::path::Path::new("/dev/full").exists() {
        return tests::process::skipped("/dev/full");
    }
    let logged = Logged::with("server web 127.0.0.1:0", |launch| {
        launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", "/dev/full")
    })
    .await;
    let load = Load::on(&logged.target).clients(4, Style::Get);
    load.answers(100).await;
    logged.app.log.line(0, "the access log `/dev/full` can't be written").await;
    load.stop().await.assert_unnoticed();
    assert_eq!(logged.app.log.count(0, "can't be written"), 1, "{}", logged.app.log);
    logged.end().await;
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_ends_the_start_and_the_check() {
    let stage = Stage::new().await;
    for args in [&["check"][..], &["serve"]] {
        let mut command = stage.command(args);
        command.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG", "json");
        command.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", "/nowhere/access.log");
        command.env_remove("GRACEHTTP_CONTROL");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        assert!(told.contains("the access log `/nowhere/access.log` can't be opened"), "{told}");
        assert!(told.contains("make its directory, or correct `access_log_to`"), "{told}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn the_common_forms_go_to_standard_output_and_to_tracing() {
    for (form, to, expected) in [
        ("common", "stdout", r#"] "GET /ping HTTP/1.1" 200 "#),
        ("combined", "stdout", r#" "http://b/c" "probe \"1\"""#),
        ("combined", "tracing", r#" "http://b/c" "probe \"1\"""#),
    ] {
        let scratch = Scratch::new();
        let launch = Launch::app(&scratch, "server web 127.0.0.1:0");
        let launch = launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG", form);
        let app = launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", to).spawn();
        let mut client = Client::connect(&app.target("web").await).await.unwrap();
        let start = app.log.end();
        client
            .send(
                "GET /ping?a=b HTTP/1.1\r\nHost: a\r\nUser-Agent: probe \"1\"\r\nReferer: http://b/c\r\n\r\n",
            )
            .await
            .unwrap();
        client.reply().await.unwrap();
        let line = app.log.line(start, expected).await;
        assert!(
            line.contains("127.0.0.1 - - [") && line.contains(r#" +0000] "GET /ping HTTP/1.1" 200 "#),
            "{line}"
        );
        assert_eq!(app.stop().await, Exit::Code(0));
    }
}

#[tokio::test]
async fn failed_handshakes_have_a_line_if_they_are_asked_for() {
    for (asked, lines) in [("true", 1), ("false", 0)] {
        let logged = Logged::with("server tls 127.0.0.1:0 tls=self_signed", |launch| {
            launch.env("GRACEHTTP_SERVER__TLS__ACCESS_LOG_HANDSHAKES", asked)
        })
        .await;
        let address = logged.target.address();
        let mut client = Client::connect(&Target::Plain(address)).await.unwrap();
        client.send(get("/ping")).await.unwrap();
        let _ = client.closed().await;
        let all = logged.end().await;
        assert_eq!(all.len(), lines, "{all:?}");
        assert!(
            all.iter().all(|line| line["cause"] == "tls_handshake" && line["status"].is_null()),
            "{all:?}"
        );
    }
}

/// The balancer is not at fault.
#[tokio::test]
async fn a_failed_handshake_is_that_of_the_client_whom_the_balancer_names() {
    let logged = Logged::with("server tls 127.0.0.1:0 tls=self_signed", |launch| {
        let launch = launch.env("GRACEHTTP_SERVER__TLS__ACCESS_LOG_HANDSHAKES", "true");
        launch.env("GRACEHTTP_SERVER__TLS__PROXY_PROTOCOL", "127.0.0.1")
    })
    .await;
    let mut client = Client::connect(&Target::Plain(logged.target.address())).await.unwrap();
    client.send("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\nGET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = client.closed().await;
    let all = logged.end().await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["client"], "192.0.2.1");
}
