//! The keys that the file and the environment can set, by name: one list for a server, one for the process.
//!
//! The lists come from the table of keys, `keys/` of gracehttp-macros.

#[cfg(feature = "cli")]
use super::ControlAddress;
#[cfg(feature = "tls")]
use super::acme_keys::{
    TLS_ACME_CA, TLS_ACME_CACHE, TLS_ACME_CONTACT, TLS_ACME_DIRECTORY, TLS_ACME_DOMAINS,
    TLS_ACME_EAB_HMAC_KEY, TLS_ACME_EAB_HMAC_KEY_FILE, TLS_ACME_EAB_KID,
};
use super::text::Text;
#[cfg(feature = "tls")]
use super::tls_keys::{
    TLS, TLS_CERT, TLS_CERTS, TLS_CIPHER_SUITES, TLS_CLIENT_AUTH, TLS_CLIENT_CA, TLS_CLIENT_CRL, TLS_CURVES,
    TLS_KEY, TLS_MIN_VERSION, TLS_OCSP, TLS_RELOAD_INTERVAL, TLS_SNI_STRICT,
};
use super::{MOST_THREADS, Settings, value};
use crate::lifecycle::Signal;
use crate::server::{Endpoint, HttpsPort, ServerOptions, kinds};

/// What can be set about a `T`.
pub(crate) struct Key<T> {
    /// The name as in the attribute. A dot leads into a table of the file.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) set: fn(&mut T, &str) -> Result<(), String>,
    /// The text that `set` reads as the present value; `None` if there is none.
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
    /// Pairs of texts, each in brackets; in the environment with a colon within a pair and commas between them.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "certificates and their keys are pairs"))]
    Pairs,
}

/// An entry for an ordinary key, whose kind says how it is read and shown.
macro_rules! ordinary {
    ($name:ident, $kind:expr) => {
        Key {
            name: stringify!($name),
            form: form_of(&$kind),
            set: |target, text| $kind.read(text).map(|value| target.$name = value),
            get: |target| Some($kind.show(&target.$name)),
        }
    };
}

const fn form_of<K: Text>(_: &K) -> Form {
    K::FORM
}

/// The keys of the process, in the order of the table of keys. Keys with a form of their own are the constants below.
pub(crate) const PROCESS_KEYS: &[Key<Settings>] = gracehttp_macros::keys!(process.entries => ordinary);

/// The keys of a server, in the same way.
pub(crate) const SERVER_KEYS: &[Key<ServerOptions>] = gracehttp_macros::keys!(server.entries => ordinary);

const RESTART_ON: Key<Settings> = Key {
    name: "restart_on",
    form: Form::List,
    set: |settings, text| value::signals(text).map(|signals| settings.restart_on = signals),
    get: |settings| Some(show_signals(&settings.restart_on)),
};

const STOP_ON: Key<Settings> = Key {
    name: "stop_on",
    form: Form::List,
    set: |settings, text| value::signals(text).map(|signals| settings.stop_on = signals),
    get: |settings| Some(show_signals(&settings.stop_on)),
};

const WORKER_THREADS: Key<Settings> = Key {
    name: "worker_threads",
    form: Form::Bare,
    set: |settings, text| {
        value::count_to(text, MOST_THREADS).map(|threads| settings.worker_threads = Some(threads))
    },
    get: |settings| settings.worker_threads.map(|threads| threads.to_string()),
};

#[cfg(feature = "cli")]
const CONTROL: Key<Settings> = Key {
    name: "control",
    form: Form::Text,
    set: |settings, text| value::control(text).map(|address| settings.control = address),
    get: |settings| match &settings.control {
        ControlAddress::Usual => None,
        ControlAddress::Off => Some("off".to_owned()),
        ControlAddress::At(path) => Some(Endpoint::Unix(path.clone()).to_string()),
    },
};

const PID_FILE: Key<Settings> = Key {
    name: "pid_file",
    form: Form::Text,
    set: |settings, text| value::path_or_off(text).map(|path| settings.pid_file = path),
    get: |settings| settings.pid_file.as_ref().map(|path| path.display().to_string()),
};

#[cfg(feature = "admin")]
const ADMIN: Key<Settings> = Key {
    name: "admin",
    form: Form::Text,
    set: |settings, text| value::endpoint_or_off(text).map(|endpoint| settings.admin = endpoint),
    get: |settings| Some(settings.admin.as_ref().map_or_else(|| "off".to_owned(), Endpoint::to_string)),
};

const SUPERVISE: Key<Settings> = Key {
    name: "supervise",
    form: Form::Text,
    set: |settings, text| value::supervise(text).map(|choice| settings.supervise = choice),
    get: |settings| Some(settings.supervise.name().to_owned()),
};

const USER: Key<Settings> = Key {
    name: "user",
    form: Form::Text,
    set: |settings, text| value::named(text).map(|user| settings.user = Some(user)),
    get: |settings| settings.user.clone(),
};

const GROUP: Key<Settings> = Key {
    name: "group",
    form: Form::Text,
    set: |settings, text| value::named(text).map(|group| settings.group = Some(group)),
    get: |settings| settings.group.clone(),
};

