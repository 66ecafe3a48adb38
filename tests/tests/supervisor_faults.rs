//! What a supervisor has to get right when processes die or stand still between two steps.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Pid, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tests::client::get;
use tests::generation::silent_target;
use tests::patience::eventually;
use tests::process::{bin, tool};
use tests::strace::Strace;
use tests::supervised::{Supervised, WEB, answering, supervised};
use tests::{App, Client, Exit, Generation, Launch, Scratch, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Longer than the supervisor believes that a signal may be late.
const STILL: Duration = Duration::from_millis(500);

/// A service with a process group of its own.
fn group(scratch: &Scratch, plan: &str) -> Launch {
    Launch::program("setsid")
        .arg(bin("app"))
        .plan(scratch, plan)
        .env("GRACEHTTP_SUPERVISE", "always")
        .env("GRACEHTTP_STANDBY", "300ms")
}

fn signal_group(service: &Supervised, signal: Signal) {
    let group = Pid::from_raw(service.supervisor.pid() as i32).expect("a pid");
    kill_process_group(group, signal).expect("the group of the service");
}

/// The supervisor's only child, once it has one that `begins`.
async fn starting(app: &App, begins: &str) -> Arc<Generation> {
    let line = app.log.line(0, begins).await;
    let (_, pid) = line.split_once("start-up code of pid ").expect("found by these words");
    app.hold(pid.split(':').next().and_then(|pid| pid.parse().ok()).expect("a pid"))
}

/// A request that is in the handler now.
async fn in_flight(service: &Supervised, path: &str, begins: &str) -> Client {
    let start = service.app.log.end();
    let mut client = Client::connect(&service.target).await.expect("a connection");
    client.send(get(path)).await.expect("an open connection");
    service.app.log.line(start, begins).await;
    client
}

// A successor announces its own successor, loses it, and dies. Its predecessor drains still.

#[tokio::test]
async fn a_worker_that_has_lost_its_successor_is_replaced_while_its_predecessor_drains() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB).env("GRACEHTTP_STANDBY", "30s")).await;
    let first = service.worker().await;
    let mut client = in_flight(&service, "/slow?9000", "slow begins").await;
    let second = service.restart().await;
    let third = service.restart().await;
    third.signal(Signal::KILL);
    service.app.log.line(0, "serves again").await;
    assert_eq!(answering(&service.target).await, second.pid());
    second.signal(Signal::KILL);
    let fourth = service.fresh(&second).await;
    assert!(first.is_running() && fourth.pid() != first.pid(), "{}", service.app.log);
    assert_eq!(client.reply().await.expect("an answer").pid(), Some(first.pid()));
    service.stops().await;
}

#[tokio::test]
async fn a_worker_that_dies_at_any_message_of_its_commit_leaves_one_that_serves() {
    if !tool("strace") {
        return;
    }
    // The eighth tells the predecessor, and the ninth is the commit. In between the page changes.
    let messages = if std::env::var_os("GRACEHTTP_LONG").is_some() { 1..=13 } else { 8..=10 };
    let deaths = messages.map(async |message| {
        let scratch = Scratch::new();
        let service = Supervised::start(supervised(&scratch, WEB)).await;
        let first = service.worker().await;
        // Its predecessor drains, and learns of its successor.
        let mut client = in_flight(&service, "/slow?9000", "slow begins").await;
        let second = service.restart().await;
        eventually("the standby to be over", || first.listening_ports().is_empty()).await;
        let strace = Strace::on(&second, &format!("sendmsg:signal=KILL:when={message}")).await;
        service.signal(Signal::USR2);
        second.exit().await;
        strace.ended().await;
        let last = service.fresh(&second).await;
        assert!(first.is_running(), "message {message}\n{}", service.app.log);
        // It is the one that the supervisor goes by.
        last.signal(Signal::KILL);
        service.fresh(&last).await;
        assert_eq!(client.reply().await.expect("an answer").pid(), Some(first.pid()));
        service.stops().await;
    });
    join_all(deaths).await;
}

#[tokio::test]
async fn a_successor_that_dies_at_any_message_leaves_one_that_serves() {
    if !tool("strace") {
        return;
    }
    let deaths = (1..=4).map(async |message| {
        let scratch = Scratch::new();
        let service = Supervised::start(supervised(&scratch, WEB)).await;
        scratch.write("plan", format!("{WEB}\nstart sleep 3000"));
        let start = service.app.log.end();
        service.signal(Signal::USR2);
        service.app.log.line(start, "start-up code of pid").await;
        let first = service.worker().await;
        let successor = service.app.hold(first.children()[0]);
        let strace = Strace::on(&successor, &format!("sendmsg:signal=KILL:when={message}")).await;
        successor.exit().await;
        strace.ended().await;
        scratch.write("plan", WEB);
        let last = service.fresh(&successor).await;
        last.signal(Signal::KILL);
        service.fresh(&last).await;
        service.stops().await;
    });
    join_all(deaths).await;
}

