//! Servers and endpoints that a restart adds, moves or removes.

use std::time::Duration;

use tests::client::{Pause, get, get_once};
use tests::load::Style;
use tests::patience::{PATIENCE, within};
use tests::process::ipv6;
use tests::{App, Client, Exit, Failure, Kind, Launch, Load, Reply, Scratch, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// Restarts with another plan and waits until the successor serves `web`.
async fn restart_with(app: &App, scratch: &Scratch, web: &Target, plan: &str) {
    scratch.write("plan", plan);
    let successor = app.restart().await;
    app.serves(web, &successor).await;
}

async fn is_refused(target: &Target) -> Result<Reply, Failure> {
    let answer = get_once(target, "/ping").await;
    assert!(matches!(&answer, Err(failure) if failure.kind == Kind::Refused), "{answer:?}");
    answer
}

#[tokio::test]
async fn case_9_an_added_endpoint_is_bound_and_the_others_stay() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let web = app.target("web").await;
    let load = Load::on(&web).clients(3, Style::Get).clients(3, Style::Fresh);
    load.answers(20).await;
    let ports = app.current().listening_ports();
    restart_with(&app, &scratch, &web, &format!("{WEB}\nserver admin 127.0.0.1:0")).await;
    let admin = app.target("admin").await;
    assert_eq!(get_once(&admin, "/ping").await.unwrap().pid(), Some(app.pid()));
    let mut expected = vec![ports[0], admin.address().port()];
    expected.sort_unstable();
    assert_eq!(app.current().listening_ports(), expected, "web's listener was adopted, not bound again");
    load.stop().await.assert_unnoticed();
}

#[tokio::test]
async fn case_10_a_removed_endpoint_closes_and_its_connections_drain() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("{WEB}\nserver admin 127.0.0.1:0")).start("admin").await;
    let (web, admin) = (app.target("web").await, app.target("admin").await);
    let mut client = Client::connect(&admin).await.unwrap();
    client.send(get("/slow?ms=1500")).await.unwrap();
    app.log.line(0, "slow begins").await;
    let predecessor = app.current();
    restart_with(&app, &scratch, &web, WEB).await;
    tests::patience::eventually("the removed listener to close", || {
        std::net::TcpStream::connect(admin.address()).is_err()
    })
    .await;
    is_refused(&admin).await.unwrap_err();
    assert_eq!(app.current().listening_ports(), [web.address().port()]);
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.pid(), Some(predecessor.pid()), "the predecessor answers the request in flight");
    assert_eq!(predecessor.exit().await, Exit::Code(0));
}

/// The clients wait at a full server that the successor does not have: the predecessor serves each of them before it
/// ends.
#[tokio::test]
async fn case_10_clients_in_the_queue_of_a_removed_endpoint_are_served() {
    let scratch = Scratch::new();
    let plan = format!("{WEB}\nserver admin 127.0.0.1:0 max_conns=1");
    let app = Launch::app(&scratch, &plan).env("GRACEHTTP_STANDBY", "0s").start("admin").await;
    let (web, admin) = (app.target("web").await, app.target("admin").await);
    let predecessor = app.current();
    let mut holder = Client::connect(&admin).await.unwrap();
    holder.send(get("/slow?ms=1000")).await.unwrap();
    app.log.line(0, "slow begins").await;
    let mut queue = Vec::new();
    for _ in 0..30 {
        let mut client = Client::connect(&admin).await.unwrap();
        client.send(get("/ping")).await.unwrap();
        queue.push(client);
    }
    restart_with(&app, &scratch, &web, WEB).await;
    assert_eq!(holder.reply().await.unwrap().pid(), Some(predecessor.pid()));
    drop(holder);
    for (number, mut client) in queue.into_iter().enumerate() {
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("client {number}: {failure}"));
        assert_eq!(reply.pid(), Some(predecessor.pid()));
    }
    assert_eq!(predecessor.exit().await, Exit::Code(0));
}

/// A server with two endpoints. Clients of the first endpoint hold all four permits, and eight clients wait at the
/// second.
async fn full_server(scratch: &Scratch) -> (App, Target, Vec<Client>, Vec<Client>) {
    let app = Launch::app(scratch, "server web 127.0.0.1:0 127.0.0.2:0 max_conns=4 when_full=wait").spawn();
    tests::patience::eventually("two banners", || app.log.count(0, "serving web on ") == 2).await;
    let banners = app.log.since(0);
    let urls = banners.iter().filter_map(|line| line.split(" on ").nth(1)?.split_whitespace().next());
    let targets: Vec<Target> = urls.map(Target::from_url).collect();
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(&targets[0]).await.expect("a connection");
        client.get("/ping").await.expect("a reply");
        held.push(client);
    }
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(&targets[1]).await.expect("a connection");
        client.send(get("/ping")).await.expect("the request is sent");
        waiting.push(client);
    }
    (app, targets[0].clone(), held, waiting)
}

