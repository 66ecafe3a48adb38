//! Restarts from an earlier release to this one and back, with the real programs of both: their users replace the binary.
//!
//! The tests with the impostor show what earlier releases have promised; these show what they do. `.ci/upgrades COMMIT` builds
//! `app` of a commit and runs the tests with it. Without such a program they say that they skip.

mod limit;

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tests::client::{Pause, get};
use tests::control::program;
use tests::load::Style;
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::process::{bin, skipped};
use tests::tls::{self, Authority};
use tests::{App, Client, Exit, Generation, Launch, Load, Scratch, Signal, Target};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

const WEB: &str = "server web 127.0.0.1:0";

/// Which of the two programs a generation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Earlier,
    This,
}

use Release::{Earlier, This};

/// Each way more than once, after a first start of the earlier one.
const TO_AND_FRO: [Release; 6] = [This, Earlier, This, Earlier, This, Earlier];

impl Release {
    fn program(self) -> PathBuf {
        match self {
            Self::This => bin("app"),
            Self::Earlier => std::env::var_os("GRACEHTTP_EARLIER_APP").expect("looked for before").into(),
        }
    }

    fn other(self) -> Self {
        if self == This { Earlier } else { This }
    }
}

/// Whether there is a program of an earlier release, and it has these settings; prints a notice if not.
async fn earlier_has(settings: &[&str]) -> bool {
    if std::env::var_os("GRACEHTTP_EARLIER_APP").is_none() {
        skipped("the program of an earlier release: `.ci/upgrades COMMIT` builds one");
        return false;
    }
    // All faults are told at once, and this is one in every release: it does not start.
    let mut command = tokio::process::Command::from(program(Earlier.program()));
    command.env("GRACEHTTP_STANDBY", "?").envs(settings.iter().map(|name| (name, "?")));
    let told = within(PATIENCE, "a refusal", command.kill_on_drop(true).output()).await.expect("it runs");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let missing = settings.iter().find(|name| told.contains(&format!("{name} is not a setting")));
    if let Some(name) = missing {
        skipped(&format!("an earlier release that has {name}"));
    }
    missing.is_none()
}

/// An application behind a symbolic link.
struct Upgraded {
    app: App,
    scratch: Scratch,
}

impl Upgraded {
    /// Its first generation is of this release.
    async fn begin(
        first: Release,
        scratch: Scratch,
        plan: &str,
        change: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        point(&scratch, first);
        let launch = Launch::program(scratch.join("app")).plan(&scratch, plan);
        let app = change(launch.env("GRACEHTTP_STANDBY", "300ms")).spawn();
        for name in plan.lines().filter_map(|line| line.split_whitespace().nth(1)) {
            app.url(name).await;
        }
        Self { app, scratch }
    }

    /// Restarts as the unit file of a service does, with the link on this release.
    async fn becomes(&self, release: Release) -> Arc<Generation> {
        point(&self.scratch, release);
        let successor = self.app.restart_by(Signal::HUP).await;
        assert_eq!(successor.program(), release.program().canonicalize().expect("a file"));
        successor
    }

    async fn leaves_cleanly(self) {
        self.app.predecessors_leave_cleanly().await;
        assert_eq!(self.app.log.count(0, "ERROR") + self.app.log.count(0, "cutting"), 0, "{}", self.app.log);
        assert_eq!(self.app.stop().await, Exit::Code(0));
    }
}

fn point(scratch: &Scratch, release: Release) {
    let link = scratch.join("app.new");
    symlink(release.program(), &link).expect("writable");
    std::fs::rename(link, scratch.join("app")).expect("writable");
}

/// A server over TLS beside the plain one. Both releases read the same files.
fn with_tls(scratch: &Scratch) -> String {
    let (cert, key) = scratch.certificate("server");
    format!("{WEB}\nserver tls 127.0.0.1:0 cert={} key={}", cert.display(), key.display())
}

/// Restarts to and fro under these loads.
async fn to_and_fro(service: &Upgraded, loads: &[Load]) {
    for release in TO_AND_FRO {
        for load in loads {
            load.answers(150).await;
            load.mark(format!("the link leads to {release:?}"));
        }
        let generation = service.becomes(release).await;
        for load in loads {
            load.mark(format!("{release:?} serves, pid {}", generation.pid()));
        }
    }
    for load in loads {
        load.answers(50).await;
    }
}

