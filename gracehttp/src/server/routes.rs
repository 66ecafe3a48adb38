//! Modules of routes: axum's router, and a table in which the compiler finds conflicts.

mod direct;
mod router;

use std::sync::Arc;

use axum::Extension;
use axum::response::IntoResponse;
use http::StatusCode;

use crate::server::listens::same;
use crate::server::{Answers, Instead, Server, ServerBuilder};

pub use router::{Router, handler, routing};

/// A module of routes in an application with the state `S`.
///
/// `M` distinguishes extractors that take the body from those that do not; it is always inferred.
pub trait Routes<S, M> {
    /// The router of its routes, under the prefix of the modules that include it.
    fn router(self, outer: &str, state: &Arc<S>) -> Router;
}

/// The routes of a module's own functions, and of its inner modules.
pub trait OwnRoutes<S, M> {
    /// Their router, under a prefix.
    fn own_routes(self, prefix: &str, state: &Arc<S>) -> Router;
}

/// Completes a server with the routes of a module and their table.
pub fn serve<R, S, M>(builder: ServerBuilder, routes: R, table: &'static Table) -> Server<S>
where
    R: Routes<S, M> + Send + 'static,
    S: Clone + Send + Sync + 'static,
{
    let complete = |router: axum::Router| {
        let router = router.method_not_allowed_fallback(not_allowed);
        if table.has_fallback() { router } else { router.fallback(not_found) }
    };
    builder.complete(Answers::Routes(table), move |state: &S, _| {
        Arc::new(routes.router("", &Arc::new(state.clone())).dispatch(complete))
    })
}

async fn not_found() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, Extension(Instead::NoRoute))
}

/// The router adds the field Allow.
async fn not_allowed() -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, Extension(Instead::NoRoute))
}

/// A path within a prefix; the root of a module with a prefix is the prefix itself.
pub fn join(prefix: &str, path: &str) -> String {
    match path {
        "/" if !prefix.is_empty() => prefix.to_owned(),
        _ => format!("{prefix}{path}"),
    }
}

/// A module that lists others in `routes(…)`: its part with this number.
///
/// The macros find the type of a listed module by a glob import, so that the compiler can name a module without
/// routes: see `undeclared` in `private.rs`.
pub trait Lists<const INDEX: usize> {
    /// The type of the listed module.
    type Part;
}

/// What the compiler knows about an entry in `routes(…)`.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A module that others can list.
    Part,
    /// A server, which has its own settings.
    Server,
    /// A module without routes.
    Undeclared,
}

/// The routes of a module, with the tables of the modules that it includes.
#[derive(Debug)]
pub struct Table {
    /// The kind of its module.
    pub kind: Kind,
    /// The path of its handlers, which begins with the crate.
    pub module: &'static str,
    /// The prefix of all of its paths.
    pub prefix: &'static str,
    /// Methods, paths and handlers.
    pub routes: &'static [(&'static str, &'static str, &'static str)],
    /// The handler of requests that no route answers.
    pub fallback: Option<&'static str>,
    /// The tables of the included modules.
    pub included: &'static [&'static Self],
}

impl Table {
    /// An empty table. Other tables are based on it.
    pub const EMPTY: Self =
        Self { kind: Kind::Part, module: "", prefix: "", routes: &[], fallback: None, included: &[] };

    /// Whether the module or an included one has a fallback, which is then that of the whole server.
    fn has_fallback(&self) -> bool {
        self.fallback.is_some() || self.included.iter().any(|within| within.has_fallback())
    }

    /// Whether one of its paths has a parameter of this name, prefixes included.
    pub const fn has_parameter(&self, name: &str) -> bool {
        if has_parameter(self.prefix, name) {
            return true;
        }
        let mut i = 0;
        while i < self.routes.len() {
            let (_, path, _) = self.routes[i];
            if has_parameter(path, name) {
                return true;
            }
            i += 1;
        }
        let mut i = 0;
        while i < self.included.len() {
            if self.included[i].has_parameter(name) {
                return true;
            }
            i += 1;
        }
        false
    }

