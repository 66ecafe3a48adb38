//! What a row of the tables of keys says.

use Form::{Ordinary, Own};
use Kind::{
    Address, Callback, Choice, Count, Duration, File, Flag, Keepalive, Length, List, Mode, Size, Text,
    Timeout,
};

/// A key that an attribute knows. `O` lists the keys of that attribute with a form of their own.
pub(crate) struct Key<O> {
    pub(crate) name: &'static str,
    pub(crate) kind: Form<O>,
    /// How the key is written. The documentation shows it, and messages about a wrong value.
    pub(crate) example: &'static str,
    /// Other ways to write it, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests of the documentation read it"))]
    pub(crate) forms: &'static [&'static str],
    /// The default, written as in the example. Where there is no such value, the documentation's words for it.
    pub(crate) default: &'static str,
    /// What the key means. The first paragraph stands in the documentation's tables, all of it at the method of an
    /// ordinary key, where the first sentence goes on with the default.
    pub(crate) doc: &'static str,
    /// The feature of the library without which the key is refused.
    pub(crate) feature: Option<Feature>,
    pub(crate) library: Library,
    /// What other programs call it. The file and the environment know these words, too.
    pub(crate) other_words: &'static [&'static str],
    /// What the attribute says about those words.
    pub(crate) say: &'static str,
}

/// A feature of the library that brings keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    Admin,
    Cli,
    Http2,
    Tls,
}

impl Feature {
    /// As in Cargo.toml.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Cli => "cli",
            Self::Http2 => "http2",
            Self::Tls => "tls",
        }
    }

    /// Whether the library was built with it. Its features turn on those of this crate.
    pub(crate) fn is_on(self) -> bool {
        match self {
            Self::Admin => cfg!(feature = "admin"),
            Self::Cli => cfg!(feature = "cli"),
            Self::Http2 => cfg!(feature = "http2"),
            Self::Tls => cfg!(feature = "tls"),
        }
    }
}

/// Who reads the value of a key.
#[derive(Clone, Copy)]
pub(crate) enum Form<O> {
    /// Its kind says all that the parser has to know.
    Ordinary(Kind),
    /// The parser of the attribute has code for it.
    Own(O),
}

/// Says what is wrong with a list, and in which element.
pub(crate) type CheckList = fn(&[String]) -> Result<(), (usize, String)>;

/// How the value of an ordinary key is written, and which values fit.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `key = 1000`: from 1 to `most`.
    Count { most: u64 },
    /// `key = true`.
    Flag,
    /// `key = "1m 30s"`.
    Duration,
    /// `key = "30s"`: a duration, but not zero, which would let nothing happen. With the default `off` there is no
    /// limit unless one is set.
    Timeout,
    /// `key = "60s"`: a duration that the kernel takes for TCP keepalive.
    Keepalive,
    /// `key = "2MiB"`, or a number of bytes, which need not fit into memory.
    Length,
    /// `key = "2MiB"`, or a number of bytes, which have to fit into memory: from `least` on.
    Size { least: u64 },
    /// `key = "0660"`: permission bits in octal.
    Mode,
    /// `key = "text"`, not empty. `expected` names the text in messages.
    Text { expected: &'static str },
    /// `key = "unix:/run/app.sock"`, or `key = off`: where the process itself listens.
    Address { only_unix: bool },
    /// `key = ["one", "two"]`, or `key = "one"`. `expected` names the list in messages, and `check` says what is wrong
    /// with it, and in which element.
    List { expected: &'static str, check: CheckList },
    /// `key = word`: a variant of the library's enum `of`, in lower case.
    Choice { of: &'static str, words: &'static [&'static str] },
    /// `key = "file"`, not empty, or a macro that makes the path, such as `concat!(…)`. `expected` names it in messages.
    File { expected: &'static str },
    /// `key = function`: an expression, which only rustc can check.
    Callback,
}

impl Kind {
    /// The path of a file, and nothing else.
    pub(super) const FILE: Self = File { expected: "the path of a file, in quotes" };
}

/// What the library has for a key, and whether the file and the environment can set it.
#[derive(Clone, Copy)]
pub(crate) enum Library {
    /// A field of the options, a method of the builder and an entry of the file, all from the row.
    FromRow,
    /// A field, a method and these entries of the file, by hand.
    ByHand(&'static [Entry]),
    /// Code alone: no file and no variable can set it.
    Code,
}

/// An entry of the file that the library has code for: a constant of the entry's name.
pub(crate) struct Entry {
    /// A dot leads into a table of the file.
    pub(crate) name: &'static str,
    /// Which values it takes, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests of the documentation read it"))]
    pub(crate) value: &'static str,
    /// What other programs call it, if the attribute has no hint for these words.
    pub(crate) other_words: &'static [&'static str],
}

impl<O> Key<O> {
    /// What a row leaves out.
    pub(super) const ROW: Self = Self {
        name: "",
        kind: Ordinary(Flag),
        example: "",
        forms: &[],
        default: "",
        doc: "",
        feature: None,
        library: Library::FromRow,
        other_words: &[],
        say: "",
    };

    pub(super) const CODE: Self = Self { library: Library::Code, ..Self::ROW };
}

impl<O> Key<O> {
    /// The default as the documentation shows it: `2 MiB`, `100 000`.
    pub(crate) fn shown_default(&self) -> String {
        let digits = self.default.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.default.len());
        let (number, unit) = self.default.split_at(digits);
        match self.kind {
            Ordinary(Flag | Choice { .. }) => format!("`{}`", self.default),
            Ordinary(_) if self.has_default_value() && !number.is_empty() => {
                let number = with_gaps(number);
                if unit.is_empty() { number } else { format!("{number} {unit}") }
            }
            _ => self.default.to_owned(),
        }
    }

    /// Whether the default is a value that could be written in the file.
    pub(crate) fn has_default_value(&self) -> bool {
        let is_number = self.default.starts_with(|c: char| c.is_ascii_digit());
        match self.kind {
            Ordinary(Flag | Choice { .. }) => true,
            Ordinary(Timeout) => is_number || self.default == "off",
            Ordinary(Count { .. } | Duration | Keepalive | Length | Size { .. }) => is_number,
            Ordinary(Mode | Text { .. } | Address { .. } | File { .. } | List { .. } | Callback) | Own(_) => {
                false
            }
        }
    }

    /// The first sentence of the documentation, and the rest.
    pub(crate) fn first_sentence(&self) -> (&'static str, &'static str) {
        let end = [self.doc.find(". "), self.doc.find(".\n")].into_iter().flatten().min();
        let (first, rest) = self.doc.split_at(end.unwrap_or(self.doc.len() - 1));
        (first, &rest[1..])
    }
}

/// Groups of three digits, where there are more than four.
pub(super) fn with_gaps(number: &str) -> String {
    let mut shown = String::new();
    for (index, digit) in number.chars().enumerate() {
        if number.len() > 4 && index > 0 && (number.len() - index).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

impl Entry {
    pub(super) const fn new(name: &'static str, value: &'static str) -> Self {
        Self { name, value, other_words: &[] }
    }
}
