//! The environment, which overrides the file and the attributes: `GRACEHTTP_SERVER__<NAME>__<KEY>` for a server,
//! `GRACEHTTP_<KEY>` for the process, `GRACEHTTP_APP__<KEY>` for the application. An unknown variable that begins with `GRACEHTTP_` is a fault.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::Origin;
use super::draft::{Draft, Fault, Place};
use super::keys::{PROCESS_KEYS, SERVER_KEYS};
use super::words;
use crate::error::Error;
use crate::log;

const PREFIX: &str = "GRACEHTTP_";
const SERVER_PREFIX: &str = "GRACEHTTP_SERVER__";

/// What variables for the application's section begin with.
const APP_PREFIX: &str = "GRACEHTTP_APP__";

/// The variable with the descriptor of a successor's end of the socketpair. It is neither a setting nor a fault.
pub(crate) const HANDOFF_VARIABLE: &str = "GRACEHTTP_HANDOFF";

/// The variable with what a worker that is started after a crash gets from its supervisor. Neither is this one.
pub(crate) const SUPERVISOR_VARIABLE: &str = "GRACEHTTP_SUPERVISOR";

/// Names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "GRACEHTTP_CONFIG";

/// The variable that overrides `key` of `server`. Of the name it has ASCII letters and digits in upper case, and `_`
/// for every other character; `__` leads into a table.
pub(crate) fn server_variable(server: &str, key: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = server.chars().map(upper).collect();
    format!("{SERVER_PREFIX}{name}__{}", upper_key(key))
}

/// The variable that overrides `key` of the process.
pub(crate) fn process_variable(key: &str) -> String {
    format!("{PREFIX}{}", upper_key(key))
}

fn upper_key(key: &str) -> String {
    key.to_ascii_uppercase().replace('.', "__")
}

/// The variables of the application's section, without their prefix, sorted. A name that is not UTF-8 has
/// [`REPLACEMENT_CHARACTER`](char::REPLACEMENT_CHARACTER)s.
pub(super) fn of_app(environment: &[(OsString, OsString)]) -> BTreeMap<String, &OsStr> {
    let stripped = environment.iter().filter_map(|(variable, text)| {
        let key = variable.to_string_lossy().strip_prefix(APP_PREFIX)?.to_owned();
        Some((key, text.as_os_str()))
    });
    stripped.collect()
}

/// The variable that sets these keys, one in the other, of the application's section.
pub(super) fn app_variable(path: &str) -> String {
    format!("{APP_PREFIX}{path}")
}

