//! The settings that keys stand for.

use std::time::Duration;

use syn::{Expr, Ident, LitStr};

/// A key and its value: a call of the builder's method of the same name.
pub(crate) struct Setting {
    /// The user's own token, so that an editor shows the method's documentation at the key.
    pub(crate) key: Ident,
    pub(crate) argument: Argument,
}

/// The argument of a builder's method.
pub(crate) enum Argument {
    /// The method takes none.
    Nothing,
    Number(u64),
    Flag(bool),
    Duration(Duration),
    Text(LitStr),
    Texts(Vec<LitStr>),
    /// A variant of the library's enum `of`, in lower case.
    Choice {
        of: &'static str,
        word: Ident,
    },
    Code(Expr),
}
