//! The key `user`: root binds, and then the process is another user's, with all its threads and for good.
//!
//! Only root can test that. For the user `nobody` each test has a directory of its own, with a copy of the program.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::client::get_once;
use tests::patience::{PATIENCE, eventually};
use tests::process::{bin, skipped};
use tests::supervised::Supervised;
use tests::systemd::{WEB, pid, unit};
use tests::{Client, Exit, Launch, Scratch, Signal, Systemd};

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

/// The process gives up its rights.
async fn becomes(pid: u32, ids: (u32, u32)) {
    eventually("the process to drop its rights", || uid(pid) == Some(ids.0)).await;
    assert_dropped(pid, ids);
}

/// As whom a process runs.
fn uid(pid: u32) -> Option<u32> {
    Some(fs::metadata(format!("/proc/{pid}/task")).ok()?.uid())
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
    assert!(app.stop().await.is_clean());
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
    becomes(service.supervisor.pid(), ids).await;
    worker.signal(Signal::KILL);
    let fresh = service.fresh(&worker).await;
    assert_dropped(fresh.pid(), ids);
    let restarted = service.restart().await;
    assert_dropped(restarted.pid(), ids);
    service.stops().await;
}

/// Within it a supervisor has read its messages. That it does nothing afterwards is no event to wait for.
const HEARD: Duration = Duration::from_millis(400);

/// The first process serves as root. Its supervisor has to be able to signal it for as long as it lives.
#[tokio::test]
async fn a_user_that_a_restart_brings_is_the_supervisor_s_too_once_no_root_is_left() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let scratch = Scratch::new();
    scratch.write("Gracehttp.toml", "standby = \"60s\"\n");
    let service = Supervised::start(launch(&scratch, ids).env("GRACEHTTP_SUPERVISE", "always")).await;
    let first = service.worker().await;
    scratch.write("Gracehttp.toml", "standby = \"300ms\"\nuser = \"nobody\"\n");
    // It dies in standby, and root serves again.
    let lost = service.restart().await;
    assert_dropped(lost.pid(), ids);
    // The supervisor has heard of the user, and waits.
    tokio::time::sleep(HEARD).await;
    lost.signal(Signal::KILL);
    service.app.log.find(0, 2 * PATIENCE, "a take-back", |line| line.contains("serves again")).await;
    service.app.serves(&service.target, &first).await;
    tokio::time::sleep(HEARD).await;
    assert_eq!((uid(first.pid()), uid(service.supervisor.pid())), (Some(0), Some(0)));
    let successor = service.restart().await;
    assert_dropped(successor.pid(), ids);
    tokio::time::sleep(HEARD).await;
    assert_eq!(uid(service.supervisor.pid()), Some(0), "root may still take its place back");
    // One more request ends the standby of the predecessor.
    let third = service.restart().await;
    first.exit().await;
    successor.exit().await;
    becomes(service.supervisor.pid(), ids).await;
    third.signal(Signal::KILL);
    let fresh = service.fresh(&third).await;
    assert_dropped(fresh.pid(), ids);
    service.stops().await;
}

#[tokio::test]
async fn a_predecessor_that_takes_its_place_back_is_the_user_s() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let scratch = Scratch::new();
    let launch = launch(&scratch, ids).env("GRACEHTTP_USER", "nobody").env("GRACEHTTP_STANDBY", "60s");
    let app = launch.start("web").await;
    let (web, first) = (app.target("web").await, app.current());
    let mut client = Client::connect(&web).await.unwrap();
    client.get("/").await.unwrap();
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    successor.signal(Signal::KILL);
    app.log.find(0, 2 * PATIENCE, "a take-back", |line| line.contains("serves again")).await;
    app.serves(&web, &first).await;
    assert_dropped(first.pid(), ids);
    assert_eq!(client.get("/").await.unwrap().pid(), Some(first.pid()), "it was parked, and came back");
    first.signal(Signal::TERM);
    assert_eq!(first.exit().await, Exit::Code(0));
}

