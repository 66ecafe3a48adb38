//! Calls of the builders' methods.

use std::time::Duration;

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, format_ident, quote};

use super::tokens::variant;
use crate::validate::{Argument, Setting};

/// The calls that settings stand for, in order.
pub(super) fn calls<'a>(
    settings: impl IntoIterator<Item = &'a Setting>,
    library: &TokenStream,
) -> TokenStream {
    settings.into_iter().map(|setting| call(setting, library)).collect()
}

fn call(Setting { key, argument }: &Setting, library: &TokenStream) -> TokenStream {
    let argument = match argument {
        Argument::Nothing => TokenStream::new(),
        Argument::Number(value) => number(*value),
        Argument::Flag(value) => value.into_token_stream(),
        Argument::Duration(value) => duration(*value),
        Argument::Text(text) => text.into_token_stream(),
        Argument::Texts(texts) => quote!([#(#texts),*]),
        Argument::Choice { of, word } => {
            let (choices, variant) = (format_ident!("{of}"), variant(word));
            quote!(#library::#choices::#variant)
        }
        Argument::Code(code) => code.into_token_stream(),
    };
    quote!(.#key(#argument))
}

pub(crate) fn number(number: u64) -> TokenStream {
    Literal::u64_unsuffixed(number).into_token_stream()
}

pub(crate) fn duration(duration: Duration) -> TokenStream {
    let duration_type = quote!(::core::time::Duration);
    let (seconds, nanos) = (number(duration.as_secs()), duration.subsec_nanos());
    match nanos {
        0 => quote!(#duration_type::from_secs(#seconds)),
        nanos => {
            let nanos = number(nanos.into());
            quote!(#duration_type::new(#seconds, #nanos))
        }
    }
}
