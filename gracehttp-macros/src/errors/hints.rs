//! Hints for words that are no key of an attribute: keys of other attributes, of other frameworks, of later
//! releases.

use crate::keys;

/// What to write instead of a word that is no key of the attribute.
pub(crate) fn for_unknown(attribute: &str, word: &str) -> Option<&'static str> {
    let hints = HINTS.iter().filter(|hint| attribute.starts_with(hint.attribute));
    key_of_other(attribute, word)
        .or_else(|| hints.filter(|hint| hint.words.contains(&word)).map(|hint| hint.say).next())
}

/// Where to write a key that belongs to another attribute.
fn key_of_other(attribute: &str, word: &str) -> Option<&'static str> {
    match attribute {
        SERVER if keys::has(keys::MAIN, word) => {
            Some("it is a key of the whole application: write it in `#[gracehttp::main(…)]`")
        }
        MAIN if keys::has(keys::SERVER, word) => Some("it is a key of a server: write it in `#[server(…)]`"),
        ROUTES if keys::has(keys::SERVER, word) => {
            Some("it is a key of the server that lists these routes: write it in `#[server(…)]`")
        }
        _ => None,
    }
}

/// How to say several things with a key that is given twice.
pub(crate) fn for_second(key: &str) -> Option<&'static str> {
    match key {
        "port" | "listen" => {
            Some("one server listens on several endpoints with `listen = [\":8080\", \"127.0.0.1:8081\"]`")
        }
        "layer" => Some(
            "several layers are a tuple, of which the first sees a request first: `layer = (first, second)`",
        ),
        "servers" => Some("all servers are in one list: `servers(api, admin)`"),
        "routes" => Some("all modules are in one list: `routes(users::routes, posts::routes)`"),
        _ => None,
    }
}

struct Hint {
    attribute: &'static str,
    words: &'static [&'static str],
    say: &'static str,
}

pub(crate) const MAIN: &str = "#[gracehttp::main]";
const SERVER: &str = "#[server]";
const ROUTES: &str = "#[routes]";
const TLS: &str = "tls";

#[rustfmt::skip]
const HINTS: &[Hint] = &[
    Hint {
        attribute: SERVER,
        words: &["addr", "address", "bind", "host", "ip", "interface", "socket", "unix", "url"],
        say: "where a server listens is `port = 8080`, or `listen = \"127.0.0.1:8080\"`",
    },
    Hint {
        attribute: SERVER,
        words: &["cert", "certificate", "key", "ssl", "https"],
        say: "HTTPS is `tls(cert = \"cert.pem\", key = \"key.pem\")`",
    },
    Hint {
        attribute: SERVER,
        words: &["timeout", "write_timeout", "handler_timeout"],
        say: "how long a handler may take is `request_timeout = \"30s\"`",
    },
    Hint {
        attribute: SERVER,
        words: &["read_timeout"],
        say: "how long a request's head may take is `header_read_timeout = \"10s\"`",
    },
    Hint {
        attribute: SERVER,
        words: &["keepalive", "keep_alive", "keep_alive_timeout"],
        say: "the pause between requests is `idle_timeout = \"75s\"`; probes of TCP are `tcp_keepalive = \"60s\"`",
    },
    Hint {
        attribute: SERVER,
        words: &["body_limit", "limit", "max_request_size", "client_max_body_size"],
        say: "the size of a body is limited by `max_body = \"2MiB\"`",
    },
    Hint {
        attribute: SERVER,
        words: &["overload", "full", "on_full"],
        say: "what a full server does for clients that wait is `when_full = recycle`, or `when_full = wait`",
    },
    Hint {
        attribute: SERVER,
        words: &["memory_limit", "max_memory"],
        say: "what one connection may hold is limited by `max_conn_memory = \"4MiB\"`",
    },
    Hint {
        attribute: SERVER,
        words: &["middleware", "wrap", "layers"],
        say: "a tower layer is `layer = …`; several are a tuple, `layer = (first, second)`",
    },
    Hint {
        attribute: SERVER,
        words: &["path", "route", "get", "method"],
        say: "paths are attributes of functions in a module: `#[server(port = 8080)] mod api { #[get(\"/\")] … }`",
    },
    Hint {
        attribute: MAIN,
        words: &["shutdown_timeout", "graceful_timeout", "grace_period", "stop_timeout"],
        say: "what is in flight gets `drain_timeout = \"10s\"`",
    },
    Hint {
        attribute: MAIN,
        words: &["threads", "workers", "flavor", "num_threads"],
        say: "the number of threads is `worker_threads = 4`",
    },
    Hint {
        attribute: MAIN,
        words: &["logger", "log", "on_log"],
        say: "messages go to `tracing`, or to `on_info = …`, `on_notice = …`, `on_error = …`",
    },
    Hint {
        attribute: SERVER,
        words: &["client_ca", "proxy_protocol"],
        say: "this version has nothing of the kind",
    },
    Hint { attribute: TLS, words: &["client_ca"], say: "this version asks no client for a certificate" },
    Hint {
        attribute: TLS,
        words: &["certificate", "cert_file", "chain"],
        say: "the certificate and its chain are one PEM file, `cert = \"cert.pem\"`",
    },
    Hint {
        attribute: TLS,
        words: &["private_key", "key_file"],
        say: "the private key is a PEM file, `key = \"key.pem\"`",
    },
    Hint {
        attribute: MAIN,
        words: &["pid_file", "supervise", "admin", "control", "health"],
        say: "this version has nothing of the kind",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_has_a_hint_where_it_means_something() {
        assert!(for_unknown(SERVER, "drain_timeout").is_some_and(|say| say.contains("gracehttp::main")));
        assert!(for_unknown(MAIN, "port").is_some_and(|say| say.contains("#[server(…)]")));
        assert!(for_unknown("tls(…)", "client_ca").is_some());
        assert_eq!(for_unknown(MAIN, "colour"), None);
    }
}
