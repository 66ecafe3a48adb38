//! The environment over the attributes: `GRACEHTTP_SERVER__<NAME>__<KEY>` for a server, `GRACEHTTP_<KEY>` for
//! the process. All faults are found at once, and whatever begins with `GRACEHTTP_` and is not known is one.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::{Provenance, Settings, value};
use crate::Error;
use crate::server::{Endpoint, ServerOptions};

const PREFIX: &str = "GRACEHTTP_";
const SERVER_PREFIX: &str = "GRACEHTTP_SERVER__";

/// Ours, from one generation to the next; the handoff reads it.
const RESERVED: [&str; 1] = ["GRACEHTTP_HANDOFF"];

type Setter<T> = fn(&mut T, &str) -> Result<(), String>;

const SERVER_KEYS: [(&str, Setter<ServerOptions>); 7] = [
    ("port", set_port),
    ("listen", |server, text| value::endpoints(text).map(|list| server.endpoints = list)),
    ("max_conns", |server, text| value::count(text).map(|limit| server.max_conns = limit)),
    ("handshake_timeout", |server, text| {
        value::positive_duration(text).map(|limit| server.handshake_timeout = limit)
    }),
    ("header_read_timeout", |server, text| {
        value::positive_duration(text).map(|limit| server.header_read_timeout = limit)
    }),
    ("request_timeout", |server, text| {
        value::duration_or_off(text).map(|limit| server.request_timeout = limit)
    }),
    ("idle_timeout", |server, text| value::positive_duration(text).map(|limit| server.idle_timeout = limit)),
];

const PROCESS_KEYS: [(&str, Setter<Settings>); 5] = [
    ("drain_timeout", |settings, text| value::duration(text).map(|limit| settings.drain_timeout = limit)),
    ("ready_timeout", |settings, text| {
        value::positive_duration(text).map(|limit| settings.ready_timeout = limit)
    }),
    ("standby", |settings, text| value::duration(text).map(|time| settings.standby = time)),
    ("lame_duck", |settings, text| value::duration(text).map(|time| settings.lame_duck = time)),
    ("worker_threads", |settings, text| {
        value::count(text).map(|threads| settings.worker_threads = Some(threads))
    }),
];

/// The variable that overrides `key` of `server`: ASCII letters and digits of the name, upper-cased, and `_`
/// for all else.
pub(crate) fn server_variable(server: &str, key: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = server.chars().map(upper).collect();
    format!("{SERVER_PREFIX}{name}__{}", key.to_ascii_uppercase())
}

fn process_variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// Overrides `settings` and `servers` by what `variables` say (of [`std::env::vars_os`]), and tells what it
/// did.
pub(crate) fn apply(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    settings: &mut Settings,
    servers: &mut [&mut ServerOptions],
) -> Result<Vec<Provenance>, Error> {
    let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
    let mut errors = shared_names(&names);
    let targets = Targets::new(&names);
    let mut provenance = Vec::new();
    for (variable, text) in ours(variables) {
        let Some(target) = targets.0.get(&variable) else {
            errors.push(targets.unknown(&variable, &names));
            continue;
        };
        let Some(text) = text.to_str().map(str::trim) else {
            errors.push(Error::new(format!("{variable}={}: the value is not UTF-8", text.display())));
            continue;
        };
        let (server, key, result) = match *target {
            Target::Process(key, set) => (None, key, set(settings, text)),
            Target::Server(index, key, set) => {
                (Some(names[index].clone()), key, set(&mut *servers[index], text))
            }
        };
        match result {
            Ok(()) => provenance.push(Provenance { server, key, value: text.to_owned(), variable }),
            Err(reason) => errors.push(Error::new(format!("{variable}={text}: {reason}"))),
        }
    }
    errors.extend(contradictions(&names, &provenance));
    Error::check(errors)?;
    Ok(provenance)
}

