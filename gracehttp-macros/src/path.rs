//! The paths of routes: what axum's router takes, and what it would panic at.

use matchit::InsertError;
use syn::LitStr;

/// A path of which nothing is wrong.
pub(crate) struct Path {
    pub(crate) literal: LitStr,
    /// The names of its parameters, in order.
    pub(crate) parameters: Vec<String>,
}

impl Path {
    pub(crate) fn of_route(literal: LitStr) -> syn::Result<Self> {
        let checked = parameters(&literal.value());
        match checked {
            Ok(parameters) => Ok(Self { literal, parameters }),
            Err(fault) => Err(syn::Error::new(literal.span(), fault)),
        }
    }

    /// What the paths of a module begin with.
    pub(crate) fn of_prefix(literal: LitStr) -> syn::Result<Self> {
        let text = literal.value();
        let fault = if text == "/" {
            "a prefix of `/` changes nothing: leave it out"
        } else if text.ends_with('/') {
            "a prefix ends without a slash: the paths behind it begin with one"
        } else if text.contains("{*") {
            "nothing can come behind a catch-all parameter"
        } else {
            return Self::of_route(literal);
        };
        Err(syn::Error::new(literal.span(), fault))
    }
}

/// The parameters of a path, or why it is none.
fn parameters(path: &str) -> Result<Vec<String>, String> {
    if path.is_empty() {
        return Err("a path begins with a slash\nhelp: the root is `/`".into());
    }
    if !path.starts_with('/') {
        return Err(format!("the path `{path}` has no slash at its beginning\nhelp: write `/{path}`"));
    }
    if let Some(mark) = path.find(['?', '#']) {
        let rest = &path[mark..];
        let help = "a handler takes the query as an argument, `Query<…>`";
        return Err(format!("`{rest}` is not a part of the path\nhelp: {help}"));
    }
    for segment in path.split('/') {
        if let Some(parameter) = other_spelling(segment) {
            let path = path.replacen(segment, &parameter, 1);
            return Err(format!(
                "`{segment}` is not how a parameter is written\nhelp: write `{parameter}`: `{path}`"
            ));
        }
    }
    matchit::Router::new().insert(path, ()).map_err(|fault| explain(path, &fault))?;
    let names = names(path);
    for (index, name) in names.iter().enumerate() {
        if let Some((name, pattern)) = name.split_once(':') {
            return Err(format!(
                "a parameter is a name and nothing else, without the pattern `{pattern}`\n\
                 help: write `{{{name}}}`; the argument's type decides what it accepts, as in `Path<u64>`"
            ));
        }
        if names[..index].contains(name) {
            return Err(format!("the parameter `{{{name}}}` is in this path twice"));
        }
    }
    Ok(names)
}

/// The parameter that other frameworks, and older versions of axum, write `:id`, `*rest` or `<id>`.
fn other_spelling(segment: &str) -> Option<String> {
    let name = if let Some(name) = segment.strip_prefix([':', '*']) {
        name
    } else {
        segment.strip_prefix('<')?.strip_suffix('>')?
    };
    let name = if name.is_empty() { "rest" } else { name };
    Some(if segment.starts_with('*') { format!("{{*{name}}}") } else { format!("{{{name}}}") })
}

fn explain(path: &str, fault: &InsertError) -> String {
    match fault {
        InsertError::InvalidParamSegment => format!(
            "in the path `{path}` something follows a parameter in the same segment\n\
             help: a parameter reaches to the next slash: `/{{name}}` or `/v{{version}}`"
        ),
        InsertError::InvalidCatchAll => {
            format!(
                "in the path `{path}` something follows the catch-all parameter, which takes all the rest"
            )
        }
        _ => format!(
            "the braces in the path `{path}` are no parameter\n\
             help: a parameter is `{{id}}`, one for all the rest is `{{*rest}}`, and braces that are meant as \
             such are doubled, `{{{{` and `}}}}`"
        ),
    }
}

