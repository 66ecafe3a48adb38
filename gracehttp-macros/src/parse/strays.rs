//! Attributes of routes in places where no module of routes reads them. Without a message from here, rustc would
//! say that it can't find the attributes.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, Meta, Path, Signature, Token, Visibility, token};

use super::attributes::{is_named, is_route, last_name, names_route};

/// Watches the items of a module pass, and looks into those that have items of their own.
#[derive(Default)]
pub(super) struct Strays {
    /// The item that the next braces belong to.
    owner: Option<Owner>,
    /// The item has an attribute that reads what is in its braces.
    claimed: bool,
    last: Option<TokenTree>,
}

enum Owner {
    Module(Option<Ident>),
    Impl,
}

impl Strays {
    /// Notes the attributes of the item that comes next.
    pub(super) fn note(&mut self, attributes: &[Attribute]) {
        let claims = |attribute| is_named(attribute, "routes") || is_named(attribute, "server");
        self.claimed = attributes.iter().any(claims);
        self.last = None;
    }

    /// Passes a token on, without the attributes of routes within it.
    pub(super) fn pass(&mut self, token: TokenTree, faults: &mut Vec<syn::Error>) -> TokenTree {
        let begins = match &self.last {
            None => true,
            Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
            Some(TokenTree::Punct(punct)) => punct.as_char() == ';',
            Some(TokenTree::Ident(word)) => word == "unsafe",
            Some(TokenTree::Literal(_)) => false,
        };
        let mut passed = token.clone();
        match &token {
            TokenTree::Ident(word) if word == "mod" => self.owner = Some(Owner::Module(None)),
            TokenTree::Ident(word) if word == "impl" && begins => self.owner = Some(Owner::Impl),
            TokenTree::Ident(word) => {
                if let Some(Owner::Module(ident @ None)) = &mut self.owner {
                    *ident = Some(word.clone());
                }
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                if let Some(owner) = self.owner.take()
                    && !self.claimed
                {
                    passed = TokenTree::Group(owner.without_routes(group, faults));
                }
                self.claimed = false;
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => *self = Self::default(),
            _ => {}
        }
        self.last = Some(token);
        passed
    }
}

impl Owner {
    fn without_routes(&self, group: &Group, faults: &mut Vec<syn::Error>) -> Group {
        let known = faults.len();
        let strip = |input: ParseStream<'_>| self.strip(input, faults);
        let inside = match strip.parse2(group.stream()) {
            Ok(inside) if faults.len() > known => inside,
            _ => return group.clone(),
        };
        let mut stripped = Group::new(group.delimiter(), inside);
        stripped.set_span(group.span());
        stripped
    }

    fn strip(&self, input: ParseStream<'_>, faults: &mut Vec<syn::Error>) -> syn::Result<TokenStream> {
        let mut items = TokenStream::new();
        let mut strays = Strays::default();
        let mut found = Vec::new();
        while !input.is_empty() {
            if !(input.peek(Token![#]) && input.peek2(token::Bracket)) {
                items.extend(Some(strays.pass(input.parse()?, faults)));
                continue;
            }
            let attributes = input.call(Attribute::parse_outer)?;
            let on_function = is_function(input);
            // An attribute with a path may be another crate's. If it is ours, it says itself where it belongs.
            let (routes, others): (Vec<_>, Vec<_>) = attributes.into_iter().partition(|attribute| {
                on_function && is_route(attribute) && attribute.path().get_ident().is_some()
            });
            strays.note(&others);
            items.extend(quote!(#(#others)*));
            found.extend(routes);
        }
        match self {
            Self::Module(Some(ident)) if !found.is_empty() => {
                let message = format!(
                    "`{ident}` has routes, but is no module of routes\nhelp: put `#[gracehttp::routes]` on `mod {ident}`"
                );
                faults.push(syn::Error::new_spanned(ident, message));
            }
            Self::Module(_) => {}
            Self::Impl => faults.extend(found.iter().map(|attribute| {
                let name = shown(attribute);
                let message = format!(
                    "a route is a free function, and this one is in an `impl`\n\
                     help: move it out, with `{name}`: what it needs of `self` is its `State<…>`"
                );
                syn::Error::new_spanned(attribute, message)
            })),
        }
        Ok(items)
    }
}

fn is_function(input: ParseStream<'_>) -> bool {
    let item = input.fork();
    item.parse::<Visibility>().is_ok() && item.parse::<Signature>().is_ok()
}

/// The fault of a route's attribute that is on no function.
pub(super) fn on_no_function(attribute: &Attribute) -> syn::Error {
    let message = format!("`{}` belongs on an async function, which answers the requests", shown(attribute));
    syn::Error::new_spanned(attribute, message)
}

/// The fault of `#[cfg_attr(…, get("/"))]`: the compiler resolves it only after the module has been read.
pub(super) fn in_cfg_attr(attribute: &Attribute) -> Option<syn::Error> {
    if !attribute.path().is_ident("cfg_attr") {
        return None;
    }
    let metas = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let condition = metas.first()?;
    let is_ours =
        |path: &Path| names_route(path) || path.segments.last().is_some_and(|last| last.ident == "routes");
    let ours = metas.iter().skip(1).find(|meta| is_ours(meta.path()))?;
    let condition = quote!(#condition);
    let message = format!(
        "a module of routes can't see what is in a `cfg_attr`\n\
         help: let the condition be the whole item's, `#[cfg({condition})]`, and this attribute stand beside it"
    );
    Some(syn::Error::new_spanned(ours, message))
}

fn shown(attribute: &Attribute) -> String {
    last_name(attribute).map(|name| format!("#[{name}]")).unwrap_or_default()
}
