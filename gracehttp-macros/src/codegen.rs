//! What the attributes expand to: calls that could be written by hand, beside the item as it came.

use std::time::Duration;

use proc_macro2::{Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{GenericArgument, Ident, LitStr, Path, PathArguments, ReturnType, Type};

use crate::args::BuilderCall;
use crate::function::{Function, impl_trait, last_segment};
use crate::main_attr::{MainArgs, Signals};
use crate::server_attr::{Role, ServerArgs, Tls};

/// A type of the function's name, with `server()` in it.
///
/// Types and functions have names of their own: `ping` is both, `use my::ping` imports both, and
/// `ping::server()` reads as it will for a module of routes. Only a call of `server()` keeps the function
/// alive, so that rustc still tells which one no application lists.
pub(crate) fn server(
    args: &ServerArgs,
    calls: &[BuilderCall],
    function: &Function,
    role: &Role,
) -> TokenStream {
    let library = library(args.library.as_ref());
    let vis = &function.vis;
    let name = generated(&function.sig.ident);
    let server = match role {
        Role::Handler => handler(args, calls, function, &library),
        Role::Factory => factory(args, calls, function, &library),
        Role::Unusable => quote! {
            server<__S>() -> #library::Server<__S> {
                ::core::unreachable!()
            }
        },
    };
    quote! {
        #[doc(hidden)]
        #vis enum #name {}

        #[doc(hidden)]
        impl #name {
            #vis fn #server
        }
    }
}

