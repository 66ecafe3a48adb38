//! Valid and faulty environments.

use super::*;
use crate::config::{Provenance, Settings};
use crate::lifecycle::Signal;
use crate::server::{Endpoint, Mode, ServerOptions, SocketAccess, WhenFull};
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

fn server(name: &str, endpoints: &[&str]) -> ServerOptions {
    let mut options = ServerOptions::new(name);
    options.endpoints = endpoints.iter().map(|text| text.parse().unwrap()).collect();
    options
}

fn listens(server: &ServerOptions) -> Vec<String> {
    server.endpoints.iter().map(Endpoint::to_string).collect()
}

fn apply(
    variables: &[(&str, &str)],
    settings: &mut Settings,
    servers: &mut [&mut ServerOptions],
) -> Result<Vec<Provenance>, Error> {
    let variables: Vec<_> = variables.iter().map(|(name, text)| (name.into(), text.into())).collect();
    apply_raw(&variables, settings, servers)
}

fn apply_raw(
    variables: &[(OsString, OsString)],
    settings: &mut Settings,
    servers: &mut [&mut ServerOptions],
) -> Result<Vec<Provenance>, Error> {
    let mut draft = Draft::new(settings, servers);
    super::apply(variables, &mut draft);
    draft.finish(Some(())).map(|((), provenance, _)| provenance)
}

/// The faults of these variables for a server `ping` on port 9090.
fn faults(variables: &[(&str, &str)]) -> Vec<String> {
    let mut ping = server("ping", &[":9090"]);
    let result = apply(variables, &mut Settings::default(), &mut [&mut ping]);
    result.unwrap_err().to_string().lines().map(String::from).collect()
}

#[test]
fn variable_sets_every_key_and_is_its_origin() {
    let (mut settings, mut ping) = (Settings::default(), server("ping", &[":9090"]));
    let (mut other, untouched) = (server("my-api", &[":1"]), server("my-api", &[":1"]));
    let provenance = apply(
        &[
            ("PATH", "/bin"),
            ("GRACEHTTP_HANDOFF", "3"),
            ("GRACEHTTP_CONFIG", "elsewhere.toml"),
            ("GRACEHTTP_DRAIN_TIMEOUT", "0s"),
            ("GRACEHTTP_READY_TIMEOUT", "1m 30s"),
            ("GRACEHTTP_STANDBY", "3s"),
            ("GRACEHTTP_LAME_DUCK", " 4s "),
            ("GRACEHTTP_WORKER_THREADS", "5"),
            ("GRACEHTTP_RESTART_ON", "HUP"),
            ("GRACEHTTP_STOP_ON", "sigterm, INT"),
            ("GRACEHTTP_SERVER__PING__LISTEN", "127.0.0.1:80, unix:/run/ping.sock"),
            ("GRACEHTTP_SERVER__PING__MAX_CONNS", "50"),
            ("GRACEHTTP_SERVER__PING__HANDSHAKE_TIMEOUT", "6s"),
            ("GRACEHTTP_SERVER__PING__HEADER_READ_TIMEOUT", "7s"),
            ("GRACEHTTP_SERVER__PING__REQUEST_TIMEOUT", "8s"),
            ("GRACEHTTP_SERVER__PING__IDLE_TIMEOUT", "9s"),
            ("GRACEHTTP_SERVER__PING__BACKLOG", "10"),
            ("GRACEHTTP_SERVER__PING__HTTP1", "true"),
            ("GRACEHTTP_SERVER__PING__MAX_BODY", "11MiB"),
            ("GRACEHTTP_SERVER__PING__MAX_HEADER_SIZE", "12KiB"),
            ("GRACEHTTP_SERVER__PING__MAX_HEADERS", "13"),
            ("GRACEHTTP_SERVER__PING__TCP_KEEPALIVE", "off"),
            ("GRACEHTTP_SERVER__PING__NODELAY", "false"),
            ("GRACEHTTP_SERVER__PING__WHEN_FULL", "wait"),
            ("GRACEHTTP_SERVER__PING__HALF_CLOSE_TIMEOUT", "0s"),
            ("GRACEHTTP_SERVER__PING__MAX_CONN_MEMORY", "14MiB"),
            ("GRACEHTTP_SERVER__PING__SOCKET_MODE", "0660"),
            ("GRACEHTTP_SERVER__PING__SOCKET_USER", "app"),
            ("GRACEHTTP_SERVER__PING__SOCKET_GROUP", "www-data"),
        ],
        &mut settings,
        &mut [&mut ping, &mut other],
    )
    .unwrap();

    let seconds = Duration::from_secs;
    assert_eq!(
        settings,
        Settings {
            drain_timeout: seconds(0),
            ready_timeout: seconds(90),
            standby: seconds(3),
            lame_duck: seconds(4),
            worker_threads: Some(5),
            restart_on: vec![Signal::Hup],
            stop_on: vec![Signal::Term, Signal::Int],
            chosen: vec![],
            ..Settings::default()
        }
    );
    assert_eq!(listens(&ping), ["127.0.0.1:80", "unix:/run/ping.sock"]);
    assert_eq!((ping.max_conns, ping.request_timeout), (50, Some(seconds(8))));
    assert_eq!((ping.handshake_timeout, ping.header_read_timeout), (seconds(6), seconds(7)));
    assert_eq!(ping.idle_timeout, seconds(9));
    assert_eq!((ping.backlog, ping.http1, ping.nodelay), (10, true, false));
    assert_eq!((ping.max_body, ping.max_header_size, ping.max_headers), (11 << 20, 12 << 10, 13));
    assert_eq!(ping.tcp_keepalive, None);
    assert_eq!((ping.when_full, ping.half_close_timeout), (WhenFull::Wait, seconds(0)));
    assert_eq!(ping.max_conn_memory, 14 << 20);
    let (user, group) = (Some("app".to_owned()), Some("www-data".to_owned()));
    assert_eq!(ping.socket, SocketAccess { mode: Mode::new(0o660), user, group });
    assert_eq!(format!("{other:?}"), format!("{untouched:?}"));

    assert_eq!(provenance.len(), 26);
    assert!(provenance.contains(&Provenance {
        server: None,
        key: "lame_duck",
        value: "4s".into(),
        origin: Origin::Variable("GRACEHTTP_LAME_DUCK".into()),
    }));
    assert!(provenance.contains(&Provenance {
        server: Some("ping".into()),
        key: "max_conns",
        value: "50".into(),
        origin: Origin::Variable("GRACEHTTP_SERVER__PING__MAX_CONNS".into()),
    }));
}

