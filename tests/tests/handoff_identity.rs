//! The handoff identifies things by their properties, not by their names: a listener by its address, a connection by
//! its listener, a server by its listeners and its name. A port that the kernel chooses belongs to its server alone, so
//! these tests reserve one.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use tests::client::{Pause, get, get_once};
use tests::load::Style;
use tests::patience::{PATIENCE, eventually};
use tests::process::ReservedPort;
use tests::{App, Client, Exit, Generation, Launch, Load, Scratch, Signal, Target};

fn at(port: u16) -> Target {
    Target::Plain(([127, 0, 0, 1], port).into())
}

async fn idle_clients(target: &Target, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(target).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        clients.push(client);
    }
    clients
}

async fn restart_with(app: &App, scratch: &Scratch, plan: &str) -> Arc<Generation> {
    scratch.write("plan", plan);
    app.restart().await
}

/// Idle connections, connections with half a head, requests in flight and connections under load: each follows its
/// listener, also in the next restart.
#[tokio::test]
async fn a6_connections_of_a_renamed_server_follow_their_listener() {
    let scratch = Scratch::new();
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let app = Launch::app(&scratch, &format!("server web 127.0.0.1:{port}")).start("web").await;
    let target = at(port);
    let mut idle = idle_clients(&target, 20).await;
    let mut half = Client::connect(&target).await.unwrap();
    half.send("GET /ping HTTP/1.1\r\nHo").await.unwrap();
    let mut busy = Client::connect(&target).await.unwrap();
    busy.send(get("/slow?ms=800")).await.unwrap();
    app.log.line(0, "slow begins").await;
    let load = Load::on(&target).clients(3, Style::Get).clients(2, Style::Post).clients(2, Style::HalfHead);
    load.answers(20).await;

    let old = app.first();
    let second = restart_with(&app, &scratch, &format!("server site 127.0.0.1:{port}")).await;
    app.serves(&target, &second).await;
    half.send("st: localhost\r\n\r\n").await.unwrap();
    assert!(!half.reply().await.unwrap().closes());
    assert_eq!(busy.reply().await.unwrap().pid(), Some(old.pid()));
    idle.extend([half, busy]);
    for client in &mut idle {
        client.moves_to(second.pid()).await;
    }
    assert_eq!(old.exit().await, Exit::Code(0));
    // A connection that has moved also knows its listener, parked or not.
    let third = restart_with(&app, &scratch, &format!("server other 127.0.0.1:{port}")).await;
    for client in &mut idle {
        client.moves_to(third.pid()).await;
    }
    load.stop().await.assert_unnoticed();
    app.predecessors_leave_cleanly().await;
}

/// Two servers swap their ports, and so their connections.
#[tokio::test]
async fn a6_connections_follow_the_listener_rather_than_the_name() {
    let scratch = Scratch::new();
    let reserved = [ReservedPort::new(), ReservedPort::new()];
    let [one, two] = reserved.each_ref().map(ReservedPort::number);
    let plan = format!("server a 127.0.0.1:{one} idle_timeout=2500ms\nserver b 127.0.0.1:{two}");
    let app = Launch::app(&scratch, &plan).start("b").await;
    let mut of_b = idle_clients(&at(two), 1).await.remove(0);
    let plan = format!("server a 127.0.0.1:{two} idle_timeout=2500ms\nserver b 127.0.0.1:{one}");
    let successor = restart_with(&app, &scratch, &plan).await;
    of_b.moves_to(successor.pid()).await;
    assert_eq!(
        of_b.pause(PATIENCE).await,
        Pause::Closed,
        "the connection now belongs to a and has a's idle_timeout"
    );
}

/// The limit covers both names.
#[tokio::test]
async fn a6_permits_of_a_renamed_server_count_in_its_successor() {
    let scratch = Scratch::new();
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let plan = |name: &str| format!("server {name} 127.0.0.1:{port} max_conns=3");
    let app = Launch::app(&scratch, &plan("web")).start("web").await;
    let (target, old) = (at(port), app.first());
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&target).await.unwrap();
        client.send(get("/slow?ms=6000")).await.unwrap();
        busy.push(client);
    }
    eventually("three handlers", || app.log.count(0, "slow begins") == 3).await;
    let mut next = Client::connect(&target).await.unwrap();
    next.send(get("/ping")).await.unwrap();
    let successor = restart_with(&app, &scratch, &plan("site")).await;
    app.log.line(0, "serving site").await;
    assert_eq!(
        next.pause(std::time::Duration::from_millis(300)).await,
        Pause::Open,
        "clients hold three permits"
    );
    for client in &mut busy {
        assert_eq!(client.reply().await.unwrap().pid(), Some(old.pid()));
    }
    drop(busy);
    assert_eq!(next.reply().await.unwrap().pid(), Some(successor.pid()));
}

