//! Hints for words that are no key of an attribute: keys of other attributes, of other frameworks, of later
//! releases.

use crate::keys;

/// The hint for a word that is not a key of the attribute: what to write in its place.
pub(crate) fn for_unknown(attribute: &str, word: &str) -> Option<&'static str> {
    let of_key = || match attribute {
        SERVER => keys::hint(keys::SERVER, word),
        MAIN => keys::hint(keys::MAIN, word),
        _ => None,
    };
    let hints = HINTS.iter().filter(|hint| attribute.starts_with(hint.attribute));
    let of_no_key = || hints.filter(|hint| hint.words.contains(&word)).map(|hint| hint.say).next();
    key_of_other(attribute, word).or_else(of_key).or_else(of_no_key)
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
        "health" => Some("all health checks are in one list: `health(database, cache)`"),
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

/// Words that stand for no key. The others are in the table of keys.
#[rustfmt::skip]
const HINTS: &[Hint] = &[
    Hint {
        attribute: SERVER,
        words: &["path", "route", "get", "method"],
        say: "paths are attributes of functions in a module: `#[server(port = 8080)] mod api { #[get(\"/\")] … }`",
    },
    Hint {
        attribute: SERVER,
        words: &["client_ca", "client_auth", "client_crl"],
        say: "it is a key of TLS: `tls(cert = \"cert.pem\", key = \"key.pem\", client_ca = \"clients.pem\")`",
    },
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_has_a_hint_where_it_means_something() {
        assert!(for_unknown(SERVER, "drain_timeout").is_some_and(|say| say.contains("gracehttp::main")));
        assert!(for_unknown(MAIN, "port").is_some_and(|say| say.contains("#[server(…)]")));
        assert!(for_unknown("tls(…)", "private_key").is_some());
        assert_eq!(for_unknown(MAIN, "colour"), None);
    }
}
