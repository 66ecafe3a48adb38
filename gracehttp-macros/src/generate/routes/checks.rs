//! What the compiler is asked about modules that are parts of each other: constants that it can't evaluate, each
//! at the user's token that is to blame.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Path;

use super::Part;
use crate::generate::tokens::{generated, placed_at, shown};
use crate::validate::{Answer, Routes};

/// Lets the compiler look for routes that several modules have: at the route, or at the later module.
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

/// The same for the modules within and those from elsewhere, which only the annotated one is in reach of.
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

/// Whether an entry of `routes(…)` is a module of routes, and a part.
pub(super) fn listed(module: &Path, ty: &TokenStream, library: &TokenStream) -> TokenStream {
    let kind = quote!(#library::__private::routes::Kind);
    let shown = shown(module);
    let example = match module.segments.last() {
        Some(last) if last.ident != "routes" => format!(", such as `{shown}::routes`"),
        _ => String::new(),
    };
    let undeclared =
        format!("`{shown}` is not a module of routes: list one that has `#[gracehttp::routes]`{example}");
    let server = format!(
        "`{shown}` is a server, and no part of one: list it in `servers(…)`, or give it `#[gracehttp::routes]` \
         instead of `#[server]`"
    );
    let (undeclared, server) = (refusal(module, &undeclared), refusal(module, &server));
    quote! {
        match #ty::TABLE.kind {
            #kind::Part => {}
            #kind::Server => #server,
            #kind::Undeclared => #undeclared,
        }
    }
}

/// Whether a parameter of the module's prefix is in no path behind it. Of the module's own the macro knows.
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

fn refusal(user: &impl ToTokens, message: &str) -> TokenStream {
    placed_at(user, quote!(::core::panic!("{}", #message)))
}

/// Each by itself, so that one does not hide the others.
fn all(checks: impl Iterator<Item = TokenStream>) -> TokenStream {
    checks.map(|check| quote!(const _: () = #check;)).collect()
}
