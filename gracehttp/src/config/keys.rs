//! The keys that the file and the environment can set: one table for a server, one for the process.

use super::{MOST_THREADS, Settings, value};
use crate::lifecycle::{Signal, show};
use crate::server::{Endpoint, LEAST_CONN_MEMORY, MOST_HEADERS, ServerOptions};

/// What can be set about a `T`.
pub(crate) struct Key<T> {
    /// As in the attribute. A dot leads into a table of the file.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) set: fn(&mut T, &str) -> Result<(), String>,
    /// What `set` would have to read for what is there; `None` where it can't say that.
    pub(crate) get: fn(&T) -> Option<String>,
}

/// How a value is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A number or a truth value, without quotes.
    Bare,
    /// In quotes.
    Text,
    /// A number of bytes, or with its unit in quotes.
    Size,
    /// Several in quotes; in the environment with commas between them.
    List,
}

#[rustfmt::skip]
pub(crate) const PROCESS_KEYS: &[Key<Settings>] = &[
    Key {
        name: "drain_timeout", form: Form::Text,
        set: |settings, text| value::duration(text).map(|limit| settings.drain_timeout = limit),
        get: |settings| Some(show(settings.drain_timeout)),
    },
    Key {
        name: "ready_timeout", form: Form::Text,
        set: |settings, text| value::positive_duration(text).map(|limit| settings.ready_timeout = limit),
        get: |settings| Some(show(settings.ready_timeout)),
    },
    Key {
        name: "standby", form: Form::Text,
        set: |settings, text| value::duration(text).map(|period| settings.standby = period),
        get: |settings| Some(show(settings.standby)),
    },
    Key {
        name: "lame_duck", form: Form::Text,
        set: |settings, text| value::duration(text).map(|period| settings.lame_duck = period),
        get: |settings| Some(show(settings.lame_duck)),
    },
    Key {
        name: "restart_on", form: Form::List,
        set: |settings, text| value::signals(text).map(|signals| settings.restart_on = signals),
        get: |settings| Some(show_signals(&settings.restart_on)),
    },
    Key {
        name: "stop_on", form: Form::List,
        set: |settings, text| value::signals(text).map(|signals| settings.stop_on = signals),
        get: |settings| Some(show_signals(&settings.stop_on)),
    },
    Key {
        name: "worker_threads", form: Form::Bare,
        set: |settings, text| {
            value::count_to(text, MOST_THREADS).map(|threads| settings.worker_threads = Some(threads))
        },
        get: |settings| settings.worker_threads.map(|threads| threads.to_string()),
    },
];

