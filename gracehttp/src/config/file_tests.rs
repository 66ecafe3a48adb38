//! Valid and faulty files.

use std::time::Duration;

use super::*;
use crate::config::section::{Section, read_settings, refuse_settings};
use crate::config::{Provenance, Settings};
use crate::lifecycle::Signal;
use crate::server::ServerOptions;

/// Two servers, `ping` on port 9090 and `admin` on a socket, as a file configures them.
struct Outcome {
    settings: Settings,
    ping: ServerOptions,
    app: Result<toml::Table, String>,
    provenance: Vec<Provenance>,
}

impl Outcome {
    fn origins(&self) -> Vec<String> {
        let tell = |entry: &Provenance| format!("{} {} {}", entry.key, entry.value, entry.origin);
        self.provenance.iter().map(tell).collect()
    }
}

fn read(text: &str) -> Result<Outcome, Vec<String>> {
    let mut settings = Settings::default();
    let (mut ping, mut admin) = (ServerOptions::new("ping"), ServerOptions::new("admin"));
    ping.endpoints = vec![":9090".parse().unwrap()];
    admin.endpoints = vec!["unix:/run/admin.sock".parse().unwrap()];
    let file = File { path: "a.toml".into(), text: text.into() };
    let mut servers = [&mut ping, &mut admin];
    let mut draft = Draft::new(&mut settings, &mut servers);
    let app = file
        .apply(&mut draft)
        .map(|app| Section::of(Some(&file), app))
        .map(|app| read_settings(&app).map_err(|error| error.to_string()));
    let (app, provenance, _) =
        draft.finish(app).map_err(|error| error.to_string().lines().map(String::from).collect::<Vec<_>>())?;
    Ok(Outcome { settings, ping, app, provenance })
}

#[test]
fn repeated_key_is_named() {
    assert_eq!(
        faults("standby = '1s'\nstandby = '2s'\n"),
        ["a.toml:2: duplicate key `standby`: keep one of them"]
    );
    let twice = faults("[server.ping]\nport = 1\n[server.ping]\nmax_conns = 1\n");
    assert_eq!(twice, ["a.toml:3: duplicate key `ping`: keep one of them"]);
}

fn faults(text: &str) -> Vec<String> {
    match read(text) {
        Err(faults) => faults,
        Ok(_) => panic!("nothing is found to be wrong with {text}"),
    }
}

#[test]
fn file_sets_every_form_of_value_and_its_line_is_the_origin() {
    let outcome = read(
        r#"
drain_timeout = "30s"
worker_threads = 2
restart_on = ["HUP"]
stop_on = ["TERM", "SIGINT"]

[server.ping]
listen = ["127.0.0.1:80",
          "unix:/run/ping.sock"]
max_conns = 10_000
nodelay = false
max_body = "4MiB"
max_header_size = 9000
request_timeout = "off"

[app]
greeting = "hello"
"#,
    )
    .unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(outcome.settings.drain_timeout, Duration::from_secs(30));
    assert_eq!(outcome.settings.worker_threads, Some(2));
    assert_eq!(outcome.settings.stop_on, [Signal::Term, Signal::Int]);
    assert_eq!((outcome.ping.max_conns, outcome.ping.nodelay), (10_000, false));
    assert_eq!((outcome.ping.max_body, outcome.ping.max_header_size), (4 << 20, 9000));
    assert_eq!(outcome.app.as_ref().unwrap()["greeting"].as_str(), Some("hello"));
    assert_eq!(
        outcome.origins(),
        [
            "drain_timeout 30s a.toml:2",
            "worker_threads 2 a.toml:3",
            "restart_on HUP a.toml:4",
            "stop_on TERM, INT a.toml:5",
            "listen 127.0.0.1:80, unix:/run/ping.sock a.toml:8",
            "max_conns 10000 a.toml:10",
            "nodelay false a.toml:11",
            "max_body 4MiB a.toml:12",
            "max_header_size 9000 a.toml:13",
            "request_timeout off a.toml:14",
        ]
    );
}

