//! Checks of a function's signature that all attributes share.

use syn::{FnArg, Safety, Signature};

use super::types::impl_trait;
use crate::errors::Errors;

/// Reports parts of a signature whose meaning the caller decides: the framework is the caller, and can't decide them.
/// Returns whether there was nothing to report.
pub(super) fn check(sig: &Signature, role: &str, errors: &mut Errors) -> bool {
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
        fault(
            &sig.generics,
            format!("{role} can't be generic: the framework calls it and can't choose the types"),
        );
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
