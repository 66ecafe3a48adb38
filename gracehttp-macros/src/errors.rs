//! The faults of one attribute, collected: one compilation reports all of them.

pub(crate) mod hints;

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;
use strsim::jaro_winkler;

/// Every fault found so far. Everything else is still expanded, so that one mistake does not cause others.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Reports a fault at the user's own tokens.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn append(&mut self, others: Self) {
        if let Some(error) = others.0 {
            self.push(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn into_result(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }

    /// The value of a result, if it has one. An error joins the others.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }
}

impl ToTokens for Errors {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.0.as_ref().map(syn::Error::to_compile_error));
    }
}

/// The user wrote something that the library was built without.
pub(crate) fn feature_missing(tokens: impl ToTokens, what: &str, feature: &str) -> syn::Error {
    let message = format!(
        "{what} needs gracehttp's feature `{feature}`\n\
         help: turn it on in Cargo.toml: `features = [\"{feature}\"]`"
    );
    syn::Error::new_spanned(tokens, message)
}

/// The help line for an unknown word: the word that was probably meant, and all known words.
pub(crate) fn known_words(word: &str, what: &str, known: &[&'static str]) -> String {
    let list = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match closest(word, known) {
        Some(closest) => format!("help: did you mean `{closest}`? {what}: {list}"),
        None => format!("help: {what}: {list}"),
    }
}

/// The word that was probably meant: the only one that contains this one (`socket_mode` for `mode`), or the most
/// similar one.
pub(crate) fn closest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    /// Below this score a suggestion confuses more than it helps.
    const ALIKE: f64 = 0.75;
    let mut parts = known.iter().filter(|known| known.split('_').any(|part| part == word));
    if let (Some(&whole), None) = (parts.next(), parts.next()) {
        return Some(whole);
    }
    let alike = |known: &str| jaro_winkler(&word.to_lowercase(), &known.to_lowercase());
    known
        .iter()
        .map(|&known| (alike(known), known))
        .filter(|(score, _)| *score > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typo_finds_its_word_and_unrelated_word_none() {
        let known = ["port", "listen", "max_conns", "TERM"];
        assert_eq!(closest("prot", &known), Some("port"));
        assert_eq!(closest("max_connections", &known), Some("max_conns"));
        assert_eq!(closest("term", &known), Some("TERM"));
        assert_eq!(closest("conns", &known), Some("max_conns"));
        assert_eq!(closest("max", &["max_conns", "max_body"]), closest("maxx", &["max_conns", "max_body"]));
        assert_eq!(closest("colour", &known), None);
    }
}
