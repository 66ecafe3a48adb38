//! Sockets that another program has opened and passes, as systemd's socket activation does.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use tests::client::get_once;
use tests::load::Style;
use tests::patience::eventually;
use tests::process::{ReservedPort, ipv6, skipped};
use tests::{App, Exit, Generation, Launch, Load, Scratch, Signal, Target};

/// The application of this plan, started with these sockets.
fn launch(scratch: &Scratch, plan: &str, sockets: &[&str]) -> Launch {
    let mut launch = Launch::app(scratch, plan).through("activator");
    for socket in sockets {
        launch = launch.before(socket);
    }
    launch.before("--")
}

/// Restarts, and checks that the successor serves `target` through the same socket.
async fn restart(app: &App, target: &Target) {
    let successor = app.restart().await;
    app.serves(target, &successor).await;
}

#[tokio::test]
async fn sockets_are_found_by_name_and_by_address_and_survive_restarts_unnoticed() {
    let (scratch, reserved) = (Scratch::new(), ReservedPort::new());
    let address = reserved.address().to_string();
    let plan = format!("server web systemd:web\nserver api {address}");
    let api_socket = format!("app.socket=tcp:{address}");
    let app = launch(&scratch, &plan, &["web=tcp:127.0.0.1:0", "web=tcp:127.0.0.1:0", &api_socket])
        .start("api")
        .await;
    let (web, api) = (app.target("web").await, app.target("api").await);
    assert_eq!(api.address().to_string(), address);
    // Two sockets of one name, and one of the other server: nothing was bound beside them.
    assert_eq!(app.current().listening_ports().len(), 3);
    let ports = app.current().listening_ports();
    let load = Load::on(&web).clients(3, Style::Get).clients(3, Style::Fresh);
    load.answers(20).await;
    for _ in 0..3 {
        restart(&app, &web).await;
        app.serves(&api, &app.current()).await;
        load.answers(10).await;
    }
    load.stop().await.assert_unnoticed();
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.current().listening_ports(), ports);
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_unix_socket_keeps_its_file_over_restarts_and_the_end() {
    let scratch = Scratch::new();
    let path = scratch.join("a.sock");
    let at = path.display();
    // By its path, then by its name: the file stays the other program's.
    let first =
        launch(&scratch, &format!("server web unix:{at}"), &[&format!("web=unix:{at}")]).start("web").await;
    let web = first.target("web").await;
    restart(&first, &web).await;
    scratch.write("plan", "server web systemd:web");
    restart(&first, &web).await;
    restart(&first, &web).await;
    first.predecessors_leave_cleanly().await;
    assert_eq!(get_once(&web, "/ping").await.unwrap().pid(), Some(first.pid()));
    assert_eq!(first.stop().await, Exit::Code(0));
    assert!(path.exists() && UnixStream::connect(&path).is_err(), "the file is left, and nothing listens");
}

#[tokio::test]
async fn a_descriptor_of_a_shell_is_found_by_its_number() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web fd:3\nserver api fd:4").through("activator").before("plain");
    let app = app.before("=tcp:127.0.0.1:0").before("=tcp:127.0.0.1:0").before("--").start("api").await;
    let web = app.target("web").await;
    let ports = app.current().listening_ports();
    restart(&app, &web).await;
    app.serves(&app.target("api").await, &app.current()).await;
    assert_eq!(app.current().listening_ports(), ports);
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// The process that serves under a supervisor.
async fn worker(app: &App, target: &Target) -> Arc<Generation> {
    let reply = get_once(target, "/ping").await.expect("no new client is refused");
    app.hold(reply.pid().expect("a pid"))
}

#[tokio::test]
async fn sockets_survive_a_crash_under_a_supervisor_and_a_file_is_still_the_other_programs() {
    let (scratch, reserved) = (Scratch::new(), ReservedPort::new());
    let address = reserved.address().to_string();
    let path = scratch.join("a.sock");
    let plan = format!("server web unix:{} systemd:more\nserver api {address}", path.display());
    let sockets = [
        format!("=unix:{}", path.display()),
        "more=tcp:127.0.0.1:0".to_owned(),
        format!("api=tcp:{address}"),
    ];
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let app = launch(&scratch, &plan, &sockets).env("GRACEHTTP_SUPERVISE", "always").start("api").await;
    let (web, api) = (Target::Unix(path.clone()), app.target("api").await);
    for _ in 0..2 {
        let crashed = worker(&app, &api).await;
        let ports = crashed.listening_ports();
        assert_eq!(ports.len(), 2);
        crashed.signal(Signal::KILL);
        crashed.exit().await;
        let next = worker(&app, &api).await;
        assert_eq!(worker(&app, &web).await.pid(), next.pid());
        assert_eq!(next.listening_ports(), ports);
    }
    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
    assert!(path.exists() && UnixStream::connect(&path).is_err(), "the file is left, and nothing listens");
}

