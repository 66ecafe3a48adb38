//! Names, and the places in the user's code that generated tokens get.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Ident, Path};

use crate::validate::Shell;

/// The path of the library.
pub(crate) fn library(renamed: Option<&Path>) -> TokenStream {
    renamed.map_or_else(|| quote!(::gracehttp), ToTokens::to_token_stream)
}

/// A module with these items in its braces.
pub(super) fn module(shell: &Shell, items: &TokenStream) -> TokenStream {
    let Shell { head, braces, .. } = shell;
    let Some(braces) = braces else { return quote!(#head;) };
    let mut tokens = head.clone();
    braces.surround(&mut tokens, |inside| inside.extend(items.clone()));
    tokens
}

/// A module with its own items and generated ones behind them.
pub(super) fn module_with(shell: &Shell, generated: &TokenStream) -> TokenStream {
    let items = &shell.items;
    module(shell, &quote!(#items #generated))
}

/// A path as the user wrote it.
pub(super) fn shown(path: &Path) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}

/// `Hup` of `HUP`, and `Wait` of `wait`, where the user wrote it.
pub(super) fn variant(word: &Ident) -> Ident {
    let name = word.to_string();
    let (initial, rest) = name.split_at(1);
    Ident::new(&format!("{}{}", initial.to_uppercase(), rest.to_lowercase()), word.span())
}

/// The user's name at the user's place, marked as generated, so that rustc's lints skip it.
pub(super) fn generated(ident: &Ident) -> Ident {
    let mut generated = ident.clone();
    generated.set_span(Span::call_site().located_at(ident.span()));
    generated
}

/// The place of a path's last name, where it differs from its neighbours.
pub(super) fn place_of(path: &Path) -> Span {
    path.segments.last().map_or_else(Span::call_site, |segment| segment.ident.span())
}

/// Puts generated tokens in the place of the user's, from the first token to the last: messages of rustc about
/// them point there.
pub(super) fn placed_at(user: &impl ToTokens, generated: TokenStream) -> TokenStream {
    let mut places = user.to_token_stream().into_iter().map(|token| token.span());
    let first = places.next().unwrap_or_else(Span::call_site);
    let last = places.last().unwrap_or(first);
    let mut tokens: Vec<TokenTree> = generated.into_iter().collect();
    for token in &mut tokens {
        token.set_span(first);
    }
    if let Some(end) = tokens.last_mut() {
        end.set_span(last);
    }
    tokens.into_iter().collect()
}

/// A panic in a constant: rustc reports the message at the user's tokens.
pub(super) fn refusal(user: &impl ToTokens, message: &str) -> TokenStream {
    placed_at(user, quote!(::core::panic!("{}", #message)))
}
