//! Starts, stops and settings must work in every environment.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tests::client::get_once;
use tests::generation::silent_target;
use tests::patience::eventually;
use tests::process::{bin, run, skipped, tool};
use tests::{App, Exit, Launch, Scratch, Signal};

const WEB: &str = "server web 127.0.0.1:0";

/// A pipe that is full and has no reader.
struct Stuck {
    path: PathBuf,
    pipe: File,
}

impl Stuck {
    const O_NONBLOCK: i32 = 0o4000;

    fn new(scratch: &Scratch) -> Self {
        let path = scratch.join("stuck");
        run("mkfifo", &[path.as_os_str()]);
        let mut options = OpenOptions::new();
        let mut pipe =
            options.read(true).write(true).custom_flags(Self::O_NONBLOCK).open(&path).expect("a pipe");
        while pipe.write(&[b'.'; 4096]).is_ok() {}
        Self { path, pipe }
    }

    /// The shell words that redirect stderr to the pipe.
    fn as_stderr(&self) -> String {
        format!("exec 2>{};", self.path.display())
    }

    /// All bytes that are in it now.
    fn read(&mut self) -> String {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        loop {
            match self.pipe.read(&mut some) {
                Ok(length) => all.extend(&some[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// Handlers that panic get an answer; the process restarts, stops, and exits in time.
async fn lives_on_with(app: App) {
    let first = app.current();
    let target = silent_target(&first).await;
    for _ in 0..50 {
        assert_eq!(get_once(&target, "/panic").await.expect("an answer").status, 500);
    }
    first.signal(Signal::USR2);
    let successor = loop {
        if let Some(pid) =
            get_once(&target, "/ping").await.expect("an answer").pid().filter(|pid| *pid != first.pid())
        {
            break app.hold(pid);
        }
    };
    assert_eq!(first.exit().await, Exit::Code(0));
    assert_eq!(get_once(&target, "/panic").await.expect("an answer").status, 500);
    successor.signal(Signal::TERM);
    assert!(successor.exit().await.is_clean());
}

#[tokio::test]
async fn b4_signals_and_panicking_handlers_work_while_stderr_is_blocked() {
    let scratch = Scratch::new();
    let stuck = Stuck::new(&scratch);
    lives_on_with(Launch::app(&scratch, WEB).after(&stuck.as_stderr()).spawn()).await;
}

#[tokio::test]
async fn b4_signals_work_while_the_subscriber_is_blocked() {
    let scratch = Scratch::new();
    let stuck = Stuck::new(&scratch);
    let plan = format!("{WEB}\nstart subscribe stderr");
    lives_on_with(Launch::app(&scratch, &plan).after(&stuck.as_stderr()).spawn()).await;
}

#[tokio::test]
async fn b4_signals_work_while_callbacks_hang() {
    let scratch = Scratch::new();
    lives_on_with(Launch::app(&scratch, &format!("{WEB}\nstart callbacks hang")).spawn()).await;
}

#[tokio::test]
async fn b4_panic_hook_of_the_application_stays() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).env("APP_HOOK", "yes").start("web").await;
    assert_eq!(get_once(&app.target("web").await, "/panic").await.expect("an answer").status, 500);
    app.log.line(0, "the application's own hook").await;
    assert!(app.stop().await.is_clean());
    assert_eq!(app.log.count(0, "panicked at "), 0, "{}", app.log);
}

#[tokio::test]
async fn b4_reader_that_returns_gets_the_messages_in_order() {
    let scratch = Scratch::new();
    let mut stuck = Stuck::new(&scratch);
    let app = Launch::app(&scratch, WEB).after(&stuck.as_stderr()).spawn();
    let target = silent_target(&app.first()).await;
    assert_eq!(get_once(&target, "/panic").await.expect("an answer").status, 500);
    let mut read = String::new();
    eventually("the messages", || {
        read.push_str(&stuck.read());
        ["serving web on ", "panicked at ", "panicked: the handler panics"]
            .iter()
            .all(|words| read.contains(words))
    })
    .await;
    let place = |words: &str| read.find(words);
    assert!(place("serving web on ") < place("panicked at "), "{read}");
    assert!(place("panicked at ") < place("panicked: the handler panics"), "{read}");

    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
    read.push_str(&stuck.read());
    assert!(read.trim_end().ends_with(&format!("stopped, pid {}", app.first().pid())), "{read}");
}

/// A failed start logs its error as the last line, and in time.
#[tokio::test]
async fn b4_last_messages_are_logged_at_every_kind_of_end() {
    for (start, words) in
        [("refuse no coffee", "the start-up code failed: no coffee"), ("panic", "the start-up code panics")]
    {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("{WEB}\nstart {start}")).spawn();
        assert_eq!(app.first().exit().await, Exit::Code(1));
        app.catch_up().await;
        assert!(app.log.count(0, words) > 0, "{}", app.log);
    }
    // The predecessor kills this successor as soon as it learns of the failure.
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    scratch.write("plan", format!("{WEB}\nstart panic"));
    app.signal(Signal::USR2);
    app.log.line(0, "serves on").await;
    app.log.line(0, "thread 'start-up' (").await;
    assert_eq!(app.log.count(0, "thread 'start-up' ("), 1, "{}", app.log);
}

/// The parent has blocked some signals for itself, and ignores the ends of its children.
#[tokio::test]
async fn d2_signals_blocked_by_the_parent_are_handled() {
    if !tool("python3") {
        return;
    }
    let scratch = Scratch::new();
    let code = "import os, signal, sys\n\
                blocked = [signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD]\n\
                signal.pthread_sigmask(signal.SIG_BLOCK, blocked)\n\
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
                os.execv(sys.argv[1], sys.argv[1:])";
    let app = Launch::program("python3").arg("-c").arg(code).arg(bin("app")).plan(&scratch, WEB).spawn();
    app.url("web").await;
    // The predecessor learns the successor's exit status.
    scratch.write("plan", format!("{WEB}\nstart exit 7"));
    app.signal(Signal::USR1);
    app.log.line(0, "it exited with status 7").await;
    scratch.write("plan", WEB);
    app.restart_by(Signal::USR1).await;
    assert!(app.stop().await.is_clean());
}

/// The name that a process runs under may be the name of another program.
#[tokio::test]
async fn d3_restart_runs_the_same_program_under_any_name() {
    if !tool("bash") {
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.install(&bin("app"), "app");
    let shell = Launch::program("bash").arg("-c").arg("exec -a date \"$0\"").arg(&program);
    let app = shell.plan(&scratch, WEB).env("GRACEHTTP_STANDBY", "100ms").spawn();
    let target = app.target("web").await;
    let successor = app.restart().await;
    app.serves(&target, &successor).await;
    assert_eq!(successor.program(), program.canonicalize().unwrap());
    // The same holds for a replacement at the same path.
    scratch.install(&bin("app"), "app");
    let successor = app.restart().await;
    app.serves(&target, &successor).await;
    assert_eq!(successor.program(), program.canonicalize().unwrap());
}

#[tokio::test]
async fn d4_restart_fails_when_the_configuration_file_is_gone() {
    let scratch = Scratch::new();
    let file = scratch.write("real.toml", "drain_timeout = \"7s\"");
    let link = scratch.join("Gracehttp.toml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let app = Launch::app(&scratch, WEB).directory(scratch.path()).start("web").await;
    let target = app.target("web").await;
    let first = app.pid();
    let fails = async |words: &str| {
        let start = app.log.end();
        app.signal(Signal::HUP);
        let line = app.log.line(start, "start new process failed: the configuration file").await;
        assert!(line.contains(words), "{line}");
        app.log.line(start, "serves on").await;
        assert_eq!(get_once(&target, "/ping").await.unwrap().pid(), Some(first));
    };
    std::fs::remove_file(&file).unwrap();
    fails("which this process has read, is gone: put it back").await;
    std::fs::remove_file(&link).unwrap();
    fails("which this process has read, is gone: put it back").await;
    // An empty file is a valid configuration.
    scratch.write("Gracehttp.toml", "");
    app.restart().await;

    // The first start needs no file; but a link to nowhere is an error.
    std::fs::remove_file(&link).unwrap();
    let app = Launch::app(&scratch, WEB).directory(scratch.path()).start("web").await;
    assert!(app.stop().await.is_clean());
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let app = Launch::app(&scratch, WEB).directory(scratch.path()).spawn();
    assert_eq!(app.first().exit().await, Exit::Code(1));
    app.log.line(0, "is a link to ").await;
}

/// A pipe without a writer.
fn silent_pipe(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.join(name);
    run("mkfifo", &[path.as_os_str()]);
    path
}

/// Waits for a reader at the other end of the pipe: only then does it open for writing.
async fn opened_by_reader(pipe: &Path) -> File {
    let mut opened = None;
    eventually("a process to open the pipe", || {
        opened = OpenOptions::new().write(true).custom_flags(Stuck::O_NONBLOCK).open(pipe).ok();
        opened.is_some()
    })
    .await;
    opened.expect("just opened")
}

#[tokio::test]
async fn d5_stop_ends_a_process_that_reads_its_configuration_slowly() {
    let scratch = Scratch::new();
    let pipe = silent_pipe(&scratch, "slow.toml");
    let launch = || Launch::app(&scratch, WEB).env("GRACEHTTP_CONFIG", &pipe);
    let app = launch().spawn();
    let writer = opened_by_reader(&pipe).await;
    assert!(app.stop().await.is_clean());
    app.log.line(0, "Received SIG.").await;
    app.log.line(0, "stopped while starting up").await;
    drop(writer);
    // Without a stop, the process reads the file to its end.
    let app = launch().spawn();
    let mut writer = opened_by_reader(&pipe).await;
    writer.write_all(b"drain_timeout = \"7s\"").unwrap();
    drop(writer);
    app.log.line(0, "drain_timeout is 7s, set by").await;
    assert!(app.stop().await.is_clean());
}

/// A stop does not wait for a slow name server. Here the lookup of the name waits for its aliases (hostname(7)).
#[tokio::test]
async fn d5_stop_ends_a_process_that_opens_its_endpoints_slowly() {
    let scratch = Scratch::new();
    let aliases = silent_pipe(&scratch, "aliases");
    let app = Launch::app(&scratch, "server web slow-name:0").env("HOSTALIASES", &aliases).spawn();
    let first = app.first();
    let _writer = tokio::select! {
        writer = opened_by_reader(&aliases) => writer,
        _ = first.exit() => return skipped("a C library whose names have aliases (`hosts: … dns` in nsswitch.conf)"),
    };
    assert!(app.stop().await.is_clean());
    app.log.line(0, "stopped while starting up").await;
}

#[tokio::test]
async fn d6_links_to_services_are_ignored_with_one_line() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB)
        .env("GRACEHTTP_DEMO_SERVICE_HOST", "10.0.0.1")
        .env("GRACEHTTP_DEMO_SERVICE_PORT", "80")
        .env("GRACEHTTP_PORT", "tcp://10.0.0.1:80")
        .start("web")
        .await;
    let line = app.log.line(0, "ignored GRACEHTTP_DEMO_SERVICE_HOST and 2 more").await;
    assert!(line.contains("INFO"), "{line}");
    assert_eq!(app.log.count(0, "ignored"), 1, "{}", app.log);
}

#[tokio::test]
async fn d9_child_process_can_start_with_the_original_limit() {
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0 max_conns=50";
    let app = Launch::app(&scratch, plan).after("ulimit -Sn 700;").start("web").await;
    let target = app.target("web").await;
    let limit = async |which: &str| {
        let reply = get_once(&target, &format!("/limit/{which}")).await.unwrap();
        reply.text().trim().parse::<u32>().unwrap()
    };
    for _generation in 0..3 {
        assert_eq!(limit("restored").await, 700);
        let raised = limit("raised").await;
        assert!((750..850).contains(&raised), "as far as is needed, in each generation: {raised}");
        let successor = app.restart().await;
        app.serves(&target, &successor).await;
    }
}

/// The end of PID 1 ends its child, too, and with that its container.
#[tokio::test]
async fn d13_pid_1_without_a_supervisor_refuses_to_restart_and_says_why() {
    let namespace = ["--pid", "--fork", "--kill-child"];
    let works = tool("unshare") && {
        let tried = std::process::Command::new("unshare").args(namespace).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    };
    if !works {
        println!("SKIPPED: this test needs to make a PID namespace");
        return;
    }
    let scratch = Scratch::new();
    let launch = namespace.iter().fold(Launch::program("unshare"), |launch, arg| launch.arg(arg));
    let launch = launch.arg(bin("app")).plan(&scratch, WEB).env("GRACEHTTP_SUPERVISE", "off");
    let app = launch.start("web").await;
    let target = app.target("web").await;
    let server = app.starting();
    server.signal(Signal::USR2);
    let line = app.log.line(0, "SIGUSR2 is refused, nothing is restarted: this process is PID 1").await;
    assert!(line.contains("ERROR") && line.contains("stop this one by SIGTERM"), "{line}");
    assert_eq!(get_once(&target, "/ping").await.unwrap().pid(), Some(1));
    server.signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn d15_default_limits_are_lowered_silently() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).after("ulimit -n 100;").start("web").await;
    assert!(app.log.since(0)[0].contains("start-up code"), "{}", app.log);
    assert_eq!(app.log.count(0, "lowered"), 0, "{}", app.log);
    assert!(app.stop().await.is_clean());
}

fn access_of(socket: &Path) -> (u32, u32, u32) {
    let metadata = socket.metadata().expect("a socket");
    (metadata.mode() & 0o777, metadata.uid(), metadata.gid())
}

/// A proxy of another user needs this. Systems have different users, but a number works on each.
#[tokio::test]
async fn d10_socket_has_the_configured_mode_and_owner() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can give a file away");
        return;
    }
    let scratch = Scratch::new();
    let socket = scratch.join("app.sock");
    let config = |mode: &str, user: &str| {
        let text = format!(
            "[server.web]\nlisten = \"unix:{}\"\nsocket_mode = \"{mode}\"\nsocket_user = \"{user}\"\n\
             socket_group = \"4321\"",
            socket.display()
        );
        scratch.write("Gracehttp.toml", text);
    };
    config("0620", "1234");
    let app = Launch::app(&scratch, WEB).directory(scratch.path()).after("umask 077;").start("web").await;
    assert_eq!(access_of(&socket), (0o620, 1234, 4321));
    app.log.line(0, "socket_mode of server web is 0620").await;
    // A restart keeps unchanged settings, and applies changed ones.
    let inode = socket.metadata().unwrap().ino();
    app.restart().await;
    assert_eq!(access_of(&socket), (0o620, 1234, 4321));
    config("0606", "1235");
    app.restart().await;
    eventually("the successor's access", || access_of(&socket) == (0o606, 1235, 4321)).await;
    assert_eq!(socket.metadata().unwrap().ino(), inode, "the same socket");

