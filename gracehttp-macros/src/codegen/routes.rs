//! What a module of routes expands to.
//!
//! Within the module, where its handlers are in reach, stand its own routes; beside it, where the paths in its
//! attribute mean what they say, all that the attribute adds to them.

mod checks;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{Ident, LitStr, Path, Type, parse_quote};

use super::{
    bound_of_provided, bounds_of_arguments, builder, generated, library, listens, place_of, placed_at,
};
use crate::args::BuilderCall;
use crate::function::Function;
use crate::module::Module;
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
    let all = all_routes(routes, &quote!(Part), layer, &library);
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
    let all = all_routes(routes, &quote!(Server), None, &library);
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

/// A server of a module whose routes nothing can serve: it stands in, so that its uses are not errors too.
pub(crate) fn server_without_routes(args: &ServerArgs, module: &Module) -> TokenStream {
    let library = library(args.library.as_ref());
    let name = generated(&module.ident);
    let listens = listens(args, &module.ident, &parse_quote!(pub), &library);
    let declared = module.with(&quote! {
        #[doc(hidden)]
        pub struct WithAttributeRoutes {}

        #[doc(hidden)]
        pub const fn server() -> WithAttributeRoutes {
            WithAttributeRoutes {}
        }
    });
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
        calls.push(merged(module, &marker, library));
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
    routes: &Routes<'_>,
    kind: &TokenStream,
    layer: Option<&BuilderCall>,
    library: &TokenStream,
) -> TokenStream {
    let name = &generated(&routes.module.ident);
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
    let prefix = match &routes.args.prefix {
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

/// A module of routes that is part of another.
struct Part {
    path: Path,
    /// Stands for the module.
    ty: TokenStream,
    declaration: Option<TokenStream>,
}

impl Part {
    /// In the braces of the other.
    fn within(module: &Ident) -> Self {
        Self { path: module.clone().into(), ty: quote!(#module::WithAttributeRoutes), declaration: None }
    }

    /// One that `routes(…)` lists. Its type is looked for in one place, so that rustc says once what is wrong with
    /// its path; `undeclared` in the library is what it finds in a module without routes, and `let _` what keeps
    /// it from saying more of a path that leads nowhere.
    fn elsewhere(path: &Path, user: &Ident, index: usize, library: &TokenStream) -> Self {
        let alias = format!("__gracehttp_part_{index}_of_{}", user.unraw());
        let ty = Ident::new(&alias, place_of(path)).into_token_stream();
        let listed = placed_at(path, quote!(with_attribute_routes));
        let check = checks::listed(path, &ty, library);
        let declaration = quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            type #ty = <#user::WithAttributeRoutes as #library::__private::routes::Lists<#index>>::Part;

            const _: () = {
                use #user::WithAttributeRoutes as __Lister;
                use #library::__private::routes::{Lists as __Lists, undeclared::*};
                {
                    use #path as #listed;

                    const _: () = {
                        #[allow(unused_imports)]
                        use #listed::*;

                        impl __Lists<#index> for __Lister {
                            type Part = WithAttributeRoutes;
                        }
                    };

                    let _ = with_attribute_routes;
                    #check
                }
            };
        };
        Self { path: path.clone(), ty, declaration: Some(declaration) }
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

fn merged(module: &Part, marker: &Ident, library: &TokenStream) -> TokenStream {
    let ty = &module.ty;
    quote!(.merge(#library::__private::routes::Routes::<__S, #marker>::router(#ty {}, prefix, state)))
}