/// Sets the values of the variables.
pub(super) fn apply(environment: &[(OsString, OsString)], draft: &mut Draft<'_, '_>) {
    let names = draft.server_names();
    draft.faults.extend(shared_names(&names).into_iter().map(Fault::Wrong));
    let targets = Targets::new(&names);
    let mut foreign = Vec::new();
    for (variable, text) in ours(environment) {
        let Some(place) = targets.0.get(&variable) else {
            if is_link(&variable, text) {
                foreign.push(variable);
                continue;
            }
            draft.faults.push(targets.unknown(&variable, &names));
            continue;
        };
        let result = match text.to_str().map(str::trim) {
            Some(text) => draft.set(*place, text, Origin::Variable(variable.clone())),
            None => Err("the value is not UTF-8: correct or remove it".to_owned()),
        };
        if let Err(reason) = result {
            draft.wrong(Error::new(format!("{variable}={}: {reason}", text.display())));
        }
    }
    if let [first, others @ ..] = foreign.as_slice() {
        let others = match others.len() {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        log::info(format_args!(
            "ignored {first}{others}: Kubernetes or Docker sets such variables for a service whose name begins with \
             `gracehttp`; they are no settings"
        ));
    }
}

/// Whether Kubernetes or Docker has set the variable, for a service or a container whose name begins like ours:
/// `NAME_SERVICE_HOST`, `NAME_PORT=tcp://…`, `NAME_PORT_80_TCP_ADDR`, `NAME_NAME=/…`.
fn is_link(variable: &str, text: &OsStr) -> bool {
    let text = text.to_string_lossy();
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let of_port = || {
        let (_, port) = variable.split_once("_PORT_")?;
        let (number, rest) = port.split_once('_')?;
        let protocol = rest.split('_').next()?;
        Some(number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(&protocol))
    };
    !variable.starts_with(SERVER_PREFIX)
        && (variable.ends_with("_SERVICE_HOST")
            || variable.ends_with("_SERVICE_PORT")
            || variable.contains("_SERVICE_PORT_")
            || variable.ends_with("_PORT") && is_address
            || variable.ends_with("_NAME") && text.starts_with('/')
            || of_port() == Some(true))
}

/// Our variables, sorted: the same environment gives the same report.
fn ours(environment: &[(OsString, OsString)]) -> BTreeMap<String, &OsStr> {
    environment
        .iter()
        .map(|(variable, text)| (variable.to_string_lossy().into_owned(), text.as_os_str()))
        .filter(|(variable, _)| variable.starts_with(PREFIX) && !variable.starts_with(APP_PREFIX))
        .filter(|(variable, _)| {
            ![HANDOFF_VARIABLE, SUPERVISOR_VARIABLE, CONFIG_VARIABLE].contains(&variable.as_str())
        })
        .collect()
}

/// Every variable of this program, with the key that it sets.
struct Targets(BTreeMap<String, Place>);

impl Targets {
    fn new(names: &[String]) -> Self {
        let named = |place: Place| {
            let variable = match place {
                Place::Process(key) => format!("{PREFIX}{}", upper_key(key.name)),
                Place::Server(index, key) => server_variable(&names[index], key.name),
            };
            (variable, place)
        };
        Self(Place::all(names.len()).map(named).collect())
    }

    fn unknown(&self, variable: &str, names: &[String]) -> Fault {
        if let Some(reason) = unsettable(variable, names) {
            return Fault::Wrong(Error::new(format!(
                "{variable} is not a setting of this program: {reason}"
            )));
        }
        let meant = self.meant(variable, names);
        if !meant.is_empty() {
            return Fault::Unknown(Error::new(format!(
                "{variable} is not a setting of this program: did you mean {}?",
                meant.join(" or ")
            )));
        }
        let list = |keys: &mut dyn Iterator<Item = &str>| keys.map(upper_key).collect::<Vec<_>>().join(", ");
        let valid = if variable.starts_with(SERVER_PREFIX) {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!(
                "valid is {SERVER_PREFIX}<NAME>__<KEY> with a server ({}) and a key ({})",
                names.join(", "),
                list(&mut SERVER_KEYS.iter().map(|key| key.name))
            )
        } else {
            format!(
                "valid is {PREFIX}<KEY> with a key ({}), or {SERVER_PREFIX}<NAME>__<KEY>",
                list(&mut PROCESS_KEYS.iter().map(|key| key.name).chain(["config"]))
            )
        };
        Fault::Unknown(Error::new(format!("{variable} is not a setting of this program: {valid}")))
    }

    /// The variables that may have been meant. A key of a server suggests the variables of all servers.
    fn meant(&self, variable: &str, names: &[String]) -> Vec<String> {
        let other_words = in_other_words(variable, names);
        if !other_words.is_empty() {
            return other_words;
        }
        let letters = letters(variable);
        let is_meant = |known: &str, place: &Place| {
            let key =
                matches!(place, Place::Server(_, key) if self::letters(&upper_key(key.name)) == letters);
            key || self::letters(known) == letters
        };
        let meant = self.0.iter().filter(|(known, place)| is_meant(known, place));
        let meant: Vec<String> = meant.map(|(known, _)| known.clone()).collect();
        if meant.is_empty() { self.closest(variable).map(String::from).into_iter().collect() } else { meant }
    }

    /// The closest variable within a few typing errors. Beyond that a suggestion would be a guess.
    fn closest(&self, variable: &str) -> Option<&str> {
        const SLIPS: usize = 3;
        let distance = |known: &str| strsim::damerau_levenshtein(known, variable);
        let known = self.0.keys().map(String::as_str).chain([CONFIG_VARIABLE]);
        known.min_by_key(|known| distance(known)).filter(|known| distance(known) <= SLIPS)
    }
}

/// Why there is no such variable, if another spelling would not help.
fn unsettable(variable: &str, names: &[String]) -> Option<String> {
    if let Some((_, key)) = of_server(variable, names) {
        let needed = || words::missing_feature_of_server(&key).map(needs);
        return words::code_of_server(&key).or_else(needed);
    }
    let key = variable.strip_prefix(PREFIX)?.to_ascii_lowercase();
    if key == "app" || key.starts_with("app_") {
        return Some(format!("a key of `[app]` is set by {APP_PREFIX}<KEY>, with two underscores"));
    }
    words::code_of_process(&key).or_else(|| words::missing_feature_of_process(&key).map(needs))
}

fn needs(feature: &str) -> String {
    format!("it needs gracehttp's feature `{feature}`")
}

/// The variables of the keys that the word stands for.
fn in_other_words(variable: &str, names: &[String]) -> Vec<String> {
    if let Some((server, key)) = of_server(variable, names) {
        let meant = words::other_word_of_server(&key);
        return meant.iter().map(|key| server_variable(server, key)).collect();
    }
    let key = variable.strip_prefix(PREFIX).unwrap_or(variable);
    words::other_word_of_process(key).iter().map(|key| format!("{PREFIX}{}", upper_key(key))).collect()
}

/// The server that a variable names, and the rest, spelled as a key of the file.
fn of_server<'n>(variable: &str, names: &'n [String]) -> Option<(&'n str, String)> {
    names.iter().find_map(|name| {
        let key = variable.strip_prefix(&server_variable(name, ""))?;
        Some((name.as_str(), key.to_ascii_lowercase().replace("__", ".")))
    })
}

/// A variable without the parts that are easily forgotten: the prefixes, and underscores.
fn letters(variable: &str) -> String {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    rest.strip_prefix("SERVER_").unwrap_or(rest).replace('_', "")
}

/// The faults of servers that share their variables. Two servers of the same name are found elsewhere.
fn shared_names(names: &[String]) -> Vec<Error> {
    let mut errors = Vec::new();
    for (i, second) in names.iter().enumerate() {
        let variables = server_variable(second, "…");
        let shares = |first: &&String| *first != second && server_variable(first, "…") == variables;
        if let Some(first) = names[..i].iter().find(shares) {
            errors.push(Error::new(format!(
                "the servers `{first}` and `{second}` share their variables {variables}: give one of them \
                 another name with `name = \"…\"`"
            )));
        }
    }
    errors
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