/// `server()` of an async function of extractors.
///
/// It is generic in the state and in `__M`, which tells a last argument that takes the body from one that
/// does not. Both are inferred where the server is listed.
fn handler(
    args: &ServerArgs,
    calls: &[BuilderCall],
    function: &Function,
    library: &TokenStream,
) -> TokenStream {
    let types: Vec<&Type> = function.arguments().collect();
    let mut bounds = bounds_of_state(args, library);
    let (generics, marker) = match types.split_last() {
        None => (quote!(<__S>), quote!(((),))),
        Some((last, parts)) => {
            let part = quote!(#library::__private::FromRequestParts<__S>);
            let whole = quote!(#library::__private::FromRequest<__S, __M>);
            for ty in parts {
                bounds.extend(bounds_of_extractor(ty, &part, library));
            }
            bounds.extend(bounds_of_extractor(last, &whole, library));
            bounds.push(quote!(__M: 'static));
            (quote!(<__S, __M>), quote!((__M, #(#types,)*)))
        }
    };
    bounds.extend(bound_of_output(function, quote!(#library::__private::IntoResponse)));

    let builder = builder(args, calls, function, library);
    let ident = &function.sig.ident;
    quote! {
        #[allow(trivial_bounds)]
        server #generics() -> #library::Server<__S>
        where
            #(#bounds,)*
        {
            #builder.handler::<_, #marker, _>(#ident)
        }
    }
}

/// `server()` of a function that returns a service.
fn factory(
    args: &ServerArgs,
    calls: &[BuilderCall],
    function: &Function,
    library: &TokenStream,
) -> TokenStream {
    let ident = &function.sig.ident;
    let mut bounds = bounds_of_state(args, library);
    let factory = match function.arguments().next() {
        None => quote!(|_: &__S| #ident()),
        Some(state) => {
            bounds.push(bound_of_provided(state, library));
            quote!(|state: &__S| #ident(#library::__private::FromRef::from_ref(state)))
        }
    };
    bounds.extend(bound_of_output(function, quote!(#library::__private::ServerService)));

    let builder = builder(args, calls, function, library);
    quote! {
        server<__S>() -> #library::Server<__S>
        where
            #(#bounds,)*
        {
            #builder.factory(#factory)
        }
    }
}

fn builder(
    args: &ServerArgs,
    calls: &[BuilderCall],
    function: &Function,
    library: &TokenStream,
) -> TokenStream {
    let own_name = || LitStr::new(&function.sig.ident.unraw().to_string(), Span::call_site());
    let name = args.name.clone().unwrap_or_else(own_name);
    let tls = args.tls.as_ref().map(|(key, tls)| match tls {
        Tls::Files { cert, key: private } => quote!(.#key(#library::Tls::files(#cert, #private))),
        Tls::SelfSigned(function) => quote!(.#key(#library::Tls::#function())),
    });
    quote!(#library::Server::builder(#name) #(#calls)* #tls)
}

fn bounds_of_state(args: &ServerArgs, library: &TokenStream) -> Vec<TokenStream> {
    let mut bounds = vec![quote!(
        __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static
    )];
    bounds.extend(args.state.as_ref().map(|state| bound_of_provided(state, library)));
    bounds
}

/// An argument of a handler. For `State<T>` the bound on `T` comes first: what it has to say when main does
/// not provide `T` is easier to understand than what axum has to say about the extractor.
fn bounds_of_extractor(ty: &Type, extractor: &TokenStream, library: &TokenStream) -> Vec<TokenStream> {
    let extractor = placed_at(ty, quote!(#extractor + ::core::marker::Send + 'static));
    let provided = state_of(ty).map(|state| bound_of_provided(state, library));
    provided.into_iter().chain([quote!(#ty: #extractor)]).collect()
}

fn bound_of_provided(state: &Type, library: &TokenStream) -> TokenStream {
    let provided = placed_at(state, quote!(#library::__private::ProvidedBy<__S>));
    quote!(#state: #provided)
}

/// Has rustc judge the output where it is written, and not where the server is listed.
fn bound_of_output(function: &Function, bound: TokenStream) -> Option<TokenStream> {
    match &function.sig.output {
        ReturnType::Type(_, output)
            if impl_trait(output).is_none() && !matches!(**output, Type::Never(_)) =>
        {
            let bound = placed_at(output, bound);
            Some(quote!(#output: #bound))
        }
        _ => None,
    }
}

/// The `T` of `State<T>`.
fn state_of(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "State")?;
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            GenericArgument::Type(state) => Some(state),
            _ => None,
        },
        _ => None,
    }
}

/// A `main` with the user's inside, which makes the state.
pub(crate) fn main(
    args: &MainArgs,
    calls: &[BuilderCall],
    function: &Function,
    item: &TokenStream,
) -> TokenStream {
    let library = library(args.library.as_ref());
    let ident = generated(&function.sig.ident);
    let app = match &function.sig.output {
        ReturnType::Default => quote!(app),
        ReturnType::Type(_, output) => placed_at(output, quote!(app)),
    };
    let servers = args.servers.iter().map(|server| {
        let function = placed_at(server, quote!(::server));
        quote!(.serve(#server #function()))
    });
    let signals = [&args.restart_on, &args.stop_on].into_iter().flatten().map(|Signals { key, signals }| {
        let variants = signals.iter().map(variant);
        quote!(.#key([#(#library::Signal::#variants),*]))
    });
    quote! {
        fn #ident() -> ::std::process::ExitCode {
            #item

            // Used where the start-up code can't fail.
            #[allow(unused_imports)]
            use #library::__private::Infallible as _;
            #library::__private::StartUp::new(#ident).#app()
                #(#servers)*
                #(#calls)*
                #(#signals)*
                .run()
        }
    }
}

/// A `main` that only keeps the compiler from missing it, beside the errors about the user's.
pub(crate) fn unusable_main(item: &TokenStream) -> TokenStream {
    quote! {
        fn main() -> ::std::process::ExitCode {
            #item

            ::core::unreachable!()
        }
    }
}

impl ToTokens for BuilderCall {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { method, argument } = self;
        tokens.extend(quote!(.#method(#argument)));
    }
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

/// `Hup` of `HUP`, where the user wrote it.
fn variant(signal: &Ident) -> Ident {
    let name = signal.to_string();
    let (initial, rest) = name.split_at(1);
    Ident::new(&format!("{initial}{}", rest.to_lowercase()), signal.span())
}

fn library(renamed: Option<&Path>) -> TokenStream {
    renamed.map_or_else(|| quote!(::gracehttp), ToTokens::to_token_stream)
}

/// The user's name at the user's place, marked as generated: rustc's lints pass it by.
fn generated(ident: &Ident) -> Ident {
    let mut generated = ident.clone();
    generated.set_span(Span::call_site().located_at(ident.span()));
    generated
}

/// Puts generated tokens in the place of the user's, so that what rustc has to say about them points there,
/// from the first token to the last.
fn placed_at(user: &impl ToTokens, generated: TokenStream) -> TokenStream {
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
