//! Conflicts between the paths of one module.

use matchit::InsertError;

use crate::parse::{Path, explain};

/// The paths of one module, in the same kind of router that will serve them.
#[derive(Default)]
pub(super) struct Paths {
    router: matchit::Router<usize>,
    known: Vec<Known>,
}

struct Known {
    path: String,
    /// Methods, each with its handler.
    methods: Vec<(String, String)>,
}

impl Paths {
    /// Adds a route. Fails if the router could not hold it beside the others.
    pub(super) fn add(&mut self, method: &str, path: &Path, handler: &str) -> syn::Result<()> {
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
            "`{path}` and `{with}` are the same path: the names of parameters do not distinguish paths\n\
             help: give the parameters the same names in both"
        )
    }
}
