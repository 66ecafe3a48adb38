//! Under a real systemd: reloads of `Type=notify-reload`, which are a signal and the messages that follow it. They came with
//! systemd 253; `GRACEHTTP_SYSTEMD_ROOT` names the folder of another system to boot.

use tests::client::get_once;
use tests::load::Style;
use tests::patience::eventually;
use tests::process::skipped;
use tests::systemd::{OFF, WEB, pid, reloads, unit};
use tests::{Load, Systemd, Target};

/// The first systemd that knows this type.
const FIRST: u32 = 253;

/// The lines of the unit in `examples/deploy/`.
const SIGNALLED: &str = "Type=notify-reload\nReloadSignal=SIGHUP\nExecReload=";

/// A service of this type. None if this systemd is too old for it, which is told.
async fn service(more: &str) -> Option<(Systemd, Target)> {
    let unit = unit(&format!("{SIGNALLED}\n{more}"));
    let systemd = Systemd::boot(&[("app.service", &unit)]).await?;
    if systemd.version() < FIRST {
        skipped(&format!(
            "systemd {FIRST} or later; GRACEHTTP_SYSTEMD_ROOT names the folder of another system"
        ));
        return None;
    }
    let web = systemd.serve(WEB).await;
    Some((systemd, web))
}

#[tokio::test]
async fn a_reload_by_signal_lasts_until_the_successor_serves_and_goes_unnoticed() {
    for more in ["", OFF] {
        let Some((systemd, web)) = service(more).await else { return };
        let main = systemd.main_pid("app");
        let mut generation = pid(&web).await;
        let load = Load::on(&web).clients(3, Style::Get).clients(3, Style::Fresh);
        load.answers(20).await;
        for _ in 0..reloads() {
            systemd.reload().await;
            let next = pid(&web).await;
            assert_ne!(next, generation, "{}", systemd.journal());
            generation = next;
            assert_eq!(systemd.main_pid("app"), if more == OFF { next } else { main });
            assert!(systemd.is_untouched());
        }
        load.stop().await.assert_unnoticed();
        systemd.stop();
    }
}

/// There is no message for a reload that has failed.
#[tokio::test]
async fn a_reload_by_signal_with_a_broken_successor_ends_and_the_status_shows_why() {
    for more in ["", OFF] {
        let Some((systemd, web)) = service(more).await else { return };
        let (main, generation) = (systemd.main_pid("app"), pid(&web).await);
        systemd.write("plan", &format!("{WEB}\nstart refuse no database"));
        systemd.reload().await;
        assert_eq!((systemd.main_pid("app"), pid(&web).await), (main, generation));
        let status = systemd.property("app", "StatusText");
        assert!(status.contains("The last restart failed: ") && status.contains("no database"), "{status}");
        assert!(systemd.is_untouched());
        systemd.write("plan", WEB);
        systemd.reload().await;
        assert_ne!(pid(&web).await, generation);
    }
}

/// Else `systemctl reload` would end with the restart before it, which has read the old program and the old configuration.
#[tokio::test]
async fn a_reload_by_signal_during_another_restart_lasts_until_its_own_is_over() {
    for (first, restarts) in [("start sleep 1000", 2), ("start hang", 1)] {
        let Some((systemd, web)) = service("Environment=GRACEHTTP_READY_TIMEOUT=1500ms").await else {
            return;
        };
        systemd.write("plan", &format!("{WEB}\n{first}"));
        systemd.kill("-HUP", systemd.main_pid("app"));
        eventually("the first successor to start", || {
            systemd.journal().contains(&format!("{:?}", first.split(' ').skip(1).collect::<Vec<_>>()))
        })
        .await;
        systemd.write("plan", &format!("{WEB}\nstart sleep 1200"));
        systemd.reload().await;
        let status = systemd.property("app", "StatusText");
        assert!(status.starts_with(&format!("Generation {} serves", 1 + restarts)), "{first}: {status}");
        get_once(&web, "/ping").await.expect("an answer");
        assert!(systemd.is_untouched());
    }
}
