//! The item that an attribute is on. Bodies stay unread: the item is emitted as the user wrote it.

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Signature, Token};

use super::function::Function;
use super::module::Module;

pub(crate) enum Item {
    Function(Box<Function>),
    Module(Box<Module>),
    /// Another kind of item, by its first token.
    Other(TokenTree),
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let item = if input.peek(Token![mod]) {
            Self::Module(Box::new(Module::parse(input, &attributes, &vis)?))
        } else if input.fork().parse::<Signature>().is_ok() {
            Self::Function(Box::new(Function { vis, sig: input.parse()? }))
        } else {
            Self::Other(input.parse()?)
        };
        input.parse::<TokenStream>()?;
        Ok(item)
    }
}
