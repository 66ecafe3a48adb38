//! The configuration file: TOML. The reader keeps the place of every key and value, so that each fault has its line.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Origin;
use super::contents::contents;
use super::draft::{Draft, Fault, Place};
use super::env::CONFIG_VARIABLE;
use super::keys::{Form, PROCESS_KEYS, SERVER_KEYS};
use super::words;
use crate::error::Error;

/// The file that is read if neither the environment nor the application names one. It need not exist.
pub(super) const DEFAULT_FILE: &str = "Gracehttp.toml";

/// More bytes are no configuration, but a mistake in the path.
const LONGEST: u64 = 16 << 20;

const SERVERS: &str = "server";
pub(super) const APP: &str = "app";
const CONFIG: &str = "config";

/// The text of a configuration file.
#[derive(Debug)]
pub(super) struct File {
    /// The path as it was given.
    pub(super) path: PathBuf,
    text: String,
}

impl File {
    /// The path of the file that the environment names, or the application, or the default one, and who names it.
    pub(super) fn named(
        environment: &[(OsString, OsString)],
        chosen: Option<&Path>,
    ) -> Result<(PathBuf, Option<&'static str>), Error> {
        let variable = environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        match (variable, chosen) {
            (Some((_, path)), _) if path.is_empty() => {
                Err(Error::new(format!("{CONFIG_VARIABLE} is empty: let it name a file, or unset it")))
            }
            (Some((_, path)), _) => Ok((PathBuf::from(path), Some(CONFIG_VARIABLE))),
            (None, Some(path)) => Ok((path.to_owned(), Some("`config`"))),
            (None, None) => Ok((DEFAULT_FILE.into(), None)),
        }
    }

    /// Whether there is no file to read. Only the default file need not exist.
    pub(super) fn is_absent(environment: &[(OsString, OsString)], chosen: Option<&Path>) -> bool {
        match Self::named(environment, chosen) {
            Ok((path, None)) => {
                fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            }
            Ok((_, Some(_))) | Err(_) => false,
        }
    }

    /// Reads it. The default file need not exist.
    pub(super) fn find(
        environment: &[(OsString, OsString)],
        chosen: Option<&Path>,
    ) -> Result<Option<Self>, Error> {
        let (path, named_by) = Self::named(environment, chosen)?;
        match (contents(&path, LONGEST), named_by) {
            (Ok(text), _) => Ok(Some(Self { path, text })),
            // A broken link is a fault: it was meant to lead to a file.
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
            (Err(error), named_by) => Err(unreadable(&path, named_by, error)),
        }
    }

    /// Sets the framework's keys, and returns the application's section; `None` if the file is not TOML.
    pub(super) fn apply<'i>(&'i self, draft: &mut Draft<'_, '_>) -> Option<Option<Spanned<DeValue<'i>>>> {
        let (root, mut errors) = DeTable::parse_recoverable(&self.text);
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.span().map(|span| span.start));
            let faults = errors.iter().map(|error| match (error.message(), error.span()) {
                // The parser's message does not name the key.
                (message @ "duplicate key", Some(span)) => self.fault(
                    Some(&span),
                    &format!("{message} `{}`: keep one of them", &self.text[span.clone()]),
                ),
                (message, span) => self.fault(span.as_ref(), message),
            });
            draft.faults.extend(faults.map(Fault::Wrong));
            return None;
        }
        let mut root = root.into_inner();
        let app = root.remove(APP);
        let mut reader = Reader { names: draft.server_names(), findings: Vec::new() };
        reader.read_root(&root);
        // The parser does not keep the order of the file.
        reader.findings.sort_by_key(|finding| finding.span.start);
        for Finding { span, what } in reader.findings {
            let result = match what {
                Ok((place, value)) => self.set(draft, place, value).map_err(Fault::Wrong),
                Err(fault) => Err(fault),
            };
            match result {
                Ok(()) => {}
                Err(Fault::Wrong(fault)) => draft.wrong(self.fault(Some(&span), &fault)),
                Err(Fault::Unknown(fault)) => {
                    draft.faults.push(Fault::Unknown(self.fault(Some(&span), &fault)));
                }
            }
        }
        Some(app)
    }

    fn set(
        &self,
        draft: &mut Draft<'_, '_>,
        place: Place,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), String> {
        let origin = Origin::Line(format!("{}:{}", self.path.display(), self.line(value.span().start)));
        let written = self.text[value.span()].split_whitespace().collect::<Vec<_>>().join(" ");
        // The value is checked before its form: `"many"` is not a number, with or without quotes.
        text_of(place.form(), value.get_ref(), &written)
            .and_then(|text| draft.set(place, text.trim(), origin))
            .and_then(|()| check_form(place.form(), value.get_ref()))
            .map_err(|reason| {
                let of = match place {
                    Place::Process(_) => String::new(),
                    Place::Server(index, _) => format!(" of server `{}`", draft.server_names()[index]),
                };
                format!("`{} = {written}`{of}: {reason}", place.key())
            })
    }

    pub(super) fn fault(&self, span: Option<&Range<usize>>, message: &str) -> Error {
        let line = span.map_or_else(String::new, |span| format!(":{}", self.line(span.start)));
        Error::new(format!("{}{line}: {}", self.path.display(), message.replace('\n', "; ")))
    }

    /// The line at this offset, if it sets a value.
    pub(super) fn setting_at(&self, offset: usize) -> Option<&str> {
        let (key, _) = self.text.lines().nth(self.line(offset) - 1)?.split_once('=')?;
        let key = key.trim();
        (!key.starts_with('[')).then_some(key)
    }

    /// What the file says of a key of the process, and in which line. Faults elsewhere in the file do not matter.
    #[cfg(feature = "cli")]
    pub(super) fn says(&self, key: &str) -> Option<(String, String)> {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let value = root.get_ref().get(key)?;
        let text = value.get_ref().as_str().unwrap_or(&self.text[value.span()]).trim().to_owned();
        Some((format!("{}:{}", self.path.display(), self.line(value.span().start)), text))
    }

    fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }
}

