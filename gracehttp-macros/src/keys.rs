//! The keys of the attributes: one row a key. The parser, its messages and the hints read these tables.
//!
//! A key of an ordinary kind needs its row and nothing else: it becomes a call of the builder's method of the same
//! name. A key with a form of its own is a variant of its attribute's enum, which the parser of that attribute
//! matches.

use Form::{Ordinary, Own};
use Kind::{Callback, Choice, Count, Duration, File, Flag, Keepalive, Mode, Size, Text, Timeout};

/// A key that an attribute knows. `O` lists the keys of that attribute with a form of their own.
pub(crate) struct Key<O> {
    pub(crate) name: &'static str,
    pub(crate) kind: Form<O>,
    /// How the key is written. Messages about a wrong value show it.
    pub(crate) example: &'static str,
    /// What the key means, as the documentation says it.
    #[expect(dead_code, reason = "the documentation is not generated from it yet")]
    pub(crate) doc: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Form<O> {
    Ordinary(Kind),
    Own(O),
}

/// How the value of an ordinary key is written, and which values fit.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `key = 1000`: from 1 to `most`.
    Count { most: u64 },
    /// `key = true`.
    Flag,
    /// `key = "1m 30s"`.
    Duration,
    /// `key = "30s"`: a duration, but not zero, which would let nothing happen.
    Timeout,
    /// `key = "60s"`: a duration that the kernel takes for TCP keepalive.
    Keepalive,
    /// `key = "2MiB"`, or a number of bytes: from `least` on.
    Size { least: u64 },
    /// `key = "0660"`: permission bits in octal.
    Mode,
    /// `key = "text"`, not empty. `expected` names the text in messages.
    Text { expected: &'static str },
    /// `key = word`: a variant of the library's enum `of`, in lower case.
    Choice { of: &'static str, words: &'static [&'static str] },
    /// `key = "file"`, or a macro that makes the path, such as `concat!(…)`.
    File,
    /// `key = function`: an expression, which only rustc can check.
    Callback,
}

/// The keys of `#[server]` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum ServerKey {
    Port,
    Listen,
    Name,
    State,
    Tls,
    Layer,
    Prefix,
    Routes,
    Crate,
}

/// The keys of `tls(…)`: both are paths of files.
#[derive(Clone, Copy)]
pub(crate) enum TlsKey {
    Cert,
    Key,
}

/// The keys of `#[gracehttp::main]` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum MainKey {
    Servers,
    RestartOn,
    StopOn,
    Cli,
    Crate,
}

/// The keys of `#[routes]`.
#[derive(Clone, Copy)]
pub(crate) enum RoutesKey {
    Prefix,
    Routes,
    Layer,
    Crate,
}

/// The keys of `#[get("/path", …)]` and the like.
#[derive(Clone, Copy)]
pub(crate) enum RouteKey {
    Layer,
}

/// The kernel takes a backlog of 31 bits.
const MOST_BACKLOG: u64 = i32::MAX.unsigned_abs() as u64;
const OWNER: &str = "a name or a number, in quotes";

#[rustfmt::skip]
pub(crate) const SERVER: &[Key<ServerKey>] = &[
    Key { name: "port", kind: Own(ServerKey::Port), example: "port = 8080",
        doc: "listens on all interfaces, IPv6 and IPv4; 0 lets the kernel choose" },
    Key { name: "listen", kind: Own(ServerKey::Listen), example: r#"listen = "127.0.0.1:8080""#,
        doc: "an endpoint, or several as `[\"…\", \"…\"]`: `host:port`, `:port`, `[ipv6]:port`, `unix:/path`" },
    Key { name: "name", kind: Own(ServerKey::Name), example: r#"name = "api""#,
        doc: "the name in logs, errors and environment variables" },
    Key { name: "state", kind: Own(ServerKey::State), example: "state = AppState",
        doc: "a state that main has to provide, also where no argument says so" },
    Key { name: "tls", kind: Own(ServerKey::Tls), example: r#"tls(cert = "cert.pem", key = "key.pem")"#,
        doc: "serves HTTPS with the certificate and key in these PEM files" },
    Key { name: "max_conns", kind: Ordinary(Count { most: u32::MAX as u64 }), example: "max_conns = 1000",
        doc: "connections at once; further clients wait in the kernel's queue" },
    Key { name: "backlog", kind: Ordinary(Count { most: MOST_BACKLOG }), example: "backlog = 4096",
        doc: "the length of that queue, per endpoint" },
    Key { name: "http1", kind: Ordinary(Flag), example: "http1 = false",
        doc: "whether HTTP/1 is served" },
    Key { name: "http2", kind: Ordinary(Flag), example: "http2 = false",
        doc: "whether HTTP/2 is served" },
    Key { name: "handshake_timeout", kind: Ordinary(Timeout), example: r#"handshake_timeout = "10s""#,
        doc: "for the TLS handshake, or to tell HTTP/2 from HTTP/1" },
    Key { name: "header_read_timeout", kind: Ordinary(Timeout), example: r#"header_read_timeout = "10s""#,
        doc: "for a request head, from its first byte to its last" },
    Key { name: "request_timeout", kind: Ordinary(Timeout), example: r#"request_timeout = "30s""#,
        doc: "for a handler, until its response begins; then `503 Service Unavailable`" },
    Key { name: "idle_timeout", kind: Ordinary(Timeout), example: r#"idle_timeout = "75s""#,
        doc: "for a connection to wait for its next request" },
    Key { name: "max_body", kind: Ordinary(Size { least: 0 }), example: r#"max_body = "2MiB""#,
        doc: "the largest request body; then `413 Content Too Large`" },
    Key { name: "max_header_size", kind: Ordinary(Size { least: 1 }), example: r#"max_header_size = "64KiB""#,
        doc: "the largest request head; then `431 Request Header Fields Too Large`" },
    Key { name: "max_headers", kind: Ordinary(Count { most: 10_000 }), example: "max_headers = 100",
        doc: "the most fields of a request head, up to 10 000; then 431 as well" },
    Key { name: "tcp_keepalive", kind: Ordinary(Keepalive), example: r#"tcp_keepalive = "60s""#,
        doc: "idle time after which the kernel probes the peer, up to `\"9h 6m 7s\"`; `\"0s\"` turns it off" },
    Key { name: "nodelay", kind: Ordinary(Flag), example: "nodelay = false",
        doc: "whether small packets are sent at once" },
    Key { name: "when_full", kind: Ordinary(Choice { of: "WhenFull", words: &["recycle", "wait"] }),
        example: "when_full = wait",
        doc: "over `max_conns`: `recycle` closes the longest idle connections, `wait` closes none" },
    Key { name: "half_close_timeout", kind: Ordinary(Duration), example: r#"half_close_timeout = "1s""#,
        doc: "for a handler whose client has closed its sending half, until its response begins" },
    Key { name: "max_conn_memory", kind: Ordinary(Size { least: 64 << 10 }), example: r#"max_conn_memory = "4MiB""#,
        doc: "what one connection may hold for requests and responses under way, from 64 KiB on" },
    Key { name: "socket_mode", kind: Ordinary(Mode), example: r#"socket_mode = "0660""#,
        doc: "permission bits, in octal, of the files of Unix sockets" },
    // Only the machine that serves knows whether the user and the group exist.
    Key { name: "socket_user", kind: Ordinary(Text { expected: OWNER }), example: r#"socket_user = "app""#,
        doc: "the user that owns those files, by name or number" },
    Key { name: "socket_group", kind: Ordinary(Text { expected: OWNER }), example: r#"socket_group = "www-data""#,
        doc: "the group that owns those files, by name or number" },
    Key { name: "layer", kind: Own(ServerKey::Layer), example: "layer = TraceLayer::new_for_http()",
        doc: "a tower layer around all that the server answers" },
    Key { name: "prefix", kind: Own(ServerKey::Prefix), example: r#"prefix = "/v1""#,
        doc: "what all paths of a module begin with" },
    Key { name: "routes", kind: Own(ServerKey::Routes), example: "routes(users::routes)",
        doc: "modules with `#[routes]` that lie elsewhere" },
    Key { name: "crate", kind: Own(ServerKey::Crate), example: "crate = my_facade::gracehttp",
        doc: "where gracehttp is, for those who re-export it" },
];

#[rustfmt::skip]
pub(crate) const TLS: &[Key<TlsKey>] = &[
    Key { name: "cert", kind: Own(TlsKey::Cert), example: r#"cert = "cert.pem""#,
        doc: "the PEM file of the certificate and its chain" },
    Key { name: "key", kind: Own(TlsKey::Key), example: r#"key = "key.pem""#,
        doc: "the PEM file of the private key" },
];

#[rustfmt::skip]
pub(crate) const MAIN: &[Key<MainKey>] = &[
    Key { name: "servers", kind: Own(MainKey::Servers), example: "servers(api, admin)",
        doc: "the servers: functions and modules with `#[server]`" },
    Key { name: "drain_timeout", kind: Ordinary(Duration), example: r#"drain_timeout = "10s""#,
        doc: "for what is in flight to finish after a stop or a restart" },
    Key { name: "ready_timeout", kind: Ordinary(Timeout), example: r#"ready_timeout = "60s""#,
        doc: "for a successor to become ready; then it is killed, and this process serves on" },
    Key { name: "standby", kind: Ordinary(Duration), example: r#"standby = "2s""#,
        doc: "how long after a restart this process could take over again" },
    Key { name: "lame_duck", kind: Ordinary(Duration), example: r#"lame_duck = "5s""#,
        doc: "how long connections are still accepted after a signal to stop" },
    Key { name: "restart_on", kind: Own(MainKey::RestartOn), example: "restart_on(HUP, USR1, USR2)",
        doc: "the signals that restart; `restart_on()` for none" },
    Key { name: "stop_on", kind: Own(MainKey::StopOn), example: "stop_on(INT, TERM, QUIT, TSTP)",
        doc: "the signals that stop" },
    Key { name: "worker_threads", kind: Ordinary(Count { most: 4096 }), example: "worker_threads = 4",
        doc: "how many threads serve, up to 4096" },
    Key { name: "config", kind: Ordinary(File), example: r#"config = "my_app.toml""#,
        doc: "the configuration file; a macro such as `concat!(…)` may make the path" },
    Key { name: "cli", kind: Own(MainKey::Cli), example: "cli",
        doc: "a command line: `serve`, `check`, `config`, `routes`; with the feature `cli`" },
    Key { name: "on_info", kind: Ordinary(Callback), example: "on_info = my_function",
        doc: "a function of `&str` that takes the messages of this level" },
    Key { name: "on_notice", kind: Ordinary(Callback), example: "on_notice = my_function",
        doc: "a function of `&str` that takes the messages of this level" },
    Key { name: "on_error", kind: Ordinary(Callback), example: "on_error = my_function",
        doc: "a function of `&str` that takes the messages of this level" },
    Key { name: "crate", kind: Own(MainKey::Crate), example: "crate = my_facade::gracehttp",
        doc: "where gracehttp is, for those who re-export it" },
];

#[rustfmt::skip]
pub(crate) const ROUTES: &[Key<RoutesKey>] = &[
    Key { name: "prefix", kind: Own(RoutesKey::Prefix), example: r#"prefix = "/users""#,
        doc: "what all paths of the module begin with; it may have parameters" },
    Key { name: "routes", kind: Own(RoutesKey::Routes), example: "routes(users::routes)",
        doc: "modules with `#[routes]` that lie elsewhere, under the same prefix" },
    Key { name: "layer", kind: Own(RoutesKey::Layer), example: "layer = TraceLayer::new_for_http()",
        doc: "a tower layer around all of the module's routes" },
    Key { name: "crate", kind: Own(RoutesKey::Crate), example: "crate = my_facade::gracehttp",
        doc: "where gracehttp is, for those who re-export it" },
];

#[rustfmt::skip]
pub(crate) const ROUTE: &[Key<RouteKey>] = &[
    Key { name: "layer", kind: Own(RouteKey::Layer), example: "layer = TimeoutLayer::new(LIMIT)",
        doc: "a tower layer around this route" },
];

/// Whether a table has a key of this name.
pub(crate) fn has<O>(table: &[Key<O>], name: &str) -> bool {
    table.iter().any(|key| key.name == name)
}