#[rustfmt::skip]
pub(crate) const SERVER_KEYS: &[Key<ServerOptions>] = &[
    Key { name: PORT, form: Form::Bare, set: set_port, get: |_| None },
    Key {
        name: LISTEN, form: Form::List,
        set: |server, text| value::endpoints(text).map(|endpoints| server.endpoints = endpoints),
        get: |server| Some(comma_separated(&server.endpoints)),
    },
    #[cfg(feature = "tls")]
    Key {
        name: "tls", form: Form::Text,
        set: |server, text| value::tls(text).map(|tls| server.tls = tls),
        get: |server| match &server.tls {
            None => Some("off".to_owned()),
            Some(tls) => tls.files_named().is_none().then(|| "self_signed".to_owned()),
        },
    },
    #[cfg(feature = "tls")]
    Key {
        name: "tls.cert", form: Form::Text,
        set: |server, text| value::path(text).map(|path| crate::Tls::set_cert(&mut server.tls, path)),
        get: |server| Some(server.tls.as_ref()?.files_named()?.0.display().to_string()),
    },
    #[cfg(feature = "tls")]
    Key {
        name: "tls.key", form: Form::Text,
        set: |server, text| value::path(text).map(|path| crate::Tls::set_key(&mut server.tls, path)),
        get: |server| Some(server.tls.as_ref()?.files_named()?.1.display().to_string()),
    },
    Key {
        name: "max_conns", form: Form::Bare,
        set: |server, text| value::count(text).map(|limit| server.max_conns = limit),
        get: |server| Some(server.max_conns.to_string()),
    },
    Key {
        name: "backlog", form: Form::Bare,
        set: |server, text| value::count_to(text, LONGEST_QUEUE).map(|length| server.backlog = length),
        get: |server| Some(server.backlog.to_string()),
    },
    Key {
        name: "http1", form: Form::Bare,
        set: |server, text| value::flag(text).map(|on| server.http1 = on),
        get: |server| Some(server.http1.to_string()),
    },
    Key {
        name: "http2", form: Form::Bare,
        set: |server, text| value::flag(text).map(|on| server.http2 = on),
        get: |server| Some(server.http2.to_string()),
    },
    Key {
        name: "handshake_timeout", form: Form::Text,
        set: |server, text| value::positive_duration(text).map(|limit| server.handshake_timeout = limit),
        get: |server| Some(show(server.handshake_timeout)),
    },
    Key {
        name: "header_read_timeout", form: Form::Text,
        set: |server, text| value::positive_duration(text).map(|limit| server.header_read_timeout = limit),
        get: |server| Some(show(server.header_read_timeout)),
    },
    Key {
        name: "request_timeout", form: Form::Text,
        set: |server, text| value::duration_or_off(text).map(|limit| server.request_timeout = limit),
        get: |server| Some(value::show_or_off(server.request_timeout)),
    },
    Key {
        name: "idle_timeout", form: Form::Text,
        set: |server, text| value::positive_duration(text).map(|limit| server.idle_timeout = limit),
        get: |server| Some(show(server.idle_timeout)),
    },
    Key {
        name: "max_body", form: Form::Size,
        set: |server, text| value::size(text).map(|bytes| server.max_body = bytes),
        get: |server| Some(value::show_size(server.max_body)),
    },
    Key {
        name: "max_header_size", form: Form::Size,
        set: |server, text| value::memory_size(text, 1).map(|bytes| server.max_header_size = bytes),
        get: |server| Some(value::show_size(server.max_header_size as u64)),
    },
    Key {
        name: "max_headers", form: Form::Bare,
        set: |server, text| value::count_to(text, MOST_HEADERS).map(|fields| server.max_headers = fields),
        get: |server| Some(server.max_headers.to_string()),
    },
    Key {
        name: "tcp_keepalive", form: Form::Text,
        set: |server, text| value::keepalive_or_off(text).map(|idle| server.tcp_keepalive = idle),
        get: |server| Some(value::show_or_off(server.tcp_keepalive)),
    },
    Key {
        name: "nodelay", form: Form::Bare,
        set: |server, text| value::flag(text).map(|on| server.nodelay = on),
        get: |server| Some(server.nodelay.to_string()),
    },
    Key {
        name: "when_full", form: Form::Text,
        set: |server, text| value::when_full(text).map(|choice| server.when_full = choice),
        get: |server| Some(server.when_full.name().to_owned()),
    },
    Key {
        name: "half_close_timeout", form: Form::Text,
        set: |server, text| value::duration(text).map(|limit| server.half_close_timeout = limit),
        get: |server| Some(show(server.half_close_timeout)),
    },
    Key {
        name: "max_conn_memory", form: Form::Size,
        set: |server, text| {
            value::memory_size(text, LEAST_CONN_MEMORY).map(|bytes| server.max_conn_memory = bytes)
        },
        get: |server| Some(value::show_size(server.max_conn_memory as u64)),
    },
    Key {
        name: "socket_mode", form: Form::Text,
        set: |server, text| value::mode(text).map(|mode| server.socket.mode = Some(mode)),
        get: |server| server.socket.mode.map(|mode| mode.to_string()),
    },
    Key {
        name: "socket_user", form: Form::Text,
        set: |server, text| value::named(text).map(|user| server.socket.user = Some(user)),
        get: |server| server.socket.user.clone(),
    },
    Key {
        name: "socket_group", form: Form::Text,
        set: |server, text| value::named(text).map(|group| server.socket.group = Some(group)),
        get: |server| server.socket.group.clone(),
    },
];

/// What `listen(2)` can be told.
const LONGEST_QUEUE: u32 = i32::MAX.unsigned_abs();

const PORT: &str = "port";
const LISTEN: &str = "listen";

