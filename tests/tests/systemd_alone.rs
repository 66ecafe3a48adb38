//! Under a real systemd, without a supervisor: the main process follows restarts.

use std::time::Duration;

use tests::client::get;
use tests::load::Style;
use tests::patience::eventually;
use tests::systemd::{OFF, WEB, pid, reloads, unit};
use tests::{Client, Load, Systemd};

#[tokio::test]
async fn without_a_supervisor_the_main_process_follows_reloads() {
    let Some((systemd, web)) = Systemd::with_service(&unit(OFF), WEB).await else { return };
    let load = Load::on(&web).clients(3, Style::Get).clients(3, Style::Fresh);
    load.answers(20).await;
    for _ in 0..reloads() {
        let before = systemd.main_pid("app");
        assert_eq!(before, pid(&web).await);
        systemd.reload().await;
        systemd.until("app", "MainPID", |main| main != before.to_string()).await;
        assert_eq!(systemd.main_pid("app"), pid(&web).await);
        eventually("the predecessor to end", || !systemd.is_alive(before)).await;
        assert_eq!(systemd.property("app", "ActiveState"), "active");
        load.answers(5).await;
    }
    load.stop().await.assert_unnoticed();
    assert_eq!(systemd.property("app", "NRestarts"), "0");
    systemd.stop();
}

#[tokio::test]
async fn without_a_supervisor_the_main_process_comes_back_with_a_take_back() {
    let more =
        format!("{OFF}\nEnvironment=GRACEHTTP_STANDBY=20s\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID");
    let Some((systemd, web)) = Systemd::with_service(&unit(&more), WEB).await else { return };
    let first = systemd.main_pid("app");
    systemd.reload().await;
    systemd.until("app", "MainPID", |main| main != first.to_string()).await;
    let successor = systemd.main_pid("app");
    systemd.kill("-KILL", successor);
    systemd.until("app", "MainPID", |main| main == first.to_string()).await;
    assert_eq!(pid(&web).await, first);
    let status = systemd.property("app", "StatusText");
    assert!(status.contains("The last restart failed: the successor ended in standby"), "{status}");
    // systemd knows it for its main process: it stops by it, and restarts nothing.
    assert_eq!(systemd.property("app", "ActiveState"), "active");
    systemd.succeeds(&["stop", "app"]);
    assert_eq!((systemd.property("app", "Result").as_str(), systemd.is_alive(first)), ("success", false));
    assert_eq!(systemd.property("app", "NRestarts"), "0");
}

#[tokio::test]
async fn the_watchdog_ends_a_process_whose_workers_hang_and_systemd_starts_it_anew() {
    let Some((systemd, web)) = Systemd::with_service(&unit(&format!("{OFF}\nWatchdogSec=2s")), WEB).await
    else {
        return;
    };
    let first = systemd.main_pid("app");
    // Longer than the period, and all is well: the worker threads answer.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((systemd.main_pid("app"), systemd.property("app", "NRestarts").as_str()), (first, "0"));
    for _ in 0..2 {
        let mut client = Client::connect(&web).await.unwrap();
        client.send(get("/block?ms=60000")).await.unwrap();
        tokio::spawn(async move { client.reply().await });
    }
    systemd.until("app", "NRestarts", |count| count == "1").await;
    systemd.until("app", "ActiveState", |state| state == "active").await;
    assert!(systemd.journal().contains("Watchdog timeout"), "{}", systemd.journal());
}
