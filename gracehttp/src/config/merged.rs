//! The application's section as serde reads it: a table of the file, with what variables say over it.
//!
//! A variable is text, and serde asks for a type: `8080` is a number where the field is one, and text where it is text.

mod secret;
mod text;

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserializer;
use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::said::{Said, Variable};
use secret::Secret;
use text::Text;

/// Shorter secrets are not masked: any sentence has their letters, and a gap in its words would tell which they are.
const SHORTEST_MASKED: usize = 4;

/// What a variable of a secret ends in: its text is the path of a file.
const OF_FILE: &str = "_FILE";

/// Why the section does not fit the application's type.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) at: Option<At>,
}

/// Where a faulty value was set.
#[derive(Debug)]
pub(super) enum At {
    File(Range<usize>),
    Variable(String),
}

impl Fault {
    fn at(variable: &Variable, message: impl Into<String>) -> Self {
        Self { message: message.into(), at: Some(At::Variable(variable.name.clone())) }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self { message: error.message().to_owned(), at: error.span().map(At::File) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None }
    }
}

/// How the section is read, and what is found on the way.
#[derive(Debug)]
pub(super) struct Reading {
    /// Whether fields that the type does not have are left out.
    is_lenient: bool,
    unknown: RefCell<Vec<String>>,
    secrets: RefCell<Vec<SecretRead>>,
}

/// A secret that was read.
#[derive(Debug)]
struct SecretRead {
    /// No message may show it.
    text: String,
    file: PathBuf,
}

impl Reading {
    pub(super) fn strict() -> Self {
        Self { is_lenient: false, unknown: RefCell::default(), secrets: RefCell::default() }
    }

    pub(super) fn lenient() -> Self {
        Self { is_lenient: true, ..Self::strict() }
    }

    /// The fields that were left out.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.unknown.borrow().clone()
    }

    /// The files from which secrets were read.
    pub(super) fn secret_files(&self) -> Vec<PathBuf> {
        self.secrets.borrow().iter().map(|secret| secret.file.clone()).collect()
    }

    /// A message without the secrets. Code of the application may have put them into it.
    pub(super) fn masked(&self, message: String) -> String {
        let secrets = self.secrets.borrow();
        let texts = secrets.iter().map(|secret| &secret.text);
        texts.filter(|secret| secret.chars().count() >= SHORTEST_MASKED).fold(message, |message, secret| {
            // As it is, and as `{:?}` shows it.
            let shown = format!("{secret:?}");
            message.replace(shown.trim_matches('"'), "…").replace(secret.as_str(), "…")
        })
    }
}

/// A value of the file, what variables say about it, or both.
#[derive(Clone, Copy)]
pub(super) struct Merged<'de, 'r> {
    value: Option<&'r Spanned<DeValue<'de>>>,
    said: Option<&'r Said>,
    reading: &'r Reading,
}

impl<'de, 'r> Merged<'de, 'r> {
    pub(super) fn root(value: &'r Spanned<DeValue<'de>>, said: &'r Said, reading: &'r Reading) -> Self {
        Self { value: Some(value), said: (!said.is_empty()).then_some(said), reading }
    }

    /// Leads to the value: a table that has to be merged, a variable's text, or a value of the file alone.
    fn read<V: Visitor<'de>>(
        self,
        visitor: V,
        fields: Option<&'static [&'static str]>,
        of_file: impl FnOnce(ValueDeserializer<'de>, V) -> Result<V::Value, toml::de::Error>,
        of_text: impl FnOnce(Text<'_>, V) -> Result<V::Value, Fault>,
    ) -> Result<V::Value, Fault> {
        let is_table = self.value.is_some_and(|value| value.get_ref().is_table());
        match (self.said, self.value) {
            (Some(Said::Text(variable)), _) => of_text(Text::of(variable), visitor),
            (Some(Said::Keys(_)), _) => self.read_table(visitor, fields),
            (None, Some(_)) if is_table && self.reading.is_lenient => self.read_table(visitor, fields),
            (None, Some(value)) => Ok(of_file(ValueDeserializer::from(value.clone()), visitor)?),
            (None, None) => visitor.visit_unit(),
        }
    }

    fn read_table<V: Visitor<'de>>(
        self,
        visitor: V,
        fields: Option<&'static [&'static str]>,
    ) -> Result<V::Value, Fault> {
        let span = self.value.filter(|value| value.get_ref().is_table()).map(Spanned::span);
        let table = Table { left: self.entries(fields)?.into_iter(), next: None, reading: self.reading };
        visitor.visit_map(table).map_err(|mut fault| {
            fault.at = fault.at.or(span.map(At::File));
            fault
        })
    }

    /// The keys of the file, with the variables over them. With the fields of the type, a variable finds its key by
    /// letters alone: `DATABASE_URL` is `databaseUrl`, too.
    fn entries(self, fields: Option<&'static [&'static str]>) -> Result<Vec<MergedEntry<'de, 'r>>, Fault> {
        let mut entries: Vec<MergedEntry<'de, 'r>> = Vec::new();
        let table = self.value.and_then(|value| value.get_ref().as_table());
        for (key, value) in table.into_iter().flatten() {
            let span = Some(key.span());
            entries.push(MergedEntry {
                key: key.get_ref().to_string(),
                span,
                value: Some(value),
                said: None,
            });
        }
        let of_variables = match self.said {
            Some(Said::Keys(keys)) => Some(keys),
            _ => None,
        };
        for (segment, said) in of_variables.into_iter().flatten() {
            let known = fields.unwrap_or_default().iter().map(|field| (*field).to_owned());
            let known: Vec<String> = known.chain(entries.iter().map(|entry| entry.key.clone())).collect();
            let (key, said) = resolve(segment, said, &known);
            match entries.iter_mut().find(|entry| entry.key == key) {
                Some(MergedEntry { said: Some(earlier), .. }) => {
                    let message = format!("it and {} set the same key `{key}`: keep one", earlier.variable());
                    return Err(Fault { message, at: Some(At::Variable(said.variable())) });
                }
                Some(entry) => entry.said = Some(said),
                None => entries.push(MergedEntry { key, span: None, value: None, said: Some(said) }),
            }
        }
        if let Some(fields) = fields
            && self.reading.is_lenient
        {
            let (known, unknown) =
                entries.into_iter().partition(|entry| fields.contains(&entry.key.as_str()));
            entries = known;
            self.reading.unknown.borrow_mut().extend(Vec::into_iter(unknown).map(|entry| entry.key));
        }
        Ok(entries)
    }
}

