//! Keys that are set and have no effect, because another one is missing. That is no fault: file and environment may set the
//! other one, or switch it off.

use super::draft::Draft;
use super::keys::{Key, PROCESS_KEYS, SERVER_KEYS};
use super::{Origin, Provenance, Settings};
use crate::lifecycle::Supervise;
use crate::server::{AccessLog, Endpoint, ServerOptions};

/// What some keys need for their effect.
struct Rule<T> {
    keys: &'static [&'static str],
    has_effect: fn(&T) -> bool,
    /// The keys that decide it. `tls` stands for all of `tls.…`, too.
    needed: &'static [&'static str],
    /// Why there is no effect.
    why: &'static str,
    way_out: &'static str,
}

#[rustfmt::skip]
const OF_SERVER: &[Rule<ServerOptions>] = &[
    Rule {
        keys: &["access_log_to", "access_log_query", "access_log_handshakes"],
        has_effect: |server| server.access_log != AccessLog::Off, needed: &["access_log"],
        why: "the server has no access log", way_out: "set `access_log`",
    },
    Rule {
        keys: &["access_log_handshakes"],
        has_effect: ServerOptions::is_tls, needed: &["tls"],
        why: "the server has no TLS", way_out: "give it a certificate with `tls.cert` and `tls.key`",
    },
    Rule {
        keys: &["hsts"],
        has_effect: ServerOptions::is_tls, needed: &["tls"],
        why: "the server has no TLS, and browsers are told over TLS alone (RFC 6797 section 7.2)",
        way_out: "give it a certificate with `tls.cert` and `tls.key`, let the proxy that ends TLS tell browsers",
    },
    Rule {
        keys: &["tls.reload_interval"],
        has_effect: reads_files_for_tls, needed: &["tls"],
        why: "neither a certificate nor an authority of clients comes from a file", way_out: "name one",
    },
    Rule {
        keys: &["forwarded"],
        has_effect: |server| !server.trusted_proxies.is_empty(), needed: &["trusted_proxies"],
        why: "no proxy is trusted", way_out: "name the proxies in `trusted_proxies`",
    },
    Rule {
        keys: &["socket_mode", "socket_user", "socket_group"],
        has_effect: |server| server.all_endpoints().any(|endpoint| matches!(endpoint, Endpoint::Unix(_))),
        needed: &["listen", "port", "plain_listen"],
        why: "the server makes no Unix socket", way_out: "listen on one, `unix:/path`",
    },
    Rule {
        keys: &["tcp_keepalive", "nodelay"],
        has_effect: |server| server.all_endpoints().any(|endpoint| !matches!(endpoint, Endpoint::Unix(_))),
        needed: &["listen", "port", "plain_listen"],
        why: "the server listens on Unix sockets alone", way_out: "listen on a TCP port, too",
    },
    Rule {
        keys: &["half_close_timeout"],
        has_effect: |server| server.http1, needed: &["http1"],
        why: "the server does not speak HTTP/1.1", way_out: "switch `http1` on",
    },
];

#[rustfmt::skip]
const OF_PROCESS: &[Rule<Settings>] = &[
    Rule {
        keys: &["hang_timeout", "crash_limit", "crash_window", "crash_backoff"],
        has_effect: |settings| settings.supervise != Supervise::Off, needed: &["supervise"],
        why: "there is no supervisor", way_out: "set `supervise` to `auto` or `always`",
    },
];

fn reads_files_for_tls(server: &ServerOptions) -> bool {
    #[cfg(feature = "tls")]
    return server.tls.as_ref().is_some_and(|tls| !tls.all_files().is_empty() || tls.client_ca.is_some());
    #[cfg(not(feature = "tls"))]
    {
        let _ = server;
        false
    }
}

impl Draft<'_, '_> {
    /// A notice for each key without effect.
    pub(super) fn without_effect(&self) -> Vec<String> {
        let mut notices = self.notices(PROCESS_KEYS, OF_PROCESS, &*self.settings, &Settings::default(), None);
        for server in &*self.servers {
            let bare = bare(server);
            notices.extend(self.notices(SERVER_KEYS, OF_SERVER, &**server, &bare, Some(&server.name)));
        }
        notices
    }