    /// Whether a router could not hold this route beside those of the table.
    pub const fn rivals(&self, method: &str, path: &'static str) -> bool {
        self.rival_within(Place::ROOT, method, Place::ROOT.then(path))
    }

    /// Whether a router could not hold both tables.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.overlaps_within(Place::ROOT, other)
    }

    const fn rival_within(&self, outer: Place, method: &str, path: Place) -> bool {
        let prefix = outer.then(self.prefix);
        let mut i = 0;
        while i < self.routes.len() {
            let (known_method, known, _) = self.routes[i];
            if prefix.then(known).rivals(path, same(known_method, method)) {
                return true;
            }
            i += 1;
        }
        let mut i = 0;
        while i < self.included.len() {
            if self.included[i].rival_within(prefix, method, path) {
                return true;
            }
            i += 1;
        }
        false
    }

    const fn overlaps_within(&self, outer: Place, other: &Self) -> bool {
        let prefix = outer.then(self.prefix);
        let mut i = 0;
        while i < self.routes.len() {
            let (method, path, _) = self.routes[i];
            if other.rival_within(Place::ROOT, method, prefix.then(path)) {
                return true;
            }
            i += 1;
        }
        let mut i = 0;
        while i < self.included.len() {
            if self.included[i].overlaps_within(prefix, other) {
                return true;
            }
            i += 1;
        }
        false
    }
}

/// Whether a path has a parameter of this name, ordinary or catch-all.
const fn has_parameter(path: &'static str, name: &str) -> bool {
    let path = Place::ROOT.then(path);
    let mut i = 0;
    while path.at(i) != 0 {
        if path.opens(i) {
            let start = if path.at(i + 1) == b'*' { i + 2 } else { i + 1 };
            if path.has_at(start, name) && path.at(start + name.len()) == b'}' {
                return true;
            }
            i = path.behind_parameter(i);
        } else if path.at(i) == b'{' {
            i += 2;
        } else {
            i += 1;
        }
    }
    false
}

/// A path in parts, since strings can't be joined at compile time: the prefixes, from the outermost to the
/// innermost, and the rest.
#[derive(Clone, Copy)]
struct Place {
    parts: [&'static str; Place::MOST_PARTS],
    len: usize,
}

impl Place {
    /// Modules of routes can be nested so deep, less one for the path itself.
    const MOST_PARTS: usize = 8;
    const ROOT: Self = Self { parts: [""; Self::MOST_PARTS], len: 0 };

    const fn then(mut self, part: &'static str) -> Self {
        // The root of a module with a prefix is the prefix itself.
        if part.is_empty() || (self.len > 0 && same(part, "/")) {
            return self;
        }
        assert!(self.len < Self::MOST_PARTS, "modules of routes lie too deep within each other");
        self.parts[self.len] = part;
        self.len += 1;
        self
    }

    /// The byte at an index, or 0 beyond the end.
    const fn at(&self, mut index: usize) -> u8 {
        let mut part = 0;
        while part < self.len {
            let bytes = self.parts[part].as_bytes();
            if index < bytes.len() {
                return bytes[index];
            }
            index -= bytes.len();
            part += 1;
        }
        0
    }

    const fn has_at(&self, index: usize, text: &str) -> bool {
        let mut i = 0;
        while i < text.len() {
            if self.at(index + i) != text.as_bytes()[i] {
                return false;
            }
            i += 1;
        }
        true
    }

    /// Whether a parameter begins here. A doubled brace is a literal one.
    const fn opens(&self, index: usize) -> bool {
        self.at(index) == b'{' && self.at(index + 1) != b'{'
    }

    const fn behind_parameter(&self, mut index: usize) -> usize {
        while self.at(index) != b'}' && self.at(index) != 0 {
            index += 1;
        }
        index + 1
    }

