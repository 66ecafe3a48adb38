//! The key `user`: root binds, and then the process is another user's, with all its threads and for good.
//!
//! Only root can test that. For the user `nobody` each test has a directory of its own, with a copy of the program.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tests::client::get_once;
use tests::process::{bin, skipped};
use tests::supervised::Supervised;
use tests::{Client, Exit, Launch, Scratch, Signal};

/// Whether this is root on a machine with a user `nobody`; its number and that of its group.
fn nobody() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = users.lines().find(|line| line.starts_with("nobody:"))?;
    let mut ids = entry.split(':').skip(2).map(|id| id.parse().expect("a number"));
    let ids = (ids.next()?, ids.next()?);
    rustix::process::geteuid().is_root().then_some(ids)
}

/// A directory that belongs to the user, with the program in it.
fn place(scratch: &Scratch, (uid, gid): (u32, u32), program: &str) -> PathBuf {
    let program = scratch.install(&bin(program), program);
    chown(scratch.path(), Some(uid), Some(gid)).expect("this is root");
    program
}

fn launch(scratch: &Scratch, ids: (u32, u32)) -> Launch {
    Launch::program(place(scratch, ids, "configured")).directory(scratch.path())
}

/// What /proc says about every thread of a process: without any right, and the user's.
fn assert_dropped(pid: u32, (uid, gid): (u32, u32)) {
    let tasks: Vec<PathBuf> = fs::read_dir(format!("/proc/{pid}/task"))
        .expect("the process lives")
        .map(|task| task.expect("a task").path().join("status"))
        .collect();
    assert!(!tasks.is_empty());
    for task in tasks {
        // A thread may have ended meanwhile.
        let Ok(status) = fs::read_to_string(&task) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>()
        };
        let four = |id: u32| vec![id.to_string(); 4];
        assert_eq!(field("Uid"), four(uid), "{}", task.display());
        assert_eq!(field("Gid"), four(gid), "{}", task.display());
        assert_eq!(field("Groups"), [gid.to_string()], "{}", task.display());
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            // A container may have no right to shrink it.
            if set == "CapBnd" && !may_shrink_bounding_set() {
                continue;
            }
            assert_eq!(field(set), ["0000000000000000"], "{set} of {}", task.display());
        }
        assert_eq!(field("NoNewPrivs"), ["1"], "{}", task.display());
    }
}

/// Whether this process has CAP_SETPCAP.
fn may_shrink_bounding_set() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & (1 << 8) != 0)
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (found.uid(), found.gid())
}

#[tokio::test]
async fn all_threads_are_the_user_s_and_so_are_its_files_and_its_successors() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let scratch = Scratch::new();
    let socket = scratch.join("web.sock");
    let pid_file = scratch.join("app.pid");
    let log_file = scratch.join("access.log");
    let app = launch(&scratch, ids)
        .env("GRACEHTTP_USER", "nobody")
        .env("GRACEHTTP_PID_FILE", &pid_file)
        .env("GRACEHTTP_CONTROL", format!("unix:{}", scratch.join("control.sock").display()))
        .env("GRACEHTTP_SERVER__WEB__ACCESS_LOG", "common")
        .env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", &log_file)
        .env("GRACEHTTP_SERVER__ADMIN__LISTEN", format!("unix:{}", socket.display()))
        .start("web")
        .await;
    let (web, first) = (app.target("web").await, app.current());
    app.log.line(0, "the rights of root are given up: this process is user nobody").await;
    assert_dropped(first.pid(), ids);
    tests::patience::eventually("the pid file", || pid_file.exists()).await;
    for file in [&socket, &scratch.join("control.sock"), &pid_file, &log_file] {
        assert_eq!(owner(file), ids, "{}", file.display());
    }
    let mut client = Client::connect(&web).await.unwrap();
    client.get("/").await.unwrap();
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    assert_eq!(client.get("/").await.unwrap().pid(), Some(successor.pid()));
    assert_dropped(successor.pid(), ids);
    assert_eq!(first.exit().await, Exit::Code(0));
    assert_eq!(app.log.count(0, "another program"), 0, "the pid file's: {}", app.log);
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(!socket.exists() && !pid_file.exists(), "the user may remove them");
}

