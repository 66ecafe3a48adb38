//! A service under its supervisor: the pid that was started stays, whatever dies.

use rustix::process::{Pid, kill_process, kill_process_group};
use tests::client::{get, get_once};
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::supervised::{Supervised, WEB, answering, supervised};
use tests::{Client, Exit, Launch, Scratch, Signal, Target};

#[tokio::test]
async fn the_pid_that_was_started_stays_through_restarts_and_ends_with_the_service() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let mut workers = vec![service.worker().await];
    assert_ne!(workers[0].pid(), service.supervisor.pid());
    for _ in 0..3 {
        workers.push(service.restart().await);
        assert!(service.supervisor.is_running());
    }
    for worker in &workers[..3] {
        worker.exit().await;
    }
    assert_eq!(service.app.log.count(0, "generation 4"), 1, "{}", service.app.log);
    let [_, _, _, last] = &workers[..] else { unreachable!() };
    eventually("the last worker to be the supervisor's", || service.supervisor.children() == [last.pid()])
        .await;
    service.stops().await;
    assert!(!last.is_running());
}

#[tokio::test]
async fn a_worker_that_never_served_is_not_started_again_and_its_status_is_that_of_the_service() {
    for (start, exit) in [
        ("refuse no coffee", Exit::Code(1)),
        ("exit 3", Exit::Code(3)),
        // By the signal 6.
        ("abort", Exit::Code(134)),
    ] {
        let scratch = Scratch::new();
        let app = supervised(&scratch, &format!("{WEB}\nstart {start}")).spawn();
        assert_eq!(app.first().exit().await, exit, "{start}\n{}", app.log);
        app.catch_up().await;
        assert_eq!(app.log.count(0, "start-up code of"), 1, "{}", app.log);
    }
}

#[tokio::test]
async fn a_crash_costs_its_connections_and_refuses_nobody() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    let mut waiting = Client::connect(&service.target).await.unwrap();
    waiting.send(get("/slow?5000")).await.unwrap();
    service.app.log.line(0, "slow begins").await;
    for (signal, generation) in [(Signal::SEGV, 2), (Signal::KILL, 3)] {
        let before = service.worker().await;
        // The standard library catches the first SIGSEGV, and lets the next one through.
        eventually("the crash", || {
            let pid = Pid::from_raw(before.pid() as i32).expect("a pid");
            !before.is_running() || kill_process(pid, signal).is_err()
        })
        .await;
        let fresh = service.fresh(&before).await;
        service.app.log.line(0, &format!("generation {generation}, pid {}", fresh.pid())).await;
    }
    assert!(waiting.reply().await.is_err(), "its process is dead");
    assert!(!first.is_running());
    assert_eq!(service.app.log.count(0, "the next one starts"), 2, "{}", service.app.log);
    // A restart works as ever.
    service.restart().await;
    service.stops().await;
}

#[tokio::test]
async fn clients_that_connect_while_no_worker_runs_are_served_by_the_next() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    scratch.write("plan", format!("{WEB}\nstart sleep 1000"));
    let before = service.worker().await;
    before.signal(Signal::KILL);
    before.exit().await;
    let clients = (0..20).map(|_| {
        let target = service.target.clone();
        tokio::spawn(async move { answering(&target).await })
    });
    for client in clients.collect::<Vec<_>>() {
        assert_ne!(client.await.expect("an answer"), before.pid());
    }
    service.stops().await;
}

#[tokio::test]
async fn five_crashes_in_a_row_end_the_service() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let mut worker = service.worker().await;
    for _ in 0..4 {
        worker.signal(Signal::KILL);
        worker = service.fresh(&worker).await;
        eventually("the worker to count", || {
            service.app.log.count(0, &format!("pid {})", worker.pid())) == 1
        })
        .await;
    }
    worker.signal(Signal::KILL);
    assert_eq!(service.supervisor.exit().await, Exit::Code(70), "{}", service.app.log);
    service.app.catch_up().await;
    for pause in ["starts at once", "in 100ms", "in 200ms", "in 400ms", "that was crash 5 within 30s"] {
        assert_eq!(service.app.log.count(0, pause), 1, "{pause}\n{}", service.app.log);
    }
}

#[tokio::test]
async fn the_limit_of_crashes_is_a_key() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB).env("GRACEHTTP_CRASH_LIMIT", "1")).await;
    service.worker().await.signal(Signal::KILL);
    assert_eq!(service.supervisor.exit().await, Exit::Code(70), "{}", service.app.log);
}

#[tokio::test]
async fn a_signal_to_the_whole_process_group_counts_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let scratch = Scratch::new();
        let app = Launch::program("setsid").arg(tests::process::bin("app")).plan(&scratch, WEB);
        let service = Supervised::start(app.env("GRACEHTTP_SUPERVISE", "always")).await;
        let mut client = Client::connect(&service.target).await.unwrap();
        client.send(get("/slow?800")).await.unwrap();
        service.app.log.line(0, "slow begins").await;
        let group = Pid::from_raw(service.supervisor.pid() as i32).unwrap();
        kill_process_group(group, signal).expect("the group of the service");
        assert_eq!(client.reply().await.expect("an answer").status, 200, "{}", service.app.log);
        assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
        service.app.catch_up().await;
        assert_eq!(service.app.log.count(0, "a second signal"), 0, "{}", service.app.log);
    }
}

