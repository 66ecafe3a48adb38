//! What a module of routes expands to.
//!
//! The module's own routes are generated within it, because its handlers are in reach there. What its attribute
//! adds to them is generated beside it, because the paths in the attribute are relative to that place.

mod checks;
mod part;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{Ident, LitStr, Path, parse_quote};

use super::bounds;
use super::builder::{builder, listens};
use super::calls::calls;

use super::tokens::{generated, library, module_with, placed_at};
use crate::validate::{Answer, Checked, Handler, Routes, RoutesItem, Server, Setting};
use part::Part;

pub(crate) fn routes(item: &Checked<RoutesItem>) -> TokenStream {
    match &**item {
        RoutesItem::Routes { routes, layer, library } => part(routes, layer.as_ref(), library.as_ref()),
        RoutesItem::Unusable(module) => module_with(module, &TokenStream::new()),
        RoutesItem::Other(item) => item.clone(),
    }
}

/// `#[routes] mod …`.
fn part(routes: &Routes, layer: Option<&Setting>, renamed: Option<&Path>) -> TokenStream {
    let library = library(renamed);
    let (alias, inner) = library_within(&routes.module.ident, renamed);
    let module = module_with(&routes.module, &own_routes(routes, &inner));
    let all = all_routes(routes, &quote!(Part), layer, &library);
    quote!(#alias #module #all)
}

/// `#[server] mod …`.
pub(super) fn server(server: &Server, routes: &Routes) -> TokenStream {
    let renamed = server.library.as_ref();
    let library = library(renamed);
    let (alias, inner) = library_within(&routes.module.ident, renamed);
    let own = own_routes(routes, &inner);
    let module = module_with(
        &routes.module,
        &quote! {
            #own

            #[doc(hidden)]
            pub const fn server() -> WithAttributeRoutes {
                WithAttributeRoutes {}
            }
        },
    );
    let all = all_routes(routes, &quote!(Server), None, &library);
    let name = generated(&routes.module.ident);
    let state = server.state.as_ref().map(|state| bounds::of_provided(state, &library));
    let builder = builder(server, &library);
    let listens = listens(server, &parse_quote!(pub), &library);
    let layer = calls(&server.layer, &library);
    quote! {
        #alias
        #module

        #all

        #[doc(hidden)]
        impl #name::WithAttributeRoutes {
            #listens
        }

        impl<__S, __M> #library::IntoServer<__S, __M> for #name::WithAttributeRoutes
        where
            __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
            Self: #library::__private::routes::Routes<__S, __M>,
            #state
        {
            fn into_server(self) -> #library::Server<__S> {
                #library::__private::routes::serve(#builder, self, &Self::TABLE) #layer
            }
        }
    }
}

