//! Each attribute in three steps: parse, validate, generate. Faults of all steps stand behind the expansion.

use proc_macro2::{Span, TokenStream};
use quote::quote;

use crate::errors::Errors;
use crate::{generate, parse, validate};

/// `#[server(…)]`.
pub(crate) fn server(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = parse::server(arguments, item, &mut errors);
    if let Some((module, conditional)) = parsed.conditional() {
        let library = generate::library(parsed.arguments.library.as_ref());
        let arguments = &parsed.written;
        return generate::conditional(module, &conditional, &quote!(#[#library::server(#arguments)]));
    }
    let checked = validate::server(parsed, &mut errors);
    let expanded = generate::server(&checked);
    quote!(#expanded #errors)
}

/// `#[routes(…)]`.
pub(crate) fn routes(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = parse::routes(arguments, item, &mut errors);
    if let Some((module, conditional)) = parsed.conditional() {
        let library = generate::library(parsed.arguments.library.as_ref());
        let arguments = &parsed.written;
        return generate::conditional(module, &conditional, &quote!(#[#library::routes(#arguments)]));
    }
    let checked = validate::routes(parsed, &mut errors);
    let expanded = generate::routes(&checked);
    quote!(#expanded #errors)
}

/// `#[gracehttp::health]`.
pub(crate) fn health(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = parse::health(arguments, item, &mut errors);
    let checked = validate::health(parsed, &mut errors);
    let expanded = generate::health(&checked);
    quote!(#expanded #errors)
}

/// `#[gracehttp::main(…)]`.
pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = parse::main(arguments, item, &mut errors);
    let checked = validate::main(parsed, &mut errors);
    let expanded = generate::main(&checked);
    quote!(#expanded #errors)
}

/// `#[get("/path")]` and the like where no module takes them up: they say where they belong.
pub(crate) fn route_alone(attribute: &str, item: &TokenStream) -> TokenStream {
    let example = match attribute {
        "fallback" => "#[fallback]".to_owned(),
        "route" => "#[route(GET, \"/path\")]".to_owned(),
        method => format!("#[{method}(\"/path\")]"),
    };
    let message = format!(
        "`#[{attribute}]` stands outside of a module of routes\n\
         help: it belongs on a function in a module with `#[server(…)]`, or with `#[gracehttp::routes]` in \
         another file: `#[server(port = 8080)] mod api {{ {example} async fn … }}`"
    );
    let fault = syn::Error::new(Span::call_site(), message).to_compile_error();
    quote!(#item #fault)
}
