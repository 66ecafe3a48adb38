//! The path of a route: axum's router would panic at one that it does not take.

use matchit::InsertError;
use syn::LitStr;

use super::segment::Segment;
use crate::errors::Errors;

/// The methods that `#[route(METHOD, …)]` takes. axum has a function for each.
pub(super) const METHODS: [&str; 9] =
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];

/// A path that the router takes.
pub(crate) struct Path {
    pub(crate) literal: LitStr,
    /// The names of its parameters, in order.
    pub(crate) parameters: Vec<String>,
}

impl Path {
    pub(super) fn of_route(literal: LitStr, errors: &mut Errors) -> Option<Self> {
        match parameters(&literal.value()) {
            Ok(parameters) => Some(Self { literal, parameters }),
            Err(faults) => {
                for fault in faults {
                    errors.push(syn::Error::new(literal.span(), fault));
                }
                None
            }
        }
    }

    /// The path that all paths of a module begin with.
    pub(super) fn of_prefix(literal: LitStr, errors: &mut Errors) -> Option<Self> {
        let text = literal.value();
        let fault = if text.is_empty() || text == "/" {
            "an empty prefix changes nothing: leave it out"
        } else if text.ends_with('/') {
            "a prefix ends without a slash: the paths behind it begin with one"
        } else if text.split('/').any(|segment| Segment::read(segment).takes_all_the_rest()) {
            "nothing can come behind a catch-all parameter"
        } else {
            return Self::of_route(literal, errors);
        };
        errors.push(syn::Error::new(literal.span(), fault));
        None
    }
}

/// The parameters of a path, or everything that is wrong with it.
fn parameters(path: &str) -> Result<Vec<String>, Vec<String>> {
    if let Some(fault) = something_else(path) {
        return Err(vec![fault]);
    }
    let (path, rest) = path.split_at(end(path));
    let segments: Vec<Segment<'_>> =
        path.strip_prefix('/').unwrap_or(path).split('/').map(Segment::read).collect();
    let right = |left_out: Option<usize>| {
        let kept = segments.iter().enumerate().filter(|(index, _)| Some(*index) != left_out);
        let segments: Vec<String> = kept.map(|(_, segment)| segment.right()).collect();
        format!("/{}", segments.join("/"))
    };
    let whole = right(None);

    let mut faults = Vec::new();
    if !path.starts_with('/') {
        faults.push(format!("the path `{path}` has no slash at its beginning\nhelp: write `{whole}`"));
    }
    for (index, segment) in segments.iter().enumerate() {
        faults.extend(segment.faults(&whole, || right(Some(index))));
    }
    if !rest.is_empty() {
        let help = match rest.starts_with('?') {
            true => "a handler takes the query as an argument, `Query<…>`",
            false => "a client keeps that to itself: leave it out",
        };
        faults.push(format!("`{rest}` is not a part of the path\nhelp: {help}"));
    }
    if faults.is_empty() {
        let inserted = matchit::Router::new().insert(path, ());
        faults.extend(inserted.err().map(|fault| explain(path, &fault)));
    }
    let names: Vec<String> = segments.iter().filter_map(Segment::name).map(str::to_owned).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            faults.push(format!("the parameter `{{{name}}}` is in this path twice"));
        }
    }
    if faults.is_empty() { Ok(names) } else { Err(faults) }
}

/// The fault of a string that is more than a path, or empty.
fn something_else(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("a path begins with a slash\nhelp: the root is `/`".into());
    }
    if let Some((method, path)) = text.split_once(' ')
        && METHODS.contains(&method)
    {
        let path = path.trim_start();
        let attribute = match method {
            "CONNECT" | "TRACE" => format!("#[route({method}, \"{path}\")]"),
            _ => format!("#[{}(\"{path}\")]", method.to_lowercase()),
        };
        return Some(format!("the method is no part of the path\nhelp: write `{attribute}`"));
    }
    let (_, url) = text.split_once("://")?;
    let path = url.find('/').map_or("/", |slash| &url[slash..]);
    Some(format!("`{text}` is a URL, and a path is what comes behind its host\nhelp: write `{path}`"))
}