const LOG_FORMAT: Key<Settings> = Key {
    name: "log_format",
    form: Form::Text,
    set: |settings, text| value::log_format(text).map(|format| settings.log_format = format),
    get: |settings| Some(settings.log_format.name().to_owned()),
};

const LOG: Key<Settings> = Key {
    name: "log",
    form: Form::Text,
    set: |settings, text| value::log_levels(text).map(|levels| settings.log = Some(levels)),
    get: |settings| settings.log.clone(),
};

pub(super) const UNKNOWN_KEYS: Key<Settings> = Key {
    name: "unknown_keys",
    form: Form::Text,
    set: |settings, text| value::unknown_keys(text).map(|choice| settings.unknown_keys = choice),
    get: |settings| Some(settings.unknown_keys.name().to_owned()),
};

const PORT: Key<ServerOptions> = Key { name: "port", form: Form::Bare, set: set_port, get: |_| None };

const LISTEN: Key<ServerOptions> = Key {
    name: "listen",
    form: Form::List,
    set: |server, text| value::endpoints(text).map(|endpoints| server.endpoints = endpoints),
    get: |server| Some(comma_separated(&server.endpoints)),
};

#[cfg(feature = "tls")]
const PLAIN_LISTEN: Key<ServerOptions> = Key {
    name: "plain_listen",
    form: Form::List,
    set: |server, text| value::endpoints_or_off(text).map(|endpoints| server.plain_endpoints = endpoints),
    get: |server| match server.plain_endpoints.as_slice() {
        [] => Some("off".to_owned()),
        endpoints => Some(comma_separated(endpoints)),
    },
};

const REDIRECT_TO_HTTPS: Key<ServerOptions> = Key {
    name: "redirect_to_https",
    form: Form::Bare,
    set: |server, text| HttpsPort::read(text).map(|port| server.redirect_to_https = port),
    get: |server| {
        Some(server.redirect_to_https.as_ref().map_or_else(|| "false".to_owned(), ToString::to_string))
    },
};

#[cfg(feature = "tls")]
const HSTS: Key<ServerOptions> = Key {
    name: "hsts",
    form: Form::List,
    set: |server, text| value::hsts_or_off(text).map(|policy| server.hsts = policy),
    get: |server| Some(server.hsts.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string)),
};

const MAX_CONNS: Key<ServerOptions> = Key {
    name: "max_conns",
    form: Form::Bare,
    set: |server, text| value::count(text).map(|limit| server.max_conns = limit),
    get: |server| Some(server.max_conns.to_string()),
};

const BACKLOG: Key<ServerOptions> = Key {
    name: "backlog",
    form: Form::Bare,
    set: |server, text| value::count_to(text, LONGEST_QUEUE).map(|length| server.backlog = length),
    get: |server| Some(server.backlog.to_string()),
};

const WHEN_FULL: Key<ServerOptions> = Key {
    name: "when_full",
    form: Form::Text,
    set: |server, text| value::when_full(text).map(|choice| server.when_full = choice),
    get: |server| Some(server.when_full.name().to_owned()),
};

const SOCKET_MODE: Key<ServerOptions> = Key {
    name: "socket_mode",
    form: Form::Text,
    set: |server, text| value::mode(text).map(|mode| server.socket.mode = Some(mode)),
    get: |server| server.socket.mode.map(|mode| mode.to_string()),
};

const SOCKET_USER: Key<ServerOptions> = Key {
    name: "socket_user",
    form: Form::Text,
    set: |server, text| value::named(text).map(|user| server.socket.user = Some(user)),
    get: |server| server.socket.user.clone(),
};

const SOCKET_GROUP: Key<ServerOptions> = Key {
    name: "socket_group",
    form: Form::Text,
    set: |server, text| value::named(text).map(|group| server.socket.group = Some(group)),
    get: |server| server.socket.group.clone(),
};

const TRUSTED_PROXIES: Key<ServerOptions> = Key {
    name: "trusted_proxies",
    form: Form::List,
    set: |server, text| value::networks(text).map(|networks| server.trusted_proxies = networks),
    get: |server| Some(comma_separated(&server.trusted_proxies.iter().collect::<Vec<_>>())),
};

const FORWARDED: Key<ServerOptions> = Key {
    name: "forwarded",
    form: Form::List,
    set: |server, text| value::believed_fields(text).map(|fields| server.forwarded = fields),
    get: |server| Some(server.forwarded.to_string()),
};

const PROXY_PROTOCOL: Key<ServerOptions> = Key {
    name: "proxy_protocol",
    form: Form::List,
    set: |server, text| value::networks(text).map(|networks| server.proxy_protocol = networks),
    get: |server| Some(comma_separated(&server.proxy_protocol.iter().collect::<Vec<_>>())),
};

const HEALTH: Key<ServerOptions> = Key {
    name: "health",
    form: Form::Text,
    set: |server, text| value::health_path(text).map(|path| server.health = path),
    get: |server| Some(server.health.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string)),
};

const ACCESS_LOG: Key<ServerOptions> = Key {
    name: "access_log",
    form: Form::Text,
    set: |server, text| value::access_log(text).map(|form| server.access_log = form),
    get: |server| Some(server.access_log.name().to_owned()),
};