    /// The notices about one server, or about the process. What differs from `bare` is set.
    fn notices<T>(
        &self,
        keys: &[Key<T>],
        rules: &[Rule<T>],
        target: &T,
        bare: &T,
        server: Option<&str>,
    ) -> Vec<String> {
        let is_set = |key: &&Key<T>| (key.get)(target) != (key.get)(bare);
        let notice = |key: &Key<T>| {
            let rule =
                rules.iter().find(|rule| rule.keys.contains(&key.name) && !(rule.has_effect)(target))?;
            let origin = self.provenance_of(server, |set| set == key.name).map(|entry| &entry.origin);
            // If a later place has switched the other key off, that is meant.
            let of_needed = self.provenance_of(server, |set| {
                rule.needed.iter().any(|needed| set == *needed || set.split('.').next() == Some(needed))
            });
            if of_needed.map(|entry| rank(&entry.origin)) > Some(origin.map_or(0, rank)) {
                return None;
            }
            let of_whom = server.map(|name| format!("server `{name}`: ")).unwrap_or_default();
            let set = origin.map_or_else(|| "in the code".to_owned(), |origin| format!("by {origin}"));
            let Rule { why, way_out, .. } = rule;
            Some(format!(
                "{of_whom}`{}`, set {set}, has no effect, since {why}: {way_out}, or remove the key",
                key.name
            ))
        };
        keys.iter().filter(is_set).filter_map(notice).collect()
    }

    /// The latest entry of the file or of the environment for such a key.
    fn provenance_of(&self, server: Option<&str>, is_it: impl Fn(&str) -> bool) -> Option<&Provenance> {
        let entries = self.provenance.iter().filter(|entry| entry.server.as_deref() == server);
        entries.filter(|entry| is_it(entry.key)).max_by_key(|entry| rank(&entry.origin))
    }
}

/// A server with its defaults, and with the certificate of this one, without which it could have no key of `tls`.
fn bare(server: &ServerOptions) -> ServerOptions {
    #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "only TLS is added"))]
    let mut bare = ServerOptions::new(&*server.name);
    #[cfg(feature = "tls")]
    if let Some(tls) = &server.tls {
        crate::server::Tls::set_source(&mut bare.tls, tls.source.clone());
    }
    bare
}

