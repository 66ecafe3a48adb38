//! The application that most tests start. It reads its servers and its start-up code from a file at every start, so
//! each generation can differ from the one before it.
//!
//! `APP_PLAN` names the file. Its lines:
//!
//! ```text
//! server web 127.0.0.1:0
//! server both 127.0.0.1:0 plain=127.0.0.2:0 tls=self_signed redirect=443 hsts=365d,include_subdomains health=/healthz
//! server tls 127.0.0.1:0 [::1]:0 cert=FILE key=FILE max_conns=50 idle_timeout=500ms
//! server proxied 127.0.0.1:0 proxy_protocol=10.0.0.0/8,unix
//! server issued 127.0.0.1:0 acme=DOMAINS;CACHE;DIRECTORY;CA
//! forever drain_timeout ready_timeout standby lame_duck
//! task heeds | ignores | panics
//! exit quick | slow | hangs
//! start sleep 500 | panic | exit 1 | abort | hang | refuse WORDS | leave 50 | only once FILE | eat
//! start orphans 1000 | subscribe | subscribe stderr | callbacks hang | block 20000 | stop 300
//! stderr says WORDS | floods LINES | sidecar FIFO | redirected FILE
//! ```
//!
//! With `APP_THREAD` it has a second thread before it runs. With `APP_HOOK` it sets its own panic hook. Without a plan it has one server, `web`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gracehttp::{
    Acme, App, Body, ClientAddr, ClientCert, FromRequestParts as _, IntoResponse, PeerAddr, ProxyInfo,
    Request, Response, Scheme, Server, Shutdown, Tls, TlsInfo, WhenFull,
};
use http::header::{CONNECTION, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY, UPGRADE};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn main() -> ExitCode {
    if std::env::var_os("APP_HOOK").is_some() {
        std::panic::set_hook(Box::new(|_| say("the application's own hook")));
    }
    if std::env::var_os("APP_THREAD").is_some() {
        std::thread::spawn(std::thread::park);
    }
    let plan = Plan::read();
    let Plan { servers, forever, beside, start, stderr } = plan;
    let mut app = App::try_new(move || {
        beside.into_iter().for_each(register);
        stderr.iter().for_each(|words| use_stderr(words));
        start_up(start)
    });
    for key in forever {
        app = match key.as_str() {
            "drain_timeout" => app.drain_timeout(Duration::MAX),
            "ready_timeout" => app.ready_timeout(Duration::MAX),
            "standby" => app.standby(Duration::MAX),
            "lame_duck" => app.lame_duck(Duration::MAX),
            _ => panic!("no duration {key} in the plan's grammar"),
        };
    }
    for server in servers {
        app = app.serve(server);
    }
    // A command line refuses arguments of another program.
    let has_command_line = std::env::var_os("APP_WITHOUT_COMMANDS").is_none();
    if has_command_line { app.cli().run() } else { app.run() }
}

/// The plan of this generation.
#[derive(Default)]
struct Plan {
    servers: Vec<Server<()>>,
    /// The durations of the process that are unlimited.
    forever: Vec<String>,
    /// Background tasks and clean-up code, to be registered in this order.
    beside: Vec<(String, String)>,
    start: Vec<String>,
    /// What the start-up code does with standard error before.
    stderr: Vec<Vec<String>>,
}

impl Plan {
    fn read() -> Self {
        let Some(path) = std::env::var_os("APP_PLAN") else {
            let web = Server::builder("web").listen("127.0.0.1:0").handler(answer);
            return Self { servers: vec![web], ..Self::default() };
        };
        let text = std::fs::read_to_string(path).expect("the plan");
        let mut plan = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => (),
                ["server", name, options @ ..] => plan.servers.push(server(name, options)),
                [what @ ("task" | "exit"), how] => {
                    plan.beside.push((what.to_string(), how.to_string()));
                }
                ["forever", keys @ ..] => plan.forever = keys.iter().map(|key| key.to_string()).collect(),
                ["stderr", what @ ..] => plan.stderr.push(what.iter().map(|word| word.to_string()).collect()),
                ["start", what @ ..] => plan.start = what.iter().map(|word| word.to_string()).collect(),
                _ => panic!("not understood in the plan: {line}"),
            }
        }
        plan
    }
}

