//! The system, the clock or a client runs out of something: other clients do not notice, and the application recovers
//! by itself.

mod shortage;

use std::ops::Deref;
use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once};
use tests::generation::Generation;
use tests::load::Style;
use tests::patience::{PATIENCE, eventually};
use tests::process::{run, tool};
use tests::{Client, Exit, Launch, Load, Scratch, Service, Signal, Strace};
use tokio::task::JoinSet;

const WEB: &str = "server web 127.0.0.1:0";

/// A running copy of the application. A test may replace the program.
struct Stage(Service);

impl Deref for Stage {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl Stage {
    async fn new(plan: &str) -> Self {
        Self::with(plan, |launch| launch).await
    }

    async fn with(plan: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        Self(Service::installed(plan, |launch| change(launch.env("GRACEHTTP_STANDBY", "300ms"))).await)
    }

    /// The next generation runs in a shell that runs `words` first.
    fn next_starts_after(&self, words: &str) {
        self.next_starts_by(&format!("{words}\nexec"));
    }

    fn next_starts_normally(&self) {
        self.install("app");
    }

    /// Restarts under load in spite of the fault. No client notices, and the predecessor ends without an error.
    async fn restarts_unnoticed(&self, old: &Generation, fault: &str) {
        let load = Load::on(&self.target).clients(10, Style::Get).clients(2, Style::Post);
        load.answers(20).await;
        self.restart().await;
        load.answers(30).await;
        assert_eq!(old.exit().await, Exit::Code(0), "{fault}: {}", self.app.log);
        load.stop().await.assert_unnoticed();
        assert_eq!(self.app.log.count(0, "ERROR"), 0, "{fault}: {}", self.app.log);
        assert_eq!(self.app.stop().await, Exit::Code(0), "{fault}");
    }
}

/// Accept fails with `error` while clients wait. The application backs off instead of spinning, logs the error once,
/// and recovers.
async fn accept_backs_off(error: &str, words: &str) {
    if !tool("strace") {
        return;
    }
    let stage = Stage::new(WEB).await;
    let process = stage.app.current();
    let mut idle = Client::connect(&stage.target).await.expect("a connection");
    idle.get("/ping").await.expect("an answer");
    let faults = Strace::on(&process, &format!("accept4:error={error}")).await;
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        let mut client = Client::connect(&stage.target).await.expect("a connection");
        waiting.spawn(async move { client.get("/ping").await });
    }
    stage.app.log.line(0, words).await;
    let before = process.cpu();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = process.cpu() - before;
    println!("{error}: {spent:?} of CPU in 2 s");
    assert!(spent <= Duration::from_millis(100), "{spent:?} of CPU in 2 s: it spins");
    assert!(stage.app.log.count(0, words) < 5, "{}", stage.app.log);
    idle.get("/ping").await.expect("an answer to an accepted client");
    assert!(waiting.try_join_next().is_none(), "no client was refused");
    drop(faults);
    while let Some(reply) = waiting.join_next().await {
        assert_eq!(reply.expect("a task that ends").expect("an answer").status, 200);
    }
    assert_eq!(stage.app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn case_27_accept_backs_off_after_enfile() {
    accept_backs_off("ENFILE", "Too many open files in system").await;
}

#[tokio::test]
async fn case_27_accept_backs_off_after_enobufs() {
    accept_backs_off("ENOBUFS", "No buffer space available").await;
}

#[tokio::test]
async fn case_27_accept_backs_off_after_enomem() {
    accept_backs_off("ENOMEM", "Cannot allocate memory").await;
}

/// Every second accept fails because the client aborted its connection: the server accepts the next one at once and
/// logs nothing.
#[tokio::test]
async fn case_28_a_connection_aborted_before_accept_delays_no_client() {
    if !tool("strace") {
        return;
    }
    for error in ["ECONNABORTED", "EPROTO", "EHOSTUNREACH", "ENETDOWN", "EPERM"] {
        let stage = Stage::new(WEB).await;
        let faults = Strace::on(&stage.app.current(), &format!("accept4:error={error}:when=1+2")).await;
        let start = Instant::now();
        for _ in 0..50 {
            assert_eq!(get_once(&stage.target, "/ping").await.unwrap().status, 200);
        }
        let took = start.elapsed();
        println!("{error}: 50 connections in {took:?}");
        // With a back-off of 10 ms for each error, the test would take half a second longer.
        assert!(took < Duration::from_secs(10), "{error}: it took {took:?}");
        drop(faults);
        assert_eq!(stage.app.log.count(0, "WARN") + stage.app.log.count(0, "ERROR"), 0, "{}", stage.app.log);
    }
}

/// The successor takes the connections that it has room for. The predecessor keeps the others, and none is closed.
#[tokio::test]
async fn emfile_while_the_successor_receives_connections_closes_none() {
    emfile_in_the_successor_closes_none(WEB).await;
}

#[tokio::test]
async fn emfile_while_the_successor_receives_tls_connections_closes_none() {
    emfile_in_the_successor_closes_none(&format!("{WEB} tls=self_signed")).await;
}

async fn emfile_in_the_successor_closes_none(plan: &str) {
    let stage = Stage::with(plan, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "20s")).await;
    let old = stage.app.first();
    let mut clients = Vec::new();
    for _ in 0..150 {
        let mut client = Client::connect(&stage.target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        clients.push(client);
    }
    stage.next_starts_after("ulimit -n 80");
    let successor = stage.app.restart().await;
    eventually("connections to move", || successor.descriptors() > 60).await;
    for round in 1..=3 {
        let mut by_successor = 0;
        for (number, client) in clients.iter_mut().enumerate() {
            let reply = client.get("/ping").await;
            let reply = reply.unwrap_or_else(|failure| panic!("round {round}, client {number}: {failure}"));
            assert!(!reply.closes(), "{reply:?}");
            by_successor += usize::from(reply.pid() == Some(successor.pid()));
        }
        println!("round {round}: the successor answers {by_successor} of 150");
        assert!(by_successor > 20, "the successor takes the connections that it has room for");
    }
    assert!(old.is_running() && successor.is_running());
    // As clients leave, the other connections move, and new clients are served.
    clients.truncate(10);
    assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
    for client in &mut clients {
        assert_eq!(client.get("/ping").await.expect("an answer").pid(), Some(successor.pid()));
    }
    assert_eq!(get_once(&stage.target, "/ping").await.expect("an answer").pid(), Some(successor.pid()));
    stage.next_starts_normally();
    stage.restart().await;
}

/// While the successor has no room, its predecessor serves the remaining connections and does not ask again and again.
/// As soon as there is room, all of them move, at any point of their next request.
#[tokio::test]
async fn connections_move_once_emfile_in_the_successor_ends() {
    connections_move_once_emfile_ends(WEB).await;
}

#[tokio::test]
async fn tls_connections_move_once_emfile_in_the_successor_ends() {
    connections_move_once_emfile_ends(&format!("{WEB} tls=self_signed")).await;
}

async fn connections_move_once_emfile_ends(plan: &str) {
    if !tool("prlimit") {
        return;
    }
    let stage = Stage::with(plan, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "60s")).await;
    let old = stage.app.first();
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = Client::connect(&stage.target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        clients.push(client);
    }
    // The test lowers the successor's limit of descriptors while its start-up code runs.
    stage.scratch.write("plan", format!("{plan}\nstart sleep 3000"));
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    stage.app.log.line(start, "start-up code of pid").await;
    let limit = |limit: &str| {
        let pid = stage.app.first().children()[0].to_string();
        run("prlimit", &["--pid".as_ref(), pid.as_ref(), limit.as_ref()]);
    };
    limit("--nofile=80:");
    let successor = stage.app.successor_since(start).await;
    eventually("connections to move", || successor.descriptors() > 60).await;
    let mut halves = Vec::new();
    for client in &mut clients {
        let asked = Instant::now();
        let reply = client.get("/ping").await.expect("an answer");
        assert!(!reply.closes(), "{reply:?}");
        assert!(asked.elapsed() < Duration::from_secs(10), "answered after {:?}", asked.elapsed());
        if reply.pid() == Some(old.pid()) && halves.len() < 5 {
            client.send("GET /ping HTTP/1.1\r\nHo").await.expect("a request");
            halves.push(client);
        }
    }
    assert_eq!(
        halves.len(),
        5,
        "the predecessor kept fewer than five connections, so the test shows nothing"
    );
    let before = old.cpu() + successor.cpu();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let spent = old.cpu() + successor.cpu() - before;
    println!("{spent:?} of CPU in 3 s without room");
    assert!(spent <= Duration::from_millis(300), "{spent:?} of CPU in 3 s: it spins");
    limit("--nofile=4000:");
    // Half a head also moves. It needs neither more bytes from the client nor the end of its time limit.
    assert_eq!(old.exit_within(PATIENCE).await, Exit::Code(0), "{}", stage.app.log);
    for half in halves {
        half.send("st: localhost\r\n\r\n").await.expect("a request");
        let reply = half.reply().await.expect("an answer");
        assert_eq!((reply.pid(), reply.closes()), (Some(successor.pid()), false));
    }
    for client in &mut clients {
        assert_eq!(client.get("/ping").await.expect("an answer").pid(), Some(successor.pid()));
    }
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "cutting"), 0, "{}", stage.app.log);
}