/// The successor has no such endpoint, and the connections that hold the permits have moved and end in the successor:
/// the waiting clients get the permits that these connections return.
#[tokio::test]
async fn a8_clients_at_a_removed_endpoint_get_the_permits_that_the_successor_returns() {
    for restarts in [1, 2] {
        let scratch = Scratch::new();
        let (app, web, mut held, mut waiting) = full_server(&scratch).await;
        let old = app.first();
        for _ in 0..restarts {
            restart_without_the_second_endpoint(&app, &scratch).await;
            for client in &mut held {
                client.moves_to(app.pid()).await;
            }
        }
        assert_eq!(
            waiting[0].pause(Duration::from_millis(500)).await,
            Pause::Open,
            "clients hold all four permits"
        );
        held.clear();
        for mut client in waiting {
            let reply = within(PATIENCE, "a permit", client.reply()).await;
            assert_eq!(reply.unwrap().pid(), Some(old.pid()), "{}", app.log);
        }
        assert_eq!(
            get_once(&web, "/ping").await.unwrap().pid(),
            Some(app.pid()),
            "the successor has its whole limit"
        );
        assert_eq!(old.exit().await, Exit::Code(0));
    }
}

async fn restart_without_the_second_endpoint(app: &App, scratch: &Scratch) {
    scratch.write("plan", "server web 127.0.0.1:0 max_conns=4 when_full=wait");
    app.restart().await;
}

/// While permits are left, no waiting client has to wait for another connection to end.
#[tokio::test]
async fn a8_a_long_queue_of_a_removed_endpoint_is_emptied_at_once() {
    let scratch = Scratch::new();
    let app =
        Launch::app(&scratch, "server web 127.0.0.1:0 127.0.0.2:0").env("GRACEHTTP_STANDBY", "3s").spawn();
    tests::patience::eventually("two banners", || app.log.count(0, "serving web on ") == 2).await;
    let banners = app.log.since(0);
    let mut urls = banners.iter().filter_map(|line| line.split(" on ").nth(1)?.split_whitespace().next());
    let second = Target::from_url(urls.next_back().unwrap());
    scratch.write("plan", "server web 127.0.0.1:0");
    let old = app.first();
    app.restart().await;
    // The predecessor does not accept here until the standby is over.
    let mut queue = Vec::new();
    for _ in 0..300 {
        let mut client = Client::connect(&second).await.unwrap();
        client.send(get("/ping")).await.unwrap();
        queue.push(client);
    }
    for client in &mut queue {
        let reply = within(PATIENCE, "an answer", client.reply()).await;
        assert_eq!(reply.unwrap().pid(), Some(old.pid()), "{}", app.log);
    }
    assert_eq!(old.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn case_12_a_removed_endpoint_can_come_back() {
    let scratch = Scratch::new();
    let plan = format!("{WEB}\nserver admin 127.0.0.1:0");
    let app = Launch::app(&scratch, &plan).start("admin").await;
    let (web, admin) = (app.target("web").await, app.target("admin").await);
    // The endpoint now has the port's number, so that the port has to be the same.
    let fixed = format!("{WEB}\nserver admin {}", admin.address());
    for _ in 0..2 {
        let predecessor = app.current();
        restart_with(&app, &scratch, &web, WEB).await;
        predecessor.exit().await;
        is_refused(&admin).await.unwrap_err();
        restart_with(&app, &scratch, &web, &fixed).await;
        assert_eq!(get_once(&admin, "/ping").await.unwrap().pid(), Some(app.pid()));
    }
}

#[tokio::test]
async fn a_server_moves_to_another_port() {
    if !ipv6() {
        return;
    }
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let old = app.target("web").await;
    let mut idle = Client::connect(&old).await.unwrap();
    idle.get("/ping").await.unwrap();
    let predecessor = app.current();
    // Another spelling makes another endpoint.
    scratch.write("plan", "server web [::1]:0");
    let start = app.log.end();
    let successor = app.restart().await;
    let new = Target::from_url(&app.url_since(start, "web").await);
    app.serves(&new, &successor).await;
    // The idle connection belongs to the server, at every endpoint of that server.
    idle.moves_to(successor.pid()).await;
    assert_eq!(predecessor.exit().await, Exit::Code(0));
    is_refused(&old).await.unwrap_err();
}

#[tokio::test]
async fn one_endpoint_is_added_to_a_server_that_stays() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let web = app.target("web").await;
    let socket = scratch.join("web.sock");
    restart_with(&app, &scratch, &web, &format!("{WEB} unix:{}", socket.display())).await;
    let unix = Target::Unix(socket.clone());
    assert_eq!(get_once(&unix, "/ping").await.unwrap().pid(), Some(app.pid()));
    // The socket's file survives the predecessor, which must not remove it when it ends.
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    app.predecessors_exit().await;
    assert_eq!(get_once(&unix, "/ping").await.unwrap().pid(), Some(successor.pid()));
    assert!(app.stop().await.is_clean());
    assert!(!socket.exists(), "the last process removes the socket's file");
}

#[tokio::test]
async fn a_changed_option_applies_to_the_successor() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let web = app.target("web").await;
    restart_with(&app, &scratch, &web, &format!("{WEB} idle_timeout=300ms")).await;
    let mut idle = Client::connect(&web).await.unwrap();
    idle.get("/ping").await.unwrap();
    assert_eq!(idle.pause(PATIENCE).await, Pause::Closed);
}