fn server(name: &str, options: &[&str]) -> Server<()> {
    let mut server = Server::builder(name);
    let (mut cert, mut key) = (PathBuf::new(), PathBuf::new());
    let duration = |text: &str| match text.strip_suffix("ms").and_then(|digits| digits.parse().ok()) {
        Some(millis) => Duration::from_millis(millis),
        None if text == "forever" => Duration::MAX,
        None => panic!("a duration is milliseconds, such as 500ms, or forever"),
    };
    for option in options {
        server = match option.split_once('=') {
            None => server.listen(option),
            Some(("cert", path)) => {
                cert = path.into();
                server
            }
            Some(("key", path)) => {
                key = path.into();
                server
            }
            // Of an authority with its own directory and its own certificate.
            Some(("acme", words)) => {
                let words: Vec<&str> = words.split(';').collect();
                let [domains, cache, directory, ca] = words[..] else { panic!("DOMAINS;CACHE;DIRECTORY;CA") };
                let acme = Acme::new(domains.split(','), cache).contact("mailto:ops@example.org");
                server.tls(Tls::acme(acme.directory(directory).ca(ca)))
            }
            Some(("proxy_protocol", networks)) => server.proxy_protocol(networks.split(',')),
            Some(("plain", endpoint)) => server.plain_listen(endpoint),
            Some(("redirect", port)) => server.redirect_to_https(port.parse().expect("a port")),
            Some(("hsts", policy)) => server.hsts(&policy.replace(',', ", ")),
            Some(("health", path)) => server.health(path),
            Some(("tls", "self_signed")) => server.tls(Tls::self_signed()),
            Some(("max_conns", count)) => server.max_conns(count.parse::<usize>().expect("a count")),
            Some(("http1", on)) => server.http1(on == "yes"),
            Some(("http2", on)) => server.http2(on == "yes"),
            Some(("handshake_timeout", time)) => server.handshake_timeout(duration(time)),
            Some(("header_read_timeout", time)) => server.header_read_timeout(duration(time)),
            Some(("request_timeout", time)) => server.request_timeout(duration(time)),
            Some(("tcp_keepalive", time)) => server.tcp_keepalive(duration(time)),
            Some(("idle_timeout", time)) => server.idle_timeout(duration(time)),
            Some(("half_close_timeout", time)) => server.half_close_timeout(duration(time)),
            Some(("max_conn_memory", bytes)) => server.max_conn_memory(bytes.parse().expect("bytes")),
            Some(("max_body", bytes)) => server.max_body(bytes.parse::<u64>().expect("bytes")),
            Some(("max_headers", count)) => server.max_headers(count.parse().expect("a count")),
            Some(("when_full", "recycle")) => server.when_full(WhenFull::Recycle),
            Some(("when_full", "wait")) => server.when_full(WhenFull::Wait),
            Some((key, _)) => panic!("no option {key} in the plan's grammar"),
        };
    }
    if !cert.as_os_str().is_empty() {
        server = server.tls(Tls::files(cert, key));
    }
    server.handler(answer)
}

/// Registers a background task, or clean-up code.
fn register((what, how): (String, String)) {
    let pid = std::process::id();
    match (what.as_str(), how.as_str()) {
        ("task", "heeds") => gracehttp::spawn(async move |shutdown| {
            shutdown.await;
            say(&format!("task of pid {pid} is told"));
            tokio::time::sleep(Duration::from_millis(300)).await;
            say(&format!("task of pid {pid} ends"));
        }),
        ("task", "ignores") => gracehttp::spawn(|_| std::future::pending()),
        ("task", "panics") => gracehttp::spawn(async |_| panic!("the task panics")),
        ("exit", "quick") => gracehttp::on_exit(async move { say(&format!("clean-up of pid {pid}")) }),
        ("exit", "slow") => gracehttp::on_exit(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            say(&format!("slow clean-up of pid {pid}"));
        }),
        ("exit", "hangs") => gracehttp::on_exit(std::future::pending()),
        _ => panic!("not understood in the plan: {what} {how}"),
    }
}

