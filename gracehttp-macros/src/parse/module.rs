//! A module: as the user wrote it, without the attributes that make its functions routes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, Signature, Token, Visibility, braced, token};

use super::attributes::{is_named, is_route};
use super::function::Function;
use super::route::RouteAttribute;
use super::strays::{self, Strays};

pub(crate) struct Module {
    pub(crate) shell: Shell,
    pub(crate) keyword: Token![mod],
    /// A module in a file of its own has none.
    pub(crate) content: Option<Content>,
}

/// What of a module is emitted again.
pub(crate) struct Shell {
    pub(crate) ident: Ident,
    /// Everything before the braces.
    pub(crate) head: TokenStream,
    /// A module in a file of its own has none.
    pub(crate) braces: Option<token::Brace>,
    /// What is in the braces, without the attributes of routes.
    pub(crate) items: TokenStream,
}

/// What an attribute looks for in a module.
pub(crate) struct Content {
    /// All of it, as the user wrote it.
    pub(crate) source: TokenStream,
    pub(crate) functions: Vec<RoutedFunction>,
    /// The modules of routes within, which belong to this one.
    pub(crate) modules: Vec<Ident>,
    /// Attributes of routes where they have no effect.
    pub(crate) strays: Vec<syn::Error>,
    /// `#[cfg(…)]` on a route or a module of routes.
    pub(crate) conditions: Vec<Attribute>,
}

/// A function with attributes of routes.
pub(crate) struct RoutedFunction {
    pub(crate) attributes: Vec<RouteAttribute>,
    pub(crate) function: Function,
}

impl Module {
    /// Reads a module whose attributes and visibility have been read.
    pub(super) fn parse(
        input: ParseStream<'_>,
        attributes: &[Attribute],
        vis: &Visibility,
    ) -> syn::Result<Self> {
        let keyword = input.parse()?;
        let ident = input.call(Ident::parse_any)?;
        let head = quote!(#(#attributes)* #vis #keyword #ident);
        let mut shell = Shell { ident, head, braces: None, items: TokenStream::new() };
        if input.parse::<Option<Token![;]>>()?.is_some() {
            return Ok(Self { shell, keyword, content: None });
        }
        let inside;
        shell.braces = Some(braced!(inside in input));
        let content = Content::parse(&inside, &mut shell.items)?;
        Ok(Self { shell, keyword, content: Some(content) })
    }
}

impl Content {
    /// Looks for attributes and passes the rest on to the items. Bodies stay unread, because an editor expands
    /// functions that are half written, and still needs the rest of the module.
    fn parse(inside: ParseStream<'_>, items: &mut TokenStream) -> syn::Result<Self> {
        let mut content = Self {
            source: inside.fork().parse()?,
            functions: Vec::new(),
            modules: Vec::new(),
            strays: Vec::new(),
            conditions: Vec::new(),
        };
        let mut strays = Strays::default();
        while !inside.is_empty() {
            if inside.peek(Token![#]) && inside.peek2(token::Bracket) {
                let attributes = content.read_attributes(inside, &mut strays)?;
                items.extend(quote!(#(#attributes)*));
            } else {
                items.extend(Some(strays.pass(inside.parse()?, &mut content.strays)));
            }
        }
        Ok(content)
    }

    /// Reads attributes and looks at the item that they are on, without taking it from the input. Returns the
    /// attributes that are not of routes.
    fn read_attributes(
        &mut self,
        input: ParseStream<'_>,
        strays: &mut Strays,
    ) -> syn::Result<Vec<Attribute>> {
        let mut attributes = input.call(Attribute::parse_outer)?;
        attributes.retain(|attribute| match strays::in_cfg_attr(attribute) {
            Some(fault) => {
                self.strays.push(fault);
                false
            }
            None => true,
        });
        strays.note(&attributes);
        let (routes, others): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_route);
        let item = input.fork();
        let vis = item.parse()?;
        let belongs = if routes.is_empty() {
            let module =
                item.peek(Token![mod]) && others.iter().any(|attribute| is_named(attribute, "routes"));
            if module {
                item.parse::<Token![mod]>()?;
                self.modules.push(item.call(Ident::parse_any)?);
            }
            module
        } else if let Ok(sig) = item.parse::<Signature>() {
            let attributes = routes.into_iter().map(RouteAttribute::read).collect();
            self.functions.push(RoutedFunction { attributes, function: Function { vis, sig } });
            true
        } else {
            self.strays.extend(routes.iter().map(strays::on_no_function));
            false
        };
        if belongs {
            let conditions = others.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned();
            self.conditions.extend(conditions);
        }
        Ok(others)
    }
}
