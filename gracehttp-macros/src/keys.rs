//! The keys of the attributes: one row a key, and the only place in which most keys are written down.
//!
//! From a row of [`SERVER`], [`TLS`], [`ACME`] or [`MAIN`] come
//!
//! * the parser of the attribute, its messages, and the hints for other words and other attributes' keys;
//! * in the library, by `library`: the field of the options with its default, the builder's method with its
//!   documentation, the entry of the configuration file, of the environment and of the command `config`, and its hints;
//! * the tables of the documentation, by `docs`: `BLESS=1 cargo test -p gracehttp-macros` writes them.
//!
//! So a key of an ordinary kind is a row here, and a use of its field in the library. A key with a form of its own also
//! has code: in the attribute's parser if its kind is [`Form::Own`], in the library if it is
//! [`Library::ByHand`] there.

#[cfg(test)]
mod docs;
mod lists;
mod process;
mod row;
mod server;
mod tls;

use Form::{Ordinary, Own};
use Kind::Timeout;
pub(crate) use process::{MAIN, MainKey};
pub(crate) use row::{CheckList, Entry, Feature, Form, Key, Kind, Library};
pub(crate) use server::{SERVER, ServerKey};
pub(crate) use tls::{ACME, AcmeKey, CIPHER_SUITES, CURVES, TLS, TlsKey, VERSIONS};

/// What the name of a user or a group is, in messages.
const OWNER: &str = "a name or a number, in quotes";

/// The keys of `#[health]` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum HealthKey {
    Crate,
}

/// The keys of `#[routes]`.
#[derive(Clone, Copy)]
pub(crate) enum RoutesKey {
    Prefix,
    Routes,
    Layer,
    Crate,
}

/// The keys of `#[get("/path", …)]` and the like.
#[derive(Clone, Copy)]
pub(crate) enum RouteKey {
    Layer,
}

#[rustfmt::skip]
pub(crate) const HEALTH: &[Key<HealthKey>] = &[
    Key {
        name: "timeout", kind: Ordinary(Timeout), example: r#"timeout = "2s""#, default: "2s",
        doc: "How long the check may take. Then it has failed.",
        ..Key::CODE
    },
    Key {
        name: "crate", kind: Own(HealthKey::Crate), example: "crate = my_facade::gracehttp",
        default: "`::gracehttp`",
        doc: "Where gracehttp is, for those who re-export it.",
        ..Key::CODE
    },
];

#[rustfmt::skip]
pub(crate) const ROUTES: &[Key<RoutesKey>] = &[
    Key {
        name: "prefix", kind: Own(RoutesKey::Prefix), example: r#"prefix = "/users""#,
        doc: "What all paths of the module begin with. It may have parameters.",
        ..Key::CODE
    },
    Key {
        name: "routes", kind: Own(RoutesKey::Routes), example: "routes(users::routes)",
        doc: "Modules with `#[routes]` that lie elsewhere, under the same prefix.",
        ..Key::CODE
    },
    Key {
        name: "layer", kind: Own(RoutesKey::Layer), example: "layer = TraceLayer::new_for_http()",
        doc: "A tower layer around all of the module's routes.",
        ..Key::CODE
    },
    Key {
        name: "crate", kind: Own(RoutesKey::Crate), example: "crate = my_facade::gracehttp",
        default: "`::gracehttp`",
        doc: "Where gracehttp is, for those who re-export it.",
        ..Key::CODE
    },
];

#[rustfmt::skip]
pub(crate) const ROUTE: &[Key<RouteKey>] = &[
    Key { name: "layer", kind: Own(RouteKey::Layer), example: "layer = TimeoutLayer::new(LIMIT)", ..Key::CODE },
];

/// Whether a table has a key of this name.
pub(crate) fn has<O>(table: &[Key<O>], name: &str) -> bool {
    table.iter().any(|key| key.name == name)
}

/// The hint for a word that other programs use for a key of this table.
pub(crate) fn hint<O>(table: &[Key<O>], word: &str) -> Option<&'static str> {
    let mut meant = table.iter().filter(|key| key.other_words.contains(&word) && !key.say.is_empty());
    meant.next().map(|key| key.say)
}