/// Our variables, sorted: the same environment gives the same report.
fn ours(variables: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<String, OsString> {
    variables
        .into_iter()
        .map(|(variable, text)| (variable.to_string_lossy().into_owned(), text))
        .filter(|(variable, _)| variable.starts_with(PREFIX) && !RESERVED.contains(&variable.as_str()))
        .collect()
}

#[derive(Clone, Copy)]
enum Target {
    Process(&'static str, Setter<Settings>),
    Server(usize, &'static str, Setter<ServerOptions>),
}

/// Every variable that exists for this program, and what it sets.
struct Targets(BTreeMap<String, Target>);

impl Targets {
    fn new(names: &[String]) -> Self {
        let process =
            PROCESS_KEYS.iter().map(|&(key, set)| (process_variable(key), Target::Process(key, set)));
        let servers = names.iter().enumerate().flat_map(|(index, name)| {
            SERVER_KEYS
                .iter()
                .map(move |&(key, set)| (server_variable(name, key), Target::Server(index, key, set)))
        });
        Self(process.chain(servers).collect())
    }

    fn unknown(&self, variable: &str, names: &[String]) -> Error {
        let suggestion = match self.closest(variable) {
            Some(known) => format!("did you mean {known}? "),
            None => String::new(),
        };
        let keys = |keys: &[&str]| keys.join(", ").to_ascii_uppercase();
        let valid = if variable.starts_with(SERVER_PREFIX) {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!(
                "valid is {SERVER_PREFIX}<NAME>__<KEY> with a server ({}) and a key ({})",
                names.join(", "),
                keys(&SERVER_KEYS.map(|(key, _)| key))
            )
        } else {
            format!(
                "valid is {PREFIX}<KEY> with a key ({}), or {SERVER_PREFIX}<NAME>__<KEY>",
                keys(&PROCESS_KEYS.map(|(key, _)| key))
            )
        };
        Error::new(format!("{variable} is not a setting of this program: {suggestion}{valid}"))
    }

    /// A few slips away; beyond that a suggestion would be a guess.
    fn closest(&self, variable: &str) -> Option<&String> {
        const SLIPS: usize = 3;
        let distance = |known: &String| strsim::damerau_levenshtein(known, variable);
        self.0.keys().min_by_key(|known| distance(known)).filter(|known| distance(known) <= SLIPS)
    }
}

/// Servers that one variable would mean both of.
fn shared_names(names: &[String]) -> Vec<Error> {
    let mut errors = Vec::new();
    for (i, second) in names.iter().enumerate() {
        let variables = server_variable(second, "…");
        let Some(first) = names[..i].iter().find(|first| server_variable(first, "…") == variables) else {
            continue;
        };
        errors.push(Error::new(if first == second {
            format!("two servers are named `{first}`: give one of them another name with `name = \"…\"`")
        } else {
            format!(
                "the servers `{first}` and `{second}` share their variables {variables}: give one of them \
                 another name with `name = \"…\"`"
            )
        }));
    }
    errors
}

/// `LISTEN` says all about the endpoints; a `PORT` beside it has nothing left to say.
fn contradictions(names: &[String], provenance: &[Provenance]) -> Vec<Error> {
    let has = |name: &String, key: &str| {
        provenance.iter().any(|entry| entry.key == key && entry.server.as_ref() == Some(name))
    };
    let both = names.iter().filter(|name| has(name, "port") && has(name, "listen"));
    both.map(|name| {
        let (port, listen) = (server_variable(name, "port"), server_variable(name, "listen"));
        Error::new(format!("{port} and {listen} are both set: unset one; {listen} holds the port already"))
    })
    .collect()
}

/// Replaces the port of the server's TCP endpoints, hosts and socket files staying as they are. Endpoints
/// with different ports have no one port to replace, and several that became equal would be worse than an
/// error.
fn set_port(server: &mut ServerOptions, text: &str) -> Result<(), String> {
    let new = value::port(text)?;
    let mut ports: Vec<&mut u16> = server
        .endpoints
        .iter_mut()
        .filter_map(|endpoint| match endpoint {
            Endpoint::Tcp { port, .. } => Some(port),
            Endpoint::Unix(_) => None,
        })
        .collect();
    let listen = server_variable(&server.name, "listen");
    match ports.first() {
        None => return Err(format!("server `{}` has no TCP endpoint; set {listen} instead", server.name)),
        Some(first) if ports.iter().any(|port| port != first) => {
            return Err(format!("server `{}` listens on several ports; set {listen} instead", server.name));
        }
        Some(_) => {}
    }
    ports.iter_mut().for_each(|port| **port = new);
    Ok(())
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