/// There is no room for the listeners themselves: the successor logs it, and the predecessor keeps serving.
#[tokio::test]
async fn emfile_while_the_successor_receives_listeners_keeps_the_predecessor_serving() {
    let plan = (0..40).fold(WEB.to_owned(), |plan, number| format!("{plan}\nserver s{number} 127.0.0.1:0"));
    let stage = Stage::new(&plan).await;
    stage.next_starts_after("ulimit -n 20");
    let reasons = ["open descriptors", "Too many open files"];
    stage.keeps_serving(&reasons, |_| stage.next_starts_normally()).await;
}

/// The kernel creates no new process.
#[tokio::test]
async fn case_29_a_failed_fork_keeps_the_predecessor_serving() {
    if !tool("strace") {
        return;
    }
    let stage = Stage::new(WEB).await;
    // Traces the existing threads, but not their children.
    let faults = Strace::on(&stage.app.current(), "clone,clone3,fork,vfork:error=EAGAIN").await;
    stage.keeps_serving(&["Resource temporarily unavailable", "try again"], |_| drop(faults)).await;
}

/// The successor's start-up code asks for more memory than there is.
#[tokio::test]
async fn case_30_a_successor_without_memory_keeps_the_predecessor_serving() {
    let stage = Stage::new(WEB).await;
    stage.next_starts_after("ulimit -v 600000");
    stage.scratch.write("plan", format!("{WEB}\nstart eat"));
    stage
        .keeps_serving(&["SIGABRT"], |_| {
            stage.scratch.write("plan", WEB);
            stage.next_starts_normally();
        })
        .await;
}