// The rules by which the supervisor judges.

#[tokio::test]
async fn a_crash_as_soon_as_a_worker_serves_is_judged_by_its_configuration() {
    let scratch = Scratch::new();
    // Many servers: the first one serves while the others are announced.
    let socket = |number| scratch.join(&format!("{number}.sock"));
    let others: String =
        (0..60).map(|number| format!("\nserver s{number} unix:{}", socket(number).display())).collect();
    let app = supervised(&scratch, &format!("{WEB}{others}\nstart sleep 500")).spawn();
    let worker = starting(&app, "start-up code of pid ").await;
    let target = silent_target(&worker).await;
    // It waits in the queue of the listener.
    let mut client = Client::connect(&target).await.expect("a listener");
    client.send(get("/abort")).await.expect("an open connection");
    assert_eq!(worker.exit().await, Exit::ReapedByPredecessor);
    app.log.line(0, "the next one starts at once").await;
    // Nobody is refused meanwhile.
    assert_ne!(answering(&target).await, worker.pid());
    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0), "{}", app.log);
}

/// A service whose workers die again and again in their start-up code, and which waits for `pause` just now.
async fn in_back_off(scratch: &Scratch, pause: &str, change: impl FnOnce(Launch) -> Launch) -> Supervised {
    let launch = supervised(scratch, WEB).env("GRACEHTTP_CRASH_LIMIT", "64");
    let service = Supervised::start(change(launch)).await;
    scratch.write("plan", format!("{WEB}\nstart abort"));
    service.worker().await.signal(Signal::KILL);
    service.app.log.line(0, &format!("the next one starts in {pause}")).await;
    service
}

#[tokio::test]
async fn any_signal_that_stops_ends_the_service_between_a_crash_and_the_next_worker() {
    for (signal, stop_on) in [(Signal::TERM, None), (Signal::TSTP, None), (Signal::USR1, Some("USR1"))] {
        let scratch = Scratch::new();
        let service = in_back_off(&scratch, "1s 600ms", |launch| match stop_on {
            Some(names) => launch.env("GRACEHTTP_STOP_ON", names).env("GRACEHTTP_RESTART_ON", "USR2"),
            None => launch,
        })
        .await;
        let starts = service.app.log.count(0, "start-up code of");
        service.signal(signal);
        // By the signal 6, as the last worker.
        assert_eq!(service.supervisor.exit().await, Exit::Code(134), "{signal:?}\n{}", service.app.log);
        service.app.catch_up().await;
        assert_eq!(service.app.log.count(0, "start-up code of"), starts, "no other was started");
    }
}

#[tokio::test]
async fn a_restart_between_a_crash_and_the_next_worker_is_that_worker_and_comes_at_once() {
    let scratch = Scratch::new();
    let restart_on = |launch: Launch| launch.env("GRACEHTTP_RESTART_ON", "HUP,USR2");
    let service = in_back_off(&scratch, "6s 400ms", restart_on).await;
    scratch.write("plan", WEB);
    // It neither restarts nor stops: as if it had not come.
    service.signal(Signal::USR1);
    let begun = Instant::now();
    service.signal(Signal::HUP);
    let worker = service.worker().await;
    assert!(begun.elapsed() < Duration::from_millis(5500), "{:?}\n{}", begun.elapsed(), service.app.log);
    service.app.catch_up().await;
    assert_eq!(service.app.log.count(0, "start new process success"), 0, "{}", service.app.log);
    assert_eq!(answering(&service.target).await, worker.pid());
    service.stops().await;
}

// A stop holds, whoever got it.

#[tokio::test]
async fn a_stop_that_a_starting_worker_got_ends_the_service_even_if_that_worker_is_killed() {
    for to_service in [true, false] {
        let scratch = Scratch::new();
        let service = Supervised::start(supervised(&scratch, WEB)).await;
        scratch.write("plan", format!("{WEB}\nstart sleep 60000\nexit hangs"));
        let start = service.app.log.end();
        service.worker().await.signal(Signal::KILL);
        service.app.log.line(start, "start-up code of pid").await;
        eventually("a fresh worker", || service.supervisor.children().len() == 1).await;
        let starting = service.app.hold(service.supervisor.children()[0]);
        if to_service {
            service.signal(Signal::TERM);
        } else {
            starting.signal(Signal::TERM);
        }
        service.app.log.line(start, "SIG:SIGTERM").await;
        starting.signal(Signal::KILL);
        assert_eq!(service.supervisor.exit().await, Exit::Code(137), "{}", service.app.log);
    }
}