    // A failed restart changes nothing.
    config("0600", "nobody-of-this-name");
    let start = app.log.end();
    app.signal(Signal::HUP);
    let line = app.log.line(start, "start new process failed").await;
    assert!(
        line.contains("there is no user `nobody-of-this-name`: create it, or correct socket_user"),
        "{line}"
    );
    config("0600", "1236");
    scratch.write("plan", format!("{WEB}\nstart refuse no coffee"));
    app.log.line(start, "serves on").await;
    app.signal(Signal::HUP);
    app.log.line(start, "no coffee").await;
    assert_eq!(access_of(&socket), (0o606, 1235, 4321));
}

/// No client can connect before the file has its mode.
#[tokio::test]
async fn d10_socket_has_its_mode_before_the_first_client_can_connect() {
    if !tool("strace") {
        return;
    }
    let scratch = Scratch::new();
    let (socket, trace) = (scratch.join("app.sock"), scratch.join("trace"));
    let launch = Launch::program("strace").arg("-f").arg("-qq").arg("-e").arg("trace=chmod,fchmodat,listen");
    let app = launch
        .arg("-o")
        .arg(&trace)
        .arg(bin("app"))
        .plan(&scratch, WEB)
        .listen("web", &format!("unix:{}", socket.display()))
        .env("GRACEHTTP_SERVER__WEB__SOCKET_MODE", "0600")
        .start("web")
        .await;
    app.starting().signal(Signal::TERM);
    assert!(app.first().exit().await.is_clean());
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mode, listens) = (trace.find("0600"), trace.find("listen("));
    assert!(mode.is_some() && mode < listens, "{trace}");
}

