//! The limit of connections: clients over the limit wait in the kernel's queue and cost nothing.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tests::client::{Pause, get, get_once, post_head};
use tests::load::Style;
use tests::patience::{PATIENCE, eventually, within};
use tests::process::{run, tool};
use tests::{App, Client, Exit, Generation, Launch, Load, Scratch, Signal, Target};
use tokio::task::JoinSet;

/// Counts all the time and returns the largest count.
fn watch(count: impl Fn() -> usize + Send + 'static) -> impl FnOnce() -> usize {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while !stopped.load(Ordering::SeqCst) {
            most = most.max(count());
            std::thread::sleep(Duration::from_millis(1));
        }
        most
    });
    move || {
        stop.store(true, Ordering::SeqCst);
        watch.join().expect("no panic")
    }
}

/// All sockets of one process, for any purpose.
fn sockets(generation: &Generation) -> usize {
    generation.descriptor_names().iter().filter(|name| name.starts_with("socket:")).count()
}

/// The server's ends of all connections to this address, from the kernel's table. The table repeats and skips lines if
/// other clients connect while the test reads it.
fn connections_to(address: SocketAddr) -> HashSet<String> {
    let SocketAddr::V4(address) = address else { panic!("{address} stands in another table") };
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let local = format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port());
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, at, _, state, .., inode, _] = fields.get(..11)? else { return None };
        (*at == local && *state != "0A").then(|| format!("socket:[{inode}]"))
    };
    table.lines().filter_map(socket).collect()
}

/// The connections to this address that one of the processes holds. A predecessor in standby also has duplicates of
/// connections that have ended meanwhile: only connections that the table lists before and after count.
fn accepted(address: SocketAddr, generations: &[Arc<Generation>]) -> usize {
    let before = connections_to(address);
    let held: HashSet<String> =
        generations.iter().flat_map(|generation| generation.descriptor_names()).collect();
    let after = connections_to(address);
    before.iter().filter(|socket| held.contains(*socket) && after.contains(*socket)).count()
}

/// Plans with `when_full=wait` keep their idle connections: a server that recycles closes some for the waiting clients.
async fn start(plan: &str) -> (App, Target, Scratch) {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, plan).spawn();
    let target = app.target("web").await;
    (app, target, scratch)
}

