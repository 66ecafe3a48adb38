//! A successor can fail in many ways: each time the predecessor keeps serving, logs the reason, leaks nothing, and
//! restarts well when the fault is gone. The numbers are those of the project's list of cases.

use std::fs;
use std::net::TcpListener;
use std::ops::Deref;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tests::load::Style;
use tests::patience::{PATIENCE, eventually};
use tests::process::{bin, run, tool};
use tests::{Exit, Launch, Load, Scratch, Service, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// A running copy of the application, which a test may break.
struct Stage(Service);

impl Deref for Stage {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl Stage {
    async fn new() -> Self {
        Self::with(WEB, |launch| launch).await
    }

    async fn with(plan: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        Self(Service::installed(plan, |launch| change(launch.env("GRACEHTTP_STANDBY", "300ms"))).await)
    }

    async fn keeps_serving(self, reasons: &[&str], repair: impl FnOnce(&Scratch)) {
        self.0.keeps_serving(reasons, repair).await;
        assert!(self.app.stop().await.is_clean());
    }

    async fn restarts_after_repair(self) {
        next_start_is_sane(&self.scratch);
        let successor = self.app.restart().await;
        self.app.serves(&self.target, &successor).await;
    }
}

/// Makes the start-up code of the next generation do this.
fn next_start(scratch: &Scratch, what: &str) {
    scratch.write("plan", format!("{WEB}\nstart {what}"));
}

fn next_start_is_sane(scratch: &Scratch) {
    scratch.write("plan", WEB);
}

fn reinstall(scratch: &Scratch) {
    scratch.install(&bin("app"), "app");
}

#[tokio::test]
async fn case_1_predecessor_serves_on_when_the_binary_is_missing() {
    let stage = Stage::new().await;
    fs::remove_file(stage.scratch.join("app")).unwrap();
    stage.keeps_serving(&["No such file"], reinstall).await;
}

#[tokio::test]
async fn case_2_predecessor_serves_on_when_the_binary_is_not_executable() {
    let stage = Stage::new().await;
    fs::set_permissions(stage.scratch.join("app"), fs::Permissions::from_mode(0o644)).unwrap();
    stage.keeps_serving(&["ermission denied"], reinstall).await;
}

#[tokio::test]
async fn case_3_predecessor_serves_on_when_the_binary_has_the_wrong_format() {
    let stage = Stage::new().await;
    let garbage = stage.scratch.write("garbage", [0x7F, b'E', b'L', b'F', 0, 1, 2, 3]);
    let installed = stage.scratch.install(&garbage, "app");
    fs::set_permissions(installed, fs::Permissions::from_mode(0o755)).unwrap();
    stage.keeps_serving(&["format", "status 127"], reinstall).await;
}

#[tokio::test]
async fn case_4_predecessor_serves_on_when_the_start_up_code_exits() {
    let stage = Stage::new().await;
    next_start(&stage.scratch, "exit 7");
    stage.keeps_serving(&["status 7"], next_start_is_sane).await;
}

#[tokio::test]
async fn case_4_predecessor_serves_on_when_the_start_up_code_panics() {
    let stage = Stage::new().await;
    next_start(&stage.scratch, "panic");
    stage.keeps_serving(&["the start-up code panics"], next_start_is_sane).await;
}

#[tokio::test]
async fn case_4_predecessor_serves_on_when_the_start_up_code_aborts() {
    let stage = Stage::new().await;
    next_start(&stage.scratch, "abort");
    stage.keeps_serving(&["SIGABRT"], next_start_is_sane).await;
}

#[tokio::test]
async fn case_4_predecessor_serves_on_when_the_start_up_code_returns_an_error() {
    let stage = Stage::new().await;
    next_start(&stage.scratch, "refuse the database is away");
    stage.keeps_serving(&["the database is away"], next_start_is_sane).await;
}

#[tokio::test]
async fn case_5_predecessor_serves_on_when_the_start_up_code_hangs() {
    let stage = Stage::with(WEB, |launch| launch.env("GRACEHTTP_READY_TIMEOUT", "4s")).await;
    next_start(&stage.scratch, "hang");
    stage.keeps_serving(&["ready"], next_start_is_sane).await;
}

#[tokio::test]
async fn case_6_predecessor_serves_on_when_the_successor_is_stopped() {
    let stage = Stage::with(WEB, |launch| launch.env("GRACEHTTP_READY_TIMEOUT", "5s")).await;
    next_start(&stage.scratch, "hang");
    let start = stage.app.log.end();
    let load = stage.load();
    load.mark("signal");
    stage.app.signal(Signal::USR2);
    stage.app.log.line(start, "start-up code of pid").await;
    stage.app.starting().signal(Signal::STOP);
    stage.error_since(start, &["ready"]).await;
    load.answers(30).await;
    load.stop().await.assert_unnoticed();
    stage.restarts_after_repair().await;
}

/// The application's streams go to `redirection`, so the test reads no log: the kernel tells the port.
async fn restarts_with_broken_stderr(redirection: &str) {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).after(redirection).spawn();
    let first = app.current();
    eventually("a listener", || !first.listening_ports().is_empty()).await;
    let target = Target::Plain(([127, 0, 0, 1], first.listening_ports()[0]).into());
    eventually("an answer", || std::net::TcpStream::connect(target.address()).is_ok()).await;
    let load = Load::on(&target).clients(3, Style::Get).clients(2, Style::Fresh);
    load.answers(20).await;
    load.mark("signal");
    app.signal(Signal::USR2);
    let successor = loop {
        load.answers(1).await;
        let pids = load.so_far().pids;
        if let Some(pid) = pids.keys().copied().find(|pid| *pid != first.pid()) {
            break app.hold(pid);
        }
    };
    load.answers(20).await;
    load.stop().await.assert_unnoticed();
    assert_eq!(first.exit().await, Exit::Code(0));
    successor.signal(Signal::TERM);
    assert!(successor.exit().await.is_clean());
}

#[tokio::test]
async fn case_8_restart_succeeds_with_stderr_closed() {
    restarts_with_broken_stderr("exec 2>&- >&-;").await;
}

#[tokio::test]
async fn case_8_restart_succeeds_with_stderr_full() {
    restarts_with_broken_stderr("exec 2>/dev/full >/dev/full;").await;
}

#[tokio::test]
async fn case_11_predecessor_serves_on_when_an_added_endpoint_is_taken() {
    let stage = Stage::new().await;
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupied.local_addr().unwrap();
    // Another new endpoint precedes it: all or nothing, so its listener must close again.
    stage.scratch.write("plan", format!("{WEB}\nserver fine 127.0.0.1:0\nserver new {taken}"));
    let ports = stage.app.current().listening_ports();
    stage.fails_to_restart(&[&taken.to_string()]).await;
    assert_eq!(stage.app.current().listening_ports(), ports);
    stage.keeps_serving(&[&taken.to_string()], |_| drop(occupied)).await;
}

/// Adds a second server with the certificate `tls.pem` and `tls.key`, and spoils these files.
async fn keeps_serving_with_bad_certificate(reasons: &[&str], spoil: impl FnOnce(&Path, &Scratch)) {
    let scratch = Scratch::new();
    let (cert, key) = scratch.certificate("tls");
    let plan = format!("{WEB}\nserver tls 127.0.0.1:0 cert={} key={}", cert.display(), key.display());
    let stage = Stage::with(&plan, |launch| launch).await;
    spoil(&cert, &scratch);
    stage
        .keeps_serving(reasons, |_| {
            scratch.certificate("tls");
        })
        .await;
}

#[tokio::test]
async fn case_13_predecessor_serves_on_when_the_certificate_is_broken() {
    keeps_serving_with_bad_certificate(&["tls.pem"], |cert, _| {
        fs::write(cert, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    })
    .await;
}

#[tokio::test]
async fn case_13_predecessor_serves_on_when_the_certificate_is_missing() {
    keeps_serving_with_bad_certificate(&["tls.pem"], |cert, _| fs::remove_file(cert).unwrap()).await;
}

#[tokio::test]
async fn case_14_predecessor_serves_on_when_the_key_does_not_match() {
    keeps_serving_with_bad_certificate(&["tls.key", "tls.pem"], |cert, scratch| {
        let (other, _) = scratch.certificate("other");
        fs::rename(other, cert).unwrap();
    })
    .await;
}

#[tokio::test]
async fn case_17_predecessor_serves_on_when_the_successor_is_killed_during_the_handoff() {
    if !tool("strace") {
        return;
    }
    let stage = Stage::new().await;
    let trace = "strace -D -f -qq -o /dev/null -e trace=recvmsg -e inject=recvmsg:signal=KILL:when=1";
    stage.next_starts_by(&format!("exec {trace}"));
    stage.keeps_serving(&["SIGKILL"], reinstall).await;
}

#[tokio::test]
async fn case_38_predecessor_serves_on_when_the_environment_is_too_large() {
    if !tool("prlimit") {
        return;
    }
    let big = "x".repeat(100_000);
    let stage = Stage::with(WEB, |launch| {
        (1..=5).fold(launch, |launch, number| launch.env(&format!("BIG_{number}"), &big))
    })
    .await;
    // Arguments and environment may take a quarter of the stack's limit: 500 KB no longer fit.
    let pid = stage.app.pid().to_string();
    let stack = |limit: &str| {
        let limit = format!("--stack={limit}:");
        run("prlimit", &["--pid".as_ref(), pid.as_ref(), limit.as_ref()]);
    };
    stack("1048576");
    stage.keeps_serving(&["rgument list too long"], |_| stack("8388608")).await;
}

#[tokio::test]
async fn predecessor_serves_on_when_the_successor_is_killed_before_it_is_ready() {
    let stage = Stage::new().await;
    next_start(&stage.scratch, "hang");
    let load = stage.load();
    let start = stage.app.log.end();
    load.mark("signal");
    stage.app.signal(Signal::USR2);
    stage.app.log.line(start, "start-up code of pid").await;
    stage.app.starting().kill();
    stage.error_since(start, &["SIGKILL"]).await;
    load.answers(30).await;
    load.stop().await.assert_unnoticed();
    stage.restarts_after_repair().await;
}

#[tokio::test]
async fn predecessor_serves_on_when_the_configuration_is_wrong() {
    let stage = Stage::new().await;
    // The application itself rejects its configuration, before it runs.
    stage.scratch.write("plan", "server web nonsense:nonsense");
    stage.keeps_serving(&["status 101", "nonsense"], next_start_is_sane).await;
}

/// Only the predecessor may hand over listeners.
#[tokio::test]
async fn case_39_start_fails_with_a_forged_handoff_variable() {
    for forged in ["3", "0", "99", "nonsense", "-1", ""] {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, WEB).env(HANDOFF, forged).spawn();
        let exit = app.current().exit_within(PATIENCE).await;
        assert_eq!(exit, Exit::Code(1), "{HANDOFF}={forged}\n{}", app.log);
        app.log.line(0, HANDOFF).await;
    }
}

/// A successor refuses a socket like a restart's if a process other than its parent holds it. It accepts the parent's
/// own socket, although the parent sends nothing.
#[tokio::test]
async fn case_39_start_fails_with_a_handoff_socket_of_another_process() {
    // The program replaces the shell, or runs as its child.
    for (shell, words) in
        [("", "ended before it had handed over"), ("\"$0\"; exit $?;", "not held by the parent")]
    {
        let scratch = Scratch::new();
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair of sockets");
        fcntl_setfd(&theirs, FdFlags::empty()).expect("a descriptor that is inherited");
        let number = theirs.as_raw_fd().to_string();
        let app = Launch::app(&scratch, WEB).env(HANDOFF, &number).after(shell).spawn();
        drop((ours, theirs));
        let exit = app.current().exit_within(PATIENCE).await;
        assert_eq!(exit, Exit::Code(1), "{}", app.log);
        app.log.line(0, words).await;
    }
}

/// The variable by which a successor knows its descriptor.
const HANDOFF: &str = "GRACEHTTP_HANDOFF";
