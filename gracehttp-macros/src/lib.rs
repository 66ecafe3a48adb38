//! The attributes of [gracehttp](https://docs.rs/gracehttp): `#[gracehttp::main]` and `#[server]`.
//!
//! Use them through `gracehttp`, whose documentation has their keys. They are thin: what they expand to are
//! calls that could be written by hand, the annotated item stays as it is, token for token, and whatever is
//! wrong is reported at the token that is wrong, all of it at once.

mod args;
mod codegen;
mod errors;
mod function;
mod main_attr;
mod server_attr;
#[cfg(test)]
mod snapshots;
mod values;

use proc_macro::TokenStream;

/// Declares a server: an async function answers its requests, a plain one makes its service.
#[proc_macro_attribute]
pub fn server(args: TokenStream, item: TokenStream) -> TokenStream {
    server_attr::expand(args.into(), &item.into()).into()
}

/// Makes start-up code the main function of an application with the named servers.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    main_attr::expand(args.into(), &item.into()).into()
}