#[tokio::test]
async fn a_supervisor_drops_too_and_starts_the_user_s_process_after_a_crash() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let scratch = Scratch::new();
    let launch = launch(&scratch, ids).env("GRACEHTTP_USER", "nobody").env("GRACEHTTP_SUPERVISE", "always");
    let service = Supervised::start(launch).await;
    let worker = service.worker().await;
    assert_dropped(worker.pid(), ids);
    tests::patience::eventually("the supervisor to drop its rights", || {
        fs::metadata(format!("/proc/{}/status", service.supervisor.pid())).is_ok()
            && fs::read_to_string(format!("/proc/{}/status", service.supervisor.pid()))
                .is_ok_and(|status| status.contains(&format!("Uid:\t{}", ids.0)))
    })
    .await;
    assert_dropped(service.supervisor.pid(), ids);
    worker.signal(Signal::KILL);
    let fresh = service.fresh(&worker).await;
    assert_dropped(fresh.pid(), ids);
    let restarted = service.restart().await;
    assert_dropped(restarted.pid(), ids);
    service.stops().await;
}

#[tokio::test]
async fn a_new_low_port_fails_the_restart_says_why_and_the_predecessor_serves_on() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if lowest.trim().parse::<u16>().is_ok_and(|lowest| lowest < 1024) {
        return skipped("ports that only root may bind");
    }
    let scratch = Scratch::new();
    scratch.write("Gracehttp.toml", "user = \"nobody\"\n");
    let app = launch(&scratch, ids).start("web").await;
    let web = app.target("web").await;
    scratch.write("Gracehttp.toml", "user = \"nobody\"\n[server.admin]\nlisten = \"127.0.0.1:987\"\n");
    let start = app.log.end();
    app.signal(Signal::USR2);
    let line = app.log.line(start, "start new process failed").await;
    for part in ["127.0.0.1:987", "another `user`", "AmbientCapabilities=", "ip_unprivileged_port_start"] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    app.log.line(start, "serves on").await;
    assert!(get_once(&web, "/").await.is_ok());
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn what_can_t_be_done_is_an_error_before_anything_is_served() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let refused = async |scratch: &Scratch, variables: &[(&str, &str)], expected: &str| {
        let launch = launch(scratch, ids);
        let app = variables.iter().fold(launch, |launch, (name, value)| launch.env(name, value)).spawn();
        assert_eq!(app.current().exit().await, Exit::Code(1), "{}", app.log);
        app.catch_up().await;
        assert_eq!(app.log.count(0, "serving"), 0, "{}", app.log);
        assert_eq!(app.log.count(0, expected), 1, "{expected}\n{}", app.log);
    };
    let scratch = Scratch::new();
    refused(&scratch, &[("GRACEHTTP_USER", "no-such-user")], "there is no such user").await;
    refused(&scratch, &[("GRACEHTTP_USER", "root")], "valid is a user other than root").await;
    refused(&scratch, &[("GRACEHTTP_GROUP", "nogroup")], "there is no user: set `user`, too").await;
    refused(&scratch, &[("GRACEHTTP_USER", "4294960000")], "set `group`").await;
    let file = scratch.write("Gracehttp.toml", "standby = \"1s\"\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let unreadable = "as whom every restart and reload will read it";
    refused(&scratch, &[("GRACEHTTP_USER", "nobody")], unreadable).await;
    fs::remove_file(&file).unwrap();
    let secret = scratch.write("secret", "hunter2\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let secret = secret.to_str().expect("a path in UTF-8");
    let variables = [("GRACEHTTP_USER", "nobody"), ("GRACEHTTP_APP__GREETING_FILE", secret)];
    refused(&scratch, &variables, unreadable).await;
    let folder = scratch.join("of-root");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let cache = folder.join("acme");
    let variables = [
        ("GRACEHTTP_USER", "nobody"),
        ("GRACEHTTP_SERVER__WEB__TLS__ACME__DOMAINS", "example.org"),
        ("GRACEHTTP_SERVER__WEB__TLS__ACME__CACHE", cache.to_str().expect("a path in UTF-8")),
    ];
    refused(&scratch, &variables, "can't be written to by user `nobody`").await;
}

#[tokio::test]
async fn another_user_can_be_itself_alone() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let scratch = Scratch::new();
    let as_nobody = |user: &str| {
        let program = place(&scratch, ids, "configured");
        Launch::program("/usr/bin/setpriv")
            .arg("--reuid=nobody")
            .arg("--regid=nogroup")
            .arg("--clear-groups")
            .arg(program)
            .directory(scratch.path())
            .env("GRACEHTTP_USER", user)
    };
    if !Path::new("/usr/bin/setpriv").exists() {
        return skipped("setpriv");
    }
    let app = as_nobody("nobody").start("web").await;
    assert_eq!(app.stop().await, Exit::Code(0));
    let app = as_nobody("daemon").spawn();
    assert_eq!(app.current().exit().await, Exit::Code(1));
    app.catch_up().await;
    assert_eq!(app.log.count(0, "and not root, so it can't become another"), 1, "{}", app.log);
}