/// Whether a value of `key` says again what one of `other` said, so that only one of them can stand in one
/// place.
pub(super) fn excludes(key: &str, other: &str) -> bool {
    let pair = |a: &str, b: &str| (a == PORT && b == LISTEN) || (a == "tls" && b.starts_with("tls."));
    pair(key, other) || pair(other, key)
}

/// Whether nothing is left of what an earlier place said about `other` once `key` is set. A port is set
/// *into* endpoints; endpoints replace it.
pub(super) fn replaces(key: &str, other: &str) -> bool {
    key == other || (excludes(key, other) && key != PORT)
}

/// Replaces the port of the server's TCP endpoints, hosts and socket files staying as they are. Endpoints
/// with different ports have no one port to replace, and several that became equal would be worse than an
/// error.
fn set_port(server: &mut ServerOptions, text: &str) -> Result<(), String> {
    let new = value::port(text)?;
    if server.endpoints.is_empty() {
        server.endpoints.push(Endpoint::Tcp { host: None, port: new });
    }
    let mut ports: Vec<&mut u16> = server
        .endpoints
        .iter_mut()
        .filter_map(|endpoint| match endpoint {
            Endpoint::Tcp { port, .. } => Some(port),
            Endpoint::Unix(_) => None,
        })
        .collect();
    match ports.first() {
        None => return Err(format!("server `{}` has no TCP endpoint; set `listen` instead", server.name)),
        Some(first) if ports.iter().any(|port| port != first) => {
            return Err(format!("server `{}` listens on several ports; set `listen` instead", server.name));
        }
        Some(_) => {}
    }
    ports.iter_mut().for_each(|port| **port = new);
    Ok(())
}

fn show_signals(signals: &[Signal]) -> String {
    comma_separated(&signals.iter().map(|signal| signal.name()).collect::<Vec<_>>())
}

fn comma_separated(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{LONGEST, LONGEST_KEEPALIVE, WhenFull};

    /// Every value is shown in a way that sets it again.
    #[test]
    fn what_is_shown_can_be_set() {
        fn check<T>(keys: &[Key<T>], example: impl Fn() -> T) {
            for Key { name, set, get, .. } in keys {
                let mut target = example();
                if let Some(text) = get(&target) {
                    set(&mut target, &text).unwrap_or_else(|reason| panic!("{name} = {text}: {reason}"));
                    assert_eq!(get(&target).as_ref(), Some(&text), "{name}");
                }
            }
        }
        check(PROCESS_KEYS, || Settings { worker_threads: Some(4), ..Settings::default() });
        check(PROCESS_KEYS, || Settings { restart_on: Vec::new(), ..Settings::default() });
        check(PROCESS_KEYS, || Settings { drain_timeout: LONGEST, ..Settings::default() });
        check(SERVER_KEYS, || {
            let mut server = ServerOptions::new("ping");
            server.endpoints = vec![":80".parse().unwrap()];
            server.request_timeout = Some(LONGEST);
            server.tcp_keepalive = Some(LONGEST_KEEPALIVE);
            server.max_headers = MOST_HEADERS;
            server.when_full = WhenFull::Wait;
            server.half_close_timeout = LONGEST;
            server.max_conn_memory = LEAST_CONN_MEMORY;
            server.socket.mode = crate::server::Mode::new(0o600);
            server.socket.user = Some("app".into());
            server.socket.group = Some("33".into());
            server
        });
        check(SERVER_KEYS, || {
            let mut server = ServerOptions::new("ping");
            server.endpoints = vec![":80".parse().unwrap(), "unix:/run/a.sock".parse().unwrap()];
            server
        });
        #[cfg(feature = "tls")]
        check(&SERVER_KEYS[3..5], || {
            let mut server = ServerOptions::new("ping");
            server.tls = Some(crate::Tls::files("cert.pem", "key.pem"));
            server
        });
    }

    #[test]
    fn a_port_and_endpoints_exclude_each_other_and_the_later_endpoints_win() {
        assert!(excludes("port", "listen") && excludes("listen", "port"));
        assert!(excludes("tls", "tls.cert") && !excludes("tls.cert", "tls.key"));
        assert!(replaces("listen", "port") && !replaces("port", "listen") && replaces("port", "port"));
        assert!(replaces("tls", "tls.key") && replaces("tls.key", "tls"));
    }
}
