//! Settings of the application from the environment, secrets in files, unknown keys that are passed over, and
//! `check --bind`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use tests::client::get_once;
use tests::process::bin;
use tests::{Exit, Launch, Scratch};

const FILE: &str = "Gracehttp.toml";

fn launch(scratch: &Scratch) -> Launch {
    Launch::bin("configured").directory(scratch.path())
}

fn run(scratch: &Scratch, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(bin("configured"));
    command.args(args).current_dir(scratch.path()).env_remove("RUST_LOG").envs(env.iter().copied());
    command.output().expect("a binary of this package")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_variable_sets_a_key_of_the_application_also_in_the_successor() {
    let scratch = Scratch::new();
    scratch.write(FILE, "[app]\ngreeting = \"of the file\"\nworkers = 3\n");
    let app = launch(&scratch).env("GRACEHTTP_APP__GREETING", "12").start("web").await;
    let web = app.target("web").await;
    assert_eq!(get_once(&web, "/greeting").await.unwrap().text(), "12 3");
    app.log.line(0, "[app] greeting is set by GRACEHTTP_APP__GREETING").await;
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    assert_eq!(get_once(&web, "/greeting").await.unwrap().text(), "12 3");
    assert!(app.stop().await.is_clean());
}

#[tokio::test]
async fn a_secret_of_a_file_is_used_and_shown_nowhere_and_a_restart_reads_it_again() {
    let scratch = Scratch::new();
    let file = scratch.write("greeting", "hunter2\n");
    let path = file.to_str().unwrap();
    let app = launch(&scratch).env("GRACEHTTP_APP__GREETING_FILE", path).start("web").await;
    let web = app.target("web").await;
    assert_eq!(get_once(&web, "/greeting").await.unwrap().text(), "hunter2 1");
    scratch.write("greeting", "hunter3\n");
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    assert_eq!(get_once(&web, "/greeting").await.unwrap().text(), "hunter3 1");
    assert!(app.stop().await.is_clean());
    assert_eq!(app.log.count(0, "hunter"), 0, "{}", app.log);

    let config = run(&scratch, &["config"], &[("GRACEHTTP_APP__GREETING_FILE", path)]);
    assert!(config.status.success() && !text(&config.stdout).contains("hunter"), "{config:?}");
    let unfit = run(&scratch, &["check"], &[("GRACEHTTP_APP__WORKERS_FILE", path)]);
    let told = text(&unfit.stderr);
    assert!(
        told.contains("GRACEHTTP_APP__WORKERS_FILE: the content of") && !told.contains("hunter"),
        "{told}"
    );
}

/// Runs `check` with a variable that names a file. Fails if that takes too long.
fn check_in_time(scratch: &Scratch, variable: &str, file: &str, input: &str) -> Output {
    let mut command = Command::new("timeout");
    command.arg("20").arg(bin("configured")).arg("check").env(variable, file);
    command.current_dir(scratch.path()).env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("`timeout`");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("a reader");
    let output = child.wait_with_output().expect("an exit");
    assert_ne!(output.status.code(), Some(124), "it hangs: {variable}={file}");
    output
}

#[test]
fn a_secret_comes_from_a_pipe_with_a_writer_and_one_without_is_a_fault() {
    let scratch = Scratch::new();
    let fifo = scratch.join("fifo");
    tests::process::run("mkfifo", &[fifo.as_os_str()]);
    let path = fifo.to_str().unwrap();
    // As a shell passes `<(…)`: another process writes it.
    let piped = check_in_time(&scratch, "GRACEHTTP_APP__WORKERS_FILE", "/dev/stdin", "7\n");
    assert!(piped.status.success(), "{piped:?}");
    let unfit = check_in_time(&scratch, "GRACEHTTP_APP__WORKERS_FILE", "/dev/stdin", "hunter2\n");
    assert!(text(&unfit.stderr).contains("the content of `/dev/stdin` does not fit"), "{unfit:?}");

    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, "7\n")
    });
    let written = check_in_time(&scratch, "GRACEHTTP_APP__WORKERS_FILE", path, "");
    assert!(written.status.success(), "{written:?}");
    writer.join().unwrap().unwrap();

    for (file, why) in [
        (path, "can't be read (it is a pipe that nothing has written and closed within 10s: "),
        ("/dev/zero", "can't be read (it is neither a file nor a pipe"),
        ("/", "can't be read (Is a directory"),
    ] {
        let refused = check_in_time(&scratch, "GRACEHTTP_APP__WORKERS_FILE", file, "");
        let told = format!("GRACEHTTP_APP__WORKERS_FILE: the file `{file}` that it names {why}");
        assert!(text(&refused.stderr).contains(&told), "{told}\n{}", text(&refused.stderr));
    }
    let refused = check_in_time(&scratch, "GRACEHTTP_CONFIG", path, "");
    assert!(text(&refused.stderr).contains("it is a pipe that nothing has written"), "{refused:?}");
}

