//! The names of attributes.

use proc_macro2::TokenStream;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Ident};

/// The attributes of functions in a module of routes.
const ROUTE_ATTRIBUTES: [&str; 10] =
    ["get", "post", "put", "patch", "delete", "head", "options", "any", "route", "fallback"];

/// The last name of an attribute's path: `get` of `gracehttp::get`.
pub(super) fn last_name(attribute: &Attribute) -> Option<&Ident> {
    attribute.path().segments.last().map(|segment| &segment.ident)
}

pub(crate) fn is_named(attribute: &Attribute, known: &str) -> bool {
    last_name(attribute).is_some_and(|name| name == known)
}

pub(crate) fn is_route(attribute: &Attribute) -> bool {
    names_route(attribute.path())
}

pub(super) fn names_route(path: &syn::Path) -> bool {
    let last = path.segments.last();
    last.is_some_and(|segment| ROUTE_ATTRIBUTES.iter().any(|known| segment.ident == known))
}

/// Splits an item into its attributes and the rest.
pub(super) fn split(item: &TokenStream) -> Option<(Vec<Attribute>, TokenStream)> {
    let split = |input: ParseStream<'_>| Ok((input.call(Attribute::parse_outer)?, input.parse()?));
    split.parse2(item.clone()).ok()
}