#[tokio::test]
async fn two_hundred_clients_share_fifty_permits() {
    let (app, target, _scratch) = start("server web 127.0.0.1:0 max_conns=50 when_full=wait").await;
    let own = sockets(&app.current());
    let process = app.current();
    let most = watch(move || sockets(&process));
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let target = target.clone();
        clients.spawn(async move {
            // All clients connect at once. The server serves each in its turn, with a few requests on its connection.
            let mut client = Client::connect(&target).await?;
            for _ in 0..3 {
                let reply = client.get("/slow?ms=60").await?;
                assert_eq!(reply.status, 200);
            }
            Ok::<(), tests::Failure>(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap().unwrap();
    }
    let most = most() - own;
    println!("at most {most} connections accepted at once");
    assert!(most <= 50, "{most} connections accepted at once");
    assert!(
        most > 25,
        "only {most} connections at once: the limit was not reached, so the test shows nothing"
    );
    let busiest: usize = get_once(&target, "/most").await.unwrap().text().parse().unwrap();
    assert!(busiest <= 50, "{busiest} requests at once");
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn clients_that_wait_for_a_full_server_cost_nothing_and_are_next() {
    let (app, target, _scratch) = start("server web 127.0.0.1:0 max_conns=2").await;
    let (mut one, mut two) =
        (Client::connect(&target).await.unwrap(), Client::connect(&target).await.unwrap());
    for (number, client) in [&mut one, &mut two].into_iter().enumerate() {
        client.send(get("/slow?ms=1200")).await.unwrap();
        eventually("the handler", || app.log.count(0, "slow begins") == number + 1).await;
    }
    let full = sockets(&app.current());
    let mut third = Client::connect(&target).await.unwrap();
    third.send(get("/ping")).await.unwrap();
    let waiting = tokio::spawn(async move { third.reply().await });
    one.reply().await.unwrap();
    two.reply().await.unwrap();
    assert!(sockets(&app.current()) <= full);
    drop((one, two));
    assert_eq!(waiting.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn silent_clients_lose_their_permits() {
    let limits = "handshake_timeout=400ms header_read_timeout=400ms idle_timeout=400ms";
    let (_app, target, _scratch) = start(&format!("server web 127.0.0.1:0 max_conns=5 {limits}")).await;
    let mut clients = Vec::new();
    for words in ["", "P", "PRI * HTTP/2.0\r\n", "GET /ping HT", "GET /ping HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(words).await.unwrap();
        clients.push(client);
    }
    // The server serves the sixth client, which needs one of the five permits.
    assert_eq!(get_once(&target, "/ping").await.unwrap().status, 200);
}

/// All known generations of an application.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Vec<Arc<Generation>>>>);

impl Known {
    fn of(app: &App) -> Self {
        let known = Self::default();
        known.add(&app.current());
        known
    }

    fn add(&self, generation: &Arc<Generation>) {
        self.0.lock().expect("no panic").push(Arc::clone(generation));
    }

    /// The connections of all generations together.
    fn accepted(&self, address: SocketAddr) -> usize {
        accepted(address, &self.0.lock().expect("no panic"))
    }
}

#[tokio::test]
async fn a_limit_holds_through_restarts() {
    let (app, target, _scratch) = start("server web 127.0.0.1:0 max_conns=8 when_full=wait").await;
    let (known, address) = (Known::of(&app), target.address());
    let seen = known.clone();
    let most = watch(move || seen.accepted(address));
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let (target, stop) = (target.clone(), Arc::clone(&stop));
        clients.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                // The request is slow, so that the test can count its connection.
                assert_eq!(get_once(&target, "/slow?ms=30").await.unwrap().status, 200);
            }
        });
    }
    eventually("a full server", || known.accepted(address) > 6).await;
    for _ in 1..=5 {
        let successor = app.restart().await;
        known.add(&successor);
        app.serves(&target, &successor).await;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let most = most();
    println!("at most {most} connections in all generations");
    assert!(most <= 8, "{most} connections against a limit of 8");
}

/// Connections that move to the successor make no room for clients at an endpoint that the successor does not have.
#[tokio::test]
async fn a_limit_holds_while_a_removed_endpoint_is_emptied() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 127.0.0.2:0 max_conns=4 when_full=wait")
        .env("GRACEHTTP_DRAIN_TIMEOUT", "1500ms")
        .spawn();
    eventually("two banners", || app.log.count(0, "serving web on ") == 2).await;
    let banners = app.log.since(0);
    let urls = banners.iter().filter_map(|line| line.split(" on ").nth(1)?.split_whitespace().next());
    let targets: Vec<Target> = urls.map(Target::from_url).collect();
    let (stays, goes) = (targets[0].address(), targets[1].address());
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(&targets[0]).await.unwrap();
        client.get("/ping").await.unwrap();
        held.push(client);
    }
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(&targets[1]).await.unwrap();
        client.send(get("/slow?ms=300")).await.unwrap();
        waiting.push(client);
    }
    let (old, known) = (app.first(), Known::of(&app));
    assert_eq!(known.accepted(stays), 4);
    let seen = known.clone();
    let most = watch(move || seen.accepted(stays) + seen.accepted(goes));
    scratch.write("plan", "server web 127.0.0.1:0 max_conns=4 when_full=wait");
    let successor = app.restart().await;
    known.add(&successor);
    for client in &mut held {
        client.moves_to(successor.pid()).await;
    }
    assert_eq!(old.exit().await, Exit::Code(0));
    let most = most();
    assert!(most <= 4, "{most} connections against a limit of 4");
}

/// A connection that has moved counts once: the next client gets the permit that the successor returns, even during a
/// long standby of the predecessor.
#[tokio::test]
async fn a_moved_connection_counts_once() {
    moved_connection_counts_once("server web 127.0.0.1:0 max_conns=3 when_full=wait").await;
}

#[tokio::test]
async fn a_moved_tls_connection_counts_once() {
    moved_connection_counts_once("server web 127.0.0.1:0 max_conns=3 when_full=wait tls=self_signed").await;
}

async fn moved_connection_counts_once(plan: &str) {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, plan).env("GRACEHTTP_STANDBY", "30s").spawn();
    let target = app.target("web").await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        idle.push(client);
    }
    // Over TLS it waits for its handshake.
    let next = tokio::spawn(async move { get_once(&target, "/ping").await });
    let successor = app.restart().await;
    for client in &mut idle {
        client.moves_to(successor.pid()).await;
    }
    idle.pop();
    let reply = within(PATIENCE, "the free permit", next).await;
    assert_eq!(reply.expect("no panic").expect("an answer").pid(), Some(successor.pid()));
}