/// Else its clients would wait in the queue of a listener that nobody accepts from.
#[tokio::test]
async fn a_descriptor_that_a_restart_gives_up_is_closed_in_the_supervisor_too() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web fd:3\nserver api fd:4").through("activator").before("plain");
    let app = app.before("=tcp:127.0.0.1:0").before("=tcp:127.0.0.1:0").before("--");
    let app = app.env("GRACEHTTP_SUPERVISE", "always").start("api").await;
    let (web, api) = (app.target("web").await, app.target("api").await);
    scratch.write("plan", "server web fd:3");
    let predecessor = worker(&app, &web).await;
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    predecessor.exit().await;
    eventually("the listener to be closed everywhere", || {
        std::net::TcpStream::connect(api.address()).is_err()
    })
    .await;
    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn the_variables_are_taken_out_of_the_environment() {
    let scratch = Scratch::new();
    let app = launch(&scratch, "server web systemd:web", &["web=tcp:127.0.0.1:0"]).start("web").await;
    let web = app.target("web").await;
    restart(&app, &web).await;
    // What exec gave the successor; the first process has taken them out of what it was given.
    let environment = std::fs::read(Path::new("/proc").join(app.pid().to_string()).join("environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("APP_PLAN=") && !environment.contains("LISTEN_"), "{environment}");
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// Starts it with these sockets and variables, which it can't use, and waits for these words.
async fn refuses(plan: &str, sockets: &[&str], words: &str) {
    let scratch = Scratch::new();
    let at = scratch.path().display().to_string();
    let sockets: Vec<String> = sockets.iter().map(|socket| socket.replace("{at}", &at)).collect();
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let app = launch(&scratch, plan, &sockets).spawn();
    app.log.line(0, words).await;
    assert_eq!(app.current().exit().await, Exit::Code(1), "{words}");
}

const TCP: &str = "web=tcp:127.0.0.1:0";
const NAMED: &str = "server web systemd:web";

#[tokio::test]
async fn sockets_that_no_server_can_use_are_errors() {
    let udp = "web=udp:127.0.0.1:0";
    let passed = "it was not passed to this process; those that were are `systemd:web`";
    refuses(
        "server web systemd:api",
        &[udp],
        &format!("server `web` cannot listen on systemd:api: {passed}"),
    )
    .await;
    refuses(NAMED, &[udp], "`systemd:web`: it is a datagram socket").await;
    refuses(NAMED, &[TCP, udp], "`systemd:web`: it is a datagram socket").await;
    refuses("server web fd:9", &[udp], "it was not passed to this process").await;
    refuses(NAMED, &["web=sequential:{at}/a.sock"], "`systemd:web`: it is not a stream socket").await;
    refuses(NAMED, &["web=connection:"], "`systemd:web`: it is no listening socket (with `Accept=yes`").await;
    refuses(NAMED, &["web=file:/dev/null"], "`systemd:web`: the descriptor is not a socket").await;
    let both = "server api fd:3\nserver web systemd:web";
    refuses(both, &[TCP], "server `web` cannot listen on systemd:web: another endpoint has this socket")
        .await;
    let both = "server api systemd:web\nserver web fd:3";
    refuses(both, &[TCP], "server `web` cannot listen on fd:3: another endpoint has this socket").await;
}

#[tokio::test]
async fn variables_that_do_not_fit_are_errors_that_say_why() {
    let no_number = "but that is not a number of descriptors; only the program that passes sockets sets it";
    for count in ["x", "-1", "2147483645", "99999999999", "1.5", " 1"] {
        let words = format!("LISTEN_FDS is set to `{count}`, {no_number}");
        refuses(NAMED, &[TCP, &format!("LISTEN_FDS={count}")], &words).await;
    }
    for count in ["2", "2147483644"] {
        let words = format!("LISTEN_FDS is set to `{count}`, but the descriptor 4 is not open");
        refuses(NAMED, &[TCP, &format!("LISTEN_FDS={count}")], &words).await;
    }
    let none = "no socket was passed to this process (LISTEN_FDS is not set)";
    for count in ["0", ""] {
        refuses(NAMED, &[TCP, &format!("LISTEN_FDS={count}")], none).await;
    }
    for pid in ["1", "x", "-1", "99999999999999999999"] {
        let words = format!("sockets were passed, but to the process {pid} (LISTEN_PID), and this is ");
        refuses(NAMED, &[TCP, &format!("LISTEN_PID={pid}")], &words).await;
    }
    refuses(NAMED, &[TCP, "LISTEN_PID="], "to a process that LISTEN_PID does not name").await;
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, NAMED).spawn();
    app.log.line(0, none).await;
    assert_eq!(app.current().exit().await, Exit::Code(1));
}

/// Names are the starter's: too few, too many, doubled, or such as no endpoint can have.
#[tokio::test]
async fn names_of_any_kind_leave_the_sockets_usable() {
    for (names, plan) in [
        ("web", "server web systemd:web fd:4"),
        ("web:api:more", "server web systemd:web systemd:api"),
        ("web:web", "server web systemd:web"),
        (":", "server web fd:3 fd:4"),
        ("unknown:unknown", "server web fd:3 fd:4"),
        ("my web, too:x", "server web fd:3 systemd:x"),
    ] {
        let scratch = Scratch::new();
        let app = launch(&scratch, plan, &[TCP, TCP, &format!("LISTEN_FDNAMES={names}")]).start("web").await;
        let ports = app.current().listening_ports();
        assert_eq!(ports.len(), 2, "{names}");
        restart(&app, &app.target("web").await).await;
        assert_eq!(app.current().listening_ports(), ports, "{names}");
        app.predecessors_leave_cleanly().await;
        assert_eq!(app.stop().await, Exit::Code(0));
    }
}

#[tokio::test]
async fn a_unix_socket_under_a_name_that_no_endpoint_can_have_keeps_its_file() {
    let scratch = Scratch::new();
    let path = scratch.join("a.sock");
    let at = path.display();
    let sockets = [format!("=unix:{at}"), "LISTEN_FDNAMES=my web".to_owned()];
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let app = launch(&scratch, &format!("server web unix:{at}"), &sockets).start("web").await;
    restart(&app, &app.target("web").await).await;
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(path.exists(), "the file is the other program's");
}

#[tokio::test]
async fn sockets_of_ipv6_are_found_by_their_address() {
    if !ipv6() {
        return skipped("IPv6");
    }
    let reserved = ReservedPort::of(std::net::Ipv6Addr::LOCALHOST.into());
    let address = reserved.address().to_string();
    let scratch = Scratch::new();
    let app = launch(&scratch, &format!("server web {address}"), &[&format!("=tcp:{address}")]);
    let app = app.start("web").await;
    let web = app.target("web").await;
    assert_eq!(web.address().to_string(), address);
    restart(&app, &web).await;
    assert_eq!(app.current().listening_ports().len(), 1);
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// The service's own addresses are endpoints, too.
#[tokio::test]
async fn operators_reach_a_service_by_sockets_that_were_passed() {
    let scratch = Scratch::new();
    let control = format!("unix:{}", scratch.join("control.sock").display());
    let sockets = [TCP, "admin=tcp:127.0.0.1:0", &format!("control={control}")];
    let app = launch(&scratch, NAMED, &sockets).env("GRACEHTTP_ADMIN", "systemd:admin");
    let app = app.env("GRACEHTTP_CONTROL", &control).start("web").await;
    let ports = app.current().listening_ports();
    assert_eq!(ports.len(), 2, "nothing was bound beside them");
    let web = app.target("web").await;
    let line = app.log.line(0, "status page on http://").await;
    let url = line.split("status page on ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let admin = Target::from_url(url.expect("a URL"));
    for _ in 0..2 {
        assert_eq!(get_once(&admin, "/readyz").await.unwrap().status, 200);
        assert!(UnixStream::connect(scratch.join("control.sock")).is_ok());
        restart(&app, &web).await;
    }
    assert_eq!(app.current().listening_ports(), ports);
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(scratch.join("control.sock").exists(), "the file is the other program's");
}

#[tokio::test]
async fn a_socket_that_no_server_wants_is_reported_also_when_a_restart_gives_it_up() {
    let scratch = Scratch::new();
    let both = "server web systemd:web\nserver api systemd:api";
    let sockets = [TCP, "api=tcp:127.0.0.1:0", "spare=tcp:127.0.0.1:0", "data=file:/dev/null"];
    let app = launch(&scratch, both, &sockets).start("web").await;
    let web = app.target("web").await;
    app.log.line(0, "the socket `systemd:spare`, bound to 127.0.0.1:").await;
    app.log.line(0, "the descriptor `systemd:data` was passed to this process, and is closed").await;
    let start = app.log.end();
    scratch.write("plan", "server web systemd:web");
    restart(&app, &web).await;
    app.log.line(start, "the socket `systemd:api`, bound to 127.0.0.1:").await;
    // A restart can't get it back: the successor fails, and the service goes on.
    let start = app.log.end();
    scratch.write("plan", both);
    app.signal(tests::Signal::HUP);
    app.predecessors_exit().await;
    app.log.line(start, "sockets are passed only when the service is started").await;
    assert_eq!(get_once(&web, "/ping").await.unwrap().pid(), Some(app.pid()));
    assert_eq!(app.stop().await, Exit::Code(0));
}