/// It sets a key within a key that has none.
#[test]
fn a_variable_that_goes_too_deep_is_named() {
    let scratch = Scratch::new();
    for file in ["", "[app]\ngreeting = \"of the file\"\n", "[app]\nworkers = 2\n"] {
        scratch.write(FILE, file);
        let refused = run(&scratch, &["check"], &[("GRACEHTTP_APP__GREETING__DEEP", "1")]);
        let told = text(&refused.stderr);
        assert!(!refused.status.success() && told.contains("GRACEHTTP_APP__GREETING__DEEP: "), "{told}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_a_fault() {
    let scratch = Scratch::new();
    for (name, value, expected) in [
        (&b"GRACEHTTP_APP__GREETING"[..], &b"caf\xe9"[..], "GRACEHTTP_APP__GREETING: the value is not UTF-8"),
        (
            b"GRACEHTTP_APP__GR\xe9ETING",
            b"hello",
            "GRACEHTTP_APP__GR\u{fffd}ETING is not a setting: the name is not UTF-8",
        ),
    ] {
        let mut command = Command::new(bin("configured"));
        command
            .arg("check")
            .current_dir(scratch.path())
            .env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        let refused = command.output().expect("a binary of this package");
        let told = text(&refused.stderr);
        assert!(!refused.status.success() && told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn a_newer_file_is_a_fault_or_with_unknown_keys_warn_one_notice_for_each_key() {
    let scratch = Scratch::new();
    let newer = "drain_polish = 1\n[server.web]\nmax_dreams = 3\n[server.new]\nport = 1\n[app]\nwish = 1\nworkers = 2\n";
    scratch.write(FILE, newer);
    let refused = run(&scratch, &["check"], &[("GRACEHTTP_NEWEST", "1")]);
    assert_eq!(text(&refused.stderr).matches("ERROR").count(), 5, "{refused:?}");

    let lenient = run(&scratch, &["check", "--lenient"], &[("GRACEHTTP_NEWEST", "1")]);
    let told = text(&lenient.stderr);
    assert!(lenient.status.success() && told.matches("WARN").count() == 5, "{told}");
    let config = run(&scratch, &["--lenient", "config"], &[]);
    assert!(
        text(&config.stdout)
            .lines()
            .any(|line| line.starts_with("unknown_keys = \"warn\"") && line.ends_with("# --lenient"))
    );

    scratch.write(FILE, format!("unknown_keys = \"warn\"\n{newer}"));
    let app = launch(&scratch).start("web").await;
    for key in ["`drain_polish`", "`max_dreams`", "no server `new`", "no key `wish`"] {
        let line = app.log.line(0, key).await;
        assert!(line.contains("WARN gracehttp: passed over (unknown_keys = warn): "), "{line}");
    }
    let reply = get_once(&app.target("web").await, "/greeting").await.unwrap();
    assert_eq!(reply.text(), "hello by default 2");
    assert_eq!(app.stop().await, Exit::Code(0));

    // What is known has to be right.
    scratch.write(FILE, "unknown_keys = \"warn\"\nmax_conns = 1\n[server.web]\nbacklog = 0\n");
    let wrong = run(&scratch, &["check"], &[]);
    assert_eq!(text(&wrong.stderr).matches("ERROR").count(), 2, "{wrong:?}");
}

#[tokio::test]
async fn check_bind_tells_what_is_free_what_the_service_holds_and_what_another_process_holds() {
    let scratch = Scratch::new();
    let app = launch(&scratch).start("web").await;
    let (web, first) = (app.target("web").await, app.current());
    let address = app.address("web").await;
    let socket = scratch.path().join("free.sock");
    let file = |web: &str, admin: &str| {
        format!("[server.web]\nlisten = \"{web}\"\n[server.admin]\nlisten = \"{admin}\"\n")
    };
    scratch.write(FILE, file(&address.to_string(), &format!("unix:{}", socket.display())));
    let found = run(&scratch, &["check", "--bind"], &[]);
    let told = text(&found.stdout);
    assert!(found.status.success(), "{found:?}");
    assert!(
        told.contains(&format!(
            "server `web`: {address} is held by the running service, pid {}; a restart",
            first.pid()
        )),
        "{told}"
    );
    assert!(told.contains("free.sock is free\n") && !socket.exists(), "{told}");
    assert_eq!(get_once(&web, "/greeting").await.unwrap().text(), "hello by default 1");
    assert_eq!(app.stop().await, Exit::Code(0));

    let (tcp, _unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&socket).unwrap());
    let held = tcp.local_addr().unwrap();
    scratch.write(FILE, file(&held.to_string(), &format!("unix:{}", socket.display())));
    let refused = run(&scratch, &["check", "--bind"], &[]);
    let told = text(&refused.stderr);
    assert!(
        told.contains(&format!("cannot listen on {held}: the port is in use by pid {}", std::process::id())),
        "{told}"
    );
    assert!(told.contains("free.sock: the socket is in use by pid "), "{told}");
}
