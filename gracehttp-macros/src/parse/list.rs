//! Lists with commas between their elements.

use proc_macro2::TokenTree;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, Token};

use crate::errors::Errors;

/// Reads elements up to the end of the input. A fault in one leaves the others readable.
pub(super) fn comma_separated(
    input: ParseStream<'_>,
    errors: &mut Errors,
    mut read: impl FnMut(ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) -> syn::Result<()> {
    while !input.is_empty() {
        if let Err(error) = read(input, errors) {
            errors.push(error);
            skip_to_comma(input)?;
        }
        if expect_comma(input, errors)? {
            continue;
        }
        // A word is the next key. Anything else belongs to no key.
        if !input.peek(Ident::peek_any) {
            skip_to_comma(input)?;
            input.parse::<Option<Token![,]>>()?;
        }
    }
    Ok(())
}

/// Reads the comma behind an element, unless that was the last one. Says whether it was there.
pub(super) fn expect_comma(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<bool> {
    let there = input.is_empty() || input.parse::<Option<Token![,]>>()?.is_some();
    if !there {
        errors.push(input.error("a comma is missing before this"));
    }
    Ok(there)
}

pub(super) fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}
