//! The files of an access log that are renamed, cut off or opened anew while processes write to them.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use tests::access::AccessLog;
use tests::client::get;
use tests::control::Stage;
use tests::load::Style;
use tests::patience::eventually;
use tests::{Exit, Launch, Load, Scratch, Signal};

/// A process whose commands the tests run, and whose server `web` logs to this file.
async fn logging_to(path: &Path) -> Stage {
    Stage::with(|launch| {
        let launch = launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG", "json");
        launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", path)
    })
    .await
}

#[tokio::test]
async fn a_rotation_under_load_loses_no_line() {
    let scratch = Scratch::new();
    let (path, old) = (scratch.join("access.log"), scratch.join("access.log.1"));
    let stage = logging_to(&path).await;
    let load = Load::on(&stage.web).pause(Duration::from_millis(2)).clients(8, Style::Get);
    load.answers(100).await;
    std::fs::rename(&path, &old).unwrap();
    load.answers(100).await;
    assert_eq!(stage.run(&["reopen-logs"]).await.succeeded(), "the access log was opened anew\n");
    let before = AccessLog::at(&old).lines().len();
    load.answers(100).await;
    let report = load.stop().await;
    assert_eq!(AccessLog::at(&old).lines().len(), before, "the former file is left alone");
    assert!(before >= 200 && !AccessLog::at(&path).lines().is_empty());

    // What can't be opened is an error of the command, and the log goes on.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let told = stage.run(&["reopen-logs"]).await.failed();
    assert!(told.contains("can't be opened"), "{told}");
    std::fs::remove_dir(&path).unwrap();
    stage.run(&["reopen-logs"]).await.succeeded();
    stage.client().await.get("/ping").await.unwrap();
    let log = AccessLog::at(&path);
    eventually("a line in the new file", || log.lines().len() == 1).await;
    assert!(report.answers >= 300);
    stage.stop().await;
}

/// Standard error has the messages of the framework, too.
#[tokio::test]
async fn standard_error_takes_whole_lines_of_both_generations() {
    let scratch = Scratch::new();
    let launch = Launch::app(&scratch, "server web 127.0.0.1:0").directory(scratch.path());
    let launch = launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG", "json");
    let app = launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", "stderr").after("exec 1>/dev/null;").spawn();
    let target = app.target("web").await;
    let load = Load::on(&target).pause(Duration::from_millis(2)).clients(8, Style::Get);
    load.answers(100).await;
    app.restart().await;
    load.answers(100).await;
    let answers = load.stop().await.answers;
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0), "{}", app.log);
    app.catch_up().await;
    let lines = app.log.since(0);
    let of_requests = lines.iter().filter(|line| line.contains("\"status\"")).map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        line["generation"].as_u64().unwrap()
    });
    let of_requests: Vec<u64> = of_requests.collect();
    assert_eq!(of_requests.len() as u64, answers, "{}", app.log);
    assert!(of_requests.contains(&1) && of_requests.contains(&2), "{}", app.log);
    assert!(app.log.count(0, "start new process success, pid ") == 1, "{}", app.log);
    assert!(!scratch.join("stderr").exists(), "a file of that name");
}

#[tokio::test]
async fn a_rotation_while_a_successor_starts_reaches_it() {
    let scratch = Scratch::new();
    let (path, old) = (scratch.join("access.log"), scratch.join("access.log.1"));
    let stage = logging_to(&path).await;
    stage.client().await.get("/ping").await.unwrap();
    let log = AccessLog::at(&path);
    log.has(1).await;
    stage.plan("server web 127.0.0.1:0\nstart sleep 1500\n");
    let start = stage.app.log.end();
    stage.app.signal(Signal::USR2);
    // It has opened its files by then.
    stage.app.log.line(start, "start-up code of pid").await;
    std::fs::rename(&path, &old).unwrap();
    stage.run(&["reopen-logs"]).await.succeeded();
    let successor = stage.app.successor_since(start).await;
    stage.app.serves(&stage.web, &successor).await;
    eventually("a line of the successor", || log.lines().iter().any(|line| line["generation"] == 2)).await;
    assert_eq!(AccessLog::at(&old).lines().len(), 1, "the former file is left alone");
    stage.stop().await;
}

#[tokio::test]
async fn a_line_that_was_cut_off_spoils_no_other() {
    let scratch = Scratch::new();
    let path = scratch.write("access.log", "{\"status\":200}\n{\"sta");
    let stage = logging_to(&path).await;
    let ends_with = async |parts: &[&str]| {
        stage.client().await.get("/ping").await.unwrap();
        let last = || {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines().rev().take(parts.len()).map(str::to_owned).collect::<Vec<_>>()
        };
        let is_so = || last().iter().zip(parts).all(|(line, part)| line.starts_with(part));
        eventually(&format!("{parts:?} at the end of the log"), is_so).await;
    };
    let whole = "{\"time\":";
    ends_with(&[whole, "{\"sta", "{\"status\":200}"]).await;
    // As a full disk and a process that was killed leave it.
    let tear = || {
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"torn").unwrap();
    };
    tear();
    stage.run(&["reopen-logs"]).await.succeeded();
    ends_with(&[whole, "{\"torn", whole]).await;
    tear();
    stage.app.restart().await;
    ends_with(&[whole, "{\"torn", whole]).await;
    assert!(!std::fs::read_to_string(&path).unwrap().contains("\n\n"));
    stage.stop().await;
}

/// Emptied while its last line is torn, as an operator makes room on a full disk.
#[tokio::test]
async fn a_file_that_is_emptied_on_a_full_disk_begins_with_a_line() {
    let scratch = Scratch::new();
    let disk = scratch.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let options = ["-t", "tmpfs", "-o", "size=16k", "tmpfs"].map(std::ffi::OsStr::new);
    let is_mounted = std::process::Command::new("mount").args(options).arg(&disk).output();
    if !is_mounted.is_ok_and(|output| output.status.success()) {
        return tests::process::skipped("the right to mount a file system");
    }
    let disk = Mounted(disk);
    let path = disk.0.join("access.log");
    let stage = logging_to(&path).await;
    let load = Load::on(&stage.web).clients(2, Style::Get);
    load.answers(200).await;
    stage.app.log.line(0, "can't be written").await;
    load.stop().await;
    assert!(!std::fs::read(&path).unwrap().ends_with(b"\n"), "the last line is torn");
    std::fs::File::create(&path).unwrap();
    stage.client().await.get("/ping").await.unwrap();
    stage.app.log.line(0, "is written again").await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"time\":"), "{text:?}");
    stage.stop().await;
}

/// Unmounted at the end of the test.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_predecessor_that_drains_opens_its_log_anew_too() {
    let scratch = Scratch::new();
    let (path, old) = (scratch.join("access.log"), scratch.join("access.log.1"));
    let stage = logging_to(&path).await;
    let start = stage.app.log.end();
    let mut client = stage.client().await;
    client.send(get("/slow?millis=2500")).await.unwrap();
    stage.app.log.line(start, "slow begins").await;
    stage.app.restart().await;
    std::fs::rename(&path, &old).unwrap();
    stage.run(&["reopen-logs"]).await.succeeded();
    client.reply().await.unwrap();
    let log = AccessLog::at(&path);
    eventually("the line of the predecessor", || !log.of("/slow").is_empty()).await;
    assert_eq!(log.of("/slow")[0]["generation"], 1);
    assert!(AccessLog::at(&old).of("/slow").is_empty());
    stage.stop().await;
}
