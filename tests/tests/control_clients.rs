//! The control socket and those who connect to it: scripts as the guide shows them, clients that are open when something
//! happens to the process, and strangers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::control::{Script, Stage, WEB};
use tests::patience::eventually;
use tests::process::tool;
use tests::{Exit, Signal};

const GUIDE: &str = include_str!("../../gracehttp/docs/guide/control.md");

/// The lines of JSON in the guide that are requests, as they are there.
fn requests() -> Vec<&'static str> {
    let cells = GUIDE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.filter(|cell| cell.starts_with('{')).collect()
}

/// The command lines with `socat` in the guide.
fn command_lines() -> Vec<&'static str> {
    GUIDE.lines().filter_map(|line| line.strip_prefix("$ ")).filter(|line| line.contains("socat")).collect()
}

fn types(replies: &str) -> Vec<String> {
    let replies = replies.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    replies.map(|reply| reply["type"].as_str().expect("a type").to_owned()).collect()
}

/// A script sends a line, closes its end, and reads until the end.
#[tokio::test]
async fn each_request_of_the_guide_gets_the_replies_that_it_names() {
    let stage = Stage::new().await;
    let requests = requests();
    assert_eq!(requests.len(), 8, "{requests:?}");
    // The stop comes last.
    let (stop, others): (Vec<&str>, Vec<&str>) = requests.into_iter().partition(|line| line.contains("stop"));
    for request in others.into_iter().chain(stop) {
        let follows = request.contains("follow");
        // The guide's generation 2 is generation 1 here.
        let request = if follows { request.replace('2', "1") } else { request.to_owned() };
        let script = stage.script();
        script.send(&request);
        let replies = script.finish();
        let types = types(&replies);
        let names: Vec<&str> = types.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["status"] => assert!(request.contains("status")),
            ["message", .., "end"] => assert!(request.contains("logs")),
            // This service has no certificates. What is said of those is a test of theirs.
            ["error"] => assert!(request.contains("reload-certs"), "{replies}"),
            ["accepted", "done"] => assert!(follows || request.contains("reopen-logs"), "{replies}"),
            ["accepted", "event", .., "done"] => {
                assert!(
                    request.contains("restart") || request.contains("rehearse") || request.contains("stop")
                );
            }
            _ => panic!("{request}: {replies}"),
        }
    }
    assert_eq!(stage.app.current().exit().await, Exit::Code(0), "{}", stage.app.log);
}

#[tokio::test]
async fn socat_can_speak_it_as_the_guide_shows() {
    if !tool("socat") {
        return;
    }
    let stage = Stage::new().await;
    let lines = command_lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        let line = line.replace("/run/my_app.sock", stage.socket().to_str().unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).stdin(Stdio::null());
        let output =
            tokio::task::spawn_blocking(move || shell.output().expect("a shell")).await.expect("no panic");
        let replies = String::from_utf8(output.stdout).unwrap();
        let last: Value = serde_json::from_str(replies.lines().last().expect("a reply")).unwrap();
        match last["type"].as_str() {
            Some("status") => assert_eq!(last["status"]["process"]["generation"], 1),
            Some("done") => assert_eq!(last["ok"], true, "{line}: {replies}"),
            _ => panic!("{line}: {replies}"),
        }
    }
    stage.stop().await;
}

/// The fields that the guide shows of the status are there, and `/status.json` has the same document.
#[tokio::test]
async fn the_status_is_one_document_wherever_it_is_asked_for() {
    let stage = Stage::with(|launch| launch.env("GRACEHTTP_ADMIN", "127.0.0.1:0")).await;
    let line = stage.app.log.line(0, "status page on http://").await;
    let url = line.split("status page on ").nth(1).unwrap().trim().to_owned();
    let admin = tests::Target::from_url(&url);
    let reply = tests::client::get_once(&admin, "/status.json").await.unwrap();
    let page: Value = serde_json::from_str(&reply.text()).unwrap();
    let command: Value = serde_json::from_str(&stage.run(&["status", "--json"]).await.succeeded()).unwrap();
    fn shape(value: &Value, path: &str, into: &mut Vec<String>) {
        into.push(path.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| shape(value, &format!("{path}.{name}"), into));
            }
            Value::Array(items) => {
                items.iter().take(1).for_each(|value| shape(value, &format!("{path}[]"), into));
            }
            _ => {}
        }
    }
    let shape_of = |value| {
        let mut paths = Vec::new();
        shape(value, "", &mut paths);
        paths
    };
    assert_eq!(shape_of(&page), shape_of(&command));
    for document in [&page, &command] {
        assert_eq!(
            (&document["health"]["is_ready"], &document["health"]["stage"]),
            (&true.into(), &"serving".into())
        );
        assert!(document["certificates"].is_array(), "{document}");
    }
    stage.stop().await;
}

/// Clients that wait when something happens to the process.
struct Waiting {
    command: tokio::task::JoinHandle<std::process::Output>,
    follower: Script,
    open: Script,
}