#[test]
fn server_name_becomes_a_variable() {
    assert_eq!(server_variable("my-api.v2", "port"), "GRACEHTTP_SERVER__MY_API_V2__PORT");
    let mut odd = server("a__b_", &[":1"]);
    apply(&[("GRACEHTTP_SERVER__A__B___PORT", "2")], &mut Settings::default(), &mut [&mut odd]).unwrap();
    assert_eq!(listens(&odd), [":2"]);
}

#[test]
fn port_replaces_the_one_port_of_a_server() {
    let replace = |endpoints: &[&str]| {
        let mut ping = server("ping", endpoints);
        apply(&[("GRACEHTTP_SERVER__PING__PORT", "0")], &mut Settings::default(), &mut [&mut ping])
            .map(|_| listens(&ping))
            .map_err(|error| error.to_string())
    };
    assert_eq!(replace(&[":9090"]).unwrap(), [":0"]);
    let mixed = replace(&["127.0.0.1:9090", "unix:/run/a.sock", "[::1]:9090"]);
    assert_eq!(mixed.unwrap(), ["127.0.0.1:0", "unix:/run/a.sock", "[::1]:0"]);
    let several = replace(&[":9090", ":9091"]).unwrap_err();
    assert!(several.contains("`ping` listens on several ports; set `listen` instead"), "{several}");
    let none = replace(&["unix:/run/a.sock"]).unwrap_err();
    assert!(none.contains("has no TCP endpoint"), "{none}");
}

#[test]
fn port_beside_listen_is_a_contradiction() {
    let faults = faults(&[("GRACEHTTP_SERVER__PING__PORT", "1"), ("GRACEHTTP_SERVER__PING__LISTEN", ":2")]);
    assert_eq!(
        faults,
        [
            "GRACEHTTP_SERVER__PING__PORT=1: GRACEHTTP_SERVER__PING__LISTEN says `listen` already: keep one of them"
        ]
    );
}

