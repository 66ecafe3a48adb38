//! The log as JSON: from the first line on, every line is one object, whatever is in it.

use serde_json::Value;
use tests::supervised::{Supervised, WEB, supervised};
use tests::{App, Client, Exit, Launch, Scratch};

fn launch(scratch: &Scratch) -> Launch {
    Launch::bin("configured").directory(scratch.path()).env("RUST_BACKTRACE", "0").env("RUST_LOG", "")
}

/// Every line that any process has written.
fn lines(app: &App) -> Vec<Value> {
    let object = |line: &String| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let time = value["timestamp"].as_str().unwrap_or_default();
        let is_utc = time.len() == "2026-11-26T22:00:00.123Z".len() && time.ends_with('Z');
        assert!(is_utc && value["level"].is_string() && value["target"].is_string(), "{line}");
        assert!(value["pid"].is_u64() && value["message"].is_string(), "{line}");
        value
    };
    app.log.since(0).iter().map(object).collect()
}

fn event<'l>(lines: &'l [Value], name: &str) -> &'l Value {
    lines.iter().find(|line| line["event"] == name).unwrap_or_else(|| panic!("no {name} in {lines:#?}"))
}

#[tokio::test]
async fn each_line_is_an_object_with_the_fields_of_its_event() {
    let scratch = Scratch::new();
    scratch.write("Gracehttp.toml", "log_format = \"json\"\nlog = \"gracehttp=debug,my_target=info\"\n");
    let app = launch(&scratch).start("web").await;
    let (web, first) = (app.target("web").await, app.current());
    let mut client = Client::connect(&web).await.unwrap();
    let hostile = "a%22b%5C%0A%1b[31m%7B%22level%22:%22ERROR%22%7D";
    client.get(&format!("/log?{hostile}")).await.unwrap();
    client.get("/panic").await.unwrap();
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    first.exit().await;
    assert!(app.stop().await.is_clean());
    app.catch_up().await;

    let lines = lines(&app);
    assert!(lines.iter().any(|line| line["event"] == "setting" && line["key"] == "log_format"));
    let serving = event(&lines, "serving");
    assert_eq!((&serving["server"], &serving["tls"]), (&"web".into(), &false.into()));
    assert_eq!((&serving["generation"], &serving["pid"]), (&1.into(), &first.pid().into()));
    assert_eq!(serving["endpoint"].as_str(), Some(web.address().to_string().as_str()));
    let asked = event(&lines, "restart_requested");
    assert_eq!((&asked["trigger"], &asked["signal"]), (&"signal".into(), &"SIGUSR2".into()));
    let done = event(&lines, "restart_done");
    assert_eq!((&done["outcome"], &done["successor"]), (&"succeeded".into(), &successor.pid().into()));
    assert!(lines.iter().any(|line| line["event"] == "stopped" && line["generation"] == 2));

    let own = lines.iter().find(|line| line["target"] == "my_target").expect("the application's own event");
    assert_eq!(
        (&own["level"], &own["count"], &own["ratio"], &own["on"]),
        (&"WARN".into(), &3.into(), &0.5.into(), &true.into())
    );
    assert_eq!(own["query"], hostile);
    assert_eq!(own["message"], format!("a client says\n{hostile}"));
    assert_eq!((&own["spans"][0]["name"], &own["spans"][0]["number"]), (&"visit".into(), &7.into()));

    let about = |words: &str| {
        let is_it = |line: &&Value| line["message"].as_str().is_some_and(|text| text.contains(words));
        lines.iter().find(is_it).unwrap_or_else(|| panic!("no {words} in {lines:#?}"))
    };
    for words in ["its handler panicked", "its connections in the drain", "has answered"] {
        assert_eq!(about(words)["server"], "web", "{words}");
    }
    assert_eq!(about("has answered")["event"], "answered");

    let panic = event(&lines, "panic");
    assert!(
        panic["message"].as_str().is_some_and(|text| text.contains("the handler's own\nfault")),
        "{panic}"
    );
    assert!(panic["location"].as_str().is_some_and(|place| place.contains("configured.rs:")), "{panic}");
}

#[tokio::test]
async fn what_fails_before_the_configuration_is_read_is_json_too_and_so_is_a_failed_restart() {
    let scratch = Scratch::new();
    let app = launch(&scratch).env("GRACEHTTP_LOG_FORMAT", "json").start("web").await;
    scratch.write("Gracehttp.toml", "[server.web]\nhttp1 = false\nhttp2 = false\n");
    app.signal(tests::Signal::USR2);
    app.log.line(0, "serves on").await;
    assert_eq!(app.stop().await, Exit::Code(0));
    app.catch_up().await;
    let of_app = lines(&app);
    let failed = event(&of_app, "successor_failed");
    assert!(failed["successor"].is_u64() && failed["server"] == "web", "{failed}");

    scratch.write("Gracehttp.toml", "stand\"by = 1\n");
    let refused = launch(&scratch).env("GRACEHTTP_LOG_FORMAT", "json").spawn();
    assert_eq!(refused.first().exit().await, Exit::Code(1));
    refused.catch_up().await;
    assert!(
        lines(&refused)[0]["message"].as_str().is_some_and(|text| text.starts_with("Gracehttp.toml:1: "))
    );
}

#[tokio::test]
async fn a_supervisor_writes_json_too() {
    let scratch = Scratch::new();
    let service = Supervised::start(supervised(&scratch, WEB).env("GRACEHTTP_LOG_FORMAT", "json")).await;
    service.worker().await.signal(tests::Signal::KILL);
    service.app.log.line(0, "\"process\":\"supervisor\"").await;
    service.app.log.line(0, "generation 2").await;
    service.stops().await;
    let lines: Vec<Value> = service
        .app
        .log
        .since(0)
        .iter()
        .filter(|line| line.contains("gracehttp"))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    let told = lines.iter().find(|line| line["process"] == "supervisor").expect("a line of the supervisor");
    assert_eq!((&told["level"], &told["pid"]), (&"ERROR".into(), &service.supervisor.pid().into()));
}

#[tokio::test]
async fn levels_are_set_by_key_and_rust_log_wins() {
    let scratch = Scratch::new();
    scratch.write("Gracehttp.toml", "log = \"gracehttp=warn,my_target=error\"\n");
    let app = launch(&scratch).env("RUST_LOG", "info").start("web").await;
    app.log
        .line(0, "log is gracehttp=warn,my_target=error, set by Gracehttp.toml:1; RUST_LOG wins over it")
        .await;
    assert_eq!(app.stop().await, Exit::Code(0));
    let quiet = launch(&scratch).spawn();
    quiet.signal(tests::Signal::TERM);
    quiet.current().exit().await;
    quiet.catch_up().await;
    assert_eq!(quiet.log.count(0, "INFO"), 0, "{}", quiet.log);
}