#[tokio::test]
async fn d11_incomplete_address_is_refused_and_the_error_says_what_is_missing() {
    for (endpoint, reason) in [
        ("[fe80::1]:0", "a link-local address needs its zone, the interface: `[fe80::1%eth0]:0`"),
        ("[::ffff:127.0.0.1]:0", "it is an IPv4 address in the notation of IPv6: write `127.0.0.1:0`"),
        ("[fe80::1%nowhere]:0", "no interface of this machine is `nowhere`"),
    ] {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, WEB).listen("web", endpoint).spawn();
        assert_eq!(app.first().exit().await, Exit::Code(1));
        app.log.line(0, reason).await;
    }
}

/// The test compiles the crate's own check of the system, with another system's name in it.
#[test]
fn d14_build_for_another_system_gives_one_plain_error() {
    let scratch = Scratch::new();
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("gracehttp");
    let source = std::fs::read_to_string(package.join("src/lib.rs")).unwrap();
    std::fs::create_dir_all(scratch.join("docs")).unwrap();
    std::fs::create_dir_all(scratch.join("src")).unwrap();
    std::fs::copy(package.join("docs/crate.md"), scratch.join("docs/crate.md")).unwrap();
    scratch.write("src/lib.rs", source.replace("target_os = \"linux\"", "target_os = \"macos\""));
    let mut rustc = std::process::Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-o"]).arg(scratch.join("none"));
    let output = rustc.arg(scratch.join("src/lib.rs")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
    assert!(errors[0].starts_with("error: gracehttp runs on Linux alone"), "{said}");
    assert!(errors[1..].iter().all(|line| line.starts_with("error: aborting")), "{said}");
}