/// Time limits use the monotonic clock: the jump affects no idle connection, no half head and no restart.
#[tokio::test]
async fn case_31_a_clock_jump_of_ten_years_affects_no_client() {
    if !tool("cc") {
        return;
    }
    let scratch = Scratch::new();
    let jump = scratch.join("jump");
    let source = scratch.write("clock.c", CLOCK);
    let library = scratch.join("clock.so");
    let cc = ["-shared", "-fPIC", "-O1", "-o"].map(std::ffi::OsStr::new);
    run("cc", &[&cc[..], &[library.as_os_str(), source.as_os_str(), "-ldl".as_ref()]].concat());
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 idle_timeout=60000ms")
        .env("LD_PRELOAD", &library)
        .env("CLOCK_JUMP", &jump)
        .start("web")
        .await;
    let target = app.target("web").await;
    let mut idle = Client::connect(&target).await.unwrap();
    let reply = idle.get("/ping").await.unwrap();
    let year = |reply: &tests::Reply| reply.header("date").map(|date| date[12..16].to_owned());
    let (before, load) = (year(&reply), Load::on(&target).clients(4, Style::Get).clients(2, Style::Fresh));
    let mut half = Client::connect(&target).await.unwrap();
    half.send("GET /ping HTTP/1.1\r\nHo").await.unwrap();
    let mut slow = Client::connect(&target).await.unwrap();
    slow.send(get("/slow?ms=1500")).await.unwrap();
    load.answers(20).await;
    for step in ["315360000", "-315360000"] {
        scratch.write("jump", step);
        load.mark(format!("jump of {step} s"));
        assert_eq!(idle.pause(Duration::from_millis(600)).await, Pause::Open);
        load.answers(50).await;
        let reply = idle.get("/ping").await.unwrap();
        assert!(!reply.closes());
        assert_ne!(year(&reply), before, "the clock must jump");
        let successor = app.restart().await;
        app.serves(&target, &successor).await;
        load.answers(50).await;
    }
    half.send("st: localhost\r\n\r\n").await.unwrap();
    assert_eq!(half.reply().await.unwrap().status, 200);
    assert_eq!(slow.reply().await.unwrap().status, 200);
    load.stop().await.assert_unnoticed();
    app.predecessors_leave_cleanly().await;
}