fn unreadable(path: &Path, named_by: Option<&str>, error: io::Error) -> Error {
    let named = named_by.map_or_else(String::new, |who| format!(" that {who} names"));
    let reason = match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => {
            let target = fs::read_link(path).unwrap_or_default();
            format!(
                "is a link to {}, which does not exist: create that, or remove the link",
                target.display()
            )
        }
        io::ErrorKind::NotFound => match std::path::absolute(path) {
            Ok(absolute) if path.is_relative() => {
                format!("does not exist (as {}): create it, or correct the path", absolute.display())
            }
            _ => "does not exist: create it, or correct the path".to_owned(),
        },
        io::ErrorKind::InvalidData => "is not UTF-8, which TOML has to be".to_owned(),
        io::ErrorKind::FileTooLarge => "is longer than 16 MiB: name the right file".to_owned(),
        _ => format!("can't be read ({error}): put a readable file in its place"),
    };
    Error::caused_by(format!("the configuration file {}{named} {reason}", path.display()), error)
}

/// A finding in the file: a value with its key, or a fault.
struct Finding<'t, 'i> {
    span: Range<usize>,
    what: Result<(Place, &'t Spanned<DeValue<'i>>), Fault<String>>,
}

/// Finds the meaning of every key in the file.
struct Reader<'t, 'i> {
    names: Vec<String>,
    findings: Vec<Finding<'t, 'i>>,
}

impl<'t, 'i> Reader<'t, 'i> {
    fn read_root(&mut self, root: &'t DeTable<'i>) {
        for (key, value) in root {
            let name = key.get_ref().as_ref();
            if name == SERVERS {
                self.read_servers(key, value);
            } else if let Some(known) = PROCESS_KEYS.iter().find(|known| known.name == name) {
                self.found(Place::Process(known), key, value);
            } else {
                self.fault(key, self.unknown_at_top(name));
            }
        }
    }

    fn read_servers(&mut self, key: &Spanned<DeString<'i>>, servers: &'t Spanned<DeValue<'i>>) {
        let Some(servers) = servers.get_ref().as_table() else {
            let fault = "servers are tables, one for each: `[server.NAME]`";
            return self.fault(key, Fault::Wrong(fault.to_owned()));
        };
        for (key, table) in servers {
            let name = key.get_ref().as_ref();
            match (self.names.iter().position(|known| known == name), table.get_ref().as_table()) {
                (Some(index), Some(table)) => self.read_server(index, "", table),
                (Some(_), None) => {
                    let fault = format!("a server is a table: `[server.{name}]`, then its keys");
                    self.fault(key, Fault::Wrong(fault));
                }
                (None, _) => self.fault(key, Fault::Unknown(self.unknown_server(name))),
            }
        }
    }