#[tokio::test]
async fn a_stop_holds_if_the_worker_dies_while_it_ends_its_successor() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    scratch.write("plan", format!("{WEB}\nstart sleep 60000\nexit hangs"));
    let start = service.app.log.end();
    service.signal(Signal::USR2);
    service.app.log.line(start, "start-up code of pid").await;
    service.signal(Signal::TERM);
    // Of the successor: its predecessor waits for its clean-up.
    service.app.log.line(start, "SIG:SIGTERM").await;
    first.signal(Signal::KILL);
    assert_eq!(service.supervisor.exit().await, Exit::Code(137), "{}", service.app.log);
}

#[tokio::test]
async fn a_stop_that_dies_with_a_successor_reaches_the_predecessor_that_takes_over_again() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB).env("GRACEHTTP_STANDBY", "30s")).await;
    let first = service.worker().await;
    let second = service.restart().await;
    second.signal(Signal::STOP);
    service.signal(Signal::TERM);
    eventually("the signal to reach the successor", || second.has_pending(Signal::TERM)).await;
    second.signal(Signal::KILL);
    assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
    assert!(!first.is_running());
    assert_eq!(service.app.log.count(0, "a second signal"), 0, "{}", service.app.log);
}

// A supervisor that stands still.

#[tokio::test]
async fn a_signal_to_all_counts_once_even_if_the_supervisor_sees_it_late() {
    let scratch = Scratch::new();
    let service = Supervised::start(group(&scratch, WEB)).await;
    let mut client = in_flight(&service, "/slow?1500", "slow begins").await;
    service.signal(Signal::STOP);
    eventually("the supervisor to stand still", || service.supervisor.is_stopped()).await;
    signal_group(&service, Signal::TERM);
    service.app.log.line(0, "SIG:SIGTERM").await;
    tokio::time::sleep(STILL).await;
    service.signal(Signal::CONT);
    assert_eq!(client.reply().await.expect("an answer").status, 200, "{}", service.app.log);
    assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
    service.app.catch_up().await;
    assert_eq!(service.app.log.count(0, "a second signal"), 0, "{}", service.app.log);
}

#[tokio::test]
async fn a_supervisor_that_stands_still_loses_nothing_and_doubles_nothing() {
    let scratch = Scratch::new();
    let app = group(&scratch, &format!("{WEB}\nstart sleep 300")).spawn();
    let supervisor = app.first();
    let still = || async {
        supervisor.signal(Signal::STOP);
        eventually("the supervisor to stand still", || supervisor.is_stopped()).await;
    };
    // While the first worker starts.
    starting(&app, "start-up code of pid ").await;
    still().await;
    let target = app.target("web").await;
    scratch.write("plan", WEB);
    let service = Supervised { target, supervisor: supervisor.clone(), app };
    let first = service.worker().await;
    tokio::time::sleep(STILL).await;
    service.signal(Signal::CONT);

    // While it crashes. A client waits meanwhile.
    still().await;
    first.signal(Signal::KILL);
    eventually("the crash", || !first.is_running()).await;
    let waiting = {
        let target = service.target.clone();
        tokio::spawn(async move { answering(&target).await })
    };
    tokio::time::sleep(STILL).await;
    service.signal(Signal::CONT);
    let second = service.app.hold(waiting.await.expect("an answer"));
    assert_ne!(second.pid(), first.pid());

    // While all processes are told to restart, and the workers do.
    still().await;
    let start = service.app.log.end();
    signal_group(&service, Signal::HUP);
    let third = service.app.successor_since(start).await;
    service.app.serves(&service.target, &third).await;
    eventually("the end of the predecessor", || !second.is_running()).await;
    tokio::time::sleep(STILL).await;
    service.signal(Signal::CONT);
    eventually("the supervisor to know its worker", || service.supervisor.children() == [third.pid()]).await;

    // A restart that was asked for meanwhile comes later, and once.
    still().await;
    let start = service.app.log.end();
    service.signal(Signal::USR2);
    tokio::time::sleep(STILL).await;
    service.signal(Signal::CONT);
    let fourth = service.app.successor_since(start).await;
    service.app.serves(&service.target, &fourth).await;

    // So does a stop.
    still().await;
    let mut client = in_flight(&service, "/slow?1000", "slow begins").await;
    service.signal(Signal::TERM);
    tokio::time::sleep(STILL).await;
    service.signal(Signal::CONT);
    assert_eq!(client.reply().await.expect("an answer").pid(), Some(fourth.pid()));
    assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
    service.app.catch_up().await;
    let count = |words| service.app.log.count(0, words);
    let counts = [count("the next one starts"), count("start new process success"), count("a second signal")];
    assert_eq!(counts, [1, 2, 0], "{}", service.app.log);
}