async fn start_up(what: Vec<String>) -> Result<(), String> {
    let words: Vec<&str> = what.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number in the plan");
    say(&format!("start-up code of pid {}: {words:?}", std::process::id()));
    match words.as_slice() {
        [] => (),
        ["sleep", millis] => tokio::time::sleep(Duration::from_millis(number(millis))).await,
        ["panic"] => panic!("the start-up code panics"),
        ["exit", code] => std::process::exit(number(code) as i32),
        ["abort"] => std::process::abort(),
        ["hang"] => std::future::pending().await,
        ["refuse", words @ ..] => return Err(words.join(" ")),
        ["only", "once", mark] => {
            std::fs::File::create_new(mark).map_err(|_| "it has run once".to_owned())?;
        }
        ["leave", millis] => {
            let millis = number(millis);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(millis));
                std::process::exit(3);
            });
        }
        // This blocks every thread that serves, and soon: tasks that are queued behind this code wait as long.
        ["block", millis] => {
            let length = Duration::from_millis(number(millis));
            let threads = tokio::runtime::Handle::current().metrics().num_workers();
            (0..threads).for_each(|_| drop(tokio::spawn(async move { std::thread::sleep(length) })));
        }
        // The process stops, as if by SIGSTOP from outside.
        ["stop", millis] => {
            let millis = number(millis);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(millis));
                _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
            });
        }
        // Processes that end as orphans.
        ["orphans", count] => {
            let words = format!("for i in $(seq {}); do (true &) ; done; echo orphans begun", number(count));
            Command::new("sh").arg("-c").arg(words).status().expect("a shell");
        }
        ["subscribe"] => tracing_subscriber::fmt().without_time().with_ansi(false).init(),
        ["subscribe", "stderr"] => tracing_subscriber::fmt().with_writer(std::io::stderr).init(),
        ["callbacks", "hang"] => {
            let hang = |_: &str| loop {
                std::thread::park();
            };
            gracehttp::log::set_info(hang);
            gracehttp::log::set_notice(hang);
            gracehttp::log::set_error(hang);
        }
        // It continues until the system has no more.
        ["eat"] => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(vec![1_u8; 1 << 20]);
            }
        }
        _ => panic!("not understood in the plan: start {words:?}"),
    }
    Ok(())
}

fn use_stderr(words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["says", words @ ..] => eprintln!("pid {} says {}", std::process::id(), words.join(" ")),
        ["floods", lines] => {
            let lines: u32 = lines.parse().expect("a number in the plan");
            (1..=lines).for_each(|line| eprintln!("line {line} of {lines} {}", "x".repeat(80)));
        }
        // It repeats what comes through the FIFO, and outlives this process.
        ["sidecar", fifo] => {
            let words = format!("exec 3<>{fifo}; while read line <&3; do echo \"sidecar: $line\" >&2; done");
            let mut sidecar = Command::new("sh").arg("-c").arg(words).spawn().expect("a shell");
            std::thread::spawn(move || sidecar.wait());
        }
        ["redirected", file] => {
            let file = std::fs::File::create(file).expect("a file");
            rustix::stdio::dup2_stderr(&file).expect("standard error");
        }
        _ => panic!("not understood in the plan: stderr {words:?}"),
    }
}

/// Reports to the test that an action begins. A test that has ended needs no report.
fn say(what: &str) {
    _ = writeln!(std::io::stdout(), "{what}");
}

/// Requests in the handler now, and their highest number so far.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// All responses of a megabyte or more share these bytes, so that they cost their handler nothing.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 16 << 20].into());

/// What a handler can know of its connection.
struct Facts {
    peer: Option<PeerAddr>,
    tls: Option<TlsInfo>,
    client: Option<ClientCert>,
}