/// A connection that began in plain text must not reach a server that relies on TLS: it ends properly.
#[tokio::test]
async fn a6_a_plain_connection_does_not_follow_its_listener_to_tls() {
    let scratch = Scratch::new();
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let app = Launch::app(&scratch, &format!("server web 127.0.0.1:{port}")).start("web").await;
    let old = app.first();
    let mut clients = idle_clients(&at(port), 2).await;
    let successor =
        restart_with(&app, &scratch, &format!("server web 127.0.0.1:{port} tls=self_signed")).await;
    let secure = Target::Tls(([127, 0, 0, 1], port).into());
    app.serves(&secure, &successor).await;
    let reply = clients[0].get("/ping").await.unwrap();
    assert!(reply.closes() && reply.pid() == Some(old.pid()), "{reply:?}");
    for client in &mut clients {
        client.closed().await.unwrap();
    }
    assert_eq!(old.exit().await, Exit::Code(0));
}

/// A table of endpoints in two spellings: the successor adopts the listener in both directions, and its connections
/// move.
#[tokio::test]
async fn a7_an_endpoint_in_another_spelling_is_adopted() {
    let (reserved, directory) = (ReservedPort::new(), Scratch::new());
    let tcp = reserved.number();
    symlink(directory.path(), directory.join("link")).unwrap();
    let path = |text: &str| format!("unix:{}", directory.join(text).display());
    let pairs = [
        (format!("127.0.0.1:{tcp}"), format!("localhost:{tcp}"), at(tcp)),
        (path("a.sock"), path("link/a.sock"), Target::Unix(directory.join("a.sock"))),
        (path("b.sock"), "unix:b.sock".to_owned(), Target::Unix(directory.join("b.sock"))),
        (path("c.sock"), path("./link/./c.sock"), Target::Unix(directory.join("c.sock"))),
    ];
    for (one, other, target) in pairs {
        let scratch = Scratch::new();
        let plan = |endpoint: &str, name: &str| format!("server {name} {endpoint}");
        let app = Launch::app(&scratch, &plan(&one, "web")).directory(directory.path()).start("web").await;
        let mut idle = idle_clients(&target, 5).await;
        // First under the same name, then under another.
        for (endpoint, name) in [(&other, "web"), (&one, "site"), (&other, "site")] {
            let successor = restart_with(&app, &scratch, &plan(endpoint, name)).await;
            for client in &mut idle {
                client.moves_to(successor.pid()).await;
            }
            app.serves(&target, &successor).await;
            app.predecessors_exit().await;
            assert_eq!(get_once(&target, "/ping").await.unwrap().pid(), Some(successor.pid()), "{endpoint}");
        }
        assert!(app.stop().await.is_clean());
        if let Target::Unix(path) = &target {
            assert!(fs::symlink_metadata(path).is_err(), "the last process removes the socket's file");
        }
    }
}

/// The kernel allows none of these endpoints beside the predecessor's listener: the old process keeps serving, and the
/// error names the obstacle and the remedy.
#[tokio::test]
async fn a7_a_change_that_the_kernel_forbids_is_reported() {
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let pairs = [
        (format!("127.0.0.1:{port}"), format!(":{port}")),
        (format!(":{port}"), format!("127.0.0.1:{port}")),
        (format!("0.0.0.0:{port}"), format!(":{port}")),
    ];
    for (before, after) in pairs {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("server web {before}")).start("web").await;
        let old = app.first();
        scratch.write("plan", format!("server web {after}"));
        old.signal(Signal::USR2);
        let expected = format!(
            "server `web` cannot listen on {after}: the predecessor listens on `{before}` of server `web`"
        );
        let is_expected = |line: &str| line.contains("ERROR") && line.contains(&expected);
        let line = app.log.find(0, PATIENCE, &expected, is_expected).await.text;
        assert!(line.contains("stop the service and start it again"), "{line}");
        app.log.line(0, "serves on").await;
        assert_eq!(get_once(&at(port), "/ping").await.unwrap().pid(), Some(old.pid()));
    }
}
