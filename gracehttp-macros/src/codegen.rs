//! What the attributes expand to: calls that could be written by hand, beside the item as it came.

mod routes;

use std::time::Duration;

use proc_macro2::{Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Ident, LitStr, Path, ReturnType, Type, Visibility};

use crate::args::BuilderCall;
use crate::function::{Function, first_argument, last_segment};
use crate::main_attr::{MainArgs, Signals};
use crate::server_attr::{Role, ServerArgs, Tls};
use crate::values::Endpoint;

pub(crate) use routes::{routes, server_of_routes, server_without_routes};

/// A type of the function's name, which becomes a server in an application of the right state.
///
/// Types and functions have names of their own: `ping` is both, `use my::ping` imports both, and
/// `ping::server()` reads as it does for a module of routes. Nothing but `server()` makes a value of the type,
/// so rustc still tells which function no application lists. The state is a parameter of the trait, and not of
/// the function, because it is known before the bounds are looked at: rustc would else guess it from them.
pub(crate) fn server(
    args: &ServerArgs,
    calls: &[BuilderCall],
    function: &Function,
    role: &Role,
) -> TokenStream {
    let library = library(args.library.as_ref());
    let builder = builder(args, calls, &function.sig.ident, &library);
    let Declaration { marker, mut bounds, server } = match role {
        Role::Handler => handler(function, &builder, &library),
        Role::Factory => factory(function, &builder, &library),
        Role::Unusable => unusable(),
    };
    bounds.extend(args.state.as_ref().map(|state| bound_of_provided(state, &library)));

    let layer = &args.layer;
    let vis = &function.vis;
    let name = generated(&function.sig.ident);
    let marker_type = marker.as_ref().map_or_else(|| quote!(()), ToTokens::to_token_stream);
    let listens = listens(args, &function.sig.ident, vis, &library);
    quote! {
        #[doc(hidden)]
        #vis struct #name {}

        #[doc(hidden)]
        impl #name {
            #vis const fn server() -> Self {
                Self {}
            }
            #listens
        }

        impl<__S, #marker> #library::IntoServer<__S, #marker_type> for #name
        where
            __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#bounds,)*
        {
            fn into_server(self) -> #library::Server<__S> {
                #server #layer
            }
        }
    }
}

/// What differs between the kinds of servers.
struct Declaration {
    /// Tells a last argument that takes the body from one that does not; inferred.
    marker: Option<Ident>,
    bounds: Vec<TokenStream>,
    server: TokenStream,
}

