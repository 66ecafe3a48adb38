//! Under a real systemd: its time limits, where they are shorter than the work of the service.

use std::time::Duration;

use tests::client::get;
use tests::patience::eventually;
use tests::systemd::{OFF, WEB, pid, unit};
use tests::{Client, Systemd};

/// All limits of the unit are shorter than what the service takes.
const SHORT: &str = "TimeoutStartSec=1s\nTimeoutStopSec=1s";

#[tokio::test]
async fn starts_restarts_and_drains_may_take_longer_than_the_unit_allows() {
    for more in ["", OFF] {
        let unit = unit(&format!("{SHORT}\n{more}"));
        let Some((systemd, web)) = Systemd::with_service(&unit, &format!("{WEB}\nstart sleep 2500")).await
        else {
            return;
        };
        let first = pid(&web).await;
        systemd.reload().await;
        assert_ne!(pid(&web).await, first, "{}", systemd.journal());
        assert!(systemd.is_untouched());
        let mut client = Client::connect(&web).await.unwrap();
        client.send(get("/slow?ms=3000")).await.unwrap();
        eventually("the request to be in flight", || systemd.journal().contains("slow begins")).await;
        let (stopped, reply) = tokio::join!(systemd.finish(&["stop", "app"]), client.reply());
        assert!(stopped.status.success(), "{stopped:?}");
        assert!(reply.is_ok(), "{more}: {reply:?}\n{}", systemd.journal());
        assert_eq!(systemd.property("app", "Result"), "success", "{}", systemd.journal());
    }
}

/// What the service itself does not expect to take so long is systemd's to end.
#[tokio::test]
async fn a_start_that_never_ends_is_ended_by_systemd() {
    let unit = unit(&format!("{SHORT}\nRestart=no\nEnvironment=GRACEHTTP_READY_TIMEOUT=2s"));
    let Some(systemd) = Systemd::boot(&[("app.service", &unit)]).await else { return };
    systemd.write("plan", &format!("{WEB}\nstart hang"));
    assert!(!systemd.finish(&["start", "app"]).await.status.success());
    systemd.until("app", "Result", |result| result == "timeout").await;
}

/// Its control runtime is blocked, too, so it can't even end by SIGABRT.
#[tokio::test]
async fn the_supervisor_ends_a_generation_that_is_stopped_and_systemd_does_not_interfere() {
    let Some((systemd, web)) = Systemd::with_service(&unit("WatchdogSec=2s"), WEB).await else { return };
    let (main, first) = (systemd.main_pid("app"), pid(&web).await);
    systemd.kill("-STOP", first);
    eventually("the generation to end", || !systemd.is_alive(first)).await;
    let next = pid(&web).await;
    assert_ne!(next, first);
    // One more period: the next generation feeds the watchdog.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((systemd.main_pid("app"), pid(&web).await), (main, next), "{}", systemd.journal());
    assert!(systemd.is_untouched(), "{}", systemd.journal());
}

/// Nothing can stand in for the supervisor itself.
#[tokio::test]
async fn systemd_ends_a_service_whose_supervisor_is_stopped_and_starts_it_anew() {
    let Some((systemd, web)) = Systemd::with_service(&unit("WatchdogSec=2s"), WEB).await else { return };
    let (main, first) = (systemd.main_pid("app"), pid(&web).await);
    systemd.kill("-STOP", main);
    systemd.until("app", "NRestarts", |count| count == "1").await;
    systemd.until("app", "ActiveState", |state| state == "active").await;
    assert!(systemd.journal().contains("Watchdog timeout"), "{}", systemd.journal());
    assert_ne!(systemd.main_pid("app"), main);
    assert!(!systemd.is_alive(first));
}
