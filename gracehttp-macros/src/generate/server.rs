//! What `#[server]` expands to.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Ident, Type, parse_quote};

use super::builder::{builder, listens};
use super::calls::calls;
use super::tokens::{generated, library, module_with, placed_at};
use super::{bounds, routes};
use crate::validate::{Checked, FunctionServer, Handler, Role, Server, ServerItem, Shell};

pub(crate) fn server(item: &Checked<ServerItem>) -> TokenStream {
    match &**item {
        ServerItem::Function { server, function } => of_function(server, function),
        ServerItem::Routes { server, routes } => routes::server(server, routes),
        ServerItem::Unusable { server, module } => stand_in(server, module),
        ServerItem::Other(item) => item.clone(),
    }
}

/// A type of the function's name, which becomes a server in an application of the right state.
///
/// Types and functions have separate names: `ping` is both, `use my::ping` imports both, and `ping::server()`
/// reads as it does for a module of routes. Only `server()` makes a value of the type, so rustc still warns about
/// a function that no application lists. The state is a parameter of the trait, and not of the function, because
/// rustc then knows it before it looks at the bounds, and does not guess it from them.
fn of_function(server: &Server, function: &FunctionServer) -> TokenStream {
    let library = library(server.library.as_ref());
    let FunctionServer { item, vis, role } = function;
    let builder = builder(server, &library);
    let Declaration { marker, mut bounds, built } = match role {
        Role::Handler(handler) => Declaration::of_handler(handler, &builder, &library),
        Role::Factory { state, output } => {
            Declaration::of_factory(&server.item, state.as_deref(), output, &builder, &library)
        }
        Role::Unusable => Declaration::unusable(),
    };
    bounds.extend(server.state.as_ref().map(|state| bounds::of_provided(state, &library)));

    let layer = calls(&server.layer, &library);
    let name = generated(&server.item);
    let marker_type = marker.as_ref().map_or_else(|| quote!(()), ToTokens::to_token_stream);
    let listens = listens(server, vis, &library);
    quote! {
        #item

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
                #built #layer
            }
        }
    }
}

/// What differs between the roles of functions.
struct Declaration {
    /// Distinguishes a last argument that takes the body from one that does not; inferred.
    marker: Option<Ident>,
    bounds: Vec<TokenStream>,
    built: TokenStream,
}

impl Declaration {
    /// An async function of extractors.
    fn of_handler(handler: &Handler, builder: &TokenStream, library: &TokenStream) -> Self {
        let Handler { ident, arguments } = handler;
        let Some((last, parts)) = arguments.split_last() else {
            let finish = placed_at(ident, quote!(.handler::<_, ((),), _>(#ident)));
            return Self { marker: None, bounds: vec![], built: quote!(#builder #finish) };
        };
        let marker = Ident::new("__M", Span::call_site());
        let mut bounds = vec![quote!(#marker: 'static)];
        bounds.extend(bounds::of_arguments(last, parts, &marker, library));
        let types = arguments.iter().map(|argument| &argument.ty);
        let finish = placed_at(ident, quote!(.handler::<_, (#marker, #(#types,)*), _>(#ident)));
        Self { marker: Some(marker), bounds, built: quote!(#builder #finish) }
    }

    /// A function that returns a service, made of the state or without it.
    fn of_factory(
        ident: &Ident,
        state: Option<&Type>,
        output: &Type,
        builder: &TokenStream,
        library: &TokenStream,
    ) -> Self {
        let (bounds, factory) = match state {
            None => (vec![], quote!(|_: &__S| #ident())),
            Some(state) => (
                vec![bounds::of_provided(state, library)],
                quote!(|state: &__S| #ident(#library::FromRef::from_ref(state))),
            ),
        };
        // If the output is no service, rustc says so at the output.
        let built = placed_at(output, quote!(#library::__private::factory(#builder, #factory)));
        Self { marker: None, bounds, built }
    }

    /// A function that has an error already.
    fn unusable() -> Self {
        Self { marker: None, bounds: vec![], built: quote!(::core::unreachable!()) }
    }
}

/// A server in place of a module whose routes can't be served, so that its uses are not errors too.
fn stand_in(server: &Server, module: &Shell) -> TokenStream {
    let library = library(server.library.as_ref());
    let name = generated(&module.ident);
    let listens = listens(server, &parse_quote!(pub), &library);
    let declared = module_with(
        module,
        &quote! {
            #[doc(hidden)]
            pub struct WithAttributeRoutes {}

            #[doc(hidden)]
            pub const fn server() -> WithAttributeRoutes {
                WithAttributeRoutes {}
            }
        },
    );
    quote! {
        #declared

        #[doc(hidden)]
        impl #name::WithAttributeRoutes {
            #listens
        }

        impl<__S> #library::IntoServer<__S, ()> for #name::WithAttributeRoutes {
            fn into_server(self) -> #library::Server<__S> {
                ::core::unreachable!()
            }
        }
    }
}