    fn read_server(&mut self, index: usize, prefix: &str, table: &'t DeTable<'i>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let inner = format!("{name}.");
            let is_table = SERVER_KEYS.iter().any(|known| known.name.starts_with(&inner));
            match (SERVER_KEYS.iter().find(|known| known.name == name), value.get_ref().as_table()) {
                (_, Some(table)) if is_table => self.read_server(index, &inner, table),
                (Some(known), _) => self.found(Place::Server(index, known), key, value),
                (None, _) => self.fault(key, self.unknown_of_server(index, &name)),
            }
        }
    }

    fn found(&mut self, place: Place, key: &Spanned<DeString<'i>>, value: &'t Spanned<DeValue<'i>>) {
        self.findings.push(Finding { span: key.span(), what: Ok((place, value)) });
    }

    fn fault(&mut self, key: &Spanned<DeString<'i>>, fault: Fault<String>) {
        self.findings.push(Finding { span: key.span(), what: Err(fault) });
    }

    fn unknown_at_top(&self, name: &str) -> Fault<String> {
        if SERVER_KEYS.iter().any(|key| key.name == name) {
            let server = match self.names.as_slice() {
                [only] => only,
                _ => "NAME",
            };
            return Fault::Wrong(format!(
                "`{name}` is a key of a server: write it under `[server.{server}]`"
            ));
        }
        if self.names.iter().any(|server| server == name) {
            return Fault::Wrong(format!("a server has its keys under `[server.{name}]`"));
        }
        if name == CONFIG {
            return Fault::Wrong(format!(
                "`{name}` can't be set in the file that it names, but in the code or by {CONFIG_VARIABLE}"
            ));
        }
        if let Some(code) = words::code_of_process(name).or_else(|| words::code_of_server(name)) {
            return Fault::Wrong(code);
        }
        if let Some(feature) = words::missing_feature_of_process(name) {
            return Fault::Wrong(format!("the key `{name}` needs gracehttp's feature `{feature}`"));
        }
        let keys: Vec<&str> = PROCESS_KEYS.iter().map(|key| key.name).collect();
        let way_out = meant(&words::meant_of_process(name, &[SERVERS, APP]))
            .unwrap_or_else(|| format!("valid are {}, `[server.NAME]` and `[app]`", keys.join(", ")));
        Fault::Unknown(format!("there is no key `{name}`: {way_out}"))
    }

    fn unknown_server(&self, name: &str) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let meant = meant(words::closest(name, &names).as_slice());
        let meant = meant.map_or_else(String::new, |meant| format!(" {meant}"));
        format!("there is no server `{name}`:{meant} the servers of this program are {}", list.join(", "))
    }

    fn unknown_of_server(&self, index: usize, name: &str) -> Fault<String> {
        let server = &self.names[index];
        if PROCESS_KEYS.iter().any(|key| key.name == name) {
            return Fault::Wrong(format!(
                "`{name}` is no key of server `{server}`, but of the process: write it above the first table"
            ));
        }
        if let Some(feature) = words::missing_feature_of_server(name) {
            return Fault::Wrong(format!(
                "`{name}` of server `{server}` needs gracehttp's feature `{feature}`"
            ));
        }
        if let Some(code) = words::code_of_server(name) {
            return Fault::Wrong(code);
        }
        let keys: Vec<&str> = SERVER_KEYS.iter().map(|key| key.name).collect();
        let way_out =
            meant(&words::meant_of_server(name)).unwrap_or_else(|| format!("valid are {}", keys.join(", ")));
        Fault::Unknown(format!("server `{server}` has no key `{name}`: {way_out}"))
    }
}

/// `did you mean …?` A list of all keys beside it would only hide it.
fn meant(words: &[&str]) -> Option<String> {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    (!words.is_empty()).then(|| format!("did you mean {}?", words.join(" or ")))
}

/// The value as a variable would spell it.
fn text_of(form: Form, value: &DeValue<'_>, written: &str) -> Result<String, String> {
    match (form, value) {
        (_, DeValue::String(text)) => Ok(text.clone().into_owned()),
        (_, DeValue::Integer(number)) => Ok(number.to_string()),
        (Form::List, DeValue::Array(elements)) => {
            let texts: Option<Vec<&str>> =
                elements.iter().map(|element| element.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(", ")).ok_or_else(|| "every element stands in quotes".to_owned())
        }
        (Form::Pairs, DeValue::Array(pairs)) => {
            let pair = |pair: &Spanned<DeValue<'_>>| match pair.get_ref() {
                DeValue::String(text) => Some(text.clone().into_owned()),
                DeValue::Array(files) => match &files[..] {
                    [cert, key] => Some(format!("{}:{}", cert.get_ref().as_str()?, key.get_ref().as_str()?)),
                    _ => None,
                },
                _ => None,
            };
            let pairs: Option<Vec<String>> = pairs.iter().map(pair).collect();
            pairs
                .map(|pairs| pairs.join(", "))
                .ok_or_else(|| "every pair is two texts in brackets".to_owned())
        }
        (_, DeValue::Array(_) | DeValue::Table(_)) => Err("valid is a single value".to_owned()),
        _ => Ok(written.to_owned()),
    }
}

fn check_form(form: Form, value: &DeValue<'_>) -> Result<(), String> {
    match (form, value) {
        (Form::Bare, DeValue::String(_)) => Err("write it without quotes".to_owned()),
        (Form::Text, DeValue::String(_)) | (Form::List, DeValue::String(_) | DeValue::Array(_)) => Ok(()),
        (Form::Pairs, DeValue::String(_) | DeValue::Array(_)) => Ok(()),
        (Form::Pairs, _) => Err("write pairs in brackets".to_owned()),
        (Form::Text | Form::List, _) => Err("write it in quotes".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
