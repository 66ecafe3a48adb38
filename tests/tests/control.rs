//! The control socket: its commands as an operator runs them, and its protocol as a script speaks it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::Exit;
use tests::control::{Script, Stage, WEB, address};
use tests::patience::{PATIENCE, eventually, within};
use tests::process::{bin, tool};

/// Returns the normal number, or with `GRACEHTTP_LONG` the long one.
fn count(normal: u32, long: u32) -> u32 {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { long } else { normal }
}

#[tokio::test]
async fn an_operator_asks_restarts_and_stops() {
    let stage = Stage::new().await;
    assert_eq!(stage.socket().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = stage.client().await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));

    let status = stage.run(&["status"]).await.succeeded();
    assert!(status.starts_with(&format!("generation 1, pid {}: serving", stage.app.pid())), "{status}");
    assert!(status.contains("1 of "), "{status}");
    let report: Value = serde_json::from_str(&stage.run(&["status", "--json"]).await.succeeded()).unwrap();
    assert_eq!((&report["version"], &report["process"]["generation"]), (&json!(1), &json!(1)));
    assert_eq!(report["servers"][0]["connections"]["held"], 1);

    let told = stage.run(&["restart", "--wait"]).await.succeeded();
    for step in ["starts", "is ready", "serves; pid", "can't take over again", "1 connections: 1 moved"] {
        assert!(told.contains(step), "{step} is missing in\n{told}");
    }
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    // The successor learns of the receipt when the predecessor has ended.
    let told = async {
        loop {
            let status = stage.run(&["status"]).await.succeeded();
            assert!(status.starts_with("generation 2"), "{status}");
            if status.contains("last restart, of generation 1: 1 connections: 1 moved") {
                return;
            }
        }
    };
    within(PATIENCE, "the receipt in the status", told).await;

    let messages = stage.run(&["logs", "--minutes", "5"]).await.succeeded();
    assert!(messages.contains("INFO serving web on http://"), "{messages}");
    // Those of the predecessor have come along.
    let earlier = messages.lines().find(|line| line.contains("generation 1, pid "));
    assert!(earlier.is_some() && messages.lines().next() == earlier, "{messages}");

    let told = stage.run(&["stop", "--wait"]).await.succeeded();
    assert!(told.contains("stops\n") && told.trim_end().ends_with("has stopped"), "{told}");
    assert_eq!(stage.app.current().exit().await, Exit::Code(0));
    let told = stage.run(&["status"]).await.failed();
    assert!(told.contains("there is no such socket: the program does not run"), "{told}");
}