#[tokio::test]
async fn clients_in_plain_text_notice_no_other_release() {
    if !earlier_has(&[]).await {
        return;
    }
    let service = Upgraded::begin(Earlier, Scratch::new(), WEB, |launch| launch).await;
    let web = service.app.target("web").await;
    // Some are idle for longer than a connection stays awake.
    let load =
        Load::on(&web).pause(Duration::from_secs(3)).clients(60, Style::Get).clients(20, Style::HalfHead);
    let load = load.pause(Duration::from_millis(200)).clients(20, Style::Post).clients(10, Style::Pipelined);
    let load = load.clients(6, Style::Silent).clients(4, Style::OffersH2c).clients(4, Style::LateBody);
    let load = load.clients(4, Style::Fresh).clients(2, Style::GoPool).clients(2, Style::JavaPool);
    to_and_fro(&service, std::slice::from_ref(&load)).await;
    load.stop().await.assert_unnoticed();
    service.leaves_cleanly().await;
}

/// Earlier releases tell some of their clients to come again; a request is never lost.
#[tokio::test]
async fn clients_over_tls_and_http2_lose_no_request_to_another_release() {
    if !earlier_has(&[]).await {
        return;
    }
    let scratch = Scratch::new();
    let plan = with_tls(&scratch);
    let service = Upgraded::begin(Earlier, scratch, &plan, |launch| launch).await;
    let (web, tls) = (service.app.target("web").await, service.app.target("tls").await);
    let pause = Duration::from_millis(500);
    let loads = [
        Load::on(&tls)
            .pause(Duration::from_secs(3))
            .clients(20, Style::Get)
            .pause(pause)
            .clients(10, Style::Get)
            .clients(6, Style::Post)
            .clients(6, Style::HalfHead),
        Load::on(&tls).pause(pause).ragged(pause / 4).clients(8, Style::Get).clients(4, Style::HalfHead),
        Load::on(&tls).pause(pause).clients(3, Style::Fresh).resuming().clients(3, Style::Fresh),
        Load::on(&tls).pause(pause).clients(6, Style::Http2),
        Load::on(&web).pause(pause).clients(6, Style::Http2),
    ];
    to_and_fro(&service, &loads).await;
    for load in loads {
        load.stop().await.assert_lossless();
    }
    service.leaves_cleanly().await;
}

#[tokio::test]
async fn tls_sessions_resume_at_another_release() {
    if !earlier_has(&[]).await {
        return;
    }
    let scratch = Scratch::new();
    let plan = with_tls(&scratch);
    let service = Upgraded::begin(Earlier, scratch, &plan, |launch| launch).await;
    let tls = service.app.target("tls").await;
    let clients = [&TLS12, &TLS13].map(|version| Arc::new(tls::config(&["http/1.1"], &[version])));
    for client in &clients {
        assert_eq!(visit(&tls, client).await, HandshakeKind::Full);
    }
    for release in TO_AND_FRO {
        let generation = service.becomes(release).await;
        service.app.serves(&tls, &generation).await;
        for client in &clients {
            assert_eq!(visit(&tls, client).await, HandshakeKind::Resumed, "{release:?}");
        }
    }
    service.leaves_cleanly().await;
}

/// One request on a connection of its own.
async fn visit(target: &Target, config: &Arc<ClientConfig>) -> HandshakeKind {
    let stream = tls::connect(target.address(), config, "localhost").await.expect("a handshake");
    let kind = stream.get_ref().1.handshake_kind().expect("a handshake");
    let mut client = Client::over(stream);
    // The tickets come with the answer.
    assert!(client.get("/ping").await.expect("an answer").pid().is_some());
    kind
}