/// The limit is full at the commit, and half of the connections can't move: both generations together never hold more
/// than the limit, and waiting clients get the permits that connections return.
#[tokio::test]
async fn case_52_a_limit_that_is_full_at_the_commit_holds() {
    let (app, target, _scratch) = start("server web 127.0.0.1:0 max_conns=20 when_full=wait").await;
    let old = app.first();
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(&target).await.unwrap();
        client.get("/ping").await.unwrap();
        idle.push(client);
    }
    let mut busy = Vec::new();
    for number in 0..10_u64 {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get(&format!("/slow?ms={}", 6000 + 150 * number))).await.unwrap();
        busy.push(client);
    }
    eventually("ten handlers", || app.log.count(0, "slow begins") == 10).await;
    let mut waiting = JoinSet::new();
    for _ in 0..40 {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get("/slow?ms=100")).await.unwrap();
        waiting.spawn(async move { client.reply().await.map(|reply| reply.pid()) });
    }
    let start = app.log.end();
    let address = target.address();
    let known = Known::of(&app);
    eventually("all twenty to be counted", || known.accepted(address) == 20).await;
    let seen = known.clone();
    let most = watch(move || seen.accepted(address));
    old.signal(Signal::USR2);
    let successor = app.successor_since(start).await;
    known.add(&successor);
    for mut client in busy {
        assert_eq!(client.reply().await.unwrap().pid(), Some(old.pid()));
    }
    // The idle connections leave one by one.
    while let Some(client) = idle.pop() {
        drop(client);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    while let Some(pid) = waiting.join_next().await {
        assert_eq!(pid.unwrap().unwrap(), Some(successor.pid()));
    }
    assert_eq!(old.exit().await, Exit::Code(0));
    let most = most();
    println!("at most {most} connections in both generations");
    assert!(most <= 20, "{most} connections against a limit of 20");
}

/// Existing connections stay, and the server accepts no new client until their number is below the new limit.
#[tokio::test]
async fn case_52_a_successor_with_a_smaller_limit_accepts_below_it() {
    smaller_limit_holds("").await;
}

#[tokio::test]
async fn a_successor_with_a_smaller_limit_accepts_below_it_over_tls() {
    smaller_limit_holds("tls=self_signed").await;
}

async fn smaller_limit_holds(more: &str) {
    let plan = |limit: usize| format!("server web 127.0.0.1:0 max_conns={limit} when_full=wait {more}");
    let (app, target, scratch) = start(&plan(20)).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(&target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        idle.push(client);
    }
    scratch.write("plan", plan(5));
    let successor = app.restart().await;
    assert_eq!(app.first().exit().await, Exit::Code(0));
    for client in &mut idle {
        let reply = client.get("/ping").await.expect("an answer");
        assert!(reply.pid() == Some(successor.pid()) && !reply.closes(), "{reply:?}");
    }
    // Over TLS it waits for its handshake.
    let mut next = tokio::spawn(async move { get_once(&target, "/ping").await });
    while idle.len() > 5 {
        idle.pop();
        let answered = tokio::time::timeout(Duration::from_millis(20), &mut next).await;
        assert!(answered.is_err(), "{} are still connected", idle.len());
    }
    idle.pop();
    assert_eq!(next.await.expect("no panic").expect("an answer").pid(), Some(successor.pid()));
}

#[tokio::test]
async fn case_52_a_successor_with_a_larger_limit_accepts_up_to_it() {
    let (app, target, scratch) = start("server web 127.0.0.1:0 max_conns=2").await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get("/slow?ms=7000")).await.unwrap();
        busy.push(client);
    }
    eventually("two handlers", || app.log.count(0, "slow begins") == 2).await;
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get("/ping")).await.unwrap();
        waiting.push(client);
    }
    scratch.write("plan", "server web 127.0.0.1:0 max_conns=6");
    let successor = app.restart().await;
    // The successor serves four of them at once, though the predecessor still holds two connections.
    for client in waiting.iter_mut().take(4) {
        assert_eq!(client.reply().await.unwrap().pid(), Some(successor.pid()));
    }
    assert!(app.first().is_running());
    assert_eq!(waiting[4].pause(Duration::from_millis(200)).await, Pause::Open, "six clients are connected");
    for client in &mut busy {
        assert_eq!(client.reply().await.unwrap().pid(), Some(app.first().pid()));
    }
    drop(busy);
    for client in waiting.iter_mut().skip(4) {
        assert_eq!(client.reply().await.unwrap().pid(), Some(successor.pid()));
    }
    let mut upload = waiting.pop().expect("six clients");
    upload.send(post_head("/echo", 2)).await.unwrap();
    upload.send("ok").await.unwrap();
    assert_eq!(upload.reply().await.unwrap().text(), "ok");
}