#[test]
fn table_can_be_written_in_every_way_of_toml() {
    for text in [
        "[server.ping]\nport = 80",
        "server.ping.port = 80",
        "[server]\nping = { port = 80 }",
        "[server]\nping.port = 80",
    ] {
        let outcome = read(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
        assert_eq!(outcome.ping.endpoints, [":80".parse().unwrap()], "{text}");
    }
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_file() {
    let found = faults(
        r#"drain_timeout = 30
drain_timout = "30s"
port = 80
standby = true
worker_threads = "4"

[server.ping]
prot = 80
max_conns = "many"
nodelay = "false"
listen = 9090
lame_duck = "1s"

[server.pong]
port = 80

[server.ping.tls]
crt = "a.pem"

[ping]
"#,
    );
    let expected = [
        "a.toml:1: `drain_timeout = 30`: a duration needs a unit, such as `30s`",
        "a.toml:2: there is no key `drain_timout`: did you mean `drain_timeout`?",
        "a.toml:3: `port` is a key of a server: write it under `[server.NAME]`",
        "a.toml:4: `standby = true`: valid is a duration",
        "a.toml:5: `worker_threads = \"4\"`: write it without quotes",
        "a.toml:8: server `ping` has no key `prot`: did you mean `port`?",
        "a.toml:9: `max_conns = \"many\"` of server `ping`: valid is a whole number from 1 on",
        "a.toml:10: `nodelay = \"false\"` of server `ping`: write it without quotes",
        "a.toml:11: `listen = 9090` of server `ping`: `9090` is not an endpoint: a port needs a colon",
        "a.toml:12: `lame_duck` is no key of server `ping`, but of the process: write it above the first table",
        "a.toml:14: there is no server `pong`: did you mean `ping`? the servers of this program are `ping`, `admin`",
        "a.toml:18: server `ping` has no key `tls.crt`: did you mean `tls.cert`?",
        "a.toml:20: a server has its keys under `[server.ping]`",
    ];
    #[cfg(not(feature = "tls"))]
    let expected = expected.map(|line| if line.contains(":18:") { "a.toml:17: " } else { line });
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn faults_of_syntax_are_reported_with_their_lines() {
    let found = faults("drain_timeout =\n\n[server.ping]\nport = eighty\nport = 80\nunknown = 1\n");
    let lines: Vec<&str> = found.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["a.toml:1", "a.toml:4", "a.toml:5"], "{found:#?}");
}

#[test]
fn server_without_a_table_and_table_as_a_value_are_faults() {
    for (text, fault) in [
        ("server = 1", "a.toml:1: servers are tables, one for each: `[server.NAME]`"),
        ("[[server]]\nport = 1", "a.toml:1: servers are tables"),
        (
            "[server.ping]\nlisten = []",
            "a.toml:2: `listen = []` of server `ping`: valid is at least one endpoint, such as `:9090`",
        ),
        ("server.ping = 80", "a.toml:1: a server is a table: `[server.ping]`"),
        ("[standby]\nx = 1", "a.toml:1: `standby = "),
        (
            "[server.ping]\nport = [1, 2]",
            "a.toml:2: `port = [1, 2]` of server `ping`: valid is a single value",
        ),
        (
            "[server.ping]\nlisten = [1]",
            "a.toml:2: `listen = [1]` of server `ping`: every element stands in quotes",
        ),
        (
            "[server.ping]\nport = 1\nlisten = ':2'",
            "a.toml:3: `listen = ':2'` of server `ping`: a.toml:2 says `port` already",
        ),
        (
            "[server.admin]\nport = 1",
            "a.toml:2: `port = 1` of server `admin`: server `admin` has no TCP endpoint",
        ),
    ] {
        let found = faults(text);
        assert!(found[0].starts_with(fault), "{found:#?}\n{fault}");
    }
}

#[cfg(not(feature = "http2"))]
#[test]
fn key_of_http2_names_the_missing_feature() {
    let needs = "a.toml:2: `http2` of server `ping` needs gracehttp's feature `http2`";
    assert_eq!(faults("[server.ping]\nhttp2 = false"), [needs]);
}

#[test]
fn key_that_is_code_or_has_another_name_is_explained() {
    for (text, fault) in [
        (
            "[server.ping]\nlayer = 1",
            "a.toml:2: `layer` is set in the code alone, as a key of `#[server(…)]`",
        ),
        ("name = 'ping'", "a.toml:1: `name` is set in the code alone, as a key of `#[server(…)]`"),
        ("cli = true", "a.toml:1: `cli` is set in the code alone, as a key of `#[gracehttp::main(…)]`"),
        (
            "config = 'b.toml'",
            "a.toml:1: `config` can't be set in the file that it names, but in the code or by GRACEHTTP_",
        ),
        ("DRAIN_TIMEOUT = '1s'", "a.toml:1: there is no key `DRAIN_TIMEOUT`: did you mean `drain_timeout`?"),
        ("threads = 4", "a.toml:1: there is no key `threads`: did you mean `worker_threads`?"),
        (
            "[server.ping]\ntimeout = '1s'",
            "a.toml:2: server `ping` has no key `timeout`: did you mean `request_timeout`?",
        ),
        (
            "[server.ping]\nkeepalive = '1s'",
            "a.toml:2: server `ping` has no key `keepalive`: did you mean `idle_timeout` or `tcp_keepalive`?",
        ),
        #[cfg(feature = "tls")]
        ("[server.ping]\ncert = 'a'", "a.toml:2: server `ping` has no key `cert`: did you mean `tls.cert`?"),
        #[cfg(not(feature = "tls"))]
        ("[server.ping]\ncert = 'a'", "a.toml:2: server `ping` has no key `cert`: valid are "),
    ] {
        let found = faults(text);
        assert!(found[0].starts_with(fault), "{found:#?}\n{fault}");
        assert!(!found[0].contains("? valid"), "a list of all keys hides the suggestion: {found:#?}");
        assert_eq!(found.len(), 1, "{found:#?}");
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    #[serde(rename = "workers")]
    _workers: u8,
}

fn app_fault(text: &str) -> String {
    let file = File { path: "a.toml".into(), text: text.into() };
    let (mut settings, mut servers) = (Settings::default(), []);
    let section = Section::of(Some(&file), file.apply(&mut Draft::new(&mut settings, &mut servers)).unwrap());
    read_settings::<App>(&section).unwrap_err().to_string()
}

#[test]
fn faults_in_the_section_of_the_application_have_their_lines() {
    for (text, fault) in [
        (
            "\n[app]\nworkers = 'x'",
            "a.toml:3: the application's settings, `[app]`, at `workers`: invalid type: string \"x\"",
        ),
        ("\n[app]\nworkers = 300", "a.toml:3: the application's settings, `[app]`, at `workers`: "),
        (
            "\n[app]\nworkers = 3\nwrkrs = 1",
            "a.toml:4: the application's settings, `[app]`, at `wrkrs`: unknown field `wrkrs`",
        ),
        (
            "\n[app]",
            "a.toml:2: the application's settings, `[app]`: missing field `workers`: set it in `[app]`, \
             by GRACEHTTP_APP__WORKERS, or a secret by GRACEHTTP_APP__WORKERS_FILE",
        ),
        ("", "a.toml: the application's settings, `[app]`: missing field `workers`"),
    ] {
        let found = app_fault(text);
        assert!(found.starts_with(fault), "{found}\n{fault}");
    }
    // A misspelt key may have a secret.
    let found = app_fault("[app]\nworkers = 3\npasswrod = \"hunter2\"");
    assert!(found.contains("at `passwrod`: unknown field") && !found.contains("hunter2"), "{found}");
    let none = read_settings::<App>(&Section::default()).unwrap_err().to_string();
    assert!(none.contains("missing field `workers`: set it in `[app]`, by GRACEHTTP_APP__WORKERS"), "{none}");
    assert!(none.ends_with("; there is no Gracehttp.toml"), "{none}");
}

#[test]
fn unread_settings_are_a_fault() {
    let file = File { path: "a.toml".into(), text: "[app]\nx = 1".into() };
    let (mut settings, mut servers) = (Settings::default(), []);
    let section = Section::of(Some(&file), file.apply(&mut Draft::new(&mut settings, &mut servers)).unwrap());
    let fault = refuse_settings(&section).unwrap_err().to_string();
    assert!(fault.starts_with("a.toml:1: the start-up code of this program takes no settings"), "{fault}");
    refuse_settings(&Section::default()).unwrap();
}

#[test]
fn named_file_has_to_exist() {
    let fault = |environment: &[(OsString, OsString)], chosen| {
        File::find(environment, chosen).unwrap_err().to_string()
    };
    let chosen = fault(&[], Some(Path::new("missing.toml")));
    assert!(
        chosen.starts_with("the configuration file missing.toml that `config` names does not exist (as /")
    );
    let variable = [("GRACEHTTP_CONFIG".into(), "/missing.toml".into())];
    let by_variable = fault(&variable, Some(Path::new("other.toml")));
    assert!(by_variable.starts_with("the configuration file /missing.toml that GRACEHTTP_CONFIG names"));
    let empty = fault(&[("GRACEHTTP_CONFIG".into(), "".into())], None);
    assert_eq!(empty, "GRACEHTTP_CONFIG is empty: let it name a file, or unset it");
    assert!(File::find(&[], None).unwrap().is_none(), "the default file is optional");
    let directory = fault(&[], Some(Path::new("/")));
    assert!(directory.contains("can't be read"), "{directory}");
}

#[test]
fn d7_byte_order_mark_and_windows_line_ends_are_accepted() {
    let outcome = read("\u{feff}standby = \"7s\"\r\n\r\n[server.ping]\r\nmax_conns = 8\r\n").unwrap();
    assert_eq!((outcome.settings.standby, outcome.ping.max_conns), (Duration::from_secs(7), 8));
    assert_eq!(outcome.origins(), ["standby 7s a.toml:1", "max_conns 8 a.toml:4"]);
}
