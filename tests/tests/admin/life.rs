//! The address in the turns that the life of a service can take.

use serde_json::Value;
use tests::client::{get, get_once};
use tests::patience::{eventually, within};
use tests::{Client, Exit, Launch, Scratch, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::{LIMIT, admin_of, ask, operated, status_when, until};

const WEB: &str = "server web 127.0.0.1:0";

fn administered(scratch: &Scratch) -> Launch {
    Launch::app(scratch, WEB).env("GRACEHTTP_ADMIN", "127.0.0.1:0")
}

fn pid(status: &Value) -> u64 {
    status["process"]["pid"].as_u64().expect("a pid")
}

#[tokio::test]
async fn after_a_take_back_the_old_process_answers_again_and_nobody_was_refused() {
    let scratch = Scratch::new();
    let app = administered(&scratch).env("GRACEHTTP_STANDBY", "20s").spawn();
    let (admin, old) = (admin_of(&app).await, app.first());
    let successor = app.restart().await;
    let new = u64::from(successor.pid());
    status_when(&admin, "the successor's", |status| pid(status) == new).await;
    // Clients that wait in the queue while no process accepts are served by the one that does so next.
    let mut waiting = Vec::new();
    successor.signal(Signal::STOP);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(admin.address()).await.expect("nobody is refused");
        let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        waiting.push(stream);
    }
    successor.kill();
    for mut stream in waiting {
        let mut reply = String::new();
        within(LIMIT, "an answer", stream.read_to_string(&mut reply)).await.expect("a whole answer");
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }
    status_when(&admin, "the old one's, after a take-back", |status| {
        pid(status) == u64::from(old.pid())
            && status["process"]["phase"] == "serving"
            && status["restarts"]["taken_back"] == 1
            && status["receipts"][0]["outcome"] == "taken_back"
    })
    .await;
    // The next restart moves it again.
    let start = app.log.end();
    old.signal(Signal::USR2);
    let next = app.successor_since(start).await;
    status_when(&admin, "the next one's", |status| pid(status) == u64::from(next.pid())).await;
    next.signal(Signal::TERM);
}

#[tokio::test]
async fn after_a_crash_the_next_process_answers_and_nobody_was_refused() {
    let scratch = Scratch::new();
    let app = administered(&scratch).env("GRACEHTTP_SUPERVISE", "always").start("web").await;
    let admin = admin_of(&app).await;
    let first = pid(&status_when(&admin, "serving", |_| true).await);
    // A restart before it: its receipt outlives the crash.
    let start = app.log.end();
    app.signal(Signal::USR2);
    app.successor_since(start).await;
    let receipt = |status: &Value| status["receipts"].as_array().is_some_and(|list| list.len() == 1);
    let status = status_when(&admin, "restarted", |status| pid(status) != first && receipt(status)).await;
    let worker = app.hold(u32::try_from(pid(&status)).unwrap());
    worker.signal(Signal::KILL);
    let limit = std::time::Instant::now() + LIMIT;
    let fresh = loop {
        assert!(std::time::Instant::now() < limit, "{}", app.log);
        TcpStream::connect(admin.address()).await.expect("nobody is refused");
        // One that the dying process had accepted is lost.
        let Ok(reply) = get_once(&admin, "/status.json").await else { continue };
        let status: Value = serde_json::from_str(&reply.text()).expect("JSON");
        if pid(&status) != u64::from(worker.pid()) && status["process"]["phase"] == "serving" {
            break status;
        }
    };
    assert_eq!((&fresh["process"]["generation"], receipt(&fresh)), (&3.into(), true), "{fresh:#}");
    until(&admin, "/readyz", 200).await;
    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
}

/// What a process says over a socket file; nothing if it can't be reached.
async fn over(path: &std::path::Path) -> Option<Value> {
    let mut stream = UnixStream::connect(path).await.ok()?;
    let request = b"GET /status.json HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut reply = String::new();
    within(LIMIT, "a reply", stream.read_to_string(&mut reply)).await.ok()?;
    serde_json::from_str(reply.split_once("\r\n\r\n")?.1).ok()
}