/// Limits the number of descriptors that a process may open from now on.
fn limit_descriptors(pid: u32, limit: usize) {
    let pid = pid.to_string();
    let limit = format!("--nofile={limit}:");
    run("prlimit", &["--pid".as_ref(), pid.as_ref(), OsStr::new(&limit)]);
}

#[tokio::test]
async fn case_26_accept_without_descriptors_backs_off_and_recovers() {
    if !tool("prlimit") {
        return;
    }
    let (app, target, _scratch) = start("server web 127.0.0.1:0").await;
    get_once(&target, "/ping").await.unwrap();
    let process = app.current();
    eventually("the first client's end", || sockets(&process) < 20).await;
    // The limit is one above the highest allowed number, and the numbers in use have hardly any gaps.
    limit_descriptors(process.pid(), process.descriptors() + 5);
    let mut held = Vec::new();
    let mut waiting = JoinSet::new();
    for number in 0..30 {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get("/ping")).await.unwrap();
        if number < 4 {
            client.reply().await.unwrap();
            held.push(client);
        } else {
            waiting.spawn(async move { client.reply().await });
        }
    }
    app.log.line(0, "Too many open files").await;
    let before = process.cpu();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = process.cpu() - before;
    println!("CPU while accept fails: {spent:?} in 2 s");
    assert!(spent <= Duration::from_millis(100), "{spent:?} of CPU in 2 s: it spins");
    let lines = app.log.count(0, "Too many open files");
    assert!(lines < 30, "{lines} lines about one fault");
    // The server recovers by itself as descriptors become free.
    limit_descriptors(process.pid(), 1000);
    while let Some(reply) = waiting.join_next().await {
        assert_eq!(reply.unwrap().unwrap().status, 200);
    }
    drop(held);
    assert!(app.stop().await.is_clean());
}

/// A stop also serves the clients in the queue as soon as there is room for them, even if the queue is short.
#[tokio::test]
async fn a_stop_empties_the_queue_after_descriptors_ran_out() {
    if !tool("prlimit") {
        return;
    }
    let scratch = Scratch::new();
    let launch = Launch::app(&scratch, "server web 127.0.0.1:0");
    let app = launch.env("GRACEHTTP_SERVER__WEB__BACKLOG", "4").spawn();
    let target = app.target("web").await;
    let process = app.current();
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(&target).await.unwrap();
        client.get("/ping").await.unwrap();
        held.push(client);
    }
    limit_descriptors(process.pid(), process.descriptors());
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get("/ping")).await.unwrap();
        waiting.push(client);
    }
    app.log.line(0, "can't accept at the moment").await;
    app.signal(Signal::TERM);
    for client in &mut waiting {
        assert_eq!(client.reply().await.unwrap().status, 200);
    }
    drop(waiting);
    assert_eq!(process.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_limit_beyond_the_descriptors_is_lowered_and_logged() {
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0 max_conns=1000 when_full=wait";
    let app = Launch::app(&scratch, plan).after("ulimit -n 60;").spawn();
    let target = app.target("web").await;
    let is_expected = |line: &str| line.contains("WARN") && line.contains("1000") && line.contains("60");
    app.log.find(0, PATIENCE, "a notice about the limit", is_expected).await;
    let process = app.current();
    let most = watch(move || sockets(&process));
    // There are twice as many clients as descriptors: the server serves all of them, and accept never runs out of
    // descriptors.
    let load = Load::on(&target).clients(100, Style::Fresh);
    load.answers(500).await;
    load.stop().await.assert_unnoticed();
    assert!(most() < 60);
    assert_eq!(app.log.count(0, "Too many open files"), 0, "{}", app.log);
    // The successor needs some descriptors for itself, and the predecessor needs some to start it.
    let successor = app.restart().await;
    app.serves(&target, &successor).await;
}
