//! `#[gracehttp::main(…)]`: its keys, and the start-up code that it is put on.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Attribute, Ident, Path, ReturnType, Type};

use crate::args::{Key, Reading, Value, callback, comma_separated, duration, read_keys, timeout};
use crate::codegen;
use crate::errors::{Errors, feature_missing, known_words};
use crate::function::{Annotated, Function, first_argument, last_segment, split_attributes};
use crate::module::name;

#[rustfmt::skip]
const KEYS: &[Key<MainArgs>] = &[
    Key { name: "servers", example: "servers(api, admin)", read: MainArgs::servers },
    Key { name: "drain_timeout", example: r#"drain_timeout = "10s""#, read: duration },
    Key { name: "ready_timeout", example: r#"ready_timeout = "60s""#, read: timeout },
    Key { name: "standby", example: r#"standby = "2s""#, read: duration },
    Key { name: "lame_duck", example: r#"lame_duck = "5s""#, read: duration },
    Key { name: "restart_on", example: "restart_on(HUP, USR1, USR2)", read: MainArgs::restart_on },
    Key { name: "stop_on", example: "stop_on(INT, TERM, QUIT, TSTP)", read: MainArgs::stop_on },
    Key { name: "worker_threads", example: "worker_threads = 4", read: MainArgs::worker_threads },
    Key { name: "config", example: r#"config = "my_app.toml""#, read: MainArgs::config },
    Key { name: "cli", example: "cli", read: MainArgs::cli },
    Key { name: "on_info", example: "on_info = my_function", read: callback },
    Key { name: "on_notice", example: "on_notice = my_function", read: callback },
    Key { name: "on_error", example: "on_error = my_function", read: callback },
    Key { name: "crate", example: "crate = my_facade::gracehttp", read: MainArgs::library },
];

/// The signals that an application can be told by; `Signal` in the library has them as variants.
const SIGNALS: [&str; 7] = ["HUP", "USR1", "USR2", "INT", "TERM", "QUIT", "TSTP"];

/// What the signals do that no key was given for.
struct Reaction {
    key: &'static str,
    verb: &'static str,
    by_default: &'static [&'static str],
}

const RESTART: Reaction =
    Reaction { key: "restart_on", verb: "restarts", by_default: &["HUP", "USR1", "USR2"] };
const STOP: Reaction =
    Reaction { key: "stop_on", verb: "stops", by_default: &["INT", "TERM", "QUIT", "TSTP"] };

/// What the keys said that is more than a call of the method of the same name.
#[derive(Default)]
pub(crate) struct MainArgs {
    pub(crate) servers: Vec<Path>,
    pub(crate) restart_on: Option<Signals>,
    pub(crate) stop_on: Option<Signals>,
    pub(crate) library: Option<Path>,
    /// Whether the key was there, readable or not.
    names_servers: bool,
}

pub(crate) struct Signals {
    pub(crate) key: Ident,
    pub(crate) signals: Vec<Ident>,
}

pub(crate) fn expand(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let (args, calls) = read_keys("#[gracehttp::main]", KEYS, args, &mut errors);
    args.check(&mut errors);
    let other_runtime = other_runtime(item);
    if let Some(attribute) = &other_runtime {
        let message = "`#[gracehttp::main]` makes the runtime itself: take this attribute away\n\
                       help: the number of its threads is `worker_threads = 4`";
        errors.at(attribute, message);
    }
    match errors.take(syn::parse2(item.clone())) {
        Some(Annotated::Function(function)) if function.sig.ident == "main" => {
            let main = if check_main(&function, &mut errors) && other_runtime.is_none() {
                codegen::main(&args, &calls, &function, item)
            } else {
                codegen::unusable_main(item)
            };
            quote!(#main #errors)
        }
        Some(annotated) => {
            reject(annotated, &mut errors);
            quote!(#item #errors)
        }
        None => quote!(#item #errors),
    }
}

impl MainArgs {
    fn servers(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.names_servers = true;
        self.servers = value.paths(
            "at least one server",
            "names of servers, each a function or a module with `#[server]`",
            "the server",
            errors,
        )?;
        Ok(vec![])
    }

    fn restart_on(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.restart_on = Some(Signals::read(value, errors)?);
        Ok(vec![])
    }

    fn stop_on(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.stop_on = Some(Signals::read(value, errors)?);
        Ok(vec![])
    }

    fn worker_threads(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        // The library's own bound.
        value.count_to(4096)
    }

    fn config(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        let file = value.text_or_macro("the path of a file, in quotes")?;
        Ok(vec![quote!(#file)])
    }

    fn cli(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        value.nothing()?;
        if !cfg!(feature = "cli") {
            return Err(feature_missing(value.name, "a command line", "cli"));
        }
        Ok(vec![TokenStream::new()])
    }

    fn library(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.library = Some(value.path()?);
        Ok(vec![])
    }

    /// What no key can tell on its own.
    fn check(&self, errors: &mut Errors) {
        if !self.names_servers && errors.is_empty() {
            let message = "`#[gracehttp::main]` names no server\n\
                           help: list them, `#[gracehttp::main(servers(api, admin))]`; \
                           each is a function or a module with `#[server]`";
            errors.push(syn::Error::new(Span::call_site(), message));
        }
        match (&self.restart_on, &self.stop_on) {
            (Some(restart), Some(stop)) => stop.refuse(errors, |signal| {
                restart.signals.contains(signal).then(|| format!("`{signal}` is in `restart_on` too"))
            }),
            (None, Some(stop)) => stop.refuse_defaults(&RESTART, errors),
            (Some(restart), None) => restart.refuse_defaults(&STOP, errors),
            (None, None) => {}
        }
    }
}

impl Signals {
    fn read(value: &Value<'_>, errors: &mut Errors) -> syn::Result<Self> {
        let (_, inside) = value.list()?;
        let mut signals = Vec::new();
        comma_separated(&inside, errors, |input, errors| {
            let signal: Ident = input
                .parse()
                .map_err(|error: syn::Error| value.misfit_at(error.span(), "names of signals"))?;
            if !SIGNALS.iter().any(|known| signal == known) {
                let name = signal.to_string();
                let help = known_words(name.trim_start_matches("SIG"), "the signals are", &SIGNALS);
                errors.at(&signal, format!("there is no signal `{signal}` to react to\n{help}"));
            } else if signals.contains(&signal) {
                errors.at(&signal, format!("the signal `{signal}` is listed twice"));
            } else {
                signals.push(signal);
            }
            Ok(())
        })?;
        Ok(Self { key: value.name.clone(), signals })
    }

    fn refuse(&self, errors: &mut Errors, reason: impl Fn(&Ident) -> Option<String>) {
        for signal in &self.signals {
            if let Some(reason) = reason(signal) {
                errors.at(signal, reason);
            }
        }
    }

    /// The other key was not given, and still has its signals.
    fn refuse_defaults(&self, other: &Reaction, errors: &mut Errors) {
        self.refuse(errors, |signal| {
            let taken = other.by_default.iter().any(|default| signal == default);
            let rest =
                other.by_default.iter().filter(|default| signal != *default).copied().collect::<Vec<_>>();
            let (key, verb, rest) = (other.key, other.verb, rest.join(", "));
            taken.then(|| {
                format!("`{signal}` {verb} by default\nhelp: say which signals do instead: `{key}({rest})`")
            })
        });
    }
}

/// `#[tokio::main]`, by whatever path: its future would be run within ours.
fn other_runtime(item: &TokenStream) -> Option<Attribute> {
    let (attributes, _) = split_attributes(item)?;
    attributes.into_iter().find(|attribute| name(attribute).is_some_and(|name| name == "main"))
}

fn check_main(function: &Function, errors: &mut Errors) -> bool {
    let mut fit = function.check_plain("`main`", errors);
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

/// The `ExitCode` in an output. Any type can be a state, this one by mistake.
fn exit_code(output: &ReturnType) -> Option<&Type> {
    let ReturnType::Type(_, output) = output else { return None };
    let is_named = |ty: &Type, name: &str| last_segment(ty).is_some_and(|segment| segment.ident == name);
    let state = match is_named(output, "Result") {
        true => first_argument(output)?,
        false => output,
    };
    is_named(state, "ExitCode").then_some(state)
}

fn reject(annotated: Annotated, errors: &mut Errors) {
    let belongs = "`#[gracehttp::main]` belongs on `async fn main`";
    match annotated {
        Annotated::Function(function) => errors.at(&function.sig.ident, belongs),
        Annotated::Module(module) => errors.at(module.keyword, belongs),
        Annotated::Other(token) => errors.at(token, belongs),
    }
}