#[tokio::test]
async fn a_second_signal_to_the_supervisor_is_a_second_signal() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let mut client = Client::connect(&service.target).await.unwrap();
    client.send(get("/never")).await.unwrap();
    service.app.log.line(0, "never begins").await;
    service.signal(Signal::TERM);
    service.app.log.line(0, "SIG:SIGTERM").await;
    service.signal(Signal::TERM);
    service.app.log.line(0, "a second signal").await;
    assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
}

#[tokio::test]
async fn signals_to_the_worker_itself_go_on_working() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    let start = service.app.log.end();
    first.signal(Signal::USR2);
    let second = service.app.successor_since(start).await;
    service.app.serves(&service.target, &second).await;
    second.signal(Signal::TERM);
    assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
}

#[tokio::test]
async fn a_thousand_orphans_are_reaped() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, &format!("{WEB}\nstart orphans 1000"))).await;
    let worker = service.worker().await;
    service.app.log.line(0, "orphans begun").await;
    eventually("no orphan is left", || service.supervisor.children() == [worker.pid()]).await;
    assert_eq!(answering(&service.target).await, worker.pid(), "no orphan's end is taken for the worker's");
    service.stops().await;
}

#[tokio::test]
async fn listeners_that_a_restart_removes_are_closed_in_the_supervisor() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, "server web 127.0.0.1:0 127.0.0.2:0")).await;
    eventually("two listeners are kept", || service.supervisor.listening_ports().len() == 2).await;
    scratch.write("plan", WEB);
    let first = service.worker().await;
    service.restart().await;
    first.exit().await;
    eventually("one listener is kept", || service.supervisor.listening_ports().len() == 1).await;
    service.stops().await;
}

#[tokio::test]
async fn a_worker_whose_supervisor_dies_drains() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let worker = service.worker().await;
    let mut client = Client::connect(&service.target).await.unwrap();
    client.send(get("/slow?500")).await.unwrap();
    service.app.log.line(0, "slow begins").await;
    service.signal(Signal::KILL);
    assert_eq!(client.reply().await.expect("an answer").status, 200, "{}", service.app.log);
    assert!(worker.exit().await.is_clean(), "{}", service.app.log);
    service.app.log.line(0, "the supervisor has ended, so this process").await;
}

#[tokio::test]
async fn a_worker_that_hangs_is_ended_and_replaced() {
    let scratch = Scratch::new();
    let launch =
        supervised(&scratch, WEB).env("GRACEHTTP_HANG_TIMEOUT", "3s").env("GRACEHTTP_WORKER_THREADS", "1");
    let service = Supervised::start(launch).await;
    let hung = service.worker().await;
    let mut client = Client::connect(&service.target).await.unwrap();
    client.send(get("/block?60000")).await.unwrap();
    service.app.log.line(0, "it gets SIGABRT").await;
    assert!(client.reply().await.is_err());
    let fresh = service.fresh(&hung).await;
    assert_ne!(fresh.pid(), hung.pid());
    service.stops().await;
}

#[tokio::test]
async fn a_predecessor_that_takes_back_counts_again() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB).env("GRACEHTTP_STANDBY", "30s")).await;
    let first = service.worker().await;
    let second = service.restart().await;
    second.signal(Signal::KILL);
    service.app.log.line(0, "serves again").await;
    assert_eq!(answering(&service.target).await, first.pid());
    assert_eq!(service.app.log.count(0, "the next one starts"), 0, "{}", service.app.log);
    first.signal(Signal::KILL);
    service.fresh(&first).await;
    service.stops().await;
}

#[tokio::test]
async fn a_successor_that_dies_after_standby_is_replaced_while_its_predecessor_drains() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    let mut client = Client::connect(&service.target).await.unwrap();
    client.send(get("/slow?9000")).await.unwrap();
    service.app.log.line(0, "slow begins").await;
    let second = service.restart().await;
    eventually("the standby to be over", || first.listening_ports().is_empty()).await;
    second.signal(Signal::KILL);
    let third = service.fresh(&second).await;
    assert_ne!(third.pid(), first.pid(), "it drains");
    assert!(first.is_running(), "{}", service.app.log);
    service.app.log.line(0, "the supervisor starts a fresh process").await;
    assert_eq!(client.reply().await.expect("an answer").pid(), Some(first.pid()));
    service.stops().await;
}

#[tokio::test]
async fn a_worker_that_dies_while_its_successor_starts_takes_it_along() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    scratch.write("plan", format!("{WEB}\nstart sleep 6000"));
    service.signal(Signal::USR2);
    eventually("a successor", || first.children().len() == 1).await;
    let successor = service.app.hold(first.children()[0]);
    let begun = format!("start-up code of pid {}", successor.pid());
    service.app.log.line(0, &begun).await;
    scratch.write("plan", WEB);
    first.signal(Signal::KILL);
    let fresh = service.fresh(&first).await;
    assert_ne!(fresh.pid(), successor.pid());
    successor.exit().await;
    assert_eq!(answering(&service.target).await, fresh.pid());
    service.stops().await;
}