/// Where a query or a fragment begins. A question mark behind a parameter begins none: it makes the parameter
/// optional in other frameworks.
fn end(path: &str) -> usize {
    let mut braces = 0;
    let mut segment = 0;
    for (index, char) in path.char_indices() {
        match char {
            '{' => braces += 1,
            '}' => braces -= 1,
            '/' => segment = index + 1,
            '?' if path[segment..].starts_with(':')
                && matches!(path[index + 1..].chars().next(), None | Some('/')) => {}
            '?' | '#' if braces <= 0 => return index,
            _ => {}
        }
    }
    path.len()
}

pub(crate) fn explain(path: &str, fault: &InsertError) -> String {
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
    fn misspelled_path_is_explained() {
        for (path, explanation) in [
            ("", "the root is `/`"),
            ("users", "write `/users`"),
            ("GET /users", "write `#[get(\"/users\")]`"),
            ("TRACE /users", "write `#[route(TRACE, \"/users\")]`"),
            ("http://localhost/users", "write `/users`"),
            ("http://localhost", "write `/`"),
            ("/users/:id", "write `{id}`: `/users/{id}`"),
            ("/files/*path", "write `{*path}`: `/files/{*path}`"),
            ("/files/*", "write `{*rest}`"),
            ("/files/**", "write `{*rest}`"),
            ("/files/{**}", "write `{*rest}`"),
            ("/files/{rest...}", "write `{*rest}`: `/files/{*rest}`"),
            ("/files/{file:path}", "write `{*file}`"),
            ("/files/<path:file>", "write `{*file}`"),
            ("/files/[...file]", "write `{*file}`"),
            ("/users/<id>", "write `{id}`"),
            ("/users/<int:id>", "write `{id}`"),
            ("/users/[id]", "write `{id}`"),
            ("/users/{ id }", "write `{id}`: `/users/{id}`"),
            ("/users/{user-id}", "write `{user_id}`"),
            ("/users/{0}", "write `{p0}`"),
            ("/users/{$}", "write `/users/`"),
            ("/users/{id?}", "one for `/users`"),
            ("/users/:id?/posts", "an attribute for `/users/{id}/posts` and one for `/users/posts`"),
            ("/users/{id:[0-9]+}", "without the pattern `[0-9]+`"),
            ("/users/{id", "are no parameter"),
            ("/users/id}", "are no parameter"),
            ("/users/{}", "are no parameter"),
            ("/users/{a/b}", "are no parameter"),
            ("/{name}.html", "something follows a parameter"),
            ("/{*rest}/more", "follows the catch-all"),
            ("/{id}/{id}", "is in this path twice"),
            ("/users?page={n}", "`?page={n}` is not a part of the path"),
            ("/users#top", "a client keeps that to itself"),
            ("/a b", "write `/a%20b`"),
            ("/größe", "write `/gr%C3%B6%C3%9Fe`"),
            ("/100%", "write `/100%25`"),
        ] {
            let reasons = parameters(path).unwrap_err();
            let [reason] = &reasons[..] else { panic!("{path:?}: {reasons:?}") };
            assert!(reason.contains(explanation), "{path:?}: {reason}");
        }
    }

    #[test]
    fn all_faults_of_a_path_are_reported_at_once() {
        let reasons = parameters("a/:id/<name>?x=1").unwrap_err();
        let explanations = ["no slash", "`:id` is not", "`<name>` is not", "`?x=1` is not"];
        assert_eq!(reasons.len(), explanations.len(), "{reasons:?}");
        for (reason, explanation) in reasons.iter().zip(explanations) {
            assert!(reason.contains(explanation), "{reason}");
        }
        assert!(reasons[0].contains("write `/a/{id}/{name}`"), "{}", reasons[0]);
    }

    #[test]
    fn characters_that_clients_send_literally_are_accepted() {
        for path in ["/a%20b", "/$metadata", "/a:b*c", "/v1.0/~me", "/(x)/;y=1,2/!@&'+", "/a|b[1]"] {
            assert_eq!(parameters(path), Ok(vec![]), "{path}");
        }
    }
}