/// The order in which origins override each other. The code comes before all of them, with 0.
fn rank(origin: &Origin) -> u8 {
    match origin {
        Origin::Line(_) => 1,
        Origin::Variable(_) => 2,
        Origin::Argument(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::draft::Place;

    fn line(number: u32) -> Origin {
        Origin::Line(format!("a.toml:{number}"))
    }

    /// The notices about a server, with these values over it.
    fn notices(server: &mut ServerOptions, values: &[(&str, &str, Origin)]) -> Vec<String> {
        let (mut settings, mut servers) = (Settings::default(), [server]);
        let mut draft = Draft::new(&mut settings, &mut servers);
        for (key, text, origin) in values {
            let of_server = SERVER_KEYS.iter().find(|known| known.name == *key);
            let of_process = || PROCESS_KEYS.iter().find(|known| known.name == *key).map(Place::Process);
            let place = of_server.map(|known| Place::Server(0, known)).or_else(of_process);
            draft.set(place.unwrap(), text, origin.clone()).unwrap();
        }
        draft.without_effect()
    }

    fn web(endpoint: &str) -> ServerOptions {
        ServerOptions { endpoints: vec![endpoint.parse().unwrap()], ..ServerOptions::new("web") }
    }

    #[test]
    fn a_key_without_effect_is_named_with_its_place_and_a_way_out() {
        assert_eq!(
            notices(&mut web(":80"), &[("access_log_query", "true", line(1))]),
            [
                "server `web`: `access_log_query`, set by a.toml:1, has no effect, since the server has no access log: set \
                 `access_log`, or remove the key"
            ]
        );
        let mut in_code = web(":80");
        in_code.forwarded = crate::proxy::BelievedFields::Forwarded;
        assert_eq!(
            notices(&mut in_code, &[]),
            [
                "server `web`: `forwarded`, set in the code, has no effect, since no proxy is trusted: name the proxies in \
                 `trusted_proxies`, or remove the key"
            ]
        );
        let of_process = [("supervise", "off", line(1)), ("crash_limit", "3", line(2))];
        assert_eq!(
            notices(&mut web(":80"), &of_process),
            [
                "`crash_limit`, set by a.toml:2, has no effect, since there is no supervisor: set `supervise` to `auto` or \
                 `always`, or remove the key"
            ]
        );
    }

    #[test]
    fn every_rule_finds_its_keys() {
        for (endpoint, key, text) in [
            (":80", "access_log_to", "a.log"),
            (":80", "access_log_handshakes", "true"),
            (":80", "socket_mode", "0600"),
            (":80", "socket_user", "app"),
            (":80", "socket_group", "app"),
            ("unix:a", "tcp_keepalive", "5s"),
            ("unix:a", "nodelay", "false"),
        ] {
            let found = notices(&mut web(endpoint), &[(key, text, line(1))]);
            assert!(matches!(&found[..], [one] if one.contains(&format!("`{key}`"))), "{key}: {found:?}");
        }
        let mut without_http1 = web(":80");
        without_http1.http1 = false;
        assert_eq!(notices(&mut without_http1, &[("half_close_timeout", "5s", line(1))]).len(), 1);
        let known: Vec<&str> = SERVER_KEYS.iter().map(|key| key.name).collect();
        let named = OF_SERVER.iter().flat_map(|rule| rule.keys.iter().chain(rule.needed));
        let is_there = |key: &&str| known.contains(key) || (!cfg!(feature = "tls") && needs_tls(key));
        let unknown: Vec<_> = named.filter(|key| !is_there(key)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    fn needs_tls(key: &str) -> bool {
        key.starts_with("tls") || key == "hsts" || key == "plain_listen"
    }

    #[cfg(feature = "tls")]
    #[test]
    fn keys_of_tls_need_a_certificate() {
        let found = notices(&mut web(":80"), &[("hsts", "180d", line(1))]);
        assert!(found[0].contains("since the server has no TLS, and browsers"), "{found:?}");
        let pair = [("tls.cert", "a.pem", line(1)), ("tls.key", "a.key", line(2))];
        let with = |more: &[(&'static str, &'static str, Origin)]| {
            notices(&mut web(":443"), &[&pair[..], more].concat())
        };
        assert!(with(&[("hsts", "180d", line(3)), ("tls.reload_interval", "5s", line(4))]).is_empty());
        let acme = [
            ("tls.acme.domains", "a.test", line(1)),
            ("tls.acme.cache", "cache", line(2)),
            ("tls.reload_interval", "5s", line(3)),
        ];
        let found = notices(&mut web(":443"), &acme);
        assert!(matches!(&found[..], [one] if one.contains("`tls.reload_interval`")), "{found:?}");
        assert!(notices(&mut web(":443"), &acme[..2]).is_empty());
    }

    /// A default that is written down asks for nothing, and what a later place switches off is meant to be off.
    #[test]
    fn what_asks_for_nothing_and_what_is_switched_off_is_not_told() {
        let variable = || Origin::Variable("GRACEHTTP_SERVER__WEB__ACCESS_LOG".into());
        let of = |values: &[(&'static str, &'static str, Origin)]| notices(&mut web(":80"), values);
        assert!(
            of(&[("access_log_query", "false", line(1)), ("access_log_to", "stdout", line(2))]).is_empty()
        );
        assert!(of(&[("access_log", "json", line(1)), ("access_log_to", "a.log", line(2))]).is_empty());
        assert!(of(&[("access_log_to", "a.log", line(1)), ("access_log", "off", variable())]).is_empty());
        assert_eq!(of(&[("access_log", "off", line(1)), ("access_log_to", "a.log", variable())]).len(), 1);
        assert_eq!(of(&[("access_log", "off", line(1)), ("access_log_to", "a.log", line(2))]).len(), 1);
    }
}