    /// Whether axum's router refuses one path beside the other. The router distinguishes paths by their shape, not by
    /// the names of parameters; a parameter and a catch-all conflict; and each method of a path can be added once.
    const fn rivals(self, other: Self, same_method: bool) -> bool {
        let (mut i, mut j) = (0, 0);
        let mut same_names = true;
        loop {
            if self.opens(i) && other.opens(j) {
                let (end, other_end) = (self.behind_parameter(i), other.behind_parameter(j));
                if (self.at(i + 1) == b'*') != (other.at(j + 1) == b'*') {
                    return true;
                }
                while i < end && j < other_end {
                    same_names = same_names && self.at(i) == other.at(j);
                    i += 1;
                    j += 1;
                }
                same_names = same_names && i == end && j == other_end;
                (i, j) = (end, other_end);
            } else if self.opens(i) || other.opens(j) || self.at(i) != other.at(j) {
                return false;
            } else if self.at(i) == 0 {
                return same_method || !same_names;
            } else if self.at(i) == b'{' {
                // Skips both of a doubled brace, so that the second is not taken for the start of a parameter.
                (i, j) = (i + 2, j + 2);
            } else {
                (i, j) = (i + 1, j + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether axum itself refuses one path beside the other: it panics.
    fn axum_refuses(first: &'static str, second: &'static str, same_method: bool) -> bool {
        use axum::routing::{get, post};
        let build = move || {
            let router: axum::Router = axum::Router::new().route(first, get(async || ()));
            match same_method {
                true => router.route(second, get(async || ())),
                false => router.route(second, post(async || ())),
            }
        };
        std::panic::catch_unwind(build).is_err()
    }

    #[test]
    fn the_compiler_refuses_what_axum_panics_at() {
        let paths = [
            "/",
            "/users",
            "/users/",
            "/users/{id}",
            "/users/{name}",
            "/users/me",
            "/users/v{id}",
            "/users/{id}/posts",
            "/users/{name}/posts",
            "/users/{id}/{post}",
            "/users/{*rest}",
            "/users/{*all}",
            "/users/{{id}}",
            "/{*rest}",
            "/{id}",
        ];
        for first in paths {
            for second in paths {
                for same_method in [true, false] {
                    assert!(!Table::EMPTY.rivals("GET", second));
                    let (a, b) = (Place::ROOT.then(first), Place::ROOT.then(second));
                    assert_eq!(
                        a.rivals(b, same_method),
                        axum_refuses(first, second, same_method),
                        "{first} and {second}, same method: {same_method}"
                    );
                }
            }
        }
    }

    #[test]
    fn tables_overlap_through_their_prefixes() {
        static USERS: Table = Table {
            prefix: "/users",
            routes: &[("GET", "/", "all"), ("GET", "/{id}", "one")],
            ..Table::EMPTY
        };
        static ADMIN: Table = Table {
            prefix: "/admin",
            routes: &[("GET", "/", "overview")],
            included: &[&USERS],
            ..Table::EMPTY
        };
        assert!(USERS.rivals("GET", "/users") && !USERS.rivals("POST", "/users"));
        assert!(USERS.rivals("POST", "/users/{name}"), "another name for the same parameter");
        assert!(ADMIN.rivals("GET", "/admin/users/{id}") && ADMIN.rivals("GET", "/admin"));
        assert!(!ADMIN.overlaps(&USERS) && ADMIN.overlaps(&ADMIN));
        static TWIN: Table =
            Table { prefix: "/admin/users", routes: &[("GET", "/{id}", "one")], ..Table::EMPTY };
        assert!(ADMIN.overlaps(&TWIN) && TWIN.overlaps(&ADMIN));
    }

    #[test]
    fn a_table_knows_the_parameters_of_its_paths() {
        static POSTS: Table = Table {
            prefix: "/{post}",
            routes: &[("GET", "/v{version}/{{no}}/{*rest}", "one")],
            ..Table::EMPTY
        };
        static USERS: Table = Table { included: &[&POSTS], ..Table::EMPTY };
        for name in ["post", "version", "rest"] {
            assert!(USERS.has_parameter(name), "{name}");
        }
        for name in ["pos", "posts", "no", "v", "*rest"] {
            assert!(!USERS.has_parameter(name), "{name}");
        }
    }

    #[test]
    fn the_root_of_a_prefix_is_the_prefix() {
        assert_eq!(join("", "/"), "/");
        assert_eq!(join("/admin", "/"), "/admin");
        assert_eq!(join("/admin", "/users"), "/admin/users");
        assert_eq!(join("", "/users"), "/users");
    }
}
