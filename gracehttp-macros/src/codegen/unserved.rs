//! What a module of routes expands to in a library that was built without a router. The errors have been told
//! so already, and what names the module brings no others.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse_quote;

use super::{generated, library, listens};
use crate::module::Module;
use crate::server_attr::ServerArgs;

/// `#[routes] mod …`.
pub(crate) fn unserved_routes(module: &Module) -> TokenStream {
    module.with(&TokenStream::new())
}

/// `#[server] mod …`.
pub(crate) fn unserved_server(args: &ServerArgs, module: &Module) -> TokenStream {
    let library = library(args.library.as_ref());
    let name = generated(&module.ident);
    let listens = listens(args, &module.ident, &parse_quote!(pub), &library);
    let module = module.with(&quote! {
        #[doc(hidden)]
        pub struct WithAttributeRoutes {}

        #[doc(hidden)]
        pub const fn server() -> WithAttributeRoutes {
            WithAttributeRoutes {}
        }
    });
    quote! {
        #module

        #[doc(hidden)]
        impl #name::WithAttributeRoutes {
            #listens
        }

        impl<__S> #library::IntoServer<__S, ()> for #name::WithAttributeRoutes
        where
            __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
        {
            fn into_server(self) -> #library::Server<__S> {
                ::core::unreachable!()
            }
        }
    }
}