#[tokio::test]
async fn a_drain_accepts_for_a_while_and_ends() {
    let stage = Stage::with(|launch| launch.env("GRACEHTTP_LAME_DUCK", "0s")).await;
    assert!(stage.run(&["drain"]).await.succeeded().contains("was asked to drain"));
    eventually("the stop begins", || stage.app.log.count(0, "a command asks for a stop") == 1).await;
    let mut client = stage.client().await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    // A second stop does not wait.
    stage.run(&["stop"]).await.succeeded();
    assert_eq!(stage.app.current().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn it_survives_restarts_and_clients_that_say_nothing_or_do_not_read() {
    let stage = Stage::new().await;
    for number in 2..2 + count(6, 20) {
        let silent = stage.script();
        // It asks for more than its socket holds, and reads nothing.
        let unread = stage.script();
        for _ in 0..20 {
            let _ = unread.lines.get_ref().write_all(br#"{"command":"status"}"#);
            let _ = unread.lines.get_ref().write_all(b"\n");
        }
        let told = stage.run(&["restart", "--wait"]).await.succeeded();
        assert!(told.contains(&format!("generation {number}, pid")), "{told}");
        assert_eq!(stage.script().ask(r#"{"command":"status"}"#)["status"]["process"]["generation"], number);
        drop((silent, unread));
    }
    stage.app.predecessors_leave_cleanly().await;
    stage.stop().await;
}

#[tokio::test]
async fn more_clients_than_there_is_room_for_push_out_the_silent_ones() {
    let stage = Stage::new().await;
    let mut silent: Vec<Script> = (0..50).map(|_| stage.script()).collect();
    assert_eq!(stage.script().ask(r#"{"command":"status"}"#)["type"], "status");
    assert!(silent[0].is_closed(), "the first of 50 silent clients is still there");
    assert_eq!(silent[49].ask(r#"{"command":"status"}"#)["type"], "status");
    stage.stop().await;
}

#[tokio::test]
async fn what_a_script_gets_wrong_is_told() {
    let stage = Stage::new().await;
    let mut script = stage.script();
    for (line, told) in [
        ("nonsense", "the request is not understood"),
        (r#"{"command":"reboot"}"#, "this process does not know the command `reboot`: known are status,"),
        (r#"{"version":2,"command":"status"}"#, "this process speaks version 1, not 2"),
        (r#"{"command":"stop","when":"now"}"#, "the command `stop` does not take the field `when`"),
    ] {
        let reply = script.ask(line);
        let error = reply["error"].as_str().unwrap_or_default();
        assert!(reply["type"] == "error" && error.starts_with(told), "{line}: {reply}");
    }
    // The conversation goes on, also with a line that comes in pieces, and an empty one.
    script.lines.get_ref().write_all(b"\n{\"version\":1,").unwrap();
    script.lines.get_ref().write_all(b"\"command\":\"status\"}\n").unwrap();
    assert_eq!(script.read()["status"]["version"], 1);

    let mut huge = stage.script();
    let _ = huge.lines.get_ref().write_all(&vec![b'x'; 1 << 20]);
    assert!(huge.is_closed() || huge.is_closed(), "a line of 1 MiB is read on");
    assert_eq!(script.ask(r#"{"command":"status"}"#)["type"], "status");
    stage.stop().await;
}

#[tokio::test]
async fn a_broken_successor_fails_the_command_with_its_own_words() {
    let stage = Stage::new().await;
    stage.plan(&format!("{WEB}\nstart refuse the_disk_is_full"));
    let told = stage.run(&["restart", "--wait"]).await.failed();
    assert!(told.contains("the start-up code failed: the_disk_is_full"), "{told}");
    let told = stage.run(&["restart", "--rehearse"]).await.failed();
    assert!(told.contains("the start-up code failed: the_disk_is_full"), "{told}");
    stage.plan(&format!("{WEB}\nstart abort"));
    let told = stage.run(&["restart", "--wait"]).await.failed();
    assert!(told.contains("it was killed by SIGABRT"), "{told}");
    let status = stage.run(&["status"]).await.succeeded();
    assert!(status.contains("restarts of this process: 2 failed"), "{status}");
    stage.plan(WEB);
    stage.run(&["restart", "--wait"]).await.succeeded();
    stage.stop().await;
}

#[tokio::test]
async fn two_that_wait_both_learn_of_their_restart() {
    let stage = Stage::new().await;
    // Together: one restart, or one more after it.
    let (one, other) = tokio::join!(stage.run(&["restart", "--wait"]), stage.run(&["restart", "--wait"]));
    one.succeeded();
    other.succeeded();

    // The second comes while the successor of the first starts: the restart goes on there.
    stage.plan(&format!("{WEB}\nstart sleep 4000"));
    let mut first = stage.script();
    let generation = first.ask(r#"{"command":"restart","wait":true}"#)["generation"].as_u64().unwrap();
    assert_eq!(first.read()["event"], "started");
    let told = stage.run(&["restart", "--wait"]).await.succeeded();
    assert!(told.contains("restarts once more"), "{told}");
    let serving = stage.script().ask(r#"{"command":"status"}"#)["status"]["process"]["generation"].as_u64();
    assert_eq!(serving, Some(generation + 2), "{told}");
    stage.stop().await;
}

/// On a terminal, where Ctrl-C reaches all processes of the foreground.
#[tokio::test]
async fn ctrl_c_leaves_the_restart_alone() {
    if !tool("script") {
        return;
    }
    let stage = Stage::new().await;
    stage.plan(&format!("{WEB}\nstart sleep 5000"));
    let (starting, control) = (stage.app.log.end(), address(&stage.scratch));
    let mut terminal = Command::new("script");
    // A shell that runs the tests in the background has SIGINT ignored, which its children inherit.
    let command = format!("exec env --default-signal=INT {} restart --wait", bin("app").display());
    terminal.args(["-qec", &command, "/dev/null"]).env("GRACEHTTP_CONTROL", control);
    terminal.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut terminal = terminal.spawn().expect("script");
    eventually("a successor starts", || !stage.app.current().children().is_empty()).await;
    terminal.stdin.as_mut().expect("a pipe").write_all(b"\x03").expect("a terminal that reads");
    let status =
        tokio::task::spawn_blocking(move || terminal.wait().expect("its end")).await.expect("no panic");
    assert_eq!(status.code(), Some(128 + 2), "SIGINT has ended the command");
    assert!(!stage.app.current().children().is_empty(), "the successor still starts");
    let successor = stage.app.successor_since(starting).await;
    stage.app.serves(&stage.web, &successor).await;
    let status = stage.script().ask(r#"{"command":"status"}"#);
    assert_eq!(status["status"]["process"]["generation"], 2);
    stage.stop().await;
}

#[tokio::test]
async fn a_restart_of_an_earlier_generation_is_told_with_its_receipt() {
    let stage = Stage::with(|launch| launch.env("GRACEHTTP_STANDBY", "700ms")).await;
    let mut client = stage.client().await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    let successor = stage.app.restart().await;
    stage.app.serves(&stage.web, &successor).await;
    // The predecessor may still drain: its receipt is waited for.
    let mut script = stage.script();
    assert_eq!(script.ask(r#"{"command":"follow","generation":1}"#)["type"], "accepted");
    let done = script.read();
    assert_eq!((&done["type"], &done["ok"]), (&json!("done"), &json!(true)), "{done}");
    assert_eq!(
        (&done["receipt"]["generation"], &done["receipt"]["outcome"]),
        (&json!(1), &json!("succeeded"))
    );
    assert!(done["receipt"]["text"].as_str().unwrap().contains("1 connections"), "{done}");
    // Of one that does not live, and of one whose receipt is not known.
    let done = script.ask(r#"{"command":"follow","generation":7}"#);
    assert!(done["error"].as_str().unwrap().contains("generation 7 does not live"), "{done}");
    assert_eq!(script.ask(r#"{"command":"follow","generation":0}"#)["type"], "accepted");
    let done = script.read();
    assert!(done["ok"] == false && done["error"].as_str().unwrap().contains("left no receipt"), "{done}");
    stage.stop().await;
}

#[tokio::test]
async fn a_rehearsal_changes_nothing() {
    let stage = Stage::new().await;
    let mut client = stage.client().await;
    client.get("/ping").await.unwrap();
    stage.run(&["restart", "--rehearse"]).await.succeeded();
    let process = stage.app.current();
    let state = || (process.descriptors(), process.children());
    // The command's own connection ends a moment after the command.
    let mut before = state();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match std::mem::replace(&mut before, state()) {
            earlier if earlier == before => break,
            _ => {}
        }
    }
    for _ in 0..count(4, 100) {
        let told = stage.run(&["restart", "--rehearse"]).await.succeeded();
        assert!(told.contains("a restart would succeed; nothing has changed"), "{told}");
    }
    eventually("the former state", || state() == before).await;
    assert_eq!(client.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    let report = stage.script().ask(r#"{"command":"status"}"#);
    assert_eq!(report["status"]["process"]["generation"], 1);
    assert_eq!(report["status"]["servers"][0]["connections"]["held"], 1);
    stage.stop().await;
}
