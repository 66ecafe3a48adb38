//! `#[cfg(…)]` on a route. The compiler decides it, but the macro has to know all routes of a module at once. So
//! the module is emitted twice, with the condition and without it, and the compiler keeps one of the two.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Meta, Token, token};

use super::module::Module;

/// What a module holds under its first condition, and without it.
pub(crate) struct Conditional {
    /// What is in the parentheses of `cfg(…)`.
    pub(crate) predicate: TokenStream,
    pub(crate) holding: Option<TokenStream>,
    pub(crate) failing: Option<TokenStream>,
}

impl Conditional {
    pub(super) fn of(module: &Module) -> Option<Self> {
        let content = module.content.as_ref()?;
        let condition = content.conditions.first()?;
        let Meta::List(list) = &condition.meta else { return None };
        let [holding, failing] = [true, false].map(|holds| {
            let resolve = |input: ParseStream<'_>| resolve(input, condition, holds);
            resolve.parse2(content.source.clone()).ok()
        });
        Some(Self { predicate: list.tokens.clone(), holding, failing })
    }
}

/// The items of a module under a condition. Where it holds, the items that have it lose it. Where it fails, they
/// keep it and lose their other attributes, because the compiler takes them away.
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
