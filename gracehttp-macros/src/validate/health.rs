//! `#[gracehttp::health]`: the function that it is on.

use proc_macro2::TokenStream;
use syn::{Ident, LitStr, Path, ReturnType, Type, Visibility};

use super::handler::HandlerArgument;
use super::types::{first_argument, last_segment};
use super::{Checked, function};
use crate::errors::Errors;
use crate::parse::{Attributed, Function, HealthArguments, Item, Setting};
use proc_macro2::Span;
use syn::ext::IdentExt;

/// The library implements `HealthFunction` for functions with at most this many arguments.
const MOST_ARGUMENTS: usize = 4;

/// The item that `#[health]` is on.
pub(crate) enum HealthItem {
    Check(Box<HealthCheck>),
    /// An item that can't be a check.
    Other(TokenStream),
}

/// A health check.
pub(crate) struct HealthCheck {
    pub(crate) item: TokenStream,
    pub(crate) ident: Ident,
    pub(crate) name: LitStr,
    pub(crate) vis: Visibility,
    pub(crate) arguments: Vec<HandlerArgument>,
    pub(crate) output: Option<Type>,
    /// A function that has an error already. A check of its name stands in, so that its uses are not errors too.
    pub(crate) is_usable: bool,
    /// The calls of the builder's methods.
    pub(crate) settings: Vec<Setting>,
    pub(crate) library: Option<Path>,
}

pub(crate) fn health(parsed: Attributed<HealthArguments>, errors: &mut Errors) -> Checked<HealthItem> {
    let Attributed { arguments, settings, annotated, .. } = parsed;
    let belongs = "`#[gracehttp::health]` belongs on a function: `async fn database(State(app): State<App>) -> Result<(), E>`";
    Checked(match annotated.item {
        // Inside an `impl` nothing can be declared.
        Some(Item::Function(function)) if function.sig.receiver().is_some() => {
            check(&function, errors);
            HealthItem::Other(annotated.source)
        }
        Some(Item::Function(function)) => {
            let is_usable = check(&function, errors);
            let ident = function.sig.ident.clone();
            HealthItem::Check(Box::new(HealthCheck {
                item: annotated.source,
                name: LitStr::new(&ident.unraw().to_string(), Span::call_site()),
                ident,
                arguments: function.arguments().map(HandlerArgument::of).collect(),
                output: match &function.sig.output {
                    ReturnType::Default => None,
                    ReturnType::Type(_, output) => Some((**output).clone()),
                },
                vis: function.vis,
                is_usable,
                settings,
                library: arguments.library,
            }))
        }
        Some(Item::Module(module)) => {
            errors.at(module.keyword, belongs);
            HealthItem::Other(annotated.source)
        }
        Some(Item::Other(token)) => {
            errors.at(token, belongs);
            HealthItem::Other(annotated.source)
        }
        None => HealthItem::Other(annotated.source),
    })
}

/// Reports what no health check can have. Says whether there was nothing to report.
fn check(function: &Function, errors: &mut Errors) -> bool {
    let mut fit = function::check(&function.sig, "a health check", errors);
    let mut fault = |tokens: &dyn quote::ToTokens, message: String| {
        errors.at(tokens, message);
        fit = false;
    };
    if function.sig.asyncness.is_none() {
        let message = format!("a health check is async: write `async fn {}`", function.sig.ident);
        fault(&function.sig.fn_token, message);
    }
    match &function.sig.output {
        ReturnType::Default => {
            let message = "a health check says whether all is well: it returns `Result<(), E>`";
            fault(&function.sig.ident, message.to_owned());
        }
        ReturnType::Type(_, output) if !may_be_result(output) => {
            fault(
                output,
                "a health check returns `Result<(), E>`, and the error says what is wrong".to_owned(),
            );
        }
        ReturnType::Type(..) => {}
    }
    for (index, ty) in function.arguments().enumerate() {
        let is_state = last_segment(ty).is_some_and(|segment| segment.ident == "State");
        if !is_state {
            let message = "a health check has no request, so it takes nothing but `State<…>`, the state of main or a part \
                           of it";
            fault(ty, message.to_owned());
        } else if index >= MOST_ARGUMENTS {
            fault(ty, format!("a health check takes at most {MOST_ARGUMENTS} arguments"));
        }
    }
    fit
}

/// Whether a type can be `Result<(), E>`: an alias without arguments can, under any name.
fn may_be_result(ty: &Type) -> bool {
    match last_segment(ty) {
        None => false,
        Some(segment) if segment.ident == "Result" => match first_argument(ty) {
            Some(Type::Tuple(tuple)) => tuple.elems.is_empty(),
            Some(_) => false,
            None => true,
        },
        Some(segment) => !["String", "bool", "StatusCode", "Option"].iter().any(|name| segment.ident == name),
    }
}
