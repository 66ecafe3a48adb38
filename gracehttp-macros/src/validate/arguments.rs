//! A handler's arguments, as far as their names tell.
//!
//! What an extractor is depends on the state, which only the list of servers knows: there rustc says what does
//! not fit. What fits no state is refused here, at the argument.

use quote::ToTokens;
use syn::{FnArg, Pat, Type};

use super::types::last_segment;
use crate::errors::Errors;
use crate::parse::Function;

/// Reports what can't be an argument. Says whether there was nothing of the kind.
pub(super) fn check(function: &Function, errors: &mut Errors) -> bool {
    let arguments: Vec<Argument<'_>> = function.sig.inputs.iter().filter_map(Argument::of).collect();
    let mut fit = true;
    for (index, argument) in arguments.iter().enumerate() {
        let fault = argument.no_extractor().or_else(|| {
            let last = arguments.last().filter(|_| index + 1 < arguments.len())?;
            argument.takes_the_body_too_early(last)
        });
        if let Some(message) = fault {
            errors.at(argument.ty, message);
            fit = false;
        }
    }
    fit
}

struct Argument<'a> {
    /// What the user calls it, where it has one name.
    name: Option<String>,
    ty: &'a Type,
}

impl<'a> Argument<'a> {
    fn of(argument: &'a FnArg) -> Option<Self> {
        let FnArg::Typed(argument) = argument else { return None };
        let name = match &*argument.pat {
            Pat::Ident(pattern) => Some(pattern.ident.to_string()),
            _ => None,
        };
        Some(Self { name, ty: &argument.ty })
    }

    /// A type that nobody can make an extractor: Rust's own, without a place for the request in it.
    fn no_extractor(&self) -> Option<String> {
        const SINGLE: [&str; 15] = [
            "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32",
            "f64", "bool",
        ];
        let shown = shown(self.ty);
        let name = self.name.as_deref().unwrap_or("value");
        let help = match self.ty {
            Type::Reference(_) => {
                "it is made of the request and borrows nothing: `String` is text of the body, \
                                   `State<…>` what all requests share"
                    .to_owned()
            }
            Type::Array(_) | Type::Slice(_) => "`Bytes` are those of the body".to_owned(),
            _ => match last_segment(self.ty)?.ident.to_string().as_str() {
                "Vec" => format!("`Bytes` are those of the body; `Json<{shown}>` is a list in JSON"),
                "HashMap" | "BTreeMap" => format!("`Query<{shown}>` is the query, `Form<{shown}>` a form"),
                word if SINGLE.contains(&word) => {
                    format!("`Path({name}): Path<{shown}>` is a parameter of the path")
                }
                _ => return None,
            },
        };
        Some(format!("`{shown}` is not an extractor\nhelp: {help}"))
    }

    fn takes_the_body_too_early(&self, last: &Self) -> Option<String> {
        let body = self.body()?;
        let help = match last.body() {
            Some(other) => {
                format!("a request has one body, and `{other}` takes it as well: keep one of them")
            }
            None => "move it behind the others, which leave the body alone".to_owned(),
        };
        Some(format!(
            "`{body}` takes the body of the request, so it has to be the last argument\nhelp: {help}"
        ))
    }

    /// The name of an extractor of the body.
    fn body(&self) -> Option<String> {
        const BODIES: [&str; 8] =
            ["Json", "Form", "String", "Bytes", "Body", "Request", "RawForm", "Multipart"];
        let name = last_segment(self.ty)?.ident.to_string();
        BODIES.contains(&name.as_str()).then_some(name)
    }
}

/// A type as rustfmt would write it, near enough.
fn shown(ty: &Type) -> String {
    let mut text = ty.to_token_stream().to_string();
    for (spaced, tight) in [(" < ", "<"), (" >", ">"), (" ,", ","), ("& ", "&"), (" :: ", "::"), ("' ", "'")]
    {
        text = text.replace(spaced, tight);
    }
    text
}
