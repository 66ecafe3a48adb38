//! The configuration: attribute, file and environment, the source of each value, and the errors about wrong values.

use std::net::TcpListener;
use std::process::{Command, Output};

use tests::client::{get, get_once};
use tests::process::bin;
use tests::{App, Client, Exit, Launch, Scratch, Target};

const FILE: &str = "Gracehttp.toml";

/// The application, in a directory whose `Gracehttp.toml` has this text.
fn configured(scratch: &Scratch, file: &str) -> Launch {
    scratch.write(FILE, file);
    Launch::bin("configured").directory(scratch.path())
}

/// The application exits with status 1 before it serves. Returns its errors.
async fn refused(launch: Launch) -> Vec<String> {
    let app = launch.spawn();
    assert_eq!(app.current().exit().await, Exit::Code(1), "{}", app.log);
    app.catch_up().await;
    assert_eq!(app.log.count(0, "serving"), 0, "{}", app.log);
    errors(&app, 0)
}

/// The errors in the log from line `start` on, without time and target.
fn errors(app: &App, start: usize) -> Vec<String> {
    let lines = app.log.since(start);
    lines.iter().filter_map(|line| Some(line.split_once("ERROR gracehttp: ")?.1.to_owned())).collect()
}

fn starts(found: &[String], expected: &[&str]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// Runs a subcommand to its end.
fn run(scratch: &Scratch, args: &[&str], env: &[(&str, &str)]) -> Output {
    run_of("configured", scratch, args, env)
}

fn run_of(name: &str, scratch: &Scratch, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(bin(name));
    command.args(args).current_dir(scratch.path()).env_remove("RUST_LOG").env("RUST_BACKTRACE", "0");
    command.envs(env.iter().copied()).output().expect("a binary of this package")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_file_overrides_the_attribute_and_the_environment_the_file() {
    let scratch = Scratch::new();
    let file =
        "drain_timeout = \"7s\"\nlame_duck = \"0s\"\n\n[server.web]\nmax_conns = 40\nidle_timeout = \"9s\"\n";
    let app = configured(&scratch, file)
        .env("GRACEHTTP_SERVER__WEB__MAX_CONNS", "30")
        .env("GRACEHTTP_READY_TIMEOUT", "50s")
        .start("web")
        .await;
    let banner = app.log.line(0, "serving web on ").await;
    assert!(banner.contains("max 30 connections"), "{banner}");
    for line in [
        "drain_timeout is 7s, set by Gracehttp.toml:1",
        "lame_duck is 0s, set by Gracehttp.toml:2",
        "idle_timeout of server web is 9s, set by Gracehttp.toml:6",
        "ready_timeout is 50s, set by GRACEHTTP_READY_TIMEOUT",
        "max_conns of server web is 30, set by GRACEHTTP_SERVER__WEB__MAX_CONNS",
    ] {
        app.log.line(0, line).await;
    }
    assert_eq!(app.log.count(0, "set by"), 5, "{}", app.log);
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// That is no fault: file and environment may bring what a key needs, or take it away.
#[tokio::test]
async fn a_key_without_effect_is_told_at_the_start_and_by_the_check() {
    let scratch = Scratch::new();
    let file = "[server.web]\naccess_log_query = true\nforwarded = \"forwarded\"\n";
    let app = configured(&scratch, file).env("GRACEHTTP_SERVER__WEB__SOCKET_MODE", "0600").start("web").await;
    let checked = run(&scratch, &["check"], &[("GRACEHTTP_SERVER__WEB__SOCKET_MODE", "0600")]);
    assert!(checked.status.success());
    let checked = text(&checked.stderr);
    for line in [
        "server `web`: `access_log_query`, set by Gracehttp.toml:2, has no effect, since the server has no access log: set \
         `access_log`, or remove the key",
        "server `web`: `forwarded`, set by Gracehttp.toml:3, has no effect, since no proxy is trusted: name the proxies",
        "server `web`: `socket_mode`, set by GRACEHTTP_SERVER__WEB__SOCKET_MODE, has no effect, since",
    ] {
        let told = app.log.line(0, line).await;
        assert!(told.contains("WARN gracehttp: "), "{told}");
        assert!(checked.contains(line), "{checked}");
    }
    assert_eq!(app.log.count(0, "has no effect"), 3, "{}", app.log);
    assert_eq!(app.stop().await, Exit::Code(0));
    // With what they need they have one.
    let whole = configured(&scratch, &format!("{file}access_log = \"json\"\ntrusted_proxies = \"::1\"\n"))
        .start("web")
        .await;
    assert_eq!(whole.log.count(0, "has no effect"), 0, "{}", whole.log);
    assert_eq!(whole.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_target_of_the_access_log_has_a_name() {
    let scratch = Scratch::new();
    let of_file = refused(configured(&scratch, "[server.web]\naccess_log_to = \"\"\n")).await;
    let valid = "valid is `stdout`, `stderr`, `tracing`, or the path of a file";
    assert!(of_file.len() == 1 && of_file[0].ends_with(valid), "{of_file:?}");
    let launch = configured(&scratch, "").env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", "");
    let of_variable = refused(launch).await;
    assert!(of_variable.len() == 1 && of_variable[0].ends_with(valid), "{of_variable:?}");
}

#[tokio::test]
async fn without_a_file_the_attributes_hold() {
    let scratch = Scratch::new();
    let app = Launch::bin("configured").directory(scratch.path()).start("web").await;
    let banner = app.log.line(0, "serving web on ").await;
    assert!(banner.contains("max 500 connections"), "{banner}");
    let reply = get_once(&app.target("web").await, "/greeting").await.unwrap();
    assert_eq!(reply.text(), "hello by default 1");
    assert_eq!(app.log.count(0, "set by"), 0, "{}", app.log);
}

#[tokio::test]
async fn a_file_elsewhere_is_named_by_the_environment() {
    let scratch = Scratch::new();
    let elsewhere = scratch.write("elsewhere.toml", "[server.web]\nmax_conns = 41\n");
    let launch = configured(&scratch, "max_conns = 1").env("GRACEHTTP_CONFIG", &elsewhere);
    let app = launch.start("web").await;
    app.log.line(0, &format!("max_conns of server web is 41, set by {}:2", elsewhere.display())).await;
    // The successor has the same environment and finds the same file.
    let successor = app.restart().await;
    app.serves(&app.target("web").await, &successor).await;
    tests::patience::eventually("both to tell", || app.log.count(0, "web is 41, set by") == 2).await;
}

#[tokio::test]
async fn a_named_file_that_is_missing_is_an_error() {
    let scratch = Scratch::new();
    let launch = Launch::bin("configured").directory(scratch.path()).env("GRACEHTTP_CONFIG", "gone.toml");
    let found = refused(launch).await;
    starts(&found, &["the configuration file gone.toml that GRACEHTTP_CONFIG names does not exist (as /"]);
}

#[tokio::test]
async fn the_application_s_settings_are_typed() {
    let scratch = Scratch::new();
    let app = configured(&scratch, "[app]\ngreeting = \"good day\"\nworkers = 3\n").start("web").await;
    let reply = get_once(&app.target("web").await, "/greeting").await.unwrap();
    assert_eq!(reply.text(), "good day 3");
}

#[tokio::test]
async fn all_faults_of_file_application_and_environment_are_reported_at_once() {
    // If the check touched a socket, there would be one more fault.
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new();
    let file = format!(
        "drain_timout = \"7s\"\nstandby = 2\n\n[server.web]\nlisten = \"{}\"\nmax_cons = 5\nbacklog = -1\n\n\
         [server.wbe]\nport = 80\n\n[server.admin.tls]\ncert = \"a.pem\"\n\n[app]\nworkers = 300\n",
        occupied.local_addr().unwrap()
    );
    let launch = configured(&scratch, &file).env("GRACEHTTP_SERVER__WEB__PROT", "1");
    starts(
        &refused(launch).await,
        &[
            "Gracehttp.toml:1: there is no key `drain_timout`: did you mean `drain_timeout`?",
            "Gracehttp.toml:2: `standby = 2`: a duration needs a unit, such as `2s`",
            "Gracehttp.toml:6: server `web` has no key `max_cons`: did you mean `max_conns`?",
            "Gracehttp.toml:7: `backlog = -1` of server `web`: valid is a whole number from 1",
            "Gracehttp.toml:9: there is no server `wbe`: did you mean `web`?",
            "Gracehttp.toml:16: the application's settings, `[app]`, at `workers`: invalid value",
            "GRACEHTTP_SERVER__WEB__PROT is not a setting of this program: did you mean GRACEHTTP_SERVER__WEB__PORT?",
            "Gracehttp.toml:13: server `admin` has `tls.cert` and no `tls.key`: set both",
        ],
    );
}

#[tokio::test]
async fn a_restart_rereads_the_file_and_a_broken_file_leaves_the_predecessor_serving() {
    let scratch = Scratch::new();
    let app = configured(&scratch, "[app]\ngreeting = \"one\"\n").start("web").await;
    let web = app.target("web").await;
    let first = app.current();

    scratch.write(FILE, "[app]\ngreeting = two\n\n[server.web]\nmax_conns = \n");
    let start = app.log.end();
    app.signal(tests::Signal::USR2);
    app.log.line(start, &format!("generation 1, pid {}, serves on", first.pid())).await;
    for line in [2, 5] {
        let found = errors(&app, start);
        let place = format!(": Gracehttp.toml:{line}: ");
        let by_predecessor = found
            .iter()
            .filter(|found| found.starts_with("start new process failed") && found.contains(&place));
        assert_eq!(by_predecessor.count(), 1, "{found:#?}");
    }
    let reply = get_once(&web, "/greeting").await.unwrap();
    assert_eq!(reply.text(), "one 1");

    scratch.write(FILE, "[app]\ngreeting = \"two\"\n\n[server.web]\nmax_conns = 60\n");
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    assert_eq!(get_once(&web, "/greeting").await.unwrap().text(), "two 1");
    app.log.line(start, "max_conns of server web is 60, set by Gracehttp.toml:5").await;
    assert_eq!(first.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn endpoints_follow_the_file_at_a_restart() {
    let scratch = Scratch::new();
    let app = configured(&scratch, "").start("web").await;
    let web = app.target("web").await;
    let socket = scratch.join("web.sock");
    let both = format!("[server.web]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\n", socket.display());
    scratch.write(FILE, both);
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    let unix = Target::Unix(socket.clone());
    assert_eq!(get_once(&unix, "/ping").await.unwrap().pid(), Some(successor.pid()));

    scratch.write(FILE, "");
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    tests::patience::eventually("the socket's file to go", || !socket.exists()).await;
    assert_eq!(get_once(&web, "/ping").await.unwrap().pid(), Some(successor.pid()));
}

#[tokio::test]
async fn a_server_gets_its_certificate_from_the_file() {
    let scratch = Scratch::new();
    scratch.certificate("web");
    let app =
        configured(&scratch, "[server.web.tls]\ncert = \"web.pem\"\nkey = \"web.key\"\n").start("web").await;
    let web = app.target("web").await;
    assert!(matches!(web, Target::Tls(_)), "{web:?}");
    assert_eq!(get_once(&web, "/ping").await.unwrap().status, 200);
    app.log.line(0, "tls.cert of server web is web.pem, set by Gracehttp.toml:2").await;
}

#[tokio::test]
async fn the_file_chooses_the_signals_also_for_the_successor() {
    let scratch = Scratch::new();
    let app =
        configured(&scratch, "restart_on = [\"HUP\"]\nstop_on = [\"TERM\", \"USR2\"]\n").start("web").await;
    let web = app.target("web").await;
    for _ in 0..2 {
        let successor = app.restart_by(tests::Signal::HUP).await;
        app.serves(&web, &successor).await;
    }
    app.predecessors_exit().await;
    app.signal(tests::Signal::USR2);
    assert!(app.current().exit().await.is_clean());
    app.log.line(0, "SIG:SIGUSR2]").await;
}

/// Users write `Duration::MAX` for "no limit". No deadline can be computed from it.
#[tokio::test]
async fn unlimited_durations_do_not_end_the_process() {
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0 handshake_timeout=forever header_read_timeout=forever \
                request_timeout=forever idle_timeout=forever tcp_keepalive=forever\n\
                forever drain_timeout ready_timeout standby\n";
    let app = Launch::bin("app").plan(&scratch, plan).start("web").await;
    let web = app.target("web").await;
    let in_flight = async |start| {
        let mut client = Client::connect(&web).await.expect("a connection");
        client.send(get("/slow?ms=500")).await.expect("written");
        app.log.line(start, "slow begins").await;
        client
    };

    let first = app.current();
    let mut client = in_flight(0).await;
    let successor = app.restart_by(tests::Signal::HUP).await;
    app.serves(&web, &successor).await;
    assert_eq!(client.reply().await.expect("an answer").pid(), Some(first.pid()));

    let mut client = in_flight(app.log.end()).await;
    successor.signal(tests::Signal::TERM);
    assert_eq!(client.reply().await.expect("an answer").pid(), Some(successor.pid()));
    assert!(successor.exit().await.is_clean(), "{}", app.log);
    assert_eq!(first.exit().await, Exit::Code(0), "{}", app.log);
}

#[tokio::test]
async fn an_unlimited_lame_duck_serves_until_a_second_signal() {
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0\nforever lame_duck drain_timeout\n";
    let app = Launch::bin("app").plan(&scratch, plan).start("web").await;
    app.signal(tests::Signal::TERM);
    app.log.line(0, "SIG:SIGTERM]").await;
    assert_eq!(get_once(&app.target("web").await, "/ping").await.unwrap().status, 200);
    app.signal(tests::Signal::TERM);
    assert_eq!(app.current().exit().await, Exit::Code(0), "{}", app.log);
}

#[tokio::test]
async fn serve_is_the_default_command_also_in_a_successor() {
    let scratch = Scratch::new();
    let app = configured(&scratch, "").arg("serve").start("web").await;
    let successor = app.restart().await;
    app.serves(&app.target("web").await, &successor).await;
}

#[test]
fn check_reports_faults_and_binds_nothing() {
    let scratch = Scratch::new();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("[server.web]\nlisten = \"{}\"\n", occupied.local_addr().unwrap());
    scratch.write(FILE, &taken);
    let output = run(&scratch, &["check"], &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "the configuration of web, admin is in order\n");

    scratch.write(FILE, "[server.web]\nlisten = \"unix:web.sock\"\nsocket_group = \"no-such-group\"\n");
    let output = run(&scratch, &["check"], &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("there is no group `no-such-group`"), "{output:?}");

    let (_, key) = scratch.certificate("one");
    let (cert, _) = scratch.certificate("two");
    let tls = format!("{taken}tls.cert = \"{}\"\ntls.key = \"{}\"\n", cert.display(), key.display());
    scratch.write(FILE, &tls);
    let output = run(&scratch, &["check"], &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("the key does not belong to the certificate"), "{output:?}");

    let output = run(&scratch, &["check"], &[("GRACEHTTP_STANDBY", "2")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("GRACEHTTP_STANDBY=2: a duration needs a unit"), "{output:?}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn check_reports_contradicting_settings_and_their_sources() {
    let scratch = Scratch::new();
    let file = "stop_on = [\"TERM\", \"HUP\"]\n\n[server.web]\nlisten = \":8405\"\nhttp1 = false\n\n\
                [server.admin]\nlisten = \"127.0.0.1:8405\"\n";
    scratch.write(FILE, file);
    let output = run(&scratch, &["check"], &[("GRACEHTTP_SERVER__WEB__HTTP2", "false")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = text(&output.stderr);
    for fault in [
        "Gracehttp.toml:5 and GRACEHTTP_SERVER__WEB__HTTP2: server `web` speaks neither HTTP/1.1 nor HTTP/2",
        "Gracehttp.toml:4 and Gracehttp.toml:8: server `web` is to listen on :8405 and `admin` on 127.0.0.1:8405, \
         and the one includes the other: move one of them with `port`, `listen` or GRACEHTTP_SERVER__ADMIN__PORT",
        "Gracehttp.toml:1: SIGHUP is to restart and to stop: choose one",
    ] {
        assert!(found.contains(fault), "{fault}\n{found}");
    }

    scratch.write(FILE, "[server.web]\nlisten = [\":8405\", \"127.0.0.1:8405\"]\n");
    let found = text(&run(&scratch, &["check"], &[]).stderr);
    let fault = "of server `web`: `127.0.0.1:8405` and `:8405` can't both be had: the one includes the other";
    assert!(found.contains(fault), "{found}");
}

#[test]
fn config_prints_a_file_with_the_same_values_and_their_sources() {
    let scratch = Scratch::new();
    scratch.write(FILE, "drain_timeout = \"1m 30s\"\n[server.web]\nport = 4711\nmax_body = 4096\n");
    let env = [("GRACEHTTP_SERVER__ADMIN__TLS", "off"), ("GRACEHTTP_STOP_ON", "TERM,INT")];
    let output = run(&scratch, &["config"], &env);
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    for (line, origin) in [
        ("drain_timeout = \"1m 30s\"", "Gracehttp.toml:1"),
        ("standby = \"300ms\"", "attribute"),
        ("ready_timeout = \"1m\"", "default"),
        ("stop_on = [\"TERM\", \"INT\"]", "GRACEHTTP_STOP_ON"),
        ("listen = [\"127.0.0.1:4711\"]", "port: Gracehttp.toml:3"),
        ("max_body = \"4KiB\"", "Gracehttp.toml:4"),
        ("max_conns = 500", "attribute"),
        // This line belongs to `web` alone, where the attribute sets the default value.
        ("backlog = 4096", "attribute"),
        ("tls = \"off\"", "GRACEHTTP_SERVER__ADMIN__TLS"),
    ] {
        let is_printed = |printed: &str| {
            let rest = printed.strip_prefix(line).and_then(|rest| rest.trim_start().strip_prefix("# "));
            rest == Some(origin)
        };
        assert!(printed.lines().any(is_printed), "{line} # {origin}\n{printed}");
    }

    // The printed text is a file that sets the same values.
    let without_comments = |text: &str| text.parse::<toml::Table>().expect("TOML");
    scratch.write(FILE, &printed);
    let again = run(&scratch, &["config"], &[]);
    assert_eq!(without_comments(&text(&again.stdout)), without_comments(&printed));
}

/// The command runs no start-up code, binds nothing and reads no configuration: here each of these would fail.
#[test]
fn routes_prints_the_routes_and_handlers_of_each_server() {
    let scratch = Scratch::new();
    scratch.write(FILE, "nonsense");
    let output = run_of("routed", &scratch, &["routes"], &[("GRACEHTTP_STANDBY", "nonsense")]);
    assert!(output.status.success(), "{output:?}");
    let expected = "\
api
  GET     /v1                   api::index
  any     /v1/echo              api::echo
  TRACE   /v1/{*rest}           api::echo
  OPTIONS /v1/admin/jobs        api::admin::jobs
  GET     /v1/users             users::routes::list
  GET     /v1/users/{id}        users::routes::match
  DELETE  /v1/users/{id}        users::routes::match
  GET     /v1/users/{id}/posts  posts::routes::of_user
  any other path                api::lost

single
  any path  single

legacy
  any path  a service of its own

by-hand
  any path  main::{{closure}}
";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn invalid_arguments_exit_with_status_2() {
    let scratch = Scratch::new();
    let output = run(&scratch, &["chekc"], &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("'check'"), "{output:?}");
    let help = run(&scratch, &["--help"], &[]);
    assert!(help.status.success());
    for command in ["serve", "check", "config", "routes"] {
        assert!(text(&help.stdout).contains(command), "{help:?}");
    }
}
