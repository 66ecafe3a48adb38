//! What a module of routes expands to.
//!
//! Within the module, where its handlers are in reach, stand its own routes; beside it, where the paths in its
//! attribute mean what they say, all that the attribute adds to them.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{Ident, LitStr, Path, Type, parse_quote};

use super::{
    bound_of_provided, bounds_of_arguments, builder, generated, library, listens, place_of, placed_at, shown,
};
use crate::args::BuilderCall;
use crate::function::Function;
use crate::route_attr::Route;
use crate::routes_attr::Routes;
use crate::server_attr::ServerArgs;

/// `#[routes] mod …`.
pub(crate) fn routes(
    routes: &Routes<'_>,
    layer: Option<&BuilderCall>,
    renamed: Option<&Path>,
) -> TokenStream {
    let library = library(renamed);
    let (alias, inner) = library_within(&routes.module.ident, renamed);
    let module = routes.module.with(&own_routes(routes, &inner));
    let all = all_routes(routes, layer, &library);
    quote!(#alias #module #all)
}

/// `#[server] mod …`.
pub(crate) fn server_of_routes(args: &ServerArgs, calls: &[BuilderCall], routes: &Routes<'_>) -> TokenStream {
    let library = library(args.library.as_ref());
    let (alias, inner) = library_within(&routes.module.ident, args.library.as_ref());
    let own = own_routes(routes, &inner);
    let module = routes.module.with(&quote! {
        #own

        #[doc(hidden)]
        pub const fn server() -> WithAttributeRoutes {
            WithAttributeRoutes {}
        }
    });
    let all = all_routes(routes, None, &library);
    let name = generated(&routes.module.ident);
    let state = args.state.as_ref().map(|state| bound_of_provided(state, &library));
    let builder = builder(args, calls, &routes.module.ident, &library);
    let listens = listens(args, &routes.module.ident, &parse_quote!(pub), &library);
    let layer = &args.layer;
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

/// The library as the inside of a module reaches it: a path that is relative means something else there, and
/// gets a name beside the module.
fn library_within(module: &Ident, renamed: Option<&Path>) -> (Option<TokenStream>, TokenStream) {
    let Some(path) = renamed else { return (None, library(None)) };
    if path.leading_colon.is_some() || path.segments.first().is_some_and(|first| first.ident == "crate") {
        return (None, library(renamed));
    }
    let alias = format_ident!("__gracehttp_of_{}", module.unraw());
    (Some(quote!(#[doc(hidden)] use #path as #alias;)), quote!(super::#alias))
}

/// The type that stands for the module, and the routes of its functions and of the modules within.
fn own_routes(routes: &Routes<'_>, library: &TokenStream) -> TokenStream {
    let mut markers = Markers::default();
    let mut bounds: Vec<TokenStream> = Vec::new();
    let mut calls = Vec::new();
    let answers = &routes.answers;
    for route in &answers.routes {
        let marker = markers.of_handler(route.handler, &mut bounds, library);
        calls.push(call_of_route(route, &marker, library));
    }
    if let Some(fallback) = answers.fallback {
        let marker = markers.of_handler(fallback, &mut bounds, library);
        let service = service_of(fallback, &marker, library);
        calls.push(quote!(.fallback_service(#service)));
    }
    let modules: Vec<Part> = routes.content.modules.iter().map(Part::within).collect();
    for module in &modules {
        let marker = markers.next();
        bounds.push(bound_of_module(module, &marker, library));
        calls.push(merged(module, library));
    }

    let rows = answers.routes.iter().map(|Route { method_name, path, handler, .. }| {
        let (path, handler) = (&path.literal, name_of(handler));
        quote!((#method_name, #path, #handler))
    });
    let fallback = match answers.fallback.map(name_of) {
        Some(handler) => quote!(::core::option::Option::Some(#handler)),
        None => quote!(::core::option::Option::None),
    };
    let table = quote!(#library::__private::routes::Table);
    let apart = all_apart(routes, &modules);
    let types = modules.iter().map(|module| &module.ty);
    let markers = &markers.all;
    quote! {
        #[doc(hidden)]
        pub struct WithAttributeRoutes {}

        #[doc(hidden)]
        impl WithAttributeRoutes {
            pub const OWN: #table = #table {
                module: ::core::module_path!(),
                prefix: "",
                routes: &[#(#rows),*],
                fallback: #fallback,
                included: &[#(&#types::TABLE),*],
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
fn all_routes(routes: &Routes<'_>, layer: Option<&BuilderCall>, library: &TokenStream) -> TokenStream {
    let name = &generated(&routes.module.ident);
    let included: Vec<Part> = routes
        .args
        .included
        .iter()
        .enumerate()
        .map(|(index, path)| Part::elsewhere(path, name, index))
        .collect();
    let mut markers = Markers::default();
    let own = markers.next();
    let bounds: Vec<_> =
        included.iter().map(|module| bound_of_module(module, &markers.next(), library)).collect();
    let calls = included.iter().map(|module| merged(module, library));
    let prefix = match &routes.args.prefix {
        Some(prefix) => prefix.literal.clone(),
        None => LitStr::new("", Span::call_site()),
    };
    let table = quote!(#library::__private::routes::Table);
    let apart = all_apart(routes, &included);
    let apart_from_inner = inner_apart(routes, &included);
    let imports = included.iter().map(|module| &module.import);
    let types = included.iter().map(|module| &module.ty);
    let markers = &markers.all;
    quote! {
        #(#imports)*

        #[doc(hidden)]
        impl #name::WithAttributeRoutes {
            pub const TABLE: #table = #table {
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
    }
}

/// A module of routes that is part of another.
struct Part {
    path: Path,
    /// Stands for the module.
    ty: TokenStream,
    import: Option<TokenStream>,
}

impl Part {
    /// In the braces of the other.
    fn within(module: &Ident) -> Self {
        Self { path: module.clone().into(), ty: quote!(#module::WithAttributeRoutes), import: None }
    }

    /// One that `routes(…)` lists. It is imported once, so that rustc says once what is wrong with its path.
    fn elsewhere(path: &Path, user: &Ident, index: usize) -> Self {
        let alias = format!("__gracehttp_part_{index}_of_{}", user.unraw());
        let ty = Ident::new(&alias, place_of(path)).into_token_stream();
        let routes = placed_at(path, quote!(::WithAttributeRoutes));
        let import = Some(quote!(#[doc(hidden)] use #path #routes as #ty;));
        Self { path: path.clone(), ty, import }
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

    /// The marker that axum tells handlers apart by. What its arguments have to be joins the bounds, each once.
    fn of_handler(
        &mut self,
        handler: &Function,
        bounds: &mut Vec<TokenStream>,
        library: &TokenStream,
    ) -> TokenStream {
        let types: Vec<&Type> = handler.arguments().collect();
        let Some((last, parts)) = types.split_last() else { return quote!(((),)) };
        let text = last.to_token_stream().to_string();
        let known = self.known.iter().find(|(known, _)| *known == text).map(|(_, marker)| marker.clone());
        let marker = known.unwrap_or_else(|| {
            let marker = self.next();
            self.known.push((text, marker.clone()));
            marker
        });
        for bound in bounds_of_arguments(last, parts, &marker, library) {
            if !bounds.iter().any(|known| known.to_string() == bound.to_string()) {
                bounds.push(bound);
            }
        }
        quote!((#marker, #(#types,)*))
    }
}

fn call_of_route(route: &Route<'_>, marker: &TokenStream, library: &TokenStream) -> TokenStream {
    let Route { method, path, layer, handler, .. } = route;
    let path = &path.literal;
    let method = format_ident!("{method}_service");
    let service = service_of(handler, marker, library);
    quote! {
        .route(
            &#library::__private::routes::join(prefix, #path),
            #library::__private::routes::routing::#method(#service) #layer,
        )
    }
}

fn service_of(handler: &Function, marker: &TokenStream, library: &TokenStream) -> TokenStream {
    let ident = &handler.sig.ident;
    placed_at(ident, quote!(#library::__private::routes::handler::<_, #marker, _>(#ident, state)))
}

/// For those who read it.
fn name_of(handler: &Function) -> String {
    handler.sig.ident.unraw().to_string()
}

fn bound_of_module(module: &Part, marker: &Ident, library: &TokenStream) -> TokenStream {
    let ty = &module.ty;
    quote!(#ty: #library::__private::routes::Routes<__S, #marker>)
}

fn merged(module: &Part, library: &TokenStream) -> TokenStream {
    let ty = &module.ty;
    quote!(.merge(#library::__private::routes::Routes::router(#ty {}, prefix, state)))
}

/// Lets the compiler look for routes that several modules have: at the route, or at the later module.
fn all_apart(routes: &Routes<'_>, modules: &[Part]) -> TokenStream {
    let rivals = modules.iter().flat_map(|Part { path: module, ty, .. }| {
        routes.answers.routes.iter().map(move |Route { method_name, path, .. }| {
            let literal = &path.literal;
            let message = format!("`{}` has a route for `{}` too", shown(module), literal.value());
            let panic = placed_at(literal, quote!(::core::panic!("{}", #message)));
            quote!(if #ty::TABLE.rivals(#method_name, #literal) { #panic })
        })
    });
    let pairs = modules.iter().enumerate().flat_map(|(index, later)| {
        modules[..index].iter().map(move |earlier| {
            let message =
                format!("`{}` and `{}` have a route in common", shown(&earlier.path), shown(&later.path));
            let panic = placed_at(&later.path, quote!(::core::panic!("{}", #message)));
            let (earlier, later) = (&earlier.ty, &later.ty);
            quote!(if #earlier::TABLE.overlaps(&#later::TABLE) { #panic })
        })
    });
    let checks: Vec<_> = rivals.chain(pairs).collect();
    if checks.is_empty() { TokenStream::new() } else { quote!(const _: () = { #(#checks)* };) }
}

/// The same for the modules within and those from elsewhere, which only the annotated one is in reach of.
fn inner_apart(routes: &Routes<'_>, included: &[Part]) -> TokenStream {
    let ident = &routes.module.ident;
    let name = generated(ident);
    let within = !routes.content.modules.is_empty();
    let checks = included.iter().filter(|_| within).map(|Part { path: module, ty, .. }| {
        let message = format!("a module within `{ident}` and `{}` have a route in common", shown(module));
        let panic = placed_at(module, quote!(::core::panic!("{}", #message)));
        quote!(if #name::WithAttributeRoutes::OWN.overlaps(&#ty::TABLE) { #panic })
    });
    let checks: Vec<_> = checks.collect();
    if checks.is_empty() { TokenStream::new() } else { quote!(const _: () = { #(#checks)* };) }
}
