//! The plan: what the application is in this generation.

use std::path::PathBuf;
use std::time::Duration;

use gracehttp::{Acme, Server, Tls, WhenFull};

use crate::handler::answer;

/// The plan of this generation.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) servers: Vec<Server<()>>,
    /// The durations of the process that are unlimited.
    pub(crate) forever: Vec<String>,
    /// Background tasks and clean-up code, to be registered in this order.
    pub(crate) beside: Vec<(String, String)>,
    pub(crate) start: Vec<String>,
    /// What the start-up code does with standard error before.
    pub(crate) stderr: Vec<Vec<String>>,
}

impl Plan {
    pub(crate) fn read() -> Self {
        let Some(path) = std::env::var_os("APP_PLAN") else {
            let web = Server::builder("web").listen("127.0.0.1:0").handler(answer);
            return Self { servers: vec![web], ..Self::default() };
        };
        let text = std::fs::read_to_string(path).expect("the plan");
        let mut plan = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => (),
                ["server", name, options @ ..] => plan.servers.push(server(name, options)),
                [what @ ("task" | "exit"), how] => {
                    plan.beside.push((what.to_string(), how.to_string()));
                }
                ["forever", keys @ ..] => plan.forever = keys.iter().map(|key| key.to_string()).collect(),
                ["stderr", what @ ..] => plan.stderr.push(what.iter().map(|word| word.to_string()).collect()),
                ["start", what @ ..] => plan.start = what.iter().map(|word| word.to_string()).collect(),
                _ => panic!("not understood in the plan: {line}"),
            }
        }
        plan
    }
}

fn server(name: &str, options: &[&str]) -> Server<()> {
    let mut server = Server::builder(name);
    let (mut cert, mut key) = (PathBuf::new(), PathBuf::new());
    let duration = |text: &str| match text.strip_suffix("ms").and_then(|digits| digits.parse().ok()) {
        Some(millis) => Duration::from_millis(millis),
        None if text == "forever" => Duration::MAX,
        None => panic!("a duration is milliseconds, such as 500ms, or forever"),
    };
    for option in options {
        server = match option.split_once('=') {
            None => server.listen(option),
            Some(("cert", path)) => {
                cert = path.into();
                server
            }
            Some(("key", path)) => {
                key = path.into();
                server
            }
            // Of an authority with its own directory and its own certificate.
            Some(("acme", words)) => {
                let words: Vec<&str> = words.split(';').collect();
                let [domains, cache, directory, ca] = words[..] else { panic!("DOMAINS;CACHE;DIRECTORY;CA") };
                let acme = Acme::new(domains.split(','), cache).contact("mailto:ops@example.org");
                server.tls(Tls::acme(acme.directory(directory).ca(ca)))
            }
            Some(("proxy_protocol", networks)) => server.proxy_protocol(networks.split(',')),
            Some(("plain", endpoint)) => server.plain_listen(endpoint),
            Some(("redirect", port)) => server.redirect_to_https(port.parse().expect("a port")),
            Some(("hsts", policy)) => server.hsts(&policy.replace(',', ", ")),
            Some(("health", path)) => server.health(path),
            Some(("tls", "self_signed")) => server.tls(Tls::self_signed()),
            Some(("max_conns", count)) => server.max_conns(count.parse::<usize>().expect("a count")),
            Some(("http1", on)) => server.http1(on == "yes"),
            Some(("http2", on)) => server.http2(on == "yes"),
            Some(("handshake_timeout", time)) => server.handshake_timeout(duration(time)),
            Some(("header_read_timeout", time)) => server.header_read_timeout(duration(time)),
            Some(("request_timeout", time)) => server.request_timeout(duration(time)),
            Some(("tcp_keepalive", time)) => server.tcp_keepalive(duration(time)),
            Some(("idle_timeout", time)) => server.idle_timeout(duration(time)),
            Some(("half_close_timeout", time)) => server.half_close_timeout(duration(time)),
            Some(("max_conn_memory", bytes)) => server.max_conn_memory(bytes.parse().expect("bytes")),
            Some(("max_body", bytes)) => server.max_body(bytes.parse::<u64>().expect("bytes")),
            Some(("max_headers", count)) => server.max_headers(count.parse().expect("a count")),
            Some(("when_full", "recycle")) => server.when_full(WhenFull::Recycle),
            Some(("when_full", "wait")) => server.when_full(WhenFull::Wait),
            Some((key, _)) => panic!("no option {key} in the plan's grammar"),
        };
    }
    if !cert.as_os_str().is_empty() {
        server = server.tls(Tls::files(cert, key));
    }
    server.handler(answer)
}
