//! The annotated module: as it came, less the attributes that make its functions routes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, Signature, Token, Visibility, braced, token};

use crate::function::Function;
use crate::strays::{self, Strays};

/// The attributes of functions in a module of routes.
pub(crate) const ROUTE_ATTRIBUTES: [&str; 10] =
    ["get", "post", "put", "patch", "delete", "head", "options", "any", "route", "fallback"];

pub(crate) struct Module {
    /// All before the braces.
    head: TokenStream,
    pub(crate) keyword: Token![mod],
    pub(crate) ident: Ident,
    /// A module in a file of its own has none.
    pub(crate) content: Option<Content>,
}

/// What is in the braces.
pub(crate) struct Content {
    braces: token::Brace,
    /// All of it, as it came.
    pub(crate) source: TokenStream,
    /// The same without the attributes of routes.
    items: TokenStream,
    pub(crate) functions: Vec<Routed>,
    /// The modules of routes within, which belong to this one.
    pub(crate) modules: Vec<Ident>,
    /// Attributes of routes where they have no effect.
    pub(crate) strays: Vec<syn::Error>,
    /// `#[cfg(…)]` on a route or a module of routes.
    pub(crate) conditions: Vec<Attribute>,
}

/// A function with attributes of routes.
pub(crate) struct Routed {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) function: Function,
}

impl Module {
    /// Reads a module whose attributes and visibility have been read.
    pub(crate) fn parse(
        input: ParseStream<'_>,
        attributes: &[Attribute],
        vis: &Visibility,
    ) -> syn::Result<Self> {
        let keyword = input.parse()?;
        let ident = input.call(Ident::parse_any)?;
        let head = quote!(#(#attributes)* #vis #keyword #ident);
        let content = match input.parse::<Option<Token![;]>>()? {
            Some(_) => None,
            None => Some(Content::parse(input)?),
        };
        Ok(Self { head, keyword, ident, content })
    }

    /// The module with something generated behind its own items.
    pub(crate) fn with(&self, generated: &TokenStream) -> TokenStream {
        let items = self.content.as_ref().map(|content| &content.items);
        self.with_items(&quote!(#items #generated))
    }

    /// The module with other items.
    pub(crate) fn with_items(&self, items: &TokenStream) -> TokenStream {
        let Self { head, content, .. } = self;
        let Some(Content { braces, .. }) = content else { return quote!(#head;) };
        let mut tokens = head.clone();
        braces.surround(&mut tokens, |inside| inside.extend(items.clone()));
        tokens
    }
}

impl Content {
    /// Looks for attributes and passes the rest on. Bodies stay unread, so that an editor, which expands
    /// functions that are half written, still has all of the module.
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let inside;
        let mut content = Self {
            braces: braced!(inside in input),
            source: inside.fork().parse()?,
            items: TokenStream::new(),
            functions: Vec::new(),
            modules: Vec::new(),
            strays: Vec::new(),
            conditions: Vec::new(),
        };
        let mut strays = Strays::default();
        while !inside.is_empty() {
            if inside.peek(Token![#]) && inside.peek2(token::Bracket) {
                content.read_attributes(&inside, &mut strays)?;
            } else {
                content.items.extend(Some(strays.pass(inside.parse()?, &mut content.strays)));
            }
        }
        Ok(content)
    }

    /// Reads attributes and looks at what they are on; that itself is passed on like anything else.
    fn read_attributes(&mut self, input: ParseStream<'_>, strays: &mut Strays) -> syn::Result<()> {
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
        self.items.extend(quote!(#(#others)*));
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
            self.functions.push(Routed { attributes: routes, function: Function { vis, sig } });
            true
        } else {
            self.strays.extend(routes.iter().map(strays::on_no_function));
            false
        };
        if belongs {
            let conditions = others.into_iter().filter(|attribute| attribute.path().is_ident("cfg"));
            self.conditions.extend(conditions);
        }
        Ok(())
    }
}

/// The last name of an attribute's path: `get` of `gracehttp::get`.
pub(crate) fn name(attribute: &Attribute) -> Option<&Ident> {
    attribute.path().segments.last().map(|segment| &segment.ident)
}

pub(crate) fn is_named(attribute: &Attribute, known: &str) -> bool {
    name(attribute).is_some_and(|name| name == known)
}

pub(crate) fn is_route(attribute: &Attribute) -> bool {
    names_route(attribute.path())
}

pub(crate) fn names_route(path: &syn::Path) -> bool {
    let last = path.segments.last();
    last.is_some_and(|segment| ROUTE_ATTRIBUTES.iter().any(|known| segment.ident == known))
}

/// What is wrong with a module in a file of its own, and what to do about it.
pub(crate) fn file_module_help(module: &Module) -> String {
    let ident = &module.ident;
    format!(
        "`{ident}` is in a file of its own, where an attribute can't look into it\n\
         help: leave `mod {ident};` without an attribute, write the routes in its file as \
         `#[gracehttp::routes] pub mod routes {{ … }}`, and list them: `#[server(…, routes({ident}::routes))]`"
    )
}