/// A command that waits for a restart, a script that follows it, and a connection that has asked before.
async fn waiting(stage: &Stage) -> Waiting {
    let mut open = stage.script();
    assert_eq!(open.ask(r#"{"command":"status"}"#)["status"]["process"]["generation"], 1);
    let mut command = stage.command(&["restart", "--wait"]);
    let command = tokio::task::spawn_blocking(move || command.output().expect("the command"));
    eventually("a successor", || !stage.app.current().children().is_empty()).await;
    let mut follower = stage.script();
    assert_eq!(follower.ask(r#"{"command":"follow","generation":1}"#)["type"], "accepted");
    Waiting { command, follower, open }
}

#[tokio::test]
async fn those_who_wait_learn_of_a_take_back_and_can_ask_on() {
    let stage = Stage::with(|launch| launch.env("GRACEHTTP_STANDBY", "20s")).await;
    stage.plan(&format!("{WEB}\nstart sleep 3000"));
    let Waiting { command, mut follower, mut open } = waiting(&stage).await;
    let (first, successor) = (stage.app.current(), stage.app.starting());
    stage.app.serves(&stage.web, &successor).await;
    // These reach the successor, and die with it.
    let mut at_successor = stage.script();
    assert_eq!(at_successor.ask(r#"{"command":"status"}"#)["status"]["process"]["generation"], 2);
    successor.kill();
    let done = follower.done();
    assert!(done["ok"] == false && done["receipt"]["outcome"] == "taken_back", "{done}");
    let output = command.await.expect("no panic");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("it was killed by SIGKILL"), "{told}");
    assert!(at_successor.is_closed());
    for mut script in [open_again(&mut open), stage.script()] {
        let status = script.ask(r#"{"command":"status"}"#);
        assert_eq!(status["status"]["process"]["pid"], first.pid(), "{status}");
        assert_eq!(status["status"]["process"]["phase"], "serving");
    }
    drop(open);
    assert_eq!(stage.run(&["stop", "--wait"]).await.code, Some(0));
    assert_eq!(first.exit().await, Exit::Code(0));
}

/// The same connection, for one more request.
fn open_again(script: &mut Script) -> Script {
    Script { lines: std::io::BufReader::new(script.lines.get_ref().try_clone().expect("a duplicate")) }
}

#[tokio::test]
async fn those_who_wait_learn_of_a_stop() {
    let stage = Stage::new().await;
    stage.plan(&format!("{WEB}\nstart hang"));
    let Waiting { command, mut follower, mut open } = waiting(&stage).await;
    let mut stopping = stage.script();
    stopping.send(r#"{"command":"stop","wait":true}"#);
    let done = follower.done();
    assert!(
        done["ok"] == false && done["error"].as_str().unwrap().contains("has stopped the process"),
        "{done}"
    );
    let output = command.await.expect("no panic");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("has stopped the process"), "{told}");
    assert_eq!(stopping.done()["ok"], true);
    assert!(open.is_closed() && stopping.is_closed());
    assert_eq!(stage.app.current().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn those_who_wait_learn_of_the_end_of_the_process() {
    let stage = Stage::new().await;
    stage.plan(&format!("{WEB}\nstart hang"));
    let Waiting { command, mut follower, mut open } = waiting(&stage).await;
    let (process, successor) = (stage.app.current(), stage.app.starting());
    process.kill();
    let output = command.await.expect("no panic");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && told.contains("has ended before it said how that went"),
        "{told}"
    );
    while !follower.is_closed() {}
    assert!(open.is_closed());
    process.exit().await;
    // It goes on without its predecessor: here it never gets ready.
    successor.kill();
}

/// Nobody but root and the same user can connect; but a script with a fault can.
#[tokio::test]
async fn strangers_cost_little_and_hold_up_no_one() {
    let stage = Stage::new().await;
    let mut honest = stage.client().await;
    honest.get("/ping").await.unwrap();
    let process = stage.app.current();
    let connect = || UnixStream::connect(stage.socket()).unwrap();
    let ask = || {
        let begun = Instant::now();
        assert_eq!(stage.script().ask(r#"{"command":"status"}"#)["type"], "status");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    };
    ask();
    // The last line of the start.
    stage.app.log.line(0, "standby is").await;
    let (memory, lines) = (process.resident_kib(), stage.app.log.end());

    // No newline, and no end.
    let mut endless = connect();
    while endless.write_all(&[b'x'; 65536]).is_ok() {}
    ask();
    // Lines without an end, which are no requests. The replies are not read.
    let mut chatter = connect();
    chatter.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while chatter.write_all("nonsense\n".repeat(1000).as_bytes()).is_ok() {}
    ask();
    // Half a line, and then nothing; binary; nested deeply.
    let mut half = connect();
    half.write_all(br#"{"version":1,"comm"#).unwrap();
    for bytes in [&b"\0\xff\xfe\x80\n"[..], &[b"[".repeat(4000), b"\n".to_vec()].concat()] {
        let mut odd = connect();
        odd.write_all(bytes).unwrap();
        odd.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        odd.read_to_string(&mut reply).unwrap();
        assert_eq!(types(&reply), ["error"], "{reply}");
    }
    ask();
    // Clients that wait for something that does not come, and give up.
    for _ in 0..40 {
        stage.script().send(r#"{"command":"follow","generation":1}"#);
    }
    eventually("room for others", || stage.script().ask(r#"{"command":"status"}"#)["type"] == "status").await;
    // Many that ask, and do not read.
    let mut many: Vec<UnixStream> = Vec::new();
    for _ in 0..1000 {
        let mut client = connect();
        let _ = client.write_all(b"{\"command\":\"status\"}\n{\"command\":\"logs\"}\n");
        many.push(client);
    }
    ask();
    drop((many, half, chatter, endless));
    ask();
    assert!(process.resident_kib() < memory + (16 << 10), "{memory} KiB, then {}", process.resident_kib());
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.end(), lines, "{}", stage.app.log);
    assert_eq!(honest.get("/ping").await.unwrap().pid(), Some(process.pid()));
    stage.run(&["restart", "--wait"]).await.succeeded();
    assert_eq!(honest.get("/ping").await.unwrap().pid(), Some(stage.app.pid()));
    process.exit().await;
    stage.app.signal(Signal::TERM);
    assert_eq!(stage.app.current().exit().await, Exit::Code(0));
}