/// The key that a variable's segment means, and what is said about it.
fn resolve<'r>(segment: &str, said: &'r Said, known: &[String]) -> (String, SaidOfKey<'r>) {
    let find = |segment: &str| known.iter().find(|key| letters(key) == letters(segment)).cloned();
    if let Some(key) = find(segment) {
        return (key, SaidOfKey::Said(said));
    }
    if let (Said::Text(variable), Some(stem)) = (said, segment.strip_suffix(OF_FILE)) {
        let key = find(stem).unwrap_or_else(|| stem.to_ascii_lowercase());
        return (key, SaidOfKey::File(variable));
    }
    (segment.to_ascii_lowercase(), SaidOfKey::Said(said))
}

fn letters(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// What variables say about a key.
#[derive(Clone, Copy)]
enum SaidOfKey<'r> {
    Said(&'r Said),
    /// The variable names the file in which the value is.
    File(&'r Variable),
}

impl SaidOfKey<'_> {
    /// A variable that says it.
    fn variable(self) -> String {
        match self {
            Self::File(variable) => variable.name.clone(),
            Self::Said(said) => {
                said.variables().first().map_or_else(String::new, |first| first.variable.clone())
            }
        }
    }
}

/// A key of a merged table.
struct MergedEntry<'de, 'r> {
    key: String,
    span: Option<Range<usize>>,
    value: Option<&'r Spanned<DeValue<'de>>>,
    said: Option<SaidOfKey<'r>>,
}

struct Table<'de, 'r> {
    left: std::vec::IntoIter<MergedEntry<'de, 'r>>,
    next: Option<MergedEntry<'de, 'r>>,
    reading: &'r Reading,
}

impl<'de> MapAccess<'de> for Table<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(entry) = self.left.next() else { return Ok(None) };
        let (span, said) = (entry.span.clone(), entry.said);
        let key: StringDeserializer<Fault> = entry.key.clone().into_deserializer();
        self.next = Some(entry);
        seed.deserialize(key).map(Some).map_err(|mut fault| {
            let variable = || said.map(|said| At::Variable(said.variable()));
            fault.at = fault.at.or_else(|| span.map(At::File).or_else(variable));
            fault
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some(MergedEntry { key, value, said, .. }) = self.next.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        let said = match said {
            Some(SaidOfKey::File(variable)) => {
                let secret = Secret::read(variable)?;
                let read = SecretRead { text: secret.text.clone(), file: variable.text.clone().into() };
                self.reading.secrets.borrow_mut().push(read);
                // The message of the type may show the value, so it is left out.
                return seed.deserialize(secret.text()).map_err(|_| secret.unfit(&key));
            }
            Some(SaidOfKey::Said(said)) => Some(said),
            None => None,
        };
        let variable = match said {
            Some(Said::Text(variable)) => Some(variable),
            _ => None,
        };
        seed.deserialize(Merged { value, said, reading: self.reading }).map_err(|mut fault| {
            fault.at = match variable {
                Some(variable) => Some(At::Variable(variable.name.clone())),
                None => fault.at.or_else(|| place(value, said)),
            };
            fault
        })
    }
}

/// Where a value comes from. If variables set keys within it, they replace a value of the file that is no table.
fn place(value: Option<&Spanned<DeValue<'_>>>, said: Option<&Said>) -> Option<At> {
    let of_file = value.filter(|value| said.is_none() || value.get_ref().is_table());
    let of_variable = || said.map(|said| At::Variable(SaidOfKey::Said(said).variable()));
    of_file.map(|value| At::File(value.span())).or_else(of_variable)
}

/// Methods that hand a request on to the file's value, or to the variable's text.
macro_rules! requests {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                self.read(visitor, None, |value, visitor| value.$method(visitor), |text, visitor| text.$method(visitor))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Merged<'de, '_> {
    type Error = Fault;

    requests! {
        deserialize_any deserialize_bool deserialize_char deserialize_str deserialize_string deserialize_seq
        deserialize_bytes deserialize_byte_buf deserialize_map deserialize_unit deserialize_identifier
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! { ignored_any }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.read(
            visitor,
            Some(fields),
            |value, visitor| value.deserialize_struct(name, fields, visitor),
            |text, visitor| text.deserialize_struct(name, fields, visitor),
        )
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match (self.said, self.value) {
            // A variant with its content is a table of one key.
            (Some(Said::Keys(_)), _) => {
                let entries = self.entries(Some(variants))?;
                let table = Table { left: entries.into_iter(), next: None, reading: self.reading };
                visitor.visit_enum(de::value::MapAccessDeserializer::new(table))
            }
            _ => self.read(
                visitor,
                None,
                |value, visitor| value.deserialize_enum(name, variants, visitor),
                |text, visitor| text.deserialize_enum(name, variants, visitor),
            ),
        }
    }
}

#[cfg(test)]
#[path = "merged_tests.rs"]
mod tests;