/// The identity stays, or the connection ends in order.
#[tokio::test]
async fn no_client_with_a_certificate_is_taken_for_one_without() {
    if !earlier_has(&["GRACEHTTP_SERVER__WEB__TLS__CLIENT_CA"]).await {
        return;
    }
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let ca = scratch.write("clients.pem", &authority.pem);
    let plan = with_tls(&scratch);
    let service = Upgraded::begin(Earlier, scratch, &plan, |launch| {
        launch
            .env("GRACEHTTP_SERVER__TLS__TLS__CLIENT_CA", ca)
            .env("GRACEHTTP_SERVER__TLS__TLS__CLIENT_AUTH", "optional")
    })
    .await;
    let tls = service.app.target("tls").await;
    let alice = authority.issue("alice", 2, |_| {});
    let configs = [&TLS12, &TLS13].map(|version| {
        let nobody = Arc::new(tls::config(&["http/1.1"], &[version]));
        [("CN=alice", alice.config(&["http/1.1"], version)), ("none", nobody)]
    });
    let connect = async |config: &Arc<ClientConfig>| {
        Client::over(tls::connect(tls.address(), config, "localhost").await.expect("a handshake"))
    };
    let mut visitors = Vec::new();
    for (subject, config) in configs.into_iter().flatten() {
        for _ in 0..5 {
            visitors.push((subject, config.clone(), connect(&config).await));
        }
    }
    let mut connections = visitors.len();
    for release in TO_AND_FRO {
        for (subject, config, client) in &mut visitors {
            let reply = match client.pause(GLANCE).await {
                Pause::Open => client.get("/facts").await.expect("an answer"),
                Pause::Closed => {
                    connections += 1;
                    *client = connect(config).await;
                    client.get("/facts").await.expect("an answer")
                }
                Pause::Failed(failure) => panic!("{failure}\n{}", service.app.log),
            };
            assert_eq!(reply.header("client-subject"), Some(*subject));
            if reply.closes() {
                client.closed().await.expect("an end in order");
                connections += 1;
                *client = connect(config).await;
            }
        }
        let generation = service.becomes(release).await;
        service.app.serves(&tls, &generation).await;
    }
    println!("{connections} connections of {} clients", visitors.len());
    drop(visitors);
    service.leaves_cleanly().await;
}

/// A successor of either release dies in standby.
#[tokio::test]
async fn idle_connections_come_back_from_a_successor_of_another_release() {
    if !earlier_has(&[]).await {
        return;
    }
    for release in [Earlier, This] {
        let patient = |launch: Launch| launch.env("GRACEHTTP_STANDBY", "60s");
        let service = Upgraded::begin(release, Scratch::new(), WEB, patient).await;
        let web = service.app.target("web").await;
        let mut clients = Vec::new();
        for _ in 0..40 {
            let mut client = Client::connect(&web).await.expect("a connection");
            client.get("/ping").await.expect("an answer");
            clients.push(client);
        }
        let old = service.app.current();
        let successor = service.becomes(release.other()).await;
        service.app.serves(&web, &successor).await;
        // The other half has been silent since.
        for client in &mut clients[..20] {
            client.moves_to(successor.pid()).await;
        }
        eventually("the successor to sleep", || successor.is_asleep()).await;
        successor.kill();
        let taken =
            service.app.log.find(0, 2 * PATIENCE, "a take-back", |line| line.contains("serves again"));
        println!("{}", taken.await.text);
        service.app.serves(&web, &old).await;
        for (number, client) in clients.iter_mut().enumerate() {
            let body = format!("client {number}");
            let reply = client.post("/echo", body.as_bytes()).await;
            assert_eq!(reply.expect("an answer").text(), body, "{release:?}\n{}", service.app.log);
            assert_eq!(client.get("/ping").await.expect("an answer").pid(), Some(old.pid()));
        }
        // It can still restart.
        let start = service.app.log.end();
        old.signal(Signal::HUP);
        let again = service.app.successor_since(start).await;
        for client in &mut clients {
            client.moves_to(again.pid()).await;
        }
    }
}

