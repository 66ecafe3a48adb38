//! A function: its signature. Its body stays unread.

use syn::{FnArg, Signature, Type, Visibility};

pub(crate) struct Function {
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
}

impl Function {
    /// The types of the arguments, in order.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Type> {
        self.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(&*argument.ty),
            FnArg::Receiver(_) => None,
        })
    }
}