#[tokio::test]
async fn a_fresh_worker_that_is_killed_while_it_starts_is_replaced_like_one_that_served() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    scratch.write("plan", format!("{WEB}\nstart sleep 60000"));
    first.signal(Signal::KILL);
    first.exit().await;
    eventually("a fresh worker", || service.supervisor.children().len() == 1).await;
    let starting = service.app.hold(service.supervisor.children()[0]);
    service.app.log.line(0, &format!("start-up code of pid {}", starting.pid())).await;
    scratch.write("plan", WEB);
    starting.signal(Signal::KILL);
    starting.exit().await;
    assert_ne!(answering(&service.target).await, starting.pid());
    assert_eq!(service.app.log.count(0, "the next one starts"), 2, "{}", service.app.log);
    service.stops().await;
}

#[tokio::test]
async fn a_predecessor_that_dies_while_it_drains_changes_nothing() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    let mut client = Client::connect(&service.target).await.unwrap();
    client.send(get("/never")).await.unwrap();
    service.app.log.line(0, "never begins").await;
    let second = service.restart().await;
    eventually("the standby to be over", || first.listening_ports().is_empty()).await;
    first.signal(Signal::KILL);
    first.exit().await;
    eventually("the successor to be the supervisor's", || service.supervisor.children() == [second.pid()])
        .await;
    assert_eq!(answering(&service.target).await, second.pid());
    assert_eq!(service.app.log.count(0, "the next one starts"), 0, "{}", service.app.log);
    service.stops().await;
}

#[tokio::test]
async fn the_service_ends_with_its_last_worker_even_if_a_predecessor_drains() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB)).await;
    let first = service.worker().await;
    let mut client = Client::connect(&service.target).await.unwrap();
    client.send(get("/slow?8000")).await.unwrap();
    service.app.log.line(0, "slow begins").await;
    let second = service.restart().await;
    service.signal(Signal::TERM);
    eventually("the end of the last worker", || !second.is_running()).await;
    assert!(service.supervisor.is_running(), "its predecessor has a request in flight");
    assert_eq!(client.reply().await.expect("an answer").pid(), Some(first.pid()));
    assert_eq!(service.supervisor.exit().await, Exit::Code(0), "{}", service.app.log);
}

#[tokio::test]
async fn a_second_thread_leaves_no_room_for_a_supervisor() {
    let scratch = Scratch::new();
    let app = supervised(&scratch, WEB).env("APP_THREAD", "yes").spawn();
    assert_eq!(app.first().exit().await, Exit::Code(1), "{}", app.log);
    app.log.line(0, "supervise is `always`, but this process has 2 threads already").await;

    let launch = Launch::app(&scratch, WEB).env("APP_THREAD", "yes").env("NOTIFY_SOCKET", "@nobody");
    let app = launch.start("web").await;
    assert_eq!(answering(&app.target("web").await).await, app.pid());
    app.log.line(0, "there is no supervisor (supervise = auto): this process has 2 threads").await;
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn without_a_reason_there_is_no_supervisor() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    assert_eq!(answering(&app.target("web").await).await, app.pid());
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn the_file_can_ask_for_a_supervisor() {
    let scratch = Scratch::new();
    scratch.write("Gracehttp.toml", "supervise = \"always\"\n");
    let service = Supervised::start(Launch::app(&scratch, WEB).directory(scratch.path())).await;
    assert_ne!(service.worker().await.pid(), service.supervisor.pid());
    service.stops().await;
}

/// How many requests the metrics at `admin` have counted, once there are at least so many: a response is counted a moment
/// after its client has it.
async fn counted(admin: &Target, least: u64) -> u64 {
    let counted = async {
        loop {
            let text = get_once(admin, "/metrics").await.expect("the metrics").text();
            let of_requests = |line: &&str| line.starts_with("http_server_request_duration_seconds_count");
            let counts =
                text.lines().filter(of_requests).map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            let all = counts.map(|count| count.expect("a number") as u64).sum();
            if all >= least {
                return all;
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    within(PATIENCE, &format!("{least} requests to be counted"), counted).await
}

#[tokio::test]
async fn counters_and_the_address_for_operators_survive_a_crash() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB).env("GRACEHTTP_ADMIN", "127.0.0.1:0")).await;
    let line = service.app.log.line(0, "status page on http://").await;
    let url = line.split("status page on ").nth(1).expect("a URL").split_whitespace().next();
    let admin = Target::from_url(url.expect("a URL"));
    for _ in 0..10 {
        answering(&service.target).await;
    }
    let before = counted(&admin, 10).await;
    let worker = service.worker().await;
    worker.signal(Signal::KILL);
    service.fresh(&worker).await;
    counted(&admin, before + 1).await;
    service.stops().await;
}