/// A connection stays what it is: the next answer of the predecessor says `Connection: close`, and a client that
/// connects again finds the other kind.
async fn connections_do_not_change_their_kind(before: &str, after: &str) {
    let plan = |kind: &str| format!("{WEB} {kind}");
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &plan(before)).env("GRACEHTTP_STANDBY", "300ms").start("web").await;
    let (old, web) = (app.first(), app.target("web").await);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(&web).await.expect("a connection");
        client.get("/ping").await.expect("an answer");
        clients.push(client);
    }
    scratch.write("plan", plan(after));
    let start = app.log.end();
    let successor = app.restart().await;
    for client in &mut clients {
        let told_to_close = async {
            loop {
                let reply = client.get("/ping").await.expect("an answer");
                assert_eq!(reply.pid(), Some(old.pid()));
                if reply.closes() {
                    return;
                }
            }
        };
        within(PATIENCE, "Connection: close", told_to_close).await;
        client.closed().await.expect("a proper end");
    }
    let web = Target::from_url(&app.url_since(start, "web").await);
    assert_eq!(get_once(&web, "/ping").await.expect("an answer").pid(), Some(successor.pid()));
    assert_eq!(old.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn tls_connections_of_a_server_that_loses_tls_are_told_to_close() {
    connections_do_not_change_their_kind("tls=self_signed", "").await;
}

#[tokio::test]
async fn plain_connections_of_a_server_that_gains_tls_are_told_to_close() {
    connections_do_not_change_their_kind("", "tls=self_signed").await;
}

/// A server with both kinds of endpoints keeps one kind. A half request and an idle connection of the other kind get their
/// answers all the same.
#[tokio::test]
async fn connections_of_a_server_that_loses_one_of_its_kinds_are_answered() {
    for after in ["127.0.0.1:0", "127.0.0.1:0 tls=self_signed"] {
        let scratch = Scratch::new();
        let both = "server web 127.0.0.1:0 plain=127.0.0.2:0 tls=self_signed";
        let app = Launch::app(&scratch, both).env("GRACEHTTP_STANDBY", "300ms").spawn();
        let mut clients = Vec::new();
        for scheme in ["http", "https"] {
            let line = app.log.line(0, &format!("serving web on {scheme}://")).await;
            let (_, url) = line.split_once("serving web on ").expect("found by these words");
            let target = Target::from_url(url.split_whitespace().next().expect("a URL"));
            let mut half = Client::connect(&target).await.expect("a connection");
            half.get("/ping").await.expect("an answer");
            half.send("GET /ping HTTP/1.1\r\nHo").await.expect("room");
            let mut idle = Client::connect(&target).await.expect("a connection");
            idle.get("/ping").await.expect("an answer");
            clients.push((half, idle));
        }
        scratch.write("plan", format!("server web {after}"));
        app.restart().await;
        for (mut half, mut idle) in clients {
            half.send("st: a\r\n\r\n").await.expect("room");
            assert_eq!(half.reply().await.expect("an answer").status, 200);
            assert_eq!(idle.get("/ping").await.expect("an answer").status, 200);
        }
        app.predecessors_leave_cleanly().await;
    }
}