#[tokio::test]
async fn an_upgraded_connection_ends_in_order_when_another_release_takes_over() {
    if !earlier_has(&[]).await {
        return;
    }
    for release in [Earlier, This] {
        let service = Upgraded::begin(release, Scratch::new(), WEB, |launch| launch).await;
        let web = service.app.target("web").await;
        let mut client = Client::connect(&web).await.expect("a connection");
        let upgrade = get("/upgrade").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        client.send(upgrade).await.expect("room");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(client.piece().await.expect("an answer").expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        client.send("over").await.expect("room");
        assert_eq!(client.piece().await.expect("an echo").as_deref(), Some(&b"over"[..]));
        service.becomes(release.other()).await;
        // The handler says farewell.
        while let Some(piece) = client.piece().await.expect("an end in order") {
            println!("{piece:?}");
        }
        service.leaves_cleanly().await;
    }
}

/// The supervisor lives as long as the service: its release is that of the first start.
#[tokio::test]
async fn a_supervisor_of_another_release_sees_restarts_and_crashes() {
    if !earlier_has(&["GRACEHTTP_SUPERVISE"]).await {
        return;
    }
    for release in [Earlier, This] {
        let service = Upgraded::begin(release, Scratch::new(), WEB, |launch| {
            launch.env("GRACEHTTP_SUPERVISE", "always")
        })
        .await;
        let web = service.app.target("web").await;
        let supervisor = service.app.first();
        let load = Load::on(&web).clients(10, Style::Get).clients(2, Style::Fresh);
        let mut next = release;
        for _ in 0..4 {
            next = next.other();
            load.answers(50).await;
            load.mark(format!("the link leads to {next:?}"));
            point(&service.scratch, next);
            let start = service.app.log.end();
            supervisor.signal(Signal::HUP);
            let worker = service.app.successor_since(start).await;
            service.app.serves(&web, &worker).await;
        }
        load.stop().await.assert_unnoticed();
        for crash in [release.other(), release] {
            point(&service.scratch, crash);
            let before = service.app.hold(answering(&web).await);
            // Otherwise its predecessor would take its connections back.
            eventually("a single worker", || supervisor.children() == [before.pid()]).await;
            before.kill();
            let fresh = fresh(&web, before.pid()).await;
            let fresh = service.app.hold(fresh);
            assert_eq!(fresh.program(), crash.program().canonicalize().expect("a file"));
            // It can restart, too.
            let start = service.app.log.end();
            supervisor.signal(Signal::HUP);
            let worker = service.app.successor_since(start).await;
            service.app.serves(&web, &worker).await;
        }
        supervisor.signal(Signal::TERM);
        assert_eq!(supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
    }
}

async fn answering(target: &Target) -> u32 {
    let reply = tests::client::get_once(target, "/ping").await.expect("an answer");
    reply.pid().expect("a pid")
}

/// The process that the supervisor starts after a crash. A client of the one that dies may lose its connection.
async fn fresh(target: &Target, before: u32) -> u32 {
    within(PATIENCE, "a new process", async {
        loop {
            match tests::client::get_once(target, "/ping").await {
                Ok(reply) if reply.pid() != Some(before) => return reply.pid().expect("a pid"),
                _ => tokio::time::sleep(GLANCE).await,
            }
        }
    })
    .await
}

/// After the binary was replaced, the commands are of its release, and the process is of the other.
#[tokio::test]
async fn commands_of_one_release_speak_with_a_process_of_another() {
    if !earlier_has(&["GRACEHTTP_CONTROL", "GRACEHTTP_PID_FILE"]).await {
        return;
    }
    for release in [Earlier, This] {
        let scratch = Scratch::new();
        let control = format!("unix:{}", scratch.join("control.sock").display());
        let service = Upgraded::begin(release, scratch, WEB, |launch| {
            launch.env("GRACEHTTP_CONTROL", &control).env("GRACEHTTP_PID_FILE", "app.pid")
        })
        .await;
        let run = async |of: Release, words: &[&str]| {
            let mut command = program(of.program());
            command.args(words.iter().map(OsStr::new)).env("GRACEHTTP_CONTROL", &control);
            let mut command = tokio::process::Command::from(command);
            let output = command.kill_on_drop(true).output();
            let output = within(PATIENCE, "the command's end", output).await.expect("it runs");
            assert!(
                output.status.success(),
                "{release:?}, {words:?} of {of:?}: {output:?}\n{}",
                service.app.log
            );
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        for of in [Earlier, This] {
            run(of, &["status"]).await;
            run(of, &["status", "--json"]).await;
            run(of, &["logs"]).await;
        }
        point(&service.scratch, release.other());
        let told = run(release.other(), &["restart", "--rehearse"]).await;
        println!("{told}");
        let told = run(release.other(), &["restart", "--wait"]).await;
        println!("{told}");
        for of in [Earlier, This] {
            println!("{}", run(of, &["status"]).await);
        }
        run(release, &["stop", "--wait"]).await;
    }
}
