//! A module under its first condition.

use proc_macro2::TokenStream;
use quote::quote;

use super::tokens::module;
use crate::validate::{Conditional, Shell};

/// The module twice, with the condition and without it. The attribute is expanded again on the one that the
/// compiler keeps.
pub(crate) fn conditional(shell: &Shell, conditional: &Conditional, attribute: &TokenStream) -> TokenStream {
    let Conditional { predicate, holding, failing } = conditional;
    let [holding, failing] = [holding, failing].map(|items| items.as_ref().map(|items| module(shell, items)));
    quote! {
        #[cfg(#predicate)]
        #attribute
        #holding

        #[cfg(not(#predicate))]
        #attribute
        #failing
    }
}
