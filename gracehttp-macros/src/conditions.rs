//! `#[cfg(…)]` on a route. The compiler decides it, and not the macro, which has to know all routes of a module
//! at once: so the module is written out twice, with the condition and without it, and one of them is left.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Meta, Token, token};

use crate::module::Module;

/// The module under its first condition, for the attribute to be expanded anew on whichever is left.
pub(crate) fn decide(module: &Module, attribute: &TokenStream) -> Option<TokenStream> {
    let content = module.content.as_ref()?;
    let condition = content.conditions.first()?;
    let Meta::List(list) = &condition.meta else { return None };
    let predicate = &list.tokens;
    let [holding, failing] = [true, false].map(|holds| {
        let resolve = |input: ParseStream<'_>| resolve(input, condition, holds);
        resolve.parse2(content.source.clone()).ok().map(|items| module.with_items(&items))
    });
    Some(quote! {
        #[cfg(#predicate)]
        #attribute
        #holding

        #[cfg(not(#predicate))]
        #attribute
        #failing
    })
}

/// The items of a module under a condition: those that have it either lose it or lose everything else, since
/// the compiler is going to take them away.
fn resolve(input: ParseStream<'_>, condition: &Attribute, holds: bool) -> syn::Result<TokenStream> {
    let is_condition = |attribute: &Attribute| text(attribute) == text(condition);
    let mut items = TokenStream::new();
    while !input.is_empty() {
        if !(input.peek(Token![#]) && input.peek2(token::Bracket)) {
            items.extend(Some(input.parse::<TokenTree>()?));
            continue;
        }
        let mut attributes = input.call(Attribute::parse_outer)?;
        if attributes.iter().any(is_condition) {
            attributes.retain(|attribute| is_condition(attribute) != holds);
        }
        items.extend(quote!(#(#attributes)*));
    }
    Ok(items)
}

fn text(attribute: &Attribute) -> String {
    attribute.to_token_stream().to_string()
}