#[tokio::test]
async fn a_restart_asked_of_the_worker_and_soon_after_of_the_service_are_two() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    let start = service.app.log.end();
    first.signal(Signal::USR2);
    let second = service.app.successor_since(start).await;
    service.app.serves(&service.target, &second).await;
    // The supervisor looks at least once in two seconds; that must not be needed.
    tokio::time::sleep(STILL).await;
    let third = service.restart().await;
    assert_ne!(third.pid(), second.pid());
    service.stops().await;
}

// A terminal, and what is left behind.

#[tokio::test]
async fn ctrl_c_on_a_terminal_answers_each_request_and_ends_with_status_0() {
    if !tool("setsid") {
        return;
    }
    let scratch = Scratch::new();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("our own terminal");
    unlockpt(&master).expect("our own terminal");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("a plain name");
    // Its standard input is the terminal, which `setsid` makes the controlling one.
    let launch = Launch::program("setsid").arg("--ctty").arg(bin("app")).after(&format!("exec <{name};"));
    let service = Supervised::start(launch.plan(&scratch, WEB).env("GRACEHTTP_SUPERVISE", "always")).await;
    let mut clients = Vec::new();
    for millis in [300, 600, 900] {
        clients.push(in_flight(&service, &format!("/slow?{millis}"), "slow begins").await);
    }
    let mut keyboard = std::fs::File::from(master);
    keyboard.write_all(b"\x03").expect("a terminal");
    for mut client in clients {
        assert_eq!(client.reply().await.expect("an answer").status, 200, "{}", service.app.log);
    }
    assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
    service.app.catch_up().await;
    assert_eq!(service.app.log.count(0, "SIG:SIGINT"), 1, "{}", service.app.log);
    assert_eq!(service.app.log.count(0, "a second signal"), 0, "{}", service.app.log);
}

#[tokio::test]
async fn a_service_that_gave_up_leaves_no_pid_file_and_socket_files_that_the_next_start_replaces() {
    let scratch = Scratch::new();
    let names = ["app.pid", "web.sock", "control.sock"];
    let [pid_file, socket, control] = names.map(|name| scratch.join(name));
    let plan = format!("server web unix:{}", socket.display());
    let launch = || {
        supervised(&scratch, &plan)
            .env("GRACEHTTP_PID_FILE", &pid_file)
            .env("GRACEHTTP_CONTROL", format!("unix:{}", control.display()))
            .env("GRACEHTTP_CRASH_LIMIT", "1")
    };
    let service = Supervised::start(launch()).await;
    let worker = service.worker().await;
    // It answers there once the supervisor knows the pid file.
    let mut control = UnixStream::connect(&control).await.expect("a control socket");
    control.write_all(b"{\"version\":1,\"command\":\"status\"}\n").await.expect("an open socket");
    control.read_u8().await.expect("a reply");
    worker.signal(Signal::KILL);
    assert_eq!(service.supervisor.exit().await, Exit::Code(70), "{}", service.app.log);
    assert!(!pid_file.exists());
    let service = Supervised::start(launch()).await;
    answering(&service.target).await;
    service.stops().await;
    assert!(!pid_file.exists() && !socket.exists());
}

#[tokio::test]
async fn a_restart_that_moves_the_pid_file_removes_the_former_one() {
    for supervise in ["always", "off"] {
        let scratch = Scratch::new();
        let (before, after) = (scratch.join("before.pid"), scratch.join("after.pid"));
        let configure = |path: &str| {
            scratch.write("Gracehttp.toml", format!("supervise = \"{supervise}\"\n{path}\n"));
        };
        configure(&format!("pid_file = {before:?}"));
        let app = Launch::app(&scratch, WEB).directory(scratch.path()).start("web").await;
        eventually("the pid file", || before.exists()).await;
        configure(&format!("pid_file = {after:?}"));
        app.first().signal(Signal::USR2);
        eventually("the other pid file alone", || after.exists() && !before.exists()).await;
        // None at all is a change, too.
        configure("");
        let start = app.log.end();
        let named = std::fs::read_to_string(&after).expect("a pid file");
        app.hold(named.trim().parse().expect("a pid")).signal(Signal::USR2);
        app.successor_since(start).await;
        eventually("no pid file", || !after.exists()).await;
        let last = if supervise == "always" { app.first() } else { app.current() };
        last.signal(Signal::TERM);
        assert_eq!(last.exit().await, Exit::Code(0), "{}", app.log);
    }
}
