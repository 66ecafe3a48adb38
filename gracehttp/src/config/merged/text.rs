//! A text of the environment as the type that serde asks for.

use serde::Deserializer;
use serde::de::value::SeqDeserializer;
use serde::de::{IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use toml::Value;

use super::{Fault, Variable};

const NO_TABLE: &str =
    "valid are variables for its keys, each after two underscores, or a table such as `{ a = 1 }`";

/// The text of a variable, or of the file that a variable names.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    variable: &'t Variable,
    text: &'t str,
    is_secret: bool,
}

impl<'t> Text<'t> {
    pub(super) fn of(variable: &'t Variable) -> Self {
        Self { variable, text: &variable.text, is_secret: false }
    }

    pub(super) fn secret(variable: &'t Variable, text: &'t str) -> Self {
        Self { variable, text, is_secret: true }
    }

    fn fault(&self, message: &str) -> Fault {
        Fault::at(self.variable, message)
    }

    fn parsed<T: std::str::FromStr>(&self, valid: &str) -> Result<T, Fault> {
        self.text.trim().parse().map_err(|_| self.fault(valid))
    }

    /// The text as a value of TOML: an array, a table, a date. A secret is never one.
    fn toml(&self, valid: &str) -> Result<Value, Fault> {
        let value = (!self.is_secret).then(|| self.text.trim().parse().ok()).flatten();
        value.ok_or_else(|| self.fault(valid))
    }

    fn begins(&self, bracket: char) -> bool {
        !self.is_secret && self.text.trim_start().starts_with(bracket)
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $valid:literal),*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                visitor.$visit(self.parsed($valid)?)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Fault;

    parsed! {
        deserialize_bool visit_bool "valid is `true` or `false`",
        deserialize_u8 visit_u64 "valid is a whole number from 0 on",
        deserialize_u16 visit_u64 "valid is a whole number from 0 on",
        deserialize_u32 visit_u64 "valid is a whole number from 0 on",
        deserialize_u64 visit_u64 "valid is a whole number from 0 on",
        deserialize_u128 visit_u128 "valid is a whole number from 0 on",
        deserialize_i8 visit_i64 "valid is a whole number",
        deserialize_i16 visit_i64 "valid is a whole number",
        deserialize_i32 visit_i64 "valid is a whole number",
        deserialize_i64 visit_i64 "valid is a whole number",
        deserialize_i128 visit_i128 "valid is a whole number",
        deserialize_f32 visit_f64 "valid is a number",
        deserialize_f64 visit_f64 "valid is a number"
    }

    /// The type does not say what it wants (`untagged`, `flatten`): a value of TOML if it is one, otherwise text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.toml("") {
            Ok(value) => Ok(value.deserialize_any(visitor)?),
            Err(_) => visitor.visit_str(self.text),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.text)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bytes(self.text.as_bytes())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    /// An array of TOML, or elements with commas between them.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.begins('[') {
            return Ok(self.toml("valid is an array such as `[1, 2]`")?.deserialize_seq(visitor)?);
        }
        let parts = self.text.split(',').map(str::trim).filter(|part| !part.is_empty());
        visitor.visit_seq(SeqDeserializer::new(parts.map(|text| Text { text, ..self })))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        Ok(self.toml(NO_TABLE)?.deserialize_map(visitor)?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        Ok(self.toml(NO_TABLE)?.deserialize_struct(name, fields, visitor)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if self.begins('{') {
            let value = self.toml("valid is a table such as `{ a = 1 }`")?;
            return Ok(value.deserialize_enum(name, variants, visitor)?);
        }
        visitor.visit_enum(self.text.into_deserializer())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
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

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    forward_to_deserialize_any! { unit unit_struct ignored_any }
}

impl<'de> IntoDeserializer<'de, Fault> for Text<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
