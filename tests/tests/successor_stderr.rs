//! What a successor writes to standard error while it starts: it reaches the log, and whoever waits for the restart.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tests::control::{Script, Stage, WEB, address};
use tests::patience::eventually;
use tests::process::run;
use tests::{App, Exit, Generation, Launch, Scratch, Signal};

/// What standard error of a process is.
fn stderr_of(process: &Generation) -> PathBuf {
    fs::read_link(format!("/proc/{}/fd/2", process.pid())).expect("a process that lives")
}

/// The lines that are told with a failure.
fn told(done: &Value) -> Vec<&str> {
    done["stderr"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The successor's pid in the log's message that it has failed.
async fn failed_pid(app: &App, start: usize) -> String {
    let line = app.log.line(start, " failed, pid ").await;
    line.split(" failed, pid ").nth(1).and_then(|rest| rest.split(':').next()).expect("a pid").to_owned()
}

#[tokio::test]
async fn a_successor_that_fails_is_quoted_and_no_other_process() {
    let stage = Stage::with(|launch| launch.env("GRACEHTTP_READY_TIMEOUT", "3s")).await;
    for command in ["restart", "rehearse"] {
        for (how, error) in [
            ("exit 3", "it exited with status 3"),
            ("abort", "it was killed by SIGABRT"),
            ("panic", "the start-up code panics"),
            ("refuse it_says_so", "it_says_so"),
            ("hang", "it was not ready within 3s"),
        ] {
            stage.plan(&format!("{WEB}\nstderr says the database is away\nstart {how}"));
            let start = stage.app.log.end();
            let mut script = stage.script();
            script.send(&format!(
                r#"{{"command":"{command}"{}}}"#,
                if command == "restart" { r#","wait":true"# } else { "" }
            ));
            let done = script.done();
            assert!(done["ok"] == false && done["error"].as_str().unwrap().contains(error), "{how}: {done}");
            let words = format!("pid {} says the database is away", failed_pid(&stage.app, start).await);
            let told = told(&done);
            assert!(told.contains(&words.as_str()), "{how}: {done}");
            assert!(
                !told.iter().any(|line| line.contains("serving web on") || line.contains("serves on")),
                "{done}"
            );
            stage.app.catch_up().await;
            assert_eq!(
                stage.app.log.count(start, &words),
                1,
                "{how}: once, and unchanged\n{}",
                stage.app.log
            );
        }
    }
    // The panic's own message is the thread's.
    stage.plan(&format!("{WEB}\nstart panic"));
    let told = stage.run(&["restart", "--wait"]).await.failed();
    let (error, lines) =
        told.split_once("the last lines of standard error:").unwrap_or_else(|| panic!("{told}"));
    assert!(error.contains("panic") && lines.contains("thread 'start-up'"), "{told}");
    stage.stop().await;
}

#[tokio::test]
async fn what_comes_before_gracehttp_runs_is_in_the_log_alone_and_the_failure_says_so() {
    let stage = Stage::with(|launch| launch).await;
    stage.plan(&format!("{WEB}\nnot in the grammar"));
    let start = stage.app.log.end();
    let mut script = stage.script();
    script.send(r#"{"command":"restart","wait":true}"#);
    let done = script.done();
    let error = done["error"].as_str().unwrap();
    assert!(
        error.contains("before it came to gracehttp: the dynamic loader, or `main`, may have said why"),
        "{done}"
    );
    assert!(told(&done).is_empty(), "{done}");
    stage.app.log.line(start, "not understood in the plan").await;
    assert_eq!(stage.app.log.count(start, "not understood in the plan"), 1, "{}", stage.app.log);
    stage.stop().await;
}

#[tokio::test]
async fn a_ready_successor_has_its_standard_error_back_and_nothing_more() {
    let stage = Stage::new().await;
    let (first, before) = (stage.app.current(), stderr_of(&stage.app.current()));
    let pipes = |process: &Generation| {
        process.descriptor_names().iter().filter(|name| name.starts_with("pipe:")).count()
    };
    stage.plan(&format!("{WEB}\nstderr says good morning"));
    stage.run(&["restart", "--wait"]).await.succeeded();
    let (second, start) = (stage.app.current(), stage.app.log.end());
    assert_eq!(stderr_of(&second), before);
    stage.app.log.line(0, ", generation 2, pid ").await;
    assert_eq!(stage.app.log.count(0, &format!("pid {} says good morning", second.pid())), 1);
    let lines = stage.app.log.since(0);
    let place =
        |part: &str| lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}"));
    assert!(place("says good morning") < place(", generation 2, pid "), "{}", stage.app.log);
    assert_eq!(first.exit().await, Exit::Code(0));
    let of_second = pipes(&second);
    stage.run(&["restart", "--wait"]).await.succeeded();
    stage.app.log.line(start, &format!("pid {} says good morning", stage.app.pid())).await;
    eventually("as many pipes as the generation before", || pipes(&stage.app.current()) <= of_second).await;
    stage.stop().await;
}

#[tokio::test]
async fn megabytes_reach_the_log_whole_and_only_the_last_lines_are_told() {
    const LINES: usize = 20_000;
    let stage = Stage::new().await;
    let arrived = |start: usize| {
        let lines = stage.app.log.since(start);
        let numbers = lines
            .iter()
            .filter_map(|line| line.strip_prefix("line ")?.split(' ').next()?.parse::<usize>().ok());
        numbers.eq(1..=LINES)
    };
    for (end, ok) in [("", true), ("\nstart exit 3", false)] {
        stage.plan(&format!("{WEB}\nstderr floods {LINES}{end}"));
        let start = stage.app.log.end();
        let mut script = stage.script();
        script.send(r#"{"command":"restart","wait":true}"#);
        let done = script.done();
        assert_eq!(done["ok"], ok, "{done}");
        stage.app.catch_up().await;
        assert!(arrived(start), "each line once, in order");
        if !ok {
            let told = told(&done);
            assert_eq!(told.len(), 20, "{done}");
            assert!(told[19].starts_with(&format!("line {LINES} of ")), "{done}");
        }
    }
    stage.stop().await;
}

/// Such a file takes no pages of a pipe.
#[tokio::test]
async fn a_file_that_is_open_for_appending_has_each_line_once() {
    let scratch = Scratch::new();
    let errors = scratch.join("errors.log");
    let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch));
    let app = launch.after(&format!("exec 2>>{};", errors.display())).spawn();
    let socket = scratch.join("control.sock");
    eventually("a control socket", || UnixStream::connect(&socket).is_ok()).await;
    let mut script = Script::new(&socket);
    for (end, ok) in [("\nstart exit 3", false), ("", true)] {
        scratch.write("plan", format!("{WEB}\nstderr floods 3000\nstderr says the last{end}"));
        fs::write(&errors, "").unwrap();
        script.send(r#"{"command":"restart","wait":true}"#);
        let done = script.done();
        assert_eq!(done["ok"], ok, "{done}");
        let written = fs::read_to_string(&errors).unwrap();
        let lines =
            written.lines().filter(|line| line.starts_with("line ") || line.ends_with("says the last"));
        assert_eq!(lines.count(), 3001, "{ok}");
        let told = told(&done);
        assert_eq!(told.last().is_some_and(|line| line.ends_with("says the last")), !ok, "{done}");
        assert!(!told.iter().any(|line| line.contains("gracehttp")), "{done}");
    }
    let status = Script::new(&socket).ask(r#"{"command":"status"}"#);
    let successor = app.hold(u32::try_from(status["status"]["process"]["pid"].as_u64().unwrap()).unwrap());
    successor.signal(Signal::TERM);
    assert_eq!(successor.exit().await, Exit::Code(0));
}

/// The start-up code may put its own log in the place of standard error.
#[tokio::test]
async fn a_redirection_by_the_application_stays() {
    let stage = Stage::new().await;
    let file = stage.scratch.join("errors");
    stage.plan(&format!("{WEB}\nstderr redirected {}\nstderr says elsewhere", file.display()));
    stage.run(&["restart", "--wait"]).await.succeeded();
    assert_eq!(stderr_of(&stage.app.current()), file);
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains(&format!("pid {} says elsewhere", stage.app.pid())), "{written}");
    assert_eq!(stage.app.log.count(0, "says elsewhere"), 0, "{}", stage.app.log);
    stage.stop().await;
}

/// A process that the start-up code has started keeps the pipe, and must not get SIGPIPE.
#[tokio::test]
async fn a_child_of_the_start_up_code_can_write_through_all_later_generations() {
    let stage = Stage::new().await;
    let fifo = stage.scratch.join("fifo");
    run("mkfifo", &[fifo.as_os_str()]);
    let mut pipe = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let mut write = |words: &str| writeln!(pipe, "{words}").unwrap();
    stage.plan(&format!("{WEB}\nstderr sidecar {}", fifo.display()));
    stage.run(&["restart", "--wait"]).await.succeeded();
    let [sidecar] = stage.app.current().children()[..] else {
        panic!("{:?}", stage.app.current().children())
    };
    let sidecar = stage.app.hold(sidecar);
    write("one");
    stage.app.log.line(0, "sidecar: one").await;
    stage.plan(WEB);
    for words in ["two", "three"] {
        let old = stage.app.current();
        stage.run(&["restart", "--wait"]).await.succeeded();
        assert_eq!(old.exit().await, Exit::Code(0));
        write(words);
        stage.app.log.line(0, &format!("sidecar: {words}")).await;
    }
    // One of a successor that has failed.
    let other = stage.scratch.join("other");
    run("mkfifo", &[other.as_os_str()]);
    let mut pipe = fs::File::options().read(true).write(true).open(&other).unwrap();
    stage.plan(&format!("{WEB}\nstderr sidecar {}\nstart exit 3", other.display()));
    stage.run(&["restart", "--wait"]).await.failed();
    writeln!(pipe, "orphan").unwrap();
    stage.app.log.line(0, "sidecar: orphan").await;
    assert!(sidecar.is_running());
    sidecar.kill();
    // The orphan is a child of the test, or of nobody.
    let orphan = fs::read_dir("/proc").unwrap().flatten().find(|entry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(other.to_str().unwrap())
    });
    let pid = orphan.and_then(|entry| entry.file_name().to_str()?.parse().ok()).expect("the orphan");
    stage.app.hold(pid).kill();
    stage.stop().await;
}

/// Then the pipe is the successor's own.
#[tokio::test]
async fn a_predecessor_that_dies_takes_no_word_of_its_successor_along() {
    let stage = Stage::new().await;
    stage.plan(&format!("{WEB}\nstderr floods 5000\nstart sleep 3000"));
    let old = stage.app.current();
    let before = stderr_of(&old);
    old.signal(Signal::USR2);
    stage.app.log.line(0, "line 1 of 5000").await;
    let successor = stage.app.starting();
    old.kill();
    stage.app.log.line(0, "line 5000 of 5000").await;
    stage.app.log.line(0, &format!(", generation 2, pid {}", successor.pid())).await;
    assert_eq!(stderr_of(&successor), before);
    let status = Script::new(&stage.socket()).ask(r#"{"command":"status"}"#);
    assert_eq!(status["status"]["process"]["pid"], successor.pid());
    successor.signal(Signal::TERM);
    successor.exit().await;
}

#[tokio::test]
async fn a_terminal_stays_one_for_the_successor() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let terminal = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    // Nothing may fill it.
    std::thread::spawn(move || std::io::copy(&mut fs::File::from(master), &mut std::io::sink()));
    let scratch = Scratch::new();
    let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch));
    let app = launch.after(&format!("exec 2>{terminal};")).spawn();
    let socket = scratch.join("control.sock");
    eventually("a control socket", || UnixStream::connect(&socket).is_ok()).await;
    scratch.write("plan", format!("{WEB}\nstart sleep 3000"));
    let mut script = Script::new(&socket);
    script.send(r#"{"command":"restart","wait":true}"#);
    app.log.line(0, "start-up code of pid").await;
    eventually("a successor that starts", || app.current().children().len() == 1).await;
    let successor = app.starting();
    assert_eq!(stderr_of(&successor), PathBuf::from(terminal));
    assert_eq!(script.done()["ok"], true);
    successor.signal(Signal::TERM);
    assert_eq!(successor.exit().await, Exit::Code(0));
}
