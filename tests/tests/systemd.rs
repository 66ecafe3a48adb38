//! Under a real systemd, which is booted for each test: reloads, failures, the watchdog, socket activation, crashes, stops.

use std::time::Duration;

use tests::client::{get, get_once};
use tests::load::Style;
use tests::patience::eventually;
use tests::process::{bin, skipped};
use tests::{Client, Load, Systemd, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// A service of the test application. `{more}` are further lines of its unit.
fn unit(more: &str) -> String {
    format!(
        "[Service]\nType=notify\nExecStart={{app}}\nExecReload=/bin/kill -HUP $MAINPID\nRuntimeDirectory=app\n\
         Environment=APP_PLAN={{at}}/plan  GRACEHTTP_STANDBY=300ms\n\
         Environment=GRACEHTTP_DRAIN_TIMEOUT=20s GRACEHTTP_WORKER_THREADS=2\n\
         KillMode=mixed\nNotifyAccess=all\nRestart=on-failure\nRestartSec=100ms\n{more}\n"
    )
}

/// A service without a supervisor, to whose predecessors systemd listens, too. Its main process is not systemd's child, so
/// systemd would not wait for its end, but kill it at once: the command waits.
const OFF: &str = "Environment=GRACEHTTP_LAME_DUCK=0s\nNotifyAccess=all\n\
                   ExecStop=/bin/sh -c 'kill -TERM $MAINPID; while kill -0 $MAINPID; do sleep 0.05; done'";

/// A systemd with this unit, of which the service `app` runs this plan.
async fn boot(unit: &str, plan: &str) -> Option<(Systemd, Target)> {
    let systemd = Systemd::boot(&[("app.service", unit)]).await?;
    systemd.write("plan", plan);
    systemd.succeeds(&["start", "app"]);
    // It has waited for READY=1.
    assert_eq!(systemd.property("app", "ActiveState"), "active", "{}", systemd.journal());
    let target = systemd.target("web").await;
    Some((systemd, target))
}

/// How many reloads one run makes.
fn reloads() -> usize {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { 50 } else { 4 }
}

async fn pid(target: &Target) -> u32 {
    get_once(target, "/ping").await.expect("an answer").pid().expect("a pid")
}

async fn reload(systemd: &Systemd) {
    let output = systemd.finish(&["reload", "app"]).await;
    assert!(output.status.success(), "{output:?}\n{}", systemd.journal());
}

fn is_alive(systemd: &Systemd, pid: u32) -> bool {
    systemd.run(&["kill", "-0", &pid.to_string()]).status.success()
}

#[tokio::test]
async fn without_a_supervisor_the_main_process_follows_reloads() {
    let Some((systemd, web)) = boot(&unit(OFF), WEB).await else { return };
    let load = Load::on(&web).clients(3, Style::Get).clients(3, Style::Fresh);
    load.answers(20).await;
    for _ in 0..reloads() {
        let before = systemd.main_pid("app");
        assert_eq!(before, pid(&web).await);
        reload(&systemd).await;
        systemd.until("app", "MainPID", |main| main != before.to_string()).await;
        assert_eq!(systemd.main_pid("app"), pid(&web).await);
        eventually("the predecessor to end", || !is_alive(&systemd, before)).await;
        assert_eq!(systemd.property("app", "ActiveState"), "active");
        load.answers(5).await;
    }
    load.stop().await.assert_unnoticed();
    assert_eq!(systemd.property("app", "NRestarts"), "0");
    systemd.succeeds(&["stop", "app"]);
    assert_eq!(systemd.property("app", "Result"), "success");
}

#[tokio::test]
async fn without_a_supervisor_the_main_process_comes_back_with_a_take_back() {
    let more =
        format!("{OFF}\nEnvironment=GRACEHTTP_STANDBY=20s\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID");
    let Some((systemd, web)) = boot(&unit(&more), WEB).await else { return };
    let first = systemd.main_pid("app");
    reload(&systemd).await;
    systemd.until("app", "MainPID", |main| main != first.to_string()).await;
    let successor = systemd.main_pid("app");
    systemd.run(&["kill", "-KILL", &successor.to_string()]);
    systemd.until("app", "MainPID", |main| main == first.to_string()).await;
    assert_eq!(pid(&web).await, first);
    let status = systemd.property("app", "StatusText");
    assert!(status.contains("The last restart failed: the successor ended in standby"), "{status}");
    // systemd knows it for its main process: it stops by it, and restarts nothing.
    assert_eq!(systemd.property("app", "ActiveState"), "active");
    systemd.succeeds(&["stop", "app"]);
    assert_eq!((systemd.property("app", "Result").as_str(), is_alive(&systemd, first)), ("success", false));
    assert_eq!(systemd.property("app", "NRestarts"), "0");
}

#[tokio::test]
async fn the_watchdog_ends_a_process_whose_workers_hang_and_systemd_starts_it_anew() {
    let Some((systemd, web)) = boot(&unit(&format!("{OFF}\nWatchdogSec=2s")), WEB).await else { return };
    let first = systemd.main_pid("app");
    // Longer than the period, and all is well: the workers answer.
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

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_also_if_all_processes_are_signalled() {
    for more in ["KillMode=control-group", "KillMode=mixed", OFF] {
        let Some((systemd, web)) = boot(&unit(more), WEB).await else { return };
        let mut client = Client::connect(&web).await.unwrap();
        client.send(get("/slow?ms=1500")).await.unwrap();
        eventually("the request to be in flight", || systemd.journal().contains("slow begins")).await;
        let (stopped, reply) = tokio::join!(systemd.finish(&["stop", "app"]), client.reply());
        assert!(stopped.status.success(), "{stopped:?}");
        assert!(reply.is_ok(), "{more}: {reply:?}\n{}", systemd.journal());
        assert_eq!(systemd.property("app", "Result"), "success", "{more}");
    }
}

const SOCKET: &str =
    "[Socket]\nListenStream={at}/web.sock\nListenStream=127.0.0.1:{port}\nFileDescriptorName=web\n";

#[tokio::test]
async fn sockets_of_systemd_start_the_service_and_outlive_it() {
    for off in [OFF] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let socket = SOCKET.replace("{port}", &port.to_string());
        let unit = unit(off);
        let Some(systemd) = Systemd::boot(&[("app.service", &unit), ("app.socket", &socket)]).await else {
            return;
        };
        systemd.write("plan", "server web systemd:web");
        systemd.succeeds(&["start", "app.socket"]);
        let unix = Target::Unix(systemd.join("web.sock"));
        let tcp = Target::Plain(format!("127.0.0.1:{port}").parse().unwrap());
        // The first client starts the service.
        let first = pid(&unix).await;
        assert_eq!(pid(&tcp).await, first);
        let load = Load::on(&tcp).clients(2, Style::Get).clients(2, Style::Fresh);
        for _ in 0..3 {
            reload(&systemd).await;
            load.answers(5).await;
            assert_eq!(pid(&unix).await, pid(&tcp).await);
        }
        assert_ne!(pid(&unix).await, first);
        load.stop().await.assert_unnoticed();
        systemd.until("app", "ActiveState", |state| state == "active").await;
        // The sockets stay, and so does the file: the next client starts the service again.
        systemd.succeeds(&["stop", "app.service"]);
        assert!(systemd.join("web.sock").exists());
        assert_eq!(pid(&unix).await, pid(&tcp).await);
    }
}

/// The unit files of the repository, by name.
fn examples() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let units =
        files.filter(|path| path.extension().is_some_and(|kind| kind == "service" || kind == "socket"));
    let units = units.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), text)
    });
    units.collect()
}

#[test]
fn systemd_understands_the_example_units() {
    let version = std::process::Command::new("systemd-analyze").arg("--version").output();
    let Ok(version) = version else { return skipped("systemd-analyze") };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version: u32 =
        version.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
    let scratch = tests::Scratch::new();
    let mut files = Vec::new();
    for (name, text) in examples() {
        // `notify-reload` came with 253. The rest of the unit is checked all the same.
        let text = match version < 253 {
            true => text.replace("Type=notify-reload", "Type=notify").replace("ReloadSignal=SIGHUP\n", ""),
            false => text,
        };
        files.push(scratch.write(&name, text.replace("/usr/local/bin/app", bin("app").to_str().unwrap())));
    }
    assert!(files.len() >= 6, "{files:?}");
    let mut analyze = std::process::Command::new("systemd-analyze");
    let output = analyze.args(["verify", "--man=no"]).args(&files).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // Faults in the machine's own units are not ours.
    let ours: Vec<&str> = told.lines().filter(|line| line.contains("app")).collect();
    assert!(ours.is_empty() && output.status.success(), "{told}");
}
