//! The attributes of [gracehttp](https://docs.rs/gracehttp): `#[gracehttp::main]`, `#[server]`, and the routes
//! in a module.
//!
//! Use them through `gracehttp`, whose documentation has their keys. They are thin: they expand to calls that
//! could be written by hand, and the annotated item stays as it is, token for token. Each fault is reported at the
//! token that is wrong, and all faults are reported at once.
//!
//! `expand` leads each attribute through three steps, `parse`, `validate` and `generate`. Each step depends only on
//! the one before; all of them may use `errors` and `keys`.

mod errors;
mod expand;
mod generate;
mod keys;
mod library;
mod parse;
#[cfg(test)]
mod snapshots;
mod validate;

use proc_macro::TokenStream;

/// Declares a server: an async function answers its requests, a plain one makes its service.
#[proc_macro_attribute]
pub fn server(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::server(args.into(), item.into()).into()
}

/// Declares a health check of an application: an async function that says whether something it needs is there.
#[proc_macro_attribute]
pub fn health(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::health(args.into(), item.into()).into()
}

/// Makes start-up code the main function of an application with the named servers.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::main(args.into(), item.into()).into()
}

/// Makes a module's functions routes, as a part of a server that lists the module or that it lies in.
#[proc_macro_attribute]
pub fn routes(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::routes(args.into(), item.into()).into()
}

/// Gives the library its part of the table of keys.
#[doc(hidden)]
#[proc_macro]
pub fn keys(view: TokenStream) -> TokenStream {
    library::expand(view.into()).into()
}

/// The attributes of routes. `#[server]` and `#[routes]` read them before they are expanded. Expanded by
/// themselves, they say where they belong.
macro_rules! attributes_of_routes {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            #[proc_macro_attribute]
            pub fn $name(_: TokenStream, item: TokenStream) -> TokenStream {
                expand::route_alone(stringify!($name), &item.into()).into()
            }
        )*
    };
}

attributes_of_routes! {
    /// `#[get("/path")]`: the function answers `GET` requests, and `HEAD` where no other does, of a module.
    get
    /// `#[post("/path")]`: the function answers `POST` requests of a module.
    post
    /// `#[put("/path")]`: the function answers `PUT` requests of a module.
    put
    /// `#[patch("/path")]`: the function answers `PATCH` requests of a module.
    patch
    /// `#[delete("/path")]`: the function answers `DELETE` requests of a module.
    delete
    /// `#[head("/path")]`: the function answers `HEAD` requests of a module.
    head
    /// `#[options("/path")]`: the function answers `OPTIONS` requests of a module.
    options
    /// `#[any("/path")]`: the function answers requests of every method that no other function answers.
    any
    /// `#[route(METHOD, "/path")]`: the function answers requests of that method.
    route
    /// `#[fallback]`: the function answers the requests that no route of the server answers.
    fallback
}
