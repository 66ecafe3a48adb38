//! The annotated function: its signature, and what no attribute can accept in it.

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream, Parser};
use syn::visit::{self, Visit};
use syn::{
    Attribute, FnArg, GenericArgument, PathArguments, PathSegment, Safety, Signature, Token, Type,
    TypeImplTrait, Visibility,
};

use crate::errors::Errors;
use crate::module::Module;

/// What an attribute was put on. Bodies stay unread: the item is emitted as it came.
pub(crate) enum Annotated {
    Function(Box<Function>),
    Module(Box<Module>),
    /// By its first token.
    Other(TokenTree),
}

pub(crate) struct Function {
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
}

impl Parse for Annotated {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let annotated = if input.peek(Token![mod]) {
            Self::Module(Box::new(Module::parse(input, &attributes, &vis)?))
        } else if input.fork().parse::<Signature>().is_ok() {
            Self::Function(Box::new(Function { vis, sig: input.parse()? }))
        } else {
            Self::Other(input.parse()?)
        };
        input.parse::<TokenStream>()?;
        Ok(annotated)
    }
}

impl Function {
    /// Reports what only the caller of a function could decide: the framework calls this one.
    /// Says whether there was nothing of the kind.
    pub(crate) fn check_plain(&self, role: &str, errors: &mut Errors) -> bool {
        let sig = &self.sig;
        let mut plain = true;
        let mut fault = |tokens: &dyn quote::ToTokens, message: String| {
            errors.at(tokens, message);
            plain = false;
        };
        if let Some(constness) = &sig.constness {
            fault(constness, format!("{role} runs in a server: it can't be `const`"));
        }
        if let Safety::Unsafe(token) = &sig.safety {
            fault(token, format!("{role} can't be `unsafe`: the framework calls it"));
        }
        if let Some(abi) = &sig.abi {
            fault(abi, format!("{role} is a Rust function: it can't have another ABI"));
        }
        if let Some(variadic) = &sig.variadic {
            fault(variadic, format!("{role} has a fixed number of arguments"));
        }
        if !sig.generics.params.is_empty() {
            fault(&sig.generics, format!("{role} can't be generic: nobody is there to choose the types"));
        } else if let Some(clause) = &sig.generics.where_clause {
            fault(clause, format!("{role} can't be generic: there is nothing to constrain"));
        }
        for input in &sig.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    fault(receiver, format!("{role} is a free function: it has no `self`"));
                }
                FnArg::Typed(argument) if let Some(opaque) = impl_trait(&argument.ty) => {
                    fault(opaque, format!("{role} can't be generic: name the argument's type"));
                }
                FnArg::Typed(_) => {}
            }
        }
        plain
    }

    /// The types of the arguments, in order.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Type> {
        self.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(&*argument.ty),
            FnArg::Receiver(_) => None,
        })
    }
}

/// An item's attributes, and the rest of it.
pub(crate) fn split_attributes(item: &TokenStream) -> Option<(Vec<Attribute>, TokenStream)> {
    let split = |input: ParseStream<'_>| Ok((input.call(Attribute::parse_outer)?, input.parse()?));
    split.parse2(item.clone()).ok()
}

/// `State<App>` of `axum::extract::State<App>`: what a type is called, wherever it comes from.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        _ => None,
    }
}

/// The `T` of `State<T>` or `Result<T, E>`.
pub(crate) fn first_argument(ty: &Type) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &last_segment(ty)?.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

/// The `impl Trait` within a type: such a type has no name to write into a bound.
pub(crate) fn impl_trait(ty: &Type) -> Option<&TypeImplTrait> {
    struct Find<'ast>(Option<&'ast TypeImplTrait>);
    impl<'ast> Visit<'ast> for Find<'ast> {
        fn visit_type_impl_trait(&mut self, found: &'ast TypeImplTrait) {
            self.0 = Some(found);
            visit::visit_type_impl_trait(self, found);
        }
    }
    let mut find = Find(None);
    find.visit_type(ty);
    find.0
}