#[test]
fn unknown_variable_is_an_error_with_a_suggestion() {
    for (variable, suggestion) in [
        ("GRACEHTTP_CONFG", "did you mean GRACEHTTP_CONFIG?"),
        ("GRACEHTTP_DRAIN_TIMOUT", "did you mean GRACEHTTP_DRAIN_TIMEOUT?"),
        ("GRACEHTTP_SERVER__PING__PROT", "did you mean GRACEHTTP_SERVER__PING__PORT?"),
        ("GRACEHTTP_SERVER__PONG__PORT", "did you mean GRACEHTTP_SERVER__PING__PORT?"),
        ("GRACEHTTP_SERVER_PING_PORT", "did you mean GRACEHTTP_SERVER__PING__PORT?"),
        ("GRACEHTTP_PORT", "did you mean GRACEHTTP_SERVER__PING__PORT?"),
        ("GRACEHTTP_PING_MAX_CONNS", "did you mean GRACEHTTP_SERVER__PING__MAX_CONNS?"),
        ("GRACEHTTP_SERVER_PORT", "did you mean GRACEHTTP_SERVER__PING__PORT?"),
        ("GRACEHTTP_DRAINTIMEOUT", "did you mean GRACEHTTP_DRAIN_TIMEOUT?"),
        ("GRACEHTTP_SERVER__PING__TIMEOUT", "did you mean GRACEHTTP_SERVER__PING__REQUEST_TIMEOUT?"),
        ("GRACEHTTP_THREADS", "did you mean GRACEHTTP_WORKER_THREADS?"),
        ("GRACEHTTP_SERVER__PING__NAME", "`name` is set in the code alone, as a key of `#[server(…)]`"),
        ("GRACEHTTP_ON_INFO", "`on_info` is set in the code alone, as a key of `#[gracehttp::main(…)]`"),
        ("GRACEHTTP_APP_GREETING", "a key of `[app]` is set by GRACEHTTP_APP__<KEY>, with two underscores"),
        #[cfg(feature = "tls")]
        ("GRACEHTTP_SERVER__PING__CERT", "did you mean GRACEHTTP_SERVER__PING__TLS__CERT?"),
        ("GRACEHTTP_COLOUR_OF_THE_SKY", "valid is GRACEHTTP_<KEY> with a key (DRAIN_TIMEOUT, "),
        ("GRACEHTTP_SERVER__NOWHERE__PORT", "with a server (`ping`) and a key (PORT, LISTEN, "),
    ] {
        let faults = faults(&[(variable, "1")]);
        assert!(
            faults[0].starts_with(&format!("{variable} is not a setting of this program: ")),
            "{faults:?}"
        );
        assert!(faults[0].contains(suggestion), "{faults:?}");
    }
}

#[cfg(feature = "http2")]
#[test]
fn http2_is_switched_off() {
    let mut ping = server("ping", &[":1"]);
    apply(&[("GRACEHTTP_SERVER__PING__HTTP2", "false")], &mut Settings::default(), &mut [&mut ping]).unwrap();
    assert!(!ping.has_http2());
}

#[cfg(not(feature = "http2"))]
#[test]
fn variable_of_http2_names_the_missing_feature() {
    let variable = "GRACEHTTP_SERVER__PING__HTTP2";
    let needs = "is not a setting of this program: it needs gracehttp's feature `http2`";
    assert_eq!(faults(&[(variable, "false")]), [format!("{variable} {needs}")]);
}

#[test]
fn key_of_a_server_is_suggested_for_each_server() {
    let (mut ping, mut api) = (server("ping", &[":1"]), server("my-api", &[":2"]));
    let result = apply(&[("GRACEHTTP_PORT", "3")], &mut Settings::default(), &mut [&mut ping, &mut api]);
    let fault = result.unwrap_err().to_string();
    let suggestion = "did you mean GRACEHTTP_SERVER__MY_API__PORT or GRACEHTTP_SERVER__PING__PORT?";
    assert!(fault.contains(suggestion), "{fault}");
}

#[test]
fn all_faults_are_reported_at_once_with_valid_values() {
    let faults = faults(&[
        ("GRACEHTTP_STANDBY", "2"),
        ("GRACEHTTP_WORKER_THREADS", "0"),
        ("GRACEHTTP_SERVER__PING__PORT", "http"),
        ("GRACEHTTP_SERVER__PING__REQUEST_TIMEOUT", "never"),
        ("GRACEHTTP_X", ""),
    ]);
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(
        faults[0].starts_with("GRACEHTTP_SERVER__PING__PORT=http: valid is a port from 0 to 65535"),
        "{faults:?}"
    );
    assert!(faults[1].ends_with(", or `off`"), "{faults:?}");
    assert_eq!(faults[2], "GRACEHTTP_STANDBY=2: a duration needs a unit, such as `2s`");
    assert_eq!(faults[3], "GRACEHTTP_WORKER_THREADS=0: valid is a whole number from 1 to 4096");
}

