//! A function that answers requests.

use syn::{Ident, Type};

use super::types::{first_argument, last_segment};
use super::{arguments, function};
use crate::errors::Errors;
use crate::parse::Function;

/// The library implements `Handler` for functions with at most this many arguments.
const MOST_ARGUMENTS: usize = 16;

#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) ident: Ident,
    pub(crate) arguments: Vec<HandlerArgument>,
}

#[derive(Clone)]
pub(crate) struct HandlerArgument {
    pub(crate) ty: Type,
    /// The `T` of `State<T>`.
    pub(crate) state: Option<Type>,
}

impl Handler {
    /// Nothing where the function can't be a handler.
    pub(super) fn of(function: &Function, errors: &mut Errors) -> Option<Self> {
        let plain = function::check(&function.sig, "a handler", errors);
        let surplus = function.arguments().nth(MOST_ARGUMENTS);
        if let Some(argument) = surplus {
            let help =
                "help: a tuple of extractors is an extractor: `(query, peer): (Query<Filter>, PeerAddr)`";
            errors.at(argument, format!("a handler takes at most {MOST_ARGUMENTS} arguments\n{help}"));
        }
        let fit = arguments::check(function, errors) && plain && surplus.is_none();
        fit.then(|| Self {
            ident: function.sig.ident.clone(),
            arguments: function.arguments().map(HandlerArgument::of).collect(),
        })
    }
}

impl HandlerArgument {
    pub(super) fn of(ty: &Type) -> Self {
        let is_state = last_segment(ty).is_some_and(|segment| segment.ident == "State");
        let state = if is_state { first_argument(ty) } else { None };
        Self { ty: ty.clone(), state: state.cloned() }
    }
}
