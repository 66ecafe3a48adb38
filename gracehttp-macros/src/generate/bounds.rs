//! The bounds on a handler's arguments and on the state of a server.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Ident, Type};

use super::tokens::placed_at;
use crate::validate::HandlerArgument;

/// The bounds on a handler's arguments. Only the last one may take the body.
pub(super) fn of_arguments(
    last: &HandlerArgument,
    parts: &[HandlerArgument],
    marker: &Ident,
    library: &TokenStream,
) -> Vec<TokenStream> {
    let part = quote!(#library::__private::Argument<__S>);
    let whole = quote!(#library::__private::LastArgument<__S, #marker>);
    let parts = parts.iter().flat_map(|argument| of_argument(argument, &part, library));
    parts.chain(of_argument(last, &whole, library)).collect()
}

/// For `State<T>` the bound on `T` comes first: if main does not provide `T`, its message is easier to understand
/// than the one about the extractor.
fn of_argument(argument: &HandlerArgument, bound: &TokenStream, library: &TokenStream) -> Vec<TokenStream> {
    let HandlerArgument { ty, state } = argument;
    let bound = placed_at(ty, bound.clone());
    let provided = state.as_ref().map(|state| of_provided(state, library));
    provided.into_iter().chain([quote!(#ty: #bound)]).collect()
}

/// The bound on a state that main provides.
pub(super) fn of_provided(state: &Type, library: &TokenStream) -> TokenStream {
    let provided = placed_at(state, quote!(#library::__private::ProvidedBy<__S>));
    quote!(#state: #provided)
}
