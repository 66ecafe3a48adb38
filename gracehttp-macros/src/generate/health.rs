//! What `#[gracehttp::health]` expands to, and what an entry of `health(…)` does.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Ident, Path};

use super::calls::calls;
use super::tokens::{generated, library, place_of, placed_at, refusal, shown};
use crate::validate::{Checked, HandlerArgument, HealthCheck, HealthItem};

pub(crate) fn health(item: &Checked<HealthItem>) -> TokenStream {
    match &**item {
        HealthItem::Check(check) => declaration(check),
        HealthItem::Other(item) => item.clone(),
    }
}

/// A type of the function's name, as `#[server]` makes one: `database` is both, and `database::health()` makes a value of
/// the type.
fn declaration(check: &HealthCheck) -> TokenStream {
    let HealthCheck { item, ident, vis, arguments, is_usable, .. } = check;
    let library = library(check.library.as_ref());
    let name = generated(ident);
    let (bounds, made) = match is_usable {
        true => (
            arguments.iter().flat_map(|argument| bounds(argument, &library)).collect(),
            made(check, &library),
        ),
        false => (vec![], quote!(::core::unreachable!())),
    };
    quote! {
        #item

        #[doc(hidden)]
        #vis struct #name {}

        #[doc(hidden)]
        impl #name {
            #vis const fn health() -> Self {
                Self {}
            }
            #vis const fn is_health_check(&self) -> bool {
                true
            }
        }

        impl<__S> #library::IntoHealthCheck<__S> for #name
        where
            __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#bounds,)*
        {
            fn into_health_check(self) -> #library::HealthCheck<__S> {
                #made
            }
        }
    }
}

/// The check of the library. If the output is not the right one, rustc says so at the output.
fn made(check: &HealthCheck, library: &TokenStream) -> TokenStream {
    let HealthCheck { ident, name, arguments, output, settings, .. } = check;
    let types = arguments.iter().map(|argument| &argument.ty);
    let made = quote!(#library::HealthCheck::new::<_, (#(#types,)*)>(#name, #ident));
    let made = match output {
        Some(output) => placed_at(output, made),
        None => made,
    };
    let calls = calls(settings, library);
    quote!(#made #calls)
}

/// The state comes first: if main does not provide it, its message is easier to understand than the extractor's.
fn bounds(argument: &HandlerArgument, library: &TokenStream) -> Vec<TokenStream> {
    let HandlerArgument { ty, state } = argument;
    let provided = state.as_ref().map(|state| {
        let provided = placed_at(state, quote!(#library::__private::CheckedState<__S>));
        quote!(#state: #provided)
    });
    let taken = placed_at(ty, quote!(#library::__private::CheckArgument<__S>));
    provided.into_iter().chain([quote!(#ty: #taken)]).collect()
}

/// An entry of the list of health checks, imported under a fixed name as an entry of the list of servers is.
pub(super) fn listed(check: &Path, library: &TokenStream) -> TokenStream {
    let place = place_of(check);
    // rustc would take a single name in an import for the name of a crate.
    let here = check.get_ident().map(|_: &Ident| quote_spanned!(place=> self::));
    quote_spanned! {place=> {
        #[allow(unused_imports)]
        use #here #check as with_attribute_health;
        #[allow(unused_imports)]
        use #library::__private::undeclared::*;
        with_attribute_health::health()
    }}
}

/// Lets the compiler look for entries that are no health checks.
pub(super) fn checks_of(checks: &[Path], library: &TokenStream) -> TokenStream {
    let each = checks.iter().map(|check| {
        let listed = listed(check, library);
        let message =
            format!("`{}` is not a health check: `#[gracehttp::health]` is missing on it", shown(check));
        let refusal = refusal(check, &message);
        quote!(const _: () = if !#listed.is_health_check() { #refusal };)
    });
    each.collect()
}
