//! What variables say about the application's section: `GRACEHTTP_APP__DATABASE__URL` is a tree's leaf.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;

use super::AppVariable;
use super::env::app_variable;
use crate::error::Error;

/// What two underscores separate.
const INNER: &str = "__";

/// What variables say about one key, or about the keys in it.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Text(Variable),
    /// By the names of the keys, in upper case.
    Keys(BTreeMap<String, Said>),
}

/// A variable with its text.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) text: String,
}

impl Default for Said {
    fn default() -> Self {
        Self::Keys(BTreeMap::new())
    }
}

impl Said {
    /// What these variables say, each without what all of them begin with.
    pub(super) fn by(variables: BTreeMap<String, &OsStr>) -> Result<Self, Error> {
        let mut root = BTreeMap::new();
        let mut faults = Vec::new();
        for (path, text) in variables {
            let name = app_variable(&path);
            let said = match text.to_str() {
                _ if path.split(INNER).any(str::is_empty) => Err(format!(
                    "{name} is not a setting: a part between two underscores is empty: correct or remove it"
                )),
                _ if path.contains(char::REPLACEMENT_CHARACTER) => {
                    Err(format!("{name} is not a setting: the name is not UTF-8: correct or remove it"))
                }
                None => Err(format!("{name}: the value is not UTF-8: correct or remove it")),
                Some(text) => insert(&mut root, &path, Variable { name, text: text.to_owned() }),
            };
            faults.extend(said.err().map(Error::new));
        }
        Error::check(faults)?;
        Ok(Self::Keys(root))
    }

    /// Whether no variable says anything.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.is_empty())
    }

    /// All variables, with the keys that they set.
    pub(super) fn variables(&self) -> Vec<AppVariable> {
        let mut variables = Vec::new();
        self.collect("", &mut variables);
        variables
    }

    fn collect(&self, key: &str, variables: &mut Vec<AppVariable>) {
        match self {
            Self::Text(variable) => {
                variables.push(AppVariable { key: key.to_owned(), variable: variable.name.clone() });
            }
            Self::Keys(keys) => {
                for (name, said) in keys {
                    let separator = if key.is_empty() { "" } else { "." };
                    said.collect(&format!("{key}{separator}{}", name.to_ascii_lowercase()), variables);
                }
            }
        }
    }
}

/// Inserts a leaf. A variable can't set a key and another one the keys in it.
fn insert(keys: &mut BTreeMap<String, Said>, path: &str, variable: Variable) -> Result<(), String> {
    let clash = |name: &str| {
        Err(format!(
            "{name} and another variable set the same key, one as a whole and one in parts: keep one"
        ))
    };
    let Some((first, rest)) = path.split_once(INNER) else {
        return match keys.entry(path.to_owned()) {
            Entry::Occupied(_) => clash(&variable.name),
            Entry::Vacant(place) => {
                place.insert(Said::Text(variable));
                Ok(())
            }
        };
    };
    match keys.entry(first.to_owned()).or_default() {
        Said::Keys(inner) => insert(inner, rest, variable),
        Said::Text(_) => clash(&variable.name),
    }
}