/// A rehearsal is the user's as the restart would be, and fails as it would.
#[tokio::test]
async fn a_rehearsal_finds_what_the_user_can_not_read() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let scratch = Scratch::new();
    let program = place(&scratch, ids, "configured");
    let control = format!("unix:{}", scratch.join("control.sock").display());
    let (cert, key) = scratch.certificate("site");
    let plain = "user = \"nobody\"\n[server.web.tls]\n";
    let pair = |key: &Path| format!("{plain}cert = {cert:?}\nkey = {key:?}\n");
    scratch.write("Gracehttp.toml", pair(&key));
    let launch = Launch::program(program.clone()).directory(scratch.path());
    let app = launch.env("GRACEHTTP_CONTROL", &control).start("web").await;
    let rehearse = || {
        let mut command = std::process::Command::new(&program);
        command.args(["restart", "--rehearse", "--wait", "--control", &control[5..]]);
        command.current_dir(scratch.path()).output().expect("a command")
    };
    let well = rehearse();
    assert!(well.status.success(), "{well:?}\n{}", app.log);
    let hidden = scratch.write("hidden.key", fs::read(&key).unwrap());
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).unwrap();
    scratch.write("Gracehttp.toml", pair(&hidden));
    let ill = rehearse();
    assert!(!ill.status.success(), "{ill:?}");
    app.log.line(0, "hidden.key").await;
    assert_eq!(app.generations(), 1);
    assert_dropped(app.current().pid(), ids);
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// Root reads them at the start. The next restart, or the next look at them, would fail.
#[tokio::test]
async fn each_file_that_the_user_can_not_read_is_found_at_the_start() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let scratch = Scratch::new();
    let (cert, key) = scratch.certificate("site");
    // An OCSPResponse that is `successful` (RFC 6960), without a word about any certificate.
    let ocsp = scratch.write("ocsp.der", [0x30, 3, 10, 1, 0]);
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, authority).unwrap();
    let ca = scratch.write("ca.pem", authority.as_ref().pem());
    let now = rcgen::date_time_ymd(2026, 1, 1);
    let list = rcgen::CertificateRevocationListParams {
        this_update: now,
        next_update: rcgen::date_time_ymd(2096, 1, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let crl = scratch.write("ca.crl", list.signed_by(&authority).unwrap().pem().unwrap());
    let eab = scratch.write("eab", "c2VjcmV0");
    let fifo = scratch.join("fifo");
    tests::process::run("mkfifo", &[fifo.as_os_str()]);
    let of = |key: &str| format!("GRACEHTTP_SERVER__WEB__TLS__{key}");
    let files = vec![
        (of("CERT"), cert.clone()),
        (of("KEY"), key.clone()),
        (of("OCSP"), ocsp),
        (of("CLIENT_CA"), ca.clone()),
        (of("CLIENT_CRL"), crl),
    ];
    let of_authority = vec![
        (of("ACME__DOMAINS"), PathBuf::from("example.org")),
        (of("ACME__CACHE"), scratch.join("cache")),
        (of("ACME__EAB_KID"), PathBuf::from("kid")),
        (of("ACME__CA"), ca),
        (of("ACME__EAB_HMAC_KEY_FILE"), eab),
    ];
    let of_app = vec![("GRACEHTTP_APP__GREETING_FILE".to_owned(), fifo.clone())];
    for (variables, first) in [(files, 0), (of_authority, 3), (of_app, 0)] {
        for place in first..variables.len() {
            let hidden = &variables[place].1;
            fs::set_permissions(hidden, fs::Permissions::from_mode(0o600)).unwrap();
            let launch = launch(&scratch, ids).env("GRACEHTTP_USER", "nobody");
            let launch = variables.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
            let app = launch.spawn();
            if *hidden == fifo {
                let fifo = fifo.clone();
                std::thread::spawn(move || fs::write(fifo, "hunter2\n"));
            }
            assert_eq!(app.current().exit().await, Exit::Code(1), "{}\n{}", hidden.display(), app.log);
            app.catch_up().await;
            let told = format!("{} can't be read by user `nobody`", hidden.display());
            assert_eq!(app.log.count(0, &told), 1, "{told}\n{}", app.log);
            assert_eq!(app.log.count(0, "serving"), 0, "{}", app.log);
            // Whoever asks before a restart hears of it, too.
            if *hidden != fifo {
                let mut check = Command::new(scratch.join("configured"));
                check.arg("check").current_dir(scratch.path()).env("GRACEHTTP_USER", "nobody");
                let output = check.envs(variables.iter().cloned()).output().expect("it starts");
                let found = String::from_utf8_lossy(&output.stderr);
                assert!(!output.status.success() && found.contains(&told), "{told}\n{found}");
            }
            fs::set_permissions(hidden, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

/// Under systemd, which starts the service as root: a unit can't say `User=` where something else has to be root.
#[tokio::test]
async fn under_systemd_the_main_process_and_its_workers_are_the_user_s() {
    let Some((uid, _)) = nobody() else { return skipped("root and a user `nobody`") };
    let unit = unit("Environment=GRACEHTTP_USER=nobody");
    let Some((systemd, web)) = Systemd::with_service(&unit, WEB).await else { return };
    let uid_of = |pid: u32| {
        let status = systemd.run(&["cat", &format!("/proc/{pid}/status")]);
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok())
    };
    let first = pid(&web).await;
    assert_eq!(uid_of(first), Some(uid));
    let main = systemd.main_pid("app");
    eventually("the supervisor to drop its rights", || uid_of(main) == Some(uid)).await;
    systemd.reload().await;
    let second = pid(&web).await;
    assert_ne!(first, second);
    assert_eq!(uid_of(second), Some(uid));
    systemd.kill("-KILL", second);
    eventually("a fresh process", || systemd.journal().contains("the next one starts")).await;
    let fresh = pid(&web).await;
    assert_eq!(uid_of(fresh), Some(uid));
    systemd.stop();
}

#[tokio::test]
async fn a_new_low_port_fails_the_restart_says_why_and_the_predecessor_serves_on() {
    let Some(ids) = nobody() else { return skipped("root and a user `nobody`") };
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if lowest.trim().parse::<u16>().is_ok_and(|lowest| lowest < 1024) {
        return skipped("ports that only root may bind");
    }
    let scratch = Scratch::new();
    let settings = "user = \"nobody\"\npid_file = \"app.pid\"\n";
    scratch.write("Gracehttp.toml", settings);
    let app = launch(&scratch, ids).start("web").await;
    let web = app.target("web").await;
    scratch.write("Gracehttp.toml", format!("{settings}[server.admin]\nlisten = \"127.0.0.1:987\"\n"));
    let told = ["127.0.0.1:987", "another `user`", "AmbientCapabilities=", "ip_unprivileged_port_start"];
    // Root asks before the restart: root itself could bind the port, the successor could not.
    let mut check = Command::new(scratch.join("configured"));
    let output = check.args(["check", "--bind"]).current_dir(scratch.path()).output().expect("it starts");
    let found = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.iter().all(|part| found.contains(part)), "{found}");
    let start = app.log.end();
    app.signal(Signal::USR2);
    let line = app.log.line(start, "start new process failed").await;
    for part in told {
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
    // Nor can it take another group.
    let app = as_nobody("nobody").env("GRACEHTTP_GROUP", "daemon").spawn();
    assert_eq!(app.current().exit().await, Exit::Code(1));
    app.catch_up().await;
    assert_eq!(app.log.count(0, "and is not root, so it can't take another"), 1, "{}", app.log);
    let app = as_nobody("nobody").env("GRACEHTTP_GROUP", ids.1.to_string()).start("web").await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// The kernel takes this number for "unchanged": a process that asks for it stays what it is.
#[test]
fn the_number_that_changes_nothing_is_no_user_and_no_group() {
    let scratch = Scratch::new();
    let number = u32::MAX.to_string();
    for (user, group, expected) in [(&*number, "1", "no such user"), ("1", &*number, "no such group")] {
        let mut command = Command::new(bin("configured"));
        command
            .current_dir(scratch.path())
            .arg("check")
            .env("GRACEHTTP_USER", user)
            .env("GRACEHTTP_GROUP", group);
        let output = command.output().expect("a binary of this package");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(expected), "{told}");
    }
}