const ACCESS_LOG_TO: Key<ServerOptions> = Key {
    name: "access_log_to",
    form: Form::Text,
    set: |server, text| value::access_log_to(text).map(|target| server.access_log_to = target),
    get: |server| Some(server.access_log_to.to_string()),
};

/// The longest queue that `listen(2)` takes.
const LONGEST_QUEUE: u32 = i32::MAX.unsigned_abs();

/// Whether a value of `key` says again what a value of `other` said. One place can have only one of them.
pub(super) fn excludes(key: &str, other: &str) -> bool {
    let pair = |a: &str, b: &str| {
        (a == "port" && b == "listen")
            || (a == "tls" && b.starts_with("tls."))
            || (a == "tls.certs" && (b == "tls.cert" || b == "tls.key"))
            || (a.starts_with("tls.acme.") && matches!(b, "tls.cert" | "tls.key" | "tls.certs"))
            || (a == "tls.acme.eab_hmac_key" && b == "tls.acme.eab_hmac_key_file")
    };
    pair(key, other) || pair(other, key)
}

/// Whether `key` replaces all that an earlier place said about `other`. A port is set *into* endpoints;
/// endpoints replace it.
pub(super) fn replaces(key: &str, other: &str) -> bool {
    key == other || (excludes(key, other) && key != "port")
}

/// Replaces the port of the server's TCP endpoints; hosts and socket files stay as they are. Endpoints with
/// different ports are an error: to give all of them the same port is hardly meant.
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
            Endpoint::Unix(_) | Endpoint::Systemd(_) | Endpoint::Fd(_) => None,
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
    use crate::server::WhenFull;
    use crate::server::kinds::{LONGEST, LONGEST_KEEPALIVE};

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
        check(PROCESS_KEYS, || Settings { pid_file: Some("/run/app.pid".into()), ..Settings::default() });
        check(PROCESS_KEYS, || Settings { restart_on: Vec::new(), ..Settings::default() });
        #[cfg(feature = "cli")]
        for control in [ControlAddress::Off, ControlAddress::At("/run/app.sock".into())] {
            check(PROCESS_KEYS, || Settings { control: control.clone(), ..Settings::default() });
        }
        #[cfg(feature = "admin")]
        check(PROCESS_KEYS, || Settings { admin: "127.0.0.1:9099".parse().ok(), ..Settings::default() });
        check(PROCESS_KEYS, || Settings { drain_timeout: LONGEST, ..Settings::default() });
        check(SERVER_KEYS, || {
            let mut server = ServerOptions::new("ping");
            server.endpoints = vec![":80".parse().unwrap()];
            server.request_timeout = Some(LONGEST);
            server.tcp_keepalive = Some(LONGEST_KEEPALIVE);
            server.max_headers = 10_000;
            server.when_full = WhenFull::Wait;
            server.half_close_timeout = LONGEST;
            server.max_conn_memory = 64 << 10;
            server.socket.mode = crate::server::Mode::new(0o600);
            server.socket.user = Some("app".into());
            server.socket.group = Some("33".into());
            server.health = "/healthz".parse().ok();
            server.trusted_proxies = value::networks("10.0.0.0/8, ::1, unix").unwrap();
            server.forwarded = value::believed_fields("forwarded").unwrap();
            server
        });
        check(SERVER_KEYS, || {
            let mut server = ServerOptions::new("ping");
            server.endpoints = vec![":80".parse().unwrap(), "unix:/run/a.sock".parse().unwrap()];
            server
        });
        #[cfg(feature = "tls")]
        check(&[TLS_CERT, TLS_KEY], || {
            let mut server = ServerOptions::new("ping");
            server.tls = Some(crate::server::Tls::files("cert.pem", "key.pem"));
            server
        });
    }

    /// The documentation shows the defaults of the table of keys; the library has to have them.
    #[test]
    fn defaults_are_those_of_the_table_of_keys() {
        fn check<T: Clone>(keys: &[Key<T>], target: &T, defaults: &[(&str, &str)]) {
            for (name, default) in defaults {
                let key = keys.iter().find(|key| key.name == *name).unwrap_or_else(|| panic!("{name}"));
                let mut with_default = target.clone();
                (key.set)(&mut with_default, default).unwrap();
                assert_eq!((key.get)(target), (key.get)(&with_default), "{name}");
            }
        }
        check(PROCESS_KEYS, &Settings::default(), gracehttp_macros::keys!(process.defaults));
        check(SERVER_KEYS, &ServerOptions::new("ping"), gracehttp_macros::keys!(server.defaults));
    }

    #[test]
    fn a_port_and_endpoints_exclude_each_other_and_the_later_endpoints_win() {
        assert!(excludes("port", "listen") && excludes("listen", "port"));
        assert!(excludes("tls", "tls.cert") && !excludes("tls.cert", "tls.key"));
        assert!(replaces("listen", "port") && !replaces("port", "listen") && replaces("port", "port"));
        assert!(replaces("tls", "tls.key") && replaces("tls.key", "tls"));
    }
}