impl Facts {
    /// As fields of a response.
    fn fields(&self) -> [(&'static str, String); 7] {
        let tls = |fact: fn(&TlsInfo) -> Option<&str>| match &self.tls {
            Some(tls) => fact(tls).unwrap_or("none").to_owned(),
            None => "no TLS".to_owned(),
        };
        [
            ("peer", self.peer.map_or("none".to_owned(), |PeerAddr(peer)| peer.to_string())),
            ("tls-version", tls(|tls| Some(tls.version()))),
            ("tls-cipher", tls(|tls| Some(tls.cipher()))),
            ("tls-sni", tls(TlsInfo::sni)),
            ("tls-alpn", tls(|tls| tls.alpn())),
            ("client-subject", self.client.as_ref().map_or("none".to_owned(), ClientCert::subject)),
            ("client-print", self.client.as_ref().map_or("none".to_owned(), ClientCert::fingerprint)),
        ]
    }
}

/// What is known of the client behind a proxy, as fields of a response.
async fn proxied(mut head: http::request::Parts) -> [(&'static str, String); 3] {
    let client = ClientAddr::from_request_parts(&mut head, &()).await;
    let proxy = ProxyInfo::from_request_parts(&mut head, &()).await;
    let scheme = Scheme::from_request_parts(&mut head, &()).await;
    [
        ("client", client.map_or("none".to_owned(), |client| client.0.to_string())),
        ("scheme", scheme.map_or_else(|never| match never {}, |scheme| scheme.to_string())),
        ("proxy", proxy.map_or("none".to_owned(), |proxy| proxy.authority().unwrap_or("unnamed").to_owned())),
    ]
}

async fn answer(
    shutdown: Shutdown,
    peer: Option<PeerAddr>,
    tls: Option<TlsInfo>,
    client: Option<ClientCert>,
    request: Request,
) -> Response {
    let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
    MOST.fetch_max(running, Ordering::SeqCst);
    let response = route(shutdown, Facts { peer, tls, client }, request).await;
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn route(shutdown: Shutdown, facts: Facts, mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let number = |default: u64| {
        let query = head.uri.query();
        query.and_then(|query| query.rsplit('=').next()?.parse().ok()).unwrap_or(default)
    };
    let pong = || format!("pong by pid:{}", std::process::id());
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/ping") => pong().into_response(),
        // The number distinguishes this answer from all others.
        (&Method::GET, "/numbered") => ([("number", number(0).to_string())], pong()).into_response(),
        (&Method::GET, "/own_hsts") => ([(STRICT_TRANSPORT_SECURITY, "max-age=1")], pong()).into_response(),
        (&Method::GET, "/facts") => {
            let proxied = proxied(head.clone()).await;
            (facts.fields(), proxied, pong()).into_response()
        }
        (&Method::POST, "/echo") => match body.collect().await {
            Ok(body) => body.to_bytes().into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        },
        // Collects the body, holds it for a while, and answers with its length.
        (&Method::POST, "/length") => match body.collect().await {
            Ok(body) => {
                let body = body.to_bytes();
                tokio::time::sleep(Duration::from_millis(number(0))).await;
                body.len().to_string().into_response()
            }
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        },
        // Answers with the length, and keeps none of the body.
        (&Method::POST, "/count") => {
            let (mut body, mut count) = (body, 0);
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            count.to_string().into_response()
        }
        // Answers at once, and returns each piece as it arrives.
        (&Method::POST, "/back") => Response::new(body),
        // Takes no body.
        (&Method::POST, "/unread") => pong().into_response(),
        // Never answers, and holds the body without a read.
        (&Method::POST, "/never") => {
            let _body = body;
            say("never begins");
            std::future::pending().await
        }
        // Answers at once; another task decides about the body.
        (&Method::POST, "/later/read") => {
            tokio::spawn(body.collect());
            pong().into_response()
        }
        (&Method::POST, "/later/dropped") => {
            let held = Duration::from_millis(number(100));
            tokio::spawn(async move {
                tokio::time::sleep(held).await;
                drop(body);
            });
            pong().into_response()
        }
        // The authority and the cookies of a request as a handler sees them.
        (&Method::GET, "/seen") => {
            let field = |name| match head.headers.get_all(name).iter().collect::<Vec<_>>()[..] {
                [value] => String::from_utf8_lossy(value.as_bytes()).into_owned(),
                ref values => format!("{} fields", values.len()),
            };
            let authority = head.uri.authority().map_or("none", |authority| authority.as_str());
            format!("authority: {authority}, host: {}, cookie: {}", field("host"), field("cookie"))
                .into_response()
        }
        (&Method::GET, "/most") => MOST.load(Ordering::SeqCst).to_string().into_response(),
        (&Method::GET, "/slow") => {
            say("slow begins");
            tokio::time::sleep(Duration::from_millis(number(1000))).await;
            pong().into_response()
        }
        (&Method::GET, "/abort") => std::process::abort(),
        (&Method::GET, "/block") => {
            say("block begins");
            std::thread::sleep(Duration::from_millis(number(1000)));
            pong().into_response()
        }
        (&Method::GET, "/stream") => stream(number(10)),
        (&Method::GET, "/silence") => silence(number(1000)),
        (&Method::GET, "/big") => {
            say("big begins");
            vec![b'x'; number(1 << 20) as usize].into_response()
        }
        (&Method::GET, "/large") => {
            Body::from(LARGE.slice(..number(LARGE.len() as u64) as usize)).into_response()
        }
        // It waits until all others have begun, too.
        (&Method::GET, "/big/slow") => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            vec![b'x'; number(1 << 20) as usize].into_response()
        }
        (&Method::GET, "/poll") => {
            say("poll begins");
            shutdown.await;
            "no news; ask again".into_response()
        }
        (_, "/never") => {
            say("never begins");
            std::future::pending().await
        }
        (&Method::GET, "/events") => events(Some(shutdown)),
        (&Method::GET, "/events/endless") => events(None),
        (&Method::GET, "/upgrade") => {
            tokio::spawn(echo(upgrade, Some(shutdown)));
            switching_to_echo()
        }
        (&Method::GET, "/upgrade/stubborn") => {
            tokio::spawn(echo(upgrade, None));
            switching_to_echo()
        }
        (&Method::GET, "/upgrade/dropped") => {
            tokio::spawn(async { drop(upgrade.await) });
            switching_to_echo()
        }
        (&Method::GET, "/upgrade/untaken") => switching_to_echo(),
        // A tunnel of HTTP/2.
        (&Method::CONNECT, "") if head.uri.port_u16() == Some(7) => {
            tokio::spawn(echo(upgrade, None));
            StatusCode::OK.into_response()
        }
        (&Method::GET, "/limit/raised") => limit_of_child(&mut Command::new("sh")),
        (&Method::GET, "/limit/restored") => {
            limit_of_child(gracehttp::restore_limits(&mut Command::new("sh")))
        }
        (&Method::GET, "/panic") => panic!("the handler panics"),
        _ => (StatusCode::NOT_FOUND, "unknown").into_response(),
    }
}

/// The soft limit of open descriptors of a child process.
fn limit_of_child(shell: &mut Command) -> Response {
    let output = shell.arg("-c").arg("ulimit -Sn").output().expect("a shell");
    output.stdout.into_response()
}

/// `count` pieces, one every 50 ms.
fn stream(count: u64) -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        say("stream begins");
        for piece in 0..count {
            if sender.send_data(format!("piece {piece}\n").into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    Response::new(Body::new(body))
}

/// A first piece, and the last one after this many milliseconds.
fn silence(millis: u64) -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        _ = sender.send_data("silence ".into()).await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        _ = sender.send_data("is over".into()).await;
    });
    Response::new(Body::new(body))
}