/// Like `faketime`, but only for the wall clock: shifts it by the number of seconds in the file.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(clock, now);
    if (clock == CLOCK_REALTIME) {
        long seconds = 0;
        FILE *jump = fopen(getenv("CLOCK_JUMP"), "r");
        if (jump) {
            if (fscanf(jump, "%ld", &seconds) != 1) seconds = 0;
            fclose(jump);
        }
        now->tv_sec += seconds;
    }
    return outcome;
}
"#;

/// A client that has vanished looks like a silent one: at any point of its request, its permit comes back, also from a
/// successor.
#[tokio::test]
async fn case_40_half_open_clients_return_their_permits() {
    let limits = "handshake_timeout=700ms header_read_timeout=700ms idle_timeout=700ms";
    let stage = Stage::new(&format!("server web 127.0.0.1:0 max_conns=6 {limits}")).await;
    for restarts in [false, true] {
        let mut vanished = Vec::new();
        for words in ["", "GET /pi", "GET /ping HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n"] {
            let mut client = Client::connect(&stage.target).await.unwrap();
            client.send(words).await.unwrap();
            vanished.push(client);
        }
        for _ in 0..2 {
            let mut client = Client::connect(&stage.target).await.unwrap();
            client.get("/ping").await.unwrap();
            vanished.push(client);
        }
        if restarts {
            stage.app.restart().await;
        }
        // Six new ones at once need all six permits.
        let mut clients = Vec::new();
        for _ in 0..6 {
            let mut client = Client::connect(&stage.target).await.unwrap();
            client.send(get("/slow?ms=300")).await.unwrap();
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(client.reply().await.unwrap().status, 200);
        }
    }
}

/// The server cuts the client at the drain's deadline, and the process ends.
#[tokio::test]
async fn case_41_a_client_that_never_reads_is_cut_at_the_drains_deadline() {
    let stage = Stage::with(WEB, |launch| launch.env("GRACEHTTP_DRAIN_TIMEOUT", "2s")).await;
    let old = stage.app.first();
    let mut client = Client::connect(&stage.target).await.unwrap();
    client.send(get("/big?bytes=50000000")).await.unwrap();
    stage.app.log.line(0, "big begins").await;
    let start = Instant::now();
    let successor = stage.restart().await;
    assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2) && took < PATIENCE, "it took {took:?}");
    stage.app.log.line(0, "cutting 1 connection").await;
    assert_eq!(get_once(&stage.target, "/ping").await.unwrap().pid(), Some(successor.pid()));
}

/// Without a drain the server cuts the client after 30 s without progress, and the next client gets the permit.
#[tokio::test]
async fn case_41_a_client_that_never_reads_is_cut_after_thirty_seconds() {
    let stage = Stage::new("server web 127.0.0.1:0 max_conns=1").await;
    let mut client = Client::connect(&stage.target).await.unwrap();
    client.send(get("/big?bytes=50000000")).await.unwrap();
    stage.app.log.line(0, "big begins").await;
    let start = Instant::now();
    let mut next = Client::connect(&stage.target).await.unwrap().limit(Duration::from_secs(50));
    assert_eq!(next.get("/ping").await.unwrap().status, 200);
    let took = start.elapsed();
    assert!(took > Duration::from_secs(25) && took < Duration::from_secs(45), "it took {took:?}");
}
