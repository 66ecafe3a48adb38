//! A server's keys: the calls of its builder, and what other servers are compared with.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Visibility;

use super::calls::{calls, number};
use super::tokens::placed_at;
use crate::validate::{Acme, Argument, Endpoint, Pair, Server, Setting, Tls};

/// The name of a server and where it listens. The compiler compares it with the other servers of an application.
pub(super) fn listens(server: &Server, vis: &Visibility, library: &TokenStream) -> TokenStream {
    let (name, item) = (&server.name, server.item.to_string());
    let endpoints = server.endpoints.iter().map(|endpoint| match endpoint {
        Endpoint::Tcp { host, port } => {
            let (host, port) = (host.as_deref().unwrap_or_default(), number((*port).into()));
            quote!((#host, #port))
        }
        Endpoint::Unix(path) => {
            let path = format!("unix:{path}");
            quote!((#path, 0))
        }
        Endpoint::Passed(text) => quote!((#text, 0)),
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

/// The builder with all that the keys say but the layer, which goes around the finished server.
pub(super) fn builder(server: &Server, library: &TokenStream) -> TokenStream {
    let name = &server.name;
    let (choices, others): (Vec<&Setting>, Vec<&Setting>) =
        server.settings.iter().partition(|setting| matches!(setting.argument, Argument::Choice { .. }));
    let (others, choices) = (calls(others, library), calls(choices, library));
    let tls = server.tls.as_ref().map(|(method, tls)| {
        let argument = match tls {
            Tls::Files { first: Pair { cert, key }, others, settings } => {
                let files = placed_at(method, quote!(#library::Tls::files(#cert, #key)));
                let others = others.iter().map(|Pair { cert, key }| quote!(.and_files(#cert, #key)));
                let settings = calls(settings, library);
                quote!(#files #(#others)* #settings)
            }
            Tls::Acme(Acme { domains, cache, settings }, others) => {
                let count = domains.len();
                let cache = cache.as_ref().map_or_else(|| quote!(""), ToTokens::to_token_stream);
                let settings = calls(settings, library);
                let acme = quote!(#library::Acme::new([#(#domains),*] as [&str; #count], #cache) #settings);
                let others = calls(others, library);
                let tls = placed_at(method, quote!(#library::Tls::acme(#acme)));
                quote!(#tls #others)
            }
            Tls::SelfSigned(function) => quote!(#library::Tls::#function()),
        };
        quote!(.#method(#argument))
    });
    quote!(#library::Server::builder(#name) #others #choices #tls)
}
