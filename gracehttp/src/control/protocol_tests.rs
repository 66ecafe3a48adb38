//! The lines of the control socket, byte for byte: scripts, and the commands of other releases, rely on them. A line that
//! was released gets no other form; fields may be added.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::control::client::Client;
use crate::control::progress::{Progress, Step, Subject};
use crate::control::protocol::{Command, error, reply};
use crate::lifecycle::{Event, Outcome, RestartReceipt, Subscriber as _, SuccessorFault, Trigger};

/// What the commands send.
#[test]
fn requests_have_these_bytes_and_are_read() {
    let (stream, script) = UnixStream::pair().unwrap();
    let mut client = Client::over(stream, "/run/app.sock".into());
    let mut lines = BufReader::new(script).lines();
    for (command, fields, bytes, read) in [
        ("status", json!({}), r#"{"command":"status","version":1}"#, Command::Status),
        (
            "restart",
            json!({ "wait": true }),
            r#"{"command":"restart","version":1,"wait":true}"#,
            Command::Restart { wait: true },
        ),
        (
            "restart",
            json!({ "wait": false }),
            r#"{"command":"restart","version":1,"wait":false}"#,
            Command::Restart { wait: false },
        ),
        ("rehearse", json!({}), r#"{"command":"rehearse","version":1}"#, Command::Rehearse),
        (
            "stop",
            json!({ "wait": true }),
            r#"{"command":"stop","version":1,"wait":true}"#,
            Command::Stop { wait: true },
        ),
        (
            "drain",
            json!({ "wait": true }),
            r#"{"command":"drain","version":1,"wait":true}"#,
            Command::Drain { wait: true },
        ),
        ("logs", json!({}), r#"{"command":"logs","version":1}"#, Command::Logs { minutes: None }),
        (
            "logs",
            json!({ "minutes": 5 }),
            r#"{"command":"logs","minutes":5,"version":1}"#,
            Command::Logs { minutes: Some(5) },
        ),
        (
            "follow",
            json!({ "generation": 2 }),
            r#"{"command":"follow","generation":2,"version":1}"#,
            Command::Follow { generation: 2 },
        ),
    ] {
        client.ask(command, fields).unwrap();
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, bytes);
        assert_eq!(Command::read(line.as_bytes()), Ok(read));
    }
}

#[test]
fn simple_replies_have_these_bytes() {
    let accepted = reply("accepted", json!({ "pid": 7, "generation": 2 }));
    assert_eq!(accepted.to_string(), r#"{"generation":2,"pid":7,"type":"accepted","version":1}"#);
    assert_eq!(reply("end", json!({})).to_string(), r#"{"type":"end","version":1}"#);
    assert_eq!(error("no").to_string(), r#"{"error":"no","type":"error","version":1}"#);
}

/// The lines for a client that waits for the first restart.
fn told(events: &[Event]) -> Vec<String> {
    let progress = Progress::default();
    let (number, mut steps) = progress.follow_restart();
    events.iter().for_each(|event| progress.on_event(event));
    let mut lines = Vec::new();
    while let Ok(step) = steps.try_recv() {
        if Subject::Restart(number).concerns(&step) {
            lines.push(line(&step));
        }
    }
    lines
}

/// Without what differs from test to test: our own pid, and the receipt, which has a test of its own.
fn line(Step { line, .. }: &Step) -> String {
    let mut line = Value::clone(line);
    if let Some(receipt) = line.get_mut("receipt") {
        assert!(receipt["text"].is_string(), "{receipt}");
        *receipt = json!({});
    }
    line.to_string().replace(&format!("pid {}", std::process::id()), "pid OWN")
}

#[test]
fn the_steps_of_a_restart_have_these_bytes() {
    let (trigger, successor) = (Trigger::Command, Pid::from_raw(7));
    let outcome = Outcome::Succeeded;
    let receipt = RestartReceipt { generation: 1, successor: Some(7), outcome, ..RestartReceipt::default() };
    let text = receipt.to_string();
    let lines = told(&[
        Event::RestartRequested { trigger },
        Event::SuccessorStarted { successor },
        Event::SuccessorReady { successor },
        Event::Committed { successor },
        Event::StandbyOver { successor },
        Event::Draining { connections: 3, limit: Duration::from_secs(8) },
        Event::RestartDone(Arc::new(receipt)),
    ]);
    let expected = [
        r#"{"event":"started","successor":7,"text":"generation 2, pid 7, starts","type":"event","version":1}"#.to_owned(),
        r#"{"event":"ready","successor":7,"text":"generation 2, pid 7, is ready","type":"event","version":1}"#.to_owned(),
        r#"{"event":"committed","successor":7,"text":"generation 2, pid 7, serves; pid OWN drains","type":"event","version":1}"#.to_owned(),
        r#"{"event":"standby_over","text":"pid OWN can't take over again any more","type":"event","version":1}"#.to_owned(),
        r#"{"connections":3,"event":"draining","limit_ms":8000,"text":"3 connections are open; they have 8s to finish","type":"event","version":1}"#.to_owned(),
        format!(r#"{{"generation":2,"ok":true,"receipt":{{}},"text":"generation 2, pid 7, serves; {text}","type":"done","version":1}}"#),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_end_of_a_restart_that_fails_has_these_bytes() {
    let reason = SuccessorFault::Reported("no".to_owned());
    let receipt = RestartReceipt {
        outcome: Outcome::Failed,
        reason: Some("no".to_owned()),
        ..RestartReceipt::default()
    };
    let lines = told(&[
        Event::RestartRequested { trigger: Trigger::Command },
        Event::SuccessorFailed { successor: None, reason, last_lines: vec!["oh".to_owned()] },
        Event::RestartDone(Arc::new(receipt)),
    ]);
    let expected = r#"{"error":"no","ok":false,"receipt":{},"stderr":["oh"],"type":"done","version":1}"#;
    assert_eq!(lines, [expected]);
}
