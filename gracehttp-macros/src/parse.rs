//! First step: reads tokens into plain values.
//!
//! Each value that is read has its type: a duration, an endpoint, the path of a route. What several values mean
//! together is for the second step, `validate`.

mod acme;
mod arguments;
mod attributes;
mod conditions;
mod endpoint;
mod function;
mod health;
mod item;
mod list;
mod main;
mod module;
mod path;
mod route;
mod routes;
mod segment;
mod server;
mod setting;
mod strays;
pub(crate) mod text;
mod value;

use proc_macro2::TokenStream;
use syn::Attribute;

use crate::errors::Errors;
use arguments::Arguments;

pub(crate) use acme::Acme;
pub(crate) use attributes::{is_named, is_route};
pub(crate) use conditions::Conditional;
pub(crate) use endpoint::Endpoint;
pub(crate) use function::Function;
pub(crate) use health::HealthArguments;
pub(crate) use item::Item;
pub(crate) use main::{MainArguments, Signals};
pub(crate) use module::{Content, Module, RoutedFunction, Shell};
pub(crate) use path::{Path, explain};
pub(crate) use route::{Route, RouteAttribute};
pub(crate) use routes::{ModuleArguments, RoutesArguments};
pub(crate) use server::{Pair, ServerArguments, Tls, WrittenEndpoint};
pub(crate) use setting::{Argument, Setting};

/// An attribute and the item that it is on.
pub(crate) struct Attributed<A> {
    /// The arguments as the user wrote them.
    pub(crate) written: TokenStream,
    pub(crate) arguments: A,
    /// The keys that are calls of the builder's methods, in order.
    pub(crate) settings: Vec<Setting>,
    pub(crate) annotated: Annotated,
}

/// The item that an attribute is on.
pub(crate) struct Annotated {
    /// The item as the user wrote it.
    pub(crate) source: TokenStream,
    /// The item's other attributes.
    pub(crate) attributes: Vec<Attribute>,
    /// The item without attributes.
    pub(crate) rest: TokenStream,
    /// Nothing where the item could not be read.
    pub(crate) item: Option<Item>,
}

pub(crate) fn server(
    arguments: TokenStream,
    item: TokenStream,
    errors: &mut Errors,
) -> Attributed<ServerArguments> {
    attributed("#[server]", arguments, item, errors)
}

pub(crate) fn main(
    arguments: TokenStream,
    item: TokenStream,
    errors: &mut Errors,
) -> Attributed<MainArguments> {
    attributed("#[gracehttp::main]", arguments, item, errors)
}

pub(crate) fn health(
    arguments: TokenStream,
    item: TokenStream,
    errors: &mut Errors,
) -> Attributed<HealthArguments> {
    attributed("#[health]", arguments, item, errors)
}

pub(crate) fn routes(
    arguments: TokenStream,
    item: TokenStream,
    errors: &mut Errors,
) -> Attributed<RoutesArguments> {
    attributed("#[routes]", arguments, item, errors)
}

/// Reads an attribute and its item. Faults join the errors; everything else is still read.
fn attributed<A: Arguments>(
    attribute: &str,
    written: TokenStream,
    source: TokenStream,
    errors: &mut Errors,
) -> Attributed<A> {
    let (arguments, settings) = arguments::read(attribute, written.clone(), errors);
    let item = errors.take(syn::parse2(source.clone()));
    let (attributes, rest) = attributes::split(&source).unwrap_or_else(|| (Vec::new(), source.clone()));
    let annotated = Annotated { source, attributes, rest, item };
    Attributed { written, arguments, settings, annotated }
}

impl<A> Attributed<A> {
    /// The item under its first condition, if it is a module that has one.
    pub(crate) fn conditional(&self) -> Option<(&Shell, Conditional)> {
        let Some(Item::Module(module)) = &self.annotated.item else { return None };
        Conditional::of(module).map(|conditional| (&module.shell, conditional))
    }
}