/// The path of the library within a module. A relative path means something else there, so it gets an alias beside
/// the module.
fn library_within(module: &Ident, renamed: Option<&Path>) -> (Option<TokenStream>, TokenStream) {
    let Some(path) = renamed else { return (None, library(None)) };
    if path.leading_colon.is_some() || path.segments.first().is_some_and(|first| first.ident == "crate") {
        return (None, library(renamed));
    }
    let alias = format_ident!("__gracehttp_of_{}", module.unraw());
    (Some(quote!(#[doc(hidden)] use #path as #alias;)), quote!(super::#alias))
}

/// The type that stands for the module, and the routes of its functions and of the modules within.
fn own_routes(routes: &Routes, library: &TokenStream) -> TokenStream {
    let mut markers = Markers::default();
    let mut bounds: Vec<TokenStream> = Vec::new();
    let mut calls = Vec::new();
    for answer in &routes.answers {
        let marker = markers.of_handler(&answer.handler, &mut bounds, library);
        calls.push(call_of_route(answer, &marker, library));
    }
    if let Some(fallback) = &routes.fallback {
        let marker = markers.of_handler(fallback, &mut bounds, library);
        let service = service_of(fallback, &marker, library);
        calls.push(quote!(.fallback_service(#service)));
    }
    let modules: Vec<Part> = routes.within.iter().map(Part::within).collect();
    for module in &modules {
        let marker = markers.next();
        bounds.push(bound_of_module(module, &marker, library));
        calls.push(merged(module, &marker, library));
    }

    let rows = routes.answers.iter().map(|Answer { route, handler }| {
        let (method_name, path, handler) = (&route.method_name, &route.path.literal, name_of(handler));
        quote!((#method_name, #path, #handler))
    });
    let fallback = match routes.fallback.as_ref().map(name_of) {
        Some(handler) => quote!(::core::option::Option::Some(#handler)),
        None => quote!(::core::option::Option::None),
    };
    let table = quote!(#library::__private::routes::Table);
    let apart = checks::all_apart(routes, &modules);
    let types = modules.iter().map(|module| &module.ty);
    let markers = &markers.all;
    quote! {
        #[doc(hidden)]
        pub struct WithAttributeRoutes {}

        #[doc(hidden)]
        impl WithAttributeRoutes {
            pub const OWN: #table = #table {
                module: ::core::module_path!(),
                routes: &[#(#rows),*],
                fallback: #fallback,
                included: &[#(&#types::TABLE),*],
                ..#table::EMPTY
            };
        }

        impl<__S, #(#markers),*> #library::__private::routes::OwnRoutes<__S, (#(#markers,)*)> for WithAttributeRoutes
        where
            __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#markers: 'static,)*
            #(#bounds,)*
        {
            #[allow(unused_variables)]
            fn own_routes(
                self,
                prefix: &str,
                state: &::std::sync::Arc<__S>,
            ) -> #library::__private::routes::Router {
                #library::__private::routes::Router::new() #(#calls)*
            }
        }

        #apart
    }
}

/// The module's own routes with what its attribute adds: a prefix, routes from elsewhere, a layer.
fn all_routes(
    routes: &Routes,
    kind: &TokenStream,
    layer: Option<&Setting>,
    library: &TokenStream,
) -> TokenStream {
    let name = &generated(&routes.module.ident);
    let layer = calls(layer, library);
    let included: Vec<Part> = routes
        .included
        .iter()
        .enumerate()
        .map(|(index, path)| Part::elsewhere(path, name, index, library))
        .collect();
    let mut markers = Markers::default();
    let own = markers.next();
    let mut bounds = Vec::new();
    let mut calls = Vec::new();
    for module in &included {
        let marker = markers.next();
        bounds.push(bound_of_module(module, &marker, library));
        calls.push(merged(module, &marker, library));
    }
    let prefix = match &routes.prefix {
        Some(prefix) => prefix.literal.clone(),
        None => LitStr::new("", Span::call_site()),
    };
    let table = quote!(#library::__private::routes::Table);
    let apart = checks::all_apart(routes, &included);
    let apart_from_inner = checks::inner_apart(routes, &included);
    let parameters = checks::parameters_once(routes, &included);
    let declarations = included.iter().map(|module| &module.declaration);
    let types = included.iter().map(|module| &module.ty);
    let markers = &markers.all;
    quote! {
        #(#declarations)*

        #[doc(hidden)]
        impl #name::WithAttributeRoutes {
            pub const TABLE: #table = #table {
                kind: #library::__private::routes::Kind::#kind,
                prefix: #prefix,
                included: &[&#name::WithAttributeRoutes::OWN, #(&#types::TABLE),*],
                ..#table::EMPTY
            };
        }

        impl<__S, #(#markers),*> #library::__private::routes::Routes<__S, (#(#markers,)*)> for #name::WithAttributeRoutes
        where
            __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
            Self: #library::__private::routes::OwnRoutes<__S, #own>,
            #(#bounds,)*
        {
            fn router(
                self,
                outer: &str,
                state: &::std::sync::Arc<__S>,
            ) -> #library::__private::routes::Router {
                let prefix = &#library::__private::routes::join(outer, #prefix);
                #library::__private::routes::OwnRoutes::own_routes(self, prefix, state) #(#calls)* #layer
            }
        }

        #apart
        #apart_from_inner
        #parameters
    }
}

/// The markers of extractors that may take the body: inferred, one for each type.
#[derive(Default)]
struct Markers {
    all: Vec<Ident>,
    known: Vec<(String, Ident)>,
}

impl Markers {
    fn next(&mut self) -> Ident {
        let marker = format_ident!("__M{}", self.all.len());
        self.all.push(marker.clone());
        marker
    }

    /// The marker by which axum distinguishes handlers. The bounds on the handler's arguments join the others, each
    /// once.
    fn of_handler(
        &mut self,
        handler: &Handler,
        bounds: &mut Vec<TokenStream>,
        library: &TokenStream,
    ) -> TokenStream {
        let Some((last, parts)) = handler.arguments.split_last() else { return quote!(((),)) };
        let text = last.ty.to_token_stream().to_string();
        let known = self.known.iter().find(|(known, _)| *known == text).map(|(_, marker)| marker.clone());
        let marker = known.unwrap_or_else(|| {
            let marker = self.next();
            self.known.push((text, marker.clone()));
            marker
        });
        for bound in bounds::of_arguments(last, parts, &marker, library) {
            if !bounds.iter().any(|known| known.to_string() == bound.to_string()) {
                bounds.push(bound);
            }
        }
        let types = handler.arguments.iter().map(|argument| &argument.ty);
        quote!((#marker, #(#types,)*))
    }
}

fn call_of_route(answer: &Answer, marker: &TokenStream, library: &TokenStream) -> TokenStream {
    let Answer { route, handler } = answer;
    let path = &route.path.literal;
    let method = format_ident!("{}_service", route.method);
    let service = service_of(handler, marker, library);
    let layer = calls(&route.layer, library);
    quote! {
        .route(
            &#library::__private::routes::join(prefix, #path),
            #library::__private::routes::routing::#method(#service) #layer,
        )
    }
}

fn service_of(handler: &Handler, marker: &TokenStream, library: &TokenStream) -> TokenStream {
    let ident = &handler.ident;
    placed_at(ident, quote!(#library::__private::routes::handler::<_, #marker, _>(#ident, state)))
}

/// The name of a handler, for messages.
fn name_of(handler: &Handler) -> String {
    handler.ident.unraw().to_string()
}

fn bound_of_module(module: &Part, marker: &Ident, library: &TokenStream) -> TokenStream {
    let ty = &module.ty;
    quote!(#ty: #library::__private::routes::Routes<__S, #marker>)
}

fn merged(module: &Part, marker: &Ident, library: &TokenStream) -> TokenStream {
    let ty = &module.ty;
    quote!(.merge(#library::__private::routes::Routes::<__S, #marker>::router(#ty {}, prefix, state)))
}
