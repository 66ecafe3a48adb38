//! Checks of modules that are parts of each other. Only the compiler sees all of them, so each check is a constant
//! that panics, at the user's token that is to blame.

use proc_macro2::TokenStream;
use quote::quote;

use super::part::Part;
use crate::generate::tokens::{generated, refusal, shown};
use crate::validate::{Answer, Routes};

/// Checks that no route is in two modules. The message is at the module's own route, or at the later module.
pub(super) fn all_apart(routes: &Routes, modules: &[Part]) -> TokenStream {
    let rivals = modules.iter().flat_map(|Part { path: module, ty, .. }| {
        routes.answers.iter().map(move |Answer { route, .. }| {
            let (method_name, literal) = (&route.method_name, &route.path.literal);
            let message = format!("`{}` has a route for `{}` too", shown(module), literal.value());
            let refusal = refusal(literal, &message);
            quote!(if #ty::TABLE.rivals(#method_name, #literal) { #refusal })
        })
    });
    let pairs = modules.iter().enumerate().flat_map(|(index, later)| {
        modules[..index].iter().map(move |earlier| {
            let message =
                format!("`{}` and `{}` have a route in common", shown(&earlier.path), shown(&later.path));
            let refusal = refusal(&later.path, &message);
            let (earlier, later) = (&earlier.ty, &later.ty);
            quote!(if #earlier::TABLE.overlaps(&#later::TABLE) { #refusal })
        })
    });
    all(rivals.chain(pairs))
}

/// The same check between the modules within this one and those from elsewhere.
pub(super) fn inner_apart(routes: &Routes, included: &[Part]) -> TokenStream {
    let ident = &routes.module.ident;
    let name = generated(ident);
    let within = !routes.within.is_empty();
    let checks = included.iter().filter(|_| within).map(|Part { path: module, ty, .. }| {
        let message = format!("a module within `{ident}` and `{}` have a route in common", shown(module));
        let refusal = refusal(module, &message);
        quote!(if #name::WithAttributeRoutes::OWN.overlaps(&#ty::TABLE) { #refusal })
    });
    all(checks)
}

/// Checks that no path of another module repeats a parameter of this module's prefix. Validation has checked this
/// module's own paths.
pub(super) fn parameters_once(routes: &Routes, included: &[Part]) -> TokenStream {
    let Some(prefix) = &routes.prefix else { return TokenStream::new() };
    let ident = &routes.module.ident;
    let name = generated(ident);
    let text = prefix.literal.value();
    let mut checks = Vec::new();
    for parameter in &prefix.parameters {
        let message = |module: &str| {
            format!("{module} has the parameter `{{{parameter}}}`, and so has the prefix `{text}` before it")
        };
        if !routes.within.is_empty() {
            let refusal = refusal(&prefix.literal, &message(&format!("a module within `{ident}`")));
            checks.push(quote!(if #name::WithAttributeRoutes::OWN.has_parameter(#parameter) { #refusal }));
        }
        for Part { path: module, ty, .. } in included {
            let refusal = refusal(module, &message(&format!("`{}`", shown(module))));
            checks.push(quote!(if #ty::TABLE.has_parameter(#parameter) { #refusal }));
        }
    }
    all(checks.into_iter())
}

/// Emits each check separately, so that one fault does not hide the others.
fn all(checks: impl Iterator<Item = TokenStream>) -> TokenStream {
    checks.map(|check| quote!(const _: () = #check;)).collect()
}
