//! JSON, as far as the log needs it: objects of one line each. Every text is escaped, so nothing in it can end the line.

use std::fmt::{self, Write as _};

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Signed(i64),
    Float(f64),
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// Names and values, in the order in which they are written.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// An object that is being written. A name is written once: the first value counts.
#[derive(Debug)]
pub(super) struct Object {
    text: String,
    names: Vec<String>,
}

impl Object {
    pub(super) fn new() -> Self {
        Self { text: "{".to_owned(), names: Vec::new() }
    }

    pub(super) fn field(&mut self, name: &str, value: &Value) {
        if self.name(name) {
            write_value(&mut self.text, value);
        }
    }

    pub(super) fn text(&mut self, name: &str, text: &dyn fmt::Display) {
        if self.name(name) {
            write_text(&mut self.text, &text.to_string());
        }
    }

    /// Objects that are written already.
    pub(super) fn list(&mut self, name: &str, objects: &[String]) {
        if self.name(name) {
            let _ = write!(self.text, "[{}]", objects.join(","));
        }
    }

    pub(super) fn end(mut self) -> String {
        self.text.push('}');
        self.text
    }

    /// Begins a field; false if there is one of this name.
    fn name(&mut self, name: &str) -> bool {
        if self.names.iter().any(|earlier| earlier == name) {
            return false;
        }
        if !self.names.is_empty() {
            self.text.push(',');
        }
        self.names.push(name.to_owned());
        write_text(&mut self.text, name);
        self.text.push(':');
        true
    }
}

fn write_value(to: &mut String, value: &Value) {
    // Writing to a `String` does not fail.
    let _ = match value {
        Value::Text(text) => {
            write_text(to, text);
            Ok(())
        }
        Value::Number(number) => write!(to, "{number}"),
        Value::Signed(number) => write!(to, "{number}"),
        Value::Flag(flag) => write!(to, "{flag}"),
        Value::Float(number) if number.is_finite() => write!(to, "{number:?}"),
        // JSON has no such numbers.
        Value::Float(number) => write!(to, "\"{number}\""),
    };
}

/// Escapes what JSON demands, and what a terminal or a reader of lines may take for a command or for the end of a line.
fn write_text(to: &mut String, text: &str) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => to.extend(['\\', c]),
            '\n' => to.push_str("\\n"),
            '\t' => to.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(to, "\\u{:04x}", u32::from(c));
            }
            c => to.push(c),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_one_line_and_is_read_back_as_it_was() {
        let hostile =
            "\"quoted\" \\ \n\r\t\u{0}\u{1b}[31m\u{7f}\u{85}\u{2028}\u{2029} ü 🦀 {\"level\":\"ERROR\"}";
        let mut object = Object::new();
        object.text(hostile, &hostile);
        object.field("n", &Value::Number(u64::MAX));
        object.field("n", &Value::Flag(true));
        object.field("i", &Value::Signed(-1));
        object.field("f", &Value::Float(1.0));
        object.field("nan", &Value::Float(f64::NAN));
        object.list("spans", &["{\"name\":\"a\"}".to_owned()]);
        let written = object.end();
        assert!(!written.chars().any(|c| c.is_control() || c == '\u{2028}'), "{written}");
        #[cfg(any(feature = "admin", feature = "cli"))]
        {
            let read: serde_json::Value = serde_json::from_str(&written).unwrap();
            assert_eq!(read[hostile], hostile);
            assert_eq!((&read["n"], &read["i"]), (&u64::MAX.into(), &(-1).into()));
            assert_eq!((&read["f"], &read["nan"]), (&1.0.into(), &"NaN".into()));
            assert_eq!(read["spans"][0]["name"], "a");
        }
    }
}