/// The names in a path that is well formed.
fn names(path: &str) -> Vec<String> {
    let literal = path.replace("{{", "").replace("}}", "");
    let openings = literal.split('{').skip(1);
    openings
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name.trim_start_matches('*').to_owned())
        .collect()
}

/// The paths of one module, in the very router that will serve them.
#[derive(Default)]
pub(crate) struct Paths {
    router: matchit::Router<usize>,
    known: Vec<Known>,
}

struct Known {
    path: String,
    /// Methods, each with its handler.
    methods: Vec<(String, String)>,
}

impl Paths {
    /// Adds a route, unless the router could not have it.
    pub(crate) fn add(&mut self, method: &str, path: &Path, handler: &str) -> syn::Result<()> {
        let text = path.literal.value();
        let fault = |message: String| Err(syn::Error::new(path.literal.span(), message));
        if let Some(known) = self.known.iter_mut().find(|known| known.path == text) {
            return match known.methods.iter().find(|(known, _)| *known == method) {
                Some((_, other)) => fault(answered(method, &text, other)),
                None => {
                    known.methods.push((method.to_owned(), handler.to_owned()));
                    Ok(())
                }
            };
        }
        match self.router.insert(text.clone(), self.known.len()) {
            Ok(()) => {
                self.known.push(Known { path: text, methods: vec![(method.to_owned(), handler.to_owned())] });
                Ok(())
            }
            Err(InsertError::Conflict { with }) => {
                let twin = self.known.iter().find(|known| known.path == with);
                let handler = twin.and_then(|twin| twin.methods.iter().find(|(known, _)| *known == method));
                fault(match handler {
                    Some((_, other)) if !text.contains("{*") => {
                        format!("{}, as `{with}`", answered(method, &text, other))
                    }
                    _ => conflict(&text, &with),
                })
            }
            Err(other) => fault(explain(&text, &other)),
        }
    }
}

fn answered(method: &str, path: &str, handler: &str) -> String {
    let method = if method == "any" { "any method of " } else { &format!("{method} ") };
    format!("`{handler}` answers {method}`{path}` already")
}

fn conflict(path: &str, with: &str) -> String {
    if path.contains("{*") || with.contains("{*") {
        format!(
            "no router can tell `{path}` from `{with}`: each has a parameter in the same place, \
             and one of them takes all the rest"
        )
    } else {
        format!(
            "`{path}` and `{with}` are the same path: it is not told apart by the names of its parameters\n\
             help: give the parameters the same names in both"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_names_in_order() {
        let names = |path| parameters(path).unwrap();
        assert_eq!(names("/"), [""; 0]);
        assert_eq!(names("/users/{id}/posts/{*rest}"), ["id", "rest"]);
        assert_eq!(names("/v{version}/{_unused}"), ["version", "_unused"]);
        assert_eq!(names("/{{literal}}/{id}"), ["id"]);
    }

    #[test]
    fn a_misshapen_path_is_explained() {
        for (path, explanation) in [
            ("", "the root is `/`"),
            ("users", "write `/users`"),
            ("/users/:id", "write `{id}`: `/users/{id}`"),
            ("/files/*path", "write `{*path}`: `/files/{*path}`"),
            ("/files/*", "write `{*rest}`"),
            ("/users/<id>", "write `{id}`"),
            ("/users/{id:[0-9]+}", "without the pattern `[0-9]+`"),
            ("/users/{id", "are no parameter"),
            ("/users/id}", "are no parameter"),
            ("/users/{}", "are no parameter"),
            ("/users/{a/b}", "are no parameter"),
            ("/{name}.html", "something follows a parameter"),
            ("/{*rest}/more", "follows the catch-all"),
            ("/{id}/{id}", "is in this path twice"),
            ("/users?page={n}", "`?page={n}` is not a part of the path"),
        ] {
            let reason = parameters(path).unwrap_err();
            assert!(reason.contains(explanation), "{path:?}: {reason}");
        }
    }
}