#[tokio::test]
async fn a_restart_can_move_the_address_take_it_away_and_bring_it_back() {
    let scratch = Scratch::new();
    let (one, other) = (scratch.join("one.sock"), scratch.join("other.sock"));
    let admin = |path: &std::path::Path| format!("admin = \"unix:{}\"\n", path.display());
    let file = scratch.write("app.toml", admin(&one));
    let app = Launch::app(&scratch, WEB).env("GRACEHTTP_CONFIG", &file).start("web").await;
    let at = |status: Option<Value>| status.map(|status| pid(&status));
    assert_eq!(at(over(&one).await), Some(app.pid().into()));
    for (path, gone) in [(Some(&other), Some(&one)), (None, Some(&other)), (Some(&one), None)] {
        scratch.write("app.toml", path.map(|path| admin(path)).unwrap_or_default());
        let successor = app.restart().await;
        app.serves(&app.target("web").await, &successor).await;
        if let Some(path) = path {
            assert_eq!(at(over(path).await), Some(successor.pid().into()), "{}", app.log);
        }
        if let Some(gone) = gone {
            eventually("the end of the old address", || !gone.exists()).await;
            assert!(over(gone).await.is_none());
        }
    }
    // One that can't be had: the restart fails, and the process answers where it did.
    scratch.write("app.toml", admin(&scratch.join("no/such/folder.sock")));
    let start = app.log.end();
    app.signal(Signal::USR2);
    app.log.line(start, "serves on").await;
    assert_eq!(at(over(&one).await), Some(app.current().pid().into()), "{}", app.log);
    assert!(app.stop().await.is_clean());
    assert!(!one.exists());
}

#[tokio::test]
async fn a_stop_is_told_from_its_first_moment_to_its_last_and_then_the_address_is_closed() {
    let scratch = Scratch::new();
    let launch = operated(&scratch).env("GRACEHTTP_LAME_DUCK", "3s");
    let app = launch.start("web").await;
    let (admin, web) = (admin_of(&app).await, app.target("web").await);
    until(&admin, "/readyz", 200).await;
    let mut kept = Client::connect(&admin).await.unwrap();
    assert_eq!(kept.get("/readyz").await.unwrap().status, 200);
    let start = app.log.end();
    app.signal(Signal::TERM);
    app.log.line(start, "SIGTERM").await;
    // No moment in which the stop has begun and the service says that it is ready; its listeners are open.
    assert_eq!(kept.get("/readyz").await.unwrap().status, 503);
    assert_eq!(ask(&admin, "/readyz?verbose").await.1.lines().nth(1), Some("[-] stage: stopping"));
    assert_eq!(ask(&admin, "/livez").await.0, 200);
    let status = status_when(&admin, "stopping", |status| status["process"]["phase"] == "stopping").await;
    assert_eq!(status["health"]["is_ready"], false);
    assert_eq!(get_once(&web, "/").await.unwrap().status, 200);
    // A client of the service holds it up: the address tells so.
    let mut slow = Client::connect(&web).await.unwrap().limit(LIMIT);
    slow.send(get("/wait?7000")).await.unwrap();
    eventually("the end of the lame duck", || std::net::TcpStream::connect(web.address()).is_err()).await;
    assert_eq!(ask(&admin, "/readyz").await.0, 503);
    assert_eq!(slow.reply().await.unwrap().status, 200);
    assert_eq!(app.first().exit().await, Exit::Code(0));
    assert!(TcpStream::connect(admin.address()).await.is_err());
}

/// 30 s long; a unit test of `admin/routes.rs` shows the same with a clock of its own.
#[tokio::test]
async fn workers_that_are_blocked_for_half_a_minute_end_the_liveness() {
    if std::env::var_os("GRACEHTTP_LONG").is_none() {
        return;
    }
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let (admin, web) = (admin_of(&app).await, app.target("web").await);
    let mut blocking = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&web).await.unwrap().limit(LIMIT * 3);
        client.send(get("/block?36000")).await.unwrap();
        blocking.push(client);
    }
    status_when(&admin, "blocked", |status| status["health"]["worker_threads_are_live"] == false).await;
    assert_eq!(ask(&admin, "/livez").await.0, 200);
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    until(&admin, "/livez", 503).await;
    for client in &mut blocking {
        assert_eq!(client.reply().await.unwrap().status, 200);
    }
    until(&admin, "/livez", 200).await;
}