/// Server-sent events, one each 50 ms, until the drain begins, if the request asks for that.
fn events(shutdown: Option<Shutdown>) -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        say("events begin");
        let mut drain = std::pin::pin!(begun(shutdown));
        loop {
            if sender.send_data("data: tick\n\n".into()).await.is_err() {
                return say("events end: the client is gone");
            }
            tokio::select! {
                () = &mut drain => break,
                () = tokio::time::sleep(Duration::from_millis(50)) => (),
            }
        }
        _ = sender.send_data("event: bye\n\n".into()).await;
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response()
}

async fn begun(shutdown: Option<Shutdown>) {
    match shutdown {
        Some(shutdown) => shutdown.await,
        None => std::future::pending().await,
    }
}

/// The head of the response that ends HTTP on its connection.
fn switching_to_echo() -> Response {
    (StatusCode::SWITCHING_PROTOCOLS, [(CONNECTION, "upgrade"), (UPGRADE, "echo")]).into_response()
}

/// A protocol of its own: it returns every byte, and sends a last message when the drain begins, if the request asks
/// for that.
async fn echo(upgrade: hyper::upgrade::OnUpgrade, shutdown: Option<Shutdown>) {
    let mut stream = TokioIo::new(upgrade.await.expect("an upgrade that was asked for"));
    say("echo begins");
    let mut drain = std::pin::pin!(begun(shutdown));
    let mut bytes = [0; 1024];
    loop {
        tokio::select! {
            () = &mut drain => {
                _ = stream.write_all(b"farewell").await;
                _ = stream.shutdown().await;
                return;
            }
            read = stream.read(&mut bytes) => match read {
                Ok(length @ 1..) => _ = stream.write_all(&bytes[..length]).await,
                _ => return say("echo ends: the client is gone"),
            },
        }
    }
}
