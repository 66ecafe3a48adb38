//! What `#[gracehttp::main]` expands to.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Path;

use super::calls::calls;
use super::health;
use super::tokens::{generated, library, place_of, placed_at, refusal, shown, variant};
use crate::validate::{Checked, Main, MainItem, Signals};

pub(crate) fn main(item: &Checked<MainItem>) -> TokenStream {
    match &**item {
        MainItem::Main(main) => application(main),
        MainItem::Unusable(item) => unusable(item),
        MainItem::Other(item) => item.clone(),
    }
}

/// A `main` that holds the user's. The user's makes the state.
fn application(main: &Main) -> TokenStream {
    let Main { item, ident, argument, output, servers, health: checked, settings, signals, library: renamed } =
        main;
    let library = library(renamed.as_ref());
    let ident = generated(ident);
    let start_up = match argument {
        None => quote!(#library::__private::start_up(#ident)),
        Some(argument) => placed_at(argument, quote!(#library::__private::start_up_with_settings(#ident))),
    };
    let start_up = quote!(#start_up.app());
    let start_up = match output {
        None => start_up,
        Some(output) => placed_at(output, start_up),
    };
    let served = servers.iter().map(|server| {
        let listed = listed(server, &library);
        quote_spanned!(place_of(server)=> .serve(#listed))
    });
    let checked_by = checked.iter().map(|check| {
        let listed = health::listed(check, &library);
        quote_spanned!(place_of(check)=> .health(#listed))
    });
    let (checks, health_checks) = (checks_of(servers, &library), health::checks_of(checked, &library));
    let calls = calls(settings, &library);
    let signals = signals.iter().map(|Signals { key, signals }| {
        let variants = signals.iter().map(variant);
        quote!(.#key([#(#library::Signal::#variants),*]))
    });
    quote! {
        fn #ident() -> ::std::process::ExitCode {
            #item

            #[allow(unused_imports)]
            use #library::__private::Infallible as _;
            #checks
            #health_checks
            #start_up #(#served)* #(#checked_by)* #calls #(#signals)* .run()
        }
    }
}

/// A `main` beside the errors about the user's, so that the compiler does not report a missing one too.
fn unusable(item: &TokenStream) -> TokenStream {
    quote! {
        fn main() -> ::std::process::ExitCode {
            #item

            ::core::unreachable!()
        }
    }
}

/// An entry of the list of servers. It is imported under a fixed name, so that rustc can tell an item without
/// `#[server]` from one that does not exist: see `undeclared` in the library.
fn listed(server: &Path, library: &TokenStream) -> TokenStream {
    let place = place_of(server);
    // rustc would take a single name in an import for the name of a crate.
    let here = server.get_ident().map(|_| quote_spanned!(place=> self::));
    quote_spanned! {place=> {
        #[allow(unused_imports)]
        use #here #server as with_attribute_server;
        #[allow(unused_imports)]
        use #library::__private::undeclared::*;
        with_attribute_server::server()
    }}
}

/// Lets the compiler look for entries that are no servers, for entries that are the same server, and for servers
/// that want the same name or the same endpoint.
fn checks_of(servers: &[Path], library: &TokenStream) -> TokenStream {
    let all = servers.iter().map(|server| listed(server, library));
    let checks = servers.iter().enumerate().map(|(index, server)| {
        let name = shown(server);
        let refusal = |message: String| refusal(server, &message);
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
