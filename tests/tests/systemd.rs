//! Under a real systemd, which is booted for each test: reloads, failures, crashes, hangs, stops.

use std::time::Duration;

use tests::client::{get, get_once};
use tests::load::Style;
use tests::patience::eventually;
use tests::systemd::{OFF, WEB, pid, reloads, unit};
use tests::{Client, Load, Systemd};

#[tokio::test]
async fn reloads_go_unnoticed_and_the_main_process_stays() {
    let Some((systemd, web)) = Systemd::with_service(&unit(""), WEB).await else { return };
    let main = systemd.main_pid("app");
    let mut generation = pid(&web).await;
    assert_ne!(main, generation, "the supervisor is the main process");
    let load = Load::on(&web).clients(3, Style::Get).clients(3, Style::Fresh);
    load.answers(20).await;
    for _ in 0..reloads() {
        systemd.reload().await;
        let next = pid(&web).await;
        assert_ne!(next, generation);
        generation = next;
        assert_eq!((systemd.main_pid("app"), systemd.is_alive(main)), (main, true));
        assert_eq!(systemd.property("app", "ActiveState"), "active");
    }
    load.stop().await.assert_unnoticed();
    assert_eq!(systemd.property("app", "NRestarts"), "0");
    let status = systemd.property("app", "StatusText");
    assert!(status.starts_with(&format!("Generation {} serves", reloads() + 1)), "{status}");
    systemd.stop();
}

#[tokio::test]
async fn a_reload_with_a_broken_successor_fails_and_the_unit_stays_up() {
    let Some((systemd, web)) = Systemd::with_service(&unit(""), WEB).await else { return };
    let (main, generation) = (systemd.main_pid("app"), pid(&web).await);
    systemd.write("plan", &format!("{WEB}\nstart refuse no database"));
    let output = systemd.finish(&["reload", "app"]).await;
    assert!(!output.status.success(), "{}", systemd.journal());
    assert_eq!((systemd.main_pid("app"), pid(&web).await), (main, generation));
    assert_eq!(systemd.property("app", "ActiveState"), "active");
    let status = systemd.property("app", "StatusText");
    assert!(status.contains("The last restart failed: ") && status.contains("no database"), "{status}");
    systemd.write("plan", WEB);
    systemd.reload().await;
    assert_ne!(pid(&web).await, generation);
}

/// A reload by the signal alone: systemd learns of it, and that it is over, by the messages.
#[tokio::test]
async fn a_signal_is_a_reload_that_systemd_sees() {
    let Some((systemd, web)) = Systemd::with_service(&unit(""), &format!("{WEB}\nstart sleep 1500")).await
    else {
        return;
    };
    let (main, generation) = (systemd.main_pid("app"), pid(&web).await);
    systemd.kill("-HUP", main);
    systemd.until("app", "ActiveState", |state| state == "reloading").await;
    systemd.until("app", "ActiveState", |state| state == "active").await;
    eventually("the successor to serve", || {
        systemd.property("app", "StatusText").starts_with("Generation 2 serves")
    })
    .await;
    assert_ne!(pid(&web).await, generation);
    assert_eq!(systemd.main_pid("app"), main);
}

#[tokio::test]
async fn the_supervisor_ends_a_generation_whose_workers_hang_and_systemd_starts_nothing() {
    let Some((systemd, web)) = Systemd::with_service(&unit("WatchdogSec=2s"), WEB).await else { return };
    let (main, first) = (systemd.main_pid("app"), pid(&web).await);
    for _ in 0..2 {
        let mut client = Client::connect(&web).await.unwrap();
        client.send(get("/block?ms=60000")).await.unwrap();
        tokio::spawn(async move { client.reply().await });
    }
    // A client that comes meanwhile waits in the queue, and the next generation answers it.
    let late = web.clone();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut client = Client::connect(&late).await.unwrap();
    client.send(get("/ping")).await.unwrap();
    eventually("the generation to end", || !systemd.is_alive(first)).await;
    let next = pid(&web).await;
    assert_ne!(next, first);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((systemd.main_pid("app"), pid(&web).await), (main, next));
    assert_eq!(
        (systemd.property("app", "NRestarts").as_str(), systemd.property("app", "ActiveState").as_str()),
        ("0", "active")
    );
}

#[tokio::test]
async fn a_crashed_generation_is_replaced_and_nobody_is_refused() {
    let Some((systemd, web)) = Systemd::with_service(&unit(""), WEB).await else { return };
    let main = systemd.main_pid("app");
    for _ in 0..3 {
        let generation = pid(&web).await;
        // The first SIGSEGV meets the handler that the standard library has for stack overflows, and two at once count as one.
        eventually("the generation to end", || !systemd.kill("-SEGV", generation)).await;
        let mut next = generation;
        while next == generation {
            // Cut with the process, perhaps, but never refused.
            match get_once(&web, "/ping").await {
                Ok(reply) => next = reply.pid().unwrap(),
                Err(failure) => assert_ne!(failure.kind, tests::Kind::Refused, "{failure}"),
            }
        }
    }
    assert_eq!((systemd.main_pid("app"), systemd.property("app", "NRestarts").as_str()), (main, "0"));
    systemd.reload().await;
    systemd.stop();
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_also_if_all_processes_are_signalled() {
    for more in ["KillMode=control-group", "KillMode=mixed", OFF] {
        let Some((systemd, web)) = Systemd::with_service(&unit(more), WEB).await else { return };
        let mut client = Client::connect(&web).await.unwrap();
        client.send(get("/slow?ms=1500")).await.unwrap();
        eventually("the request to be in flight", || systemd.journal().contains("slow begins")).await;
        let (stopped, reply) = tokio::join!(systemd.finish(&["stop", "app"]), client.reply());
        assert!(stopped.status.success(), "{stopped:?}");
        assert!(reply.is_ok(), "{more}: {reply:?}\n{}", systemd.journal());
        assert_eq!(systemd.property("app", "Result"), "success", "{more}");
    }
}
