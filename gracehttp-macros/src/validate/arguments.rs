//! A handler's arguments, judged by the names of their types.
//!
//! Whether a type is an extractor depends on the state, and only the list of servers knows the state: rustc checks
//! it there. Types that fit no state are refused here, at the argument.

use quote::ToTokens;
use syn::{FnArg, Pat, Type};

use super::types::last_segment;
use crate::errors::Errors;
use crate::parse::Function;

/// Reports arguments that no handler can have. Says whether all arguments fit.
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
    /// The argument's name, if its pattern is a name.
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

    /// What is wrong with a type of Rust's own, for which no crate can implement an extractor.
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

    /// What is wrong with an extractor of the body before the last argument.
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

    /// The name of the type, if it is an extractor of the body.
    fn body(&self) -> Option<String> {
        const BODIES: [&str; 8] =
            ["Json", "Form", "String", "Bytes", "Body", "Request", "RawForm", "Multipart"];
        let name = last_segment(self.ty)?.ident.to_string();
        BODIES.contains(&name.as_str()).then_some(name)
    }
}

/// A type approximately as rustfmt writes it.
fn shown(ty: &Type) -> String {
    let mut text = ty.to_token_stream().to_string();
    for (spaced, tight) in [(" < ", "<"), (" >", ">"), (" ,", ","), ("& ", "&"), (" :: ", "::"), ("' ", "'")]
    {
        text = text.replace(spaced, tight);
    }
    text
}
