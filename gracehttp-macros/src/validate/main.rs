//! `#[gracehttp::main(…)]`: contradictions between its keys, and the start-up code that it is on.

use proc_macro2::{Span, TokenStream};
use syn::{FnArg, Ident, Path, ReturnType, Type};

use super::types::{first_argument, last_segment};
use super::{Checked, function};
use crate::errors::Errors;
use crate::parse::{Annotated, Attributed, Function, Item, MainArguments, Setting, Signals, is_named};

/// The item that `#[gracehttp::main]` is on.
pub(crate) enum MainItem {
    Main(Box<Main>),
    /// A `main` that can't be called.
    Unusable(TokenStream),
    /// No `main`.
    Other(TokenStream),
}

/// An application.
pub(crate) struct Main {
    /// The start-up code.
    pub(crate) item: TokenStream,
    pub(crate) ident: Ident,
    /// The argument of the start-up code.
    pub(crate) argument: Option<FnArg>,
    pub(crate) output: Option<Type>,
    pub(crate) servers: Vec<Path>,
    pub(crate) health: Vec<Path>,
    /// The calls of the builder's methods, in order.
    pub(crate) settings: Vec<Setting>,
    pub(crate) signals: Vec<Signals>,
    pub(crate) library: Option<Path>,
}

/// What the signals do by default.
struct Reaction {
    key: &'static str,
    verb: &'static str,
    by_default: &'static [&'static str],
}

const RESTART: Reaction =
    Reaction { key: "restart_on", verb: "restarts", by_default: &["HUP", "USR1", "USR2"] };
const STOP: Reaction =
    Reaction { key: "stop_on", verb: "stops", by_default: &["INT", "TERM", "QUIT", "TSTP"] };

pub(crate) fn main(parsed: Attributed<MainArguments>, errors: &mut Errors) -> Checked<MainItem> {
    let Attributed { arguments, settings, annotated, .. } = parsed;
    check_keys(&arguments, errors);
    let other_runtime = has_other_runtime(&annotated, errors);
    let Annotated { source, item, .. } = annotated;
    let belongs = "`#[gracehttp::main]` belongs on `async fn main`";
    Checked(match item {
        Some(Item::Function(function)) if function.sig.ident == "main" => {
            if check_main(&function, errors) && !other_runtime {
                MainItem::Main(Box::new(Main::new(arguments, settings, &function, source)))
            } else {
                MainItem::Unusable(source)
            }
        }
        Some(other) => {
            match other {
                Item::Function(function) => errors.at(&function.sig.ident, belongs),
                Item::Module(module) => errors.at(module.keyword, belongs),
                Item::Other(token) => errors.at(token, belongs),
            }
            MainItem::Other(source)
        }
        None => MainItem::Other(source),
    })
}

impl Main {
    fn new(arguments: MainArguments, settings: Vec<Setting>, function: &Function, item: TokenStream) -> Self {
        let MainArguments { servers, health, restart_on, stop_on, library, .. } = arguments;
        Self {
            item,
            ident: function.sig.ident.clone(),
            argument: function.sig.inputs.first().cloned(),
            output: match &function.sig.output {
                ReturnType::Default => None,
                ReturnType::Type(_, output) => Some((**output).clone()),
            },
            servers,
            health,
            settings,
            signals: [restart_on, stop_on].into_iter().flatten().collect(),
            library,
        }
    }
}

/// Checks the keys together.
fn check_keys(arguments: &MainArguments, errors: &mut Errors) {
    if !arguments.names_servers && errors.is_empty() {
        let message = "`#[gracehttp::main]` names no server\n\
                       help: list them, `#[gracehttp::main(servers(api, admin))]`; \
                       each is a function or a module with `#[server]`";
        errors.push(syn::Error::new(Span::call_site(), message));
    }
    match (&arguments.restart_on, &arguments.stop_on) {
        (Some(restart), Some(stop)) => refuse(stop, errors, |signal| {
            restart.signals.contains(signal).then(|| format!("`{signal}` is in `restart_on` too"))
        }),
        (None, Some(stop)) => refuse_defaults(stop, &RESTART, errors),
        (Some(restart), None) => refuse_defaults(restart, &STOP, errors),
        (None, None) => {}
    }
}

fn refuse(signals: &Signals, errors: &mut Errors, reason: impl Fn(&Ident) -> Option<String>) {
    for signal in &signals.signals {
        if let Some(reason) = reason(signal) {
            errors.at(signal, reason);
        }
    }
}

/// The other key was not given and keeps its default signals.
fn refuse_defaults(signals: &Signals, other: &Reaction, errors: &mut Errors) {
    refuse(signals, errors, |signal| {
        let taken = other.by_default.iter().any(|default| signal == default);
        let rest = other.by_default.iter().filter(|default| signal != *default).copied().collect::<Vec<_>>();
        let (key, verb, rest) = (other.key, other.verb, rest.join(", "));
        taken.then(|| {
            format!("`{signal}` {verb} by default\nhelp: say which signals do instead: `{key}({rest})`")
        })
    });
}

/// `#[tokio::main]`, by any path. It would run its future within our runtime.
fn has_other_runtime(annotated: &Annotated, errors: &mut Errors) -> bool {
    let other = annotated.attributes.iter().find(|attribute| is_named(attribute, "main"));
    if let Some(attribute) = other {
        let message = "`#[gracehttp::main]` makes the runtime itself: take this attribute away\n\
                       help: the number of its threads is `worker_threads = 4`";
        errors.at(attribute, message);
    }
    other.is_some()
}

fn check_main(function: &Function, errors: &mut Errors) -> bool {
    let mut fit = function::check(&function.sig, "`main`", errors);
    if let Some(argument) = function.sig.inputs.get(1) {
        errors.at(argument, "`main` takes one argument at most, the settings of the application");
        fit = false;
    }
    if function.sig.asyncness.is_none() {
        let message = "`main` holds the start-up code, which is async: write `async fn main`\n\
                       help: `#[gracehttp::main]` makes the runtime, too; there is no `#[tokio::main]` beside it";
        errors.at(function.sig.fn_token, message);
        fit = false;
    }
    if let Some(code) = exit_code(&function.sig.output) {
        let message = "what `main` returns is the state of the servers, and `ExitCode` is none\n\
                       help: return nothing; start-up code that can fail returns a `Result`, and the process \
                       exits with status 1 if it does";
        errors.at(code, message);
        fit = false;
    }
    fit
}

/// The `ExitCode` in an output. Any type can be a state, but this one is a mistake.
fn exit_code(output: &ReturnType) -> Option<&Type> {
    let ReturnType::Type(_, output) = output else { return None };
    let is_named = |ty: &Type, name: &str| last_segment(ty).is_some_and(|segment| segment.ident == name);
    let state = match is_named(output, "Result") {
        true => first_argument(output)?,
        false => output,
    };
    is_named(state, "ExitCode").then_some(state)
}