/// An async function of extractors.
fn handler(function: &Function, builder: &TokenStream, library: &TokenStream) -> Declaration {
    let ident = &function.sig.ident;
    let types: Vec<&Type> = function.arguments().collect();
    let Some((last, parts)) = types.split_last() else {
        let finish = placed_at(ident, quote!(.handler::<_, ((),), _>(#ident)));
        return Declaration { marker: None, bounds: vec![], server: quote!(#builder #finish) };
    };
    let marker = Ident::new("__M", Span::call_site());
    let mut bounds = vec![quote!(#marker: 'static)];
    bounds.extend(bounds_of_arguments(last, parts, &marker, library));
    let finish = placed_at(ident, quote!(.handler::<_, (#marker, #(#types,)*), _>(#ident)));
    Declaration { marker: Some(marker), bounds, server: quote!(#builder #finish) }
}

/// A function that returns a service, made of the state or without it.
fn factory(function: &Function, builder: &TokenStream, library: &TokenStream) -> Declaration {
    let ident = &function.sig.ident;
    let (bounds, factory) = match function.arguments().next() {
        None => (vec![], quote!(|_: &__S| #ident())),
        Some(state) => (
            vec![bound_of_provided(state, library)],
            quote!(|state: &__S| #ident(#library::FromRef::from_ref(state))),
        ),
    };
    let server = quote!(#library::__private::factory(#builder, #factory));
    // What is no service is so by the function's output.
    let server = match &function.sig.output {
        ReturnType::Default => server,
        ReturnType::Type(_, output) => placed_at(output, server),
    };
    Declaration { marker: None, bounds, server }
}

/// What a server is named and where it listens, for the compiler to compare with the others of an application.
fn listens(args: &ServerArgs, item: &Ident, vis: &Visibility, library: &TokenStream) -> TokenStream {
    let (name, item) = (server_name(args, item), item.to_string());
    let endpoints = args.endpoints().map(|endpoint| match endpoint {
        Endpoint::Tcp { host, port } => {
            let (host, port) = (host.as_deref().unwrap_or_default(), number((*port).into()));
            quote!((#host, #port))
        }
        Endpoint::Unix(path) => {
            let path = format!("unix:{path}");
            quote!((#path, 0))
        }
    });
    quote! {
        #vis const fn listens(&self) -> #library::__private::Listens {
            #library::__private::Listens::Server {
                item: ::core::concat!(::core::module_path!(), "::", #item),
                name: #name,
                at: &[#(#endpoints),*],
            }
        }
    }
}

/// Something that the errors have been told about already.
fn unusable() -> Declaration {
    Declaration { marker: None, bounds: vec![], server: quote!(::core::unreachable!()) }
}

fn builder(args: &ServerArgs, calls: &[BuilderCall], item: &Ident, library: &TokenStream) -> TokenStream {
    let name = server_name(args, item);
    let tls = args.tls.as_ref().map(|(method, tls)| {
        let argument = match tls {
            Tls::Files { cert, key } => placed_at(method, quote!(#library::Tls::files(#cert, #key))),
            Tls::SelfSigned(function) => quote!(#library::Tls::#function()),
        };
        BuilderCall { method: method.clone(), argument }
    });
    let when_full = args.when_full.as_ref().map(|(method, choice)| {
        let choice = variant(choice);
        BuilderCall { method: method.clone(), argument: quote!(#library::WhenFull::#choice) }
    });
    quote!(#library::Server::builder(#name) #(#calls)* #when_full #tls)
}

fn server_name(args: &ServerArgs, item: &Ident) -> LitStr {
    let own_name = || LitStr::new(&item.unraw().to_string(), Span::call_site());
    args.name.clone().unwrap_or_else(own_name)
}

/// The arguments of a handler, of which only the last may take the body.
fn bounds_of_arguments(
    last: &Type,
    parts: &[&Type],
    marker: &Ident,
    library: &TokenStream,
) -> Vec<TokenStream> {
    let part = quote!(#library::__private::Argument<__S>);
    let whole = quote!(#library::__private::LastArgument<__S, #marker>);
    let parts = parts.iter().flat_map(|ty| bounds_of_argument(ty, &part, library));
    parts.chain(bounds_of_argument(last, &whole, library)).collect()
}

/// For `State<T>` the bound on `T` comes first: what it has to say when main does not provide `T` is easier to
/// understand than what is to be said about the extractor.
fn bounds_of_argument(ty: &Type, argument: &TokenStream, library: &TokenStream) -> Vec<TokenStream> {
    let argument = placed_at(ty, argument.clone());
    let provided = state_of(ty).map(|state| bound_of_provided(state, library));
    provided.into_iter().chain([quote!(#ty: #argument)]).collect()
}

fn bound_of_provided(state: &Type, library: &TokenStream) -> TokenStream {
    let provided = placed_at(state, quote!(#library::__private::ProvidedBy<__S>));
    quote!(#state: #provided)
}

/// The `T` of `State<T>`.
fn state_of(ty: &Type) -> Option<&Type> {
    last_segment(ty).filter(|segment| segment.ident == "State")?;
    first_argument(ty)
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
    let start_up = match function.sig.inputs.first() {
        None => quote!(#library::__private::start_up(#ident)),
        Some(settings) => placed_at(settings, quote!(#library::__private::start_up_with_settings(#ident))),
    };
    let start_up = quote!(#start_up.app());
    let start_up = match &function.sig.output {
        ReturnType::Default => start_up,
        ReturnType::Type(_, output) => placed_at(output, start_up),
    };
    let servers = args.servers.iter().map(|server| {
        let listed = listed(server, &library);
        quote_spanned!(place_of(server)=> .serve(#listed))
    });
    let checks = checks_of(&args.servers, &library);
    let signals = [&args.restart_on, &args.stop_on].into_iter().flatten().map(|Signals { key, signals }| {
        let variants = signals.iter().map(variant);
        quote!(.#key([#(#library::Signal::#variants),*]))
    });
    quote! {
        fn #ident() -> ::std::process::ExitCode {
            #item

            #[allow(unused_imports)]
            use #library::__private::Infallible as _;
            #checks
            #start_up #(#servers)* #(#calls)* #(#signals)* .run()
        }
    }
}

/// An entry of the list of servers. It is imported under a fixed name, so that whatever has no `#[server]` can
/// be told from what does not exist: see `undeclared` in the library.
fn listed(server: &Path, library: &TokenStream) -> TokenStream {
    let place = place_of(server);
    // Of a name that is imported by itself rustc would think that it is a crate's.
    let here = server.get_ident().map(|_| quote_spanned!(place=> self::));
    quote_spanned! {place=> {
        #[allow(unused_imports)]
        use #here #server as with_attribute_server;
        #[allow(unused_imports)]
        use #library::__private::undeclared::*;
        with_attribute_server::server()
    }}
}

/// Lets the compiler look for entries that are no servers, or one, and for servers that want the same name or
/// the same endpoint.
fn checks_of(servers: &[Path], library: &TokenStream) -> TokenStream {
    let all = servers.iter().map(|server| listed(server, library));
    let checks = servers.iter().enumerate().map(|(index, server)| {
        let name = shown(server);
        let refusal = |message: String| placed_at(server, quote!(::core::panic!("{}", #message)));
        let undeclared = refusal(format!("`{name}` is not a server: `#[server(port = …)]` is missing on it"));
        let rivals = servers[..index].iter().enumerate().flat_map(|(earlier, other)| {
            let other = shown(other);
            let rename = "give one of them another, `name = \"…\"`";
            let rivalries = [
                ("is_same_item", format!("`{name}` is listed already, as `{other}`")),
                ("is_namesake", format!("`{other}` and `{name}` are two servers of one name: {rename}")),
                (
                    "shares_variables",
                    format!("the names of `{other}` and `{name}` mean the same variables: {rename}"),
                ),
            ];
            let rivalries = rivalries.map(|(rivalry, message)| {
                let (rivalry, refusal) = (format_ident!("{rivalry}"), refusal(message));
                quote!(else if __SERVERS[#index].#rivalry(__SERVERS[#earlier]) { #refusal })
            });
            // Only the compiler knows where the servers listen.
            let clash =
                quote!(#library::__private::Clash::of(#other, __SERVERS[#earlier], #name, __SERVERS[#index]));
            let refusal = placed_at(server, quote!(::core::panic!("{}", #clash.text())));
            let clash = quote!(else if __SERVERS[#index].clash(__SERVERS[#earlier]) { #refusal });
            rivalries.into_iter().chain([clash])
        });
        quote!(const _: () = if __SERVERS[#index].is_undeclared() { #undeclared } #(#rivals)*;)
    });
    let count = servers.len();
    quote! {
        const __SERVERS: [#library::__private::Listens; #count] = [#(#all.listens()),*];
        #(#checks)*
    }
}

/// A path as the user wrote it.
fn shown(path: &Path) -> String {
    path.to_token_stream().to_string().replace(' ', "")
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

/// `Hup` of `HUP`, and `Wait` of `wait`, where the user wrote it.
fn variant(word: &Ident) -> Ident {
    let name = word.to_string();
    let (initial, rest) = name.split_at(1);
    Ident::new(&format!("{}{}", initial.to_uppercase(), rest.to_lowercase()), word.span())
}

pub(crate) fn library(renamed: Option<&Path>) -> TokenStream {
    renamed.map_or_else(|| quote!(::gracehttp), ToTokens::to_token_stream)
}

/// The user's name at the user's place, marked as generated: rustc's lints pass it by.
fn generated(ident: &Ident) -> Ident {
    let mut generated = ident.clone();
    generated.set_span(Span::call_site().located_at(ident.span()));
    generated
}

/// Where a path begins to differ from its neighbours: at its last name.
fn place_of(path: &Path) -> Span {
    path.segments.last().map_or_else(Span::call_site, |segment| segment.ident.span())
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