#[test]
fn names_that_share_a_variable_are_refused() {
    let clash = |a: &str, b: &str| {
        let (mut a, mut b) = (server(a, &[":1"]), server(b, &[":2"]));
        apply(&[], &mut Settings::default(), &mut [&mut a, &mut b]).unwrap_err().to_string()
    };
    let message = clash("my-api", "my_api");
    assert!(message.contains("share their variables GRACEHTTP_SERVER__MY_API__…"), "{message}");
}

#[test]
fn only_our_own_variables_have_to_be_utf8() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut ping = server("ping", &[":9090"]);
    let foreign = [(bytes(b"F\xff"), bytes(b"\xff"))];
    apply_raw(&foreign, &mut Settings::default(), &mut [&mut ping]).unwrap();
    for ours in [(bytes(b"GRACEHTTP_\xff"), bytes(b"1")), (bytes(b"GRACEHTTP_STANDBY"), bytes(b"\xff"))] {
        apply_raw(&[ours], &mut Settings::default(), &mut [&mut ping]).unwrap_err();
    }
}

#[cfg(feature = "tls")]
#[test]
fn certificate_is_replaced_turned_off_or_missing() {
    let with_tls = |tls: Option<crate::server::Tls>, variables: &[(&str, &str)]| {
        let mut ping = server("ping", &[":9090"]);
        ping.tls = tls;
        apply(variables, &mut Settings::default(), &mut [&mut ping])
            .map(|_| ping.tls.and_then(|tls| Some(tls.files_named()?.to_string())))
            .map_err(|error| error.to_string())
    };
    let files = || Some(crate::server::Tls::files("a.pem", "a.key"));
    let (cert, key) = ("GRACEHTTP_SERVER__PING__TLS__CERT", "GRACEHTTP_SERVER__PING__TLS__KEY");
    assert_eq!(with_tls(files(), &[(cert, "b.pem")]).unwrap().unwrap(), "b.pem (key a.key)");
    assert_eq!(with_tls(None, &[(cert, "b.pem"), (key, "b.key")]).unwrap().unwrap(), "b.pem (key b.key)");
    assert_eq!(with_tls(files(), &[("GRACEHTTP_SERVER__PING__TLS", "off")]).unwrap(), None);
    assert_eq!(
        with_tls(None, &[(key, "b.key")]).unwrap_err(),
        format!("{key}: server `ping` has `tls.key` and no `tls.cert`: set both")
    );
    let both = with_tls(files(), &[("GRACEHTTP_SERVER__PING__TLS", "off"), (cert, "b.pem")]).unwrap_err();
    assert!(both.contains("GRACEHTTP_SERVER__PING__TLS says `tls` already"), "{both}");
}

#[test]
fn d6_variables_of_linked_services_are_ignored() {
    let mut ping = server("ping", &[":9090"]);
    let links = [
        ("GRACEHTTP_SERVICE_HOST", "10.0.0.1"),
        ("GRACEHTTP_SERVICE_PORT", "80"),
        ("GRACEHTTP_SERVICE_PORT_HTTP", "80"),
        ("GRACEHTTP_PORT", "tcp://10.0.0.1:80"),
        ("GRACEHTTP_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("GRACEHTTP_PORT_80_TCP_PROTO", "tcp"),
        ("GRACEHTTP_PORT_80_TCP_PORT", "80"),
        ("GRACEHTTP_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("GRACEHTTP_DEMO_PORT_53_UDP_ADDR", "10.0.0.1"),
        ("GRACEHTTP_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("GRACEHTTP_STANDBY_SERVICE_PORT", "80"),
        ("GRACEHTTP_NAME", "/web/gracehttp"),
    ];
    assert!(apply(&links, &mut Settings::default(), &mut [&mut ping]).unwrap().is_empty());
    let settings = [
        ("GRACEHTTP_PORT", "80"),
        ("GRACEHTTP_PORT_80", "80"),
        ("GRACEHTTP_NAME", "web"),
        ("GRACEHTTP_SERVER__PING__SERVICE_HOST", "10.0.0.1"),
        ("GRACEHTTP_SERVER__PING__PORT", "tcp://10.0.0.1:80"),
    ];
    for setting in settings {
        assert_eq!(faults(&[setting]).len(), 1, "{setting:?}");
    }
}
