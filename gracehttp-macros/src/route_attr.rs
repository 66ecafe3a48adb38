//! `#[get("/path")]` and its kin: what each says, and whether its function can do it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::ParseStream;
use syn::{Attribute, GenericArgument, Ident, LitStr, Meta, PathArguments, Token, Type};

use crate::args::{BuilderCall, Key, Reading, Value, read_keys};
use crate::errors::{Errors, known_words};
use crate::function::{Function, last_segment};
use crate::module::{Content, Routed, name};
use crate::path::{Path, Paths};
use crate::server_attr::check_handler;

const KEYS: &[Key<RouteArgs>] =
    &[Key { name: "layer", example: "layer = TimeoutLayer::new(LIMIT)", read: RouteArgs::layer }];

/// The methods that `#[route(METHOD, …)]` takes; axum has a function for each.
const METHODS: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];

/// One path that a function answers.
pub(crate) struct Route<'a> {
    /// axum's function of the method, where the user wrote it.
    pub(crate) method: Ident,
    /// `GET`, or `any`.
    pub(crate) method_name: String,
    pub(crate) path: Path,
    pub(crate) layer: Option<BuilderCall>,
    pub(crate) handler: &'a Function,
}

/// All that a module answers, as far as it is right.
#[derive(Default)]
pub(crate) struct Answers<'a> {
    pub(crate) routes: Vec<Route<'a>>,
    pub(crate) fallback: Option<&'a Function>,
}

/// What a module of routes is part of.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A server's, with the prefix of all of its paths.
    Server(Option<&'a Path>),
    /// A part of others, which may have parameters in their own prefixes.
    Part(Option<&'a Path>),
}

#[derive(Default)]
struct RouteArgs {
    layer: Option<BuilderCall>,
}

/// Explains a route's attribute that no module has taken up.
pub(crate) fn alone(attribute: &str, item: &TokenStream) -> TokenStream {
    let example = match attribute {
        "fallback" => "#[fallback]".to_owned(),
        "route" => "#[route(GET, \"/path\")]".to_owned(),
        method => format!("#[{method}(\"/path\")]"),
    };
    let message = format!(
        "`#[{attribute}]` stands outside of a module of routes\n\
         help: it belongs on a function in a module with `#[server(…)]`, or with `#[gracehttp::routes]` in \
         another file: `#[server(port = 8080)] mod api {{ {example} async fn … }}`"
    );
    let fault = syn::Error::new(Span::call_site(), message).to_compile_error();
    quote!(#item #fault)
}

impl<'a> Answers<'a> {
    /// Reads the attributes of a module's functions.
    pub(crate) fn read(content: &'a Content, place: Place<'_>, errors: &mut Errors) -> Self {
        let mut answers = Self::default();
        let mut paths = Paths::default();
        for stray in &content.strays {
            let name = name(stray).map(ToString::to_string).unwrap_or_default();
            errors.at(stray, format!("`#[{name}]` belongs on an async function, which answers the requests"));
        }
        for Routed { attributes, function } in &content.functions {
            let fit = check_async(function, errors) && check_handler(function, errors);
            for attribute in attributes {
                if name(attribute).is_some_and(|name| name == "fallback") {
                    answers.add_fallback(attribute, function, fit, place, errors);
                } else if let Some(route) = errors.take(Route::read(attribute, function)) {
                    route.check_parameters(place, errors);
                    let handler = function.sig.ident.to_string();
                    let fresh = paths.add(&route.method_name, &route.path, &handler);
                    if errors.take(fresh).is_some() && fit {
                        answers.routes.push(route);
                    }
                }
            }
        }
        answers
    }

    fn add_fallback(
        &mut self,
        attribute: &Attribute,
        function: &'a Function,
        fit: bool,
        place: Place<'_>,
        errors: &mut Errors,
    ) {
        if !matches!(attribute.meta, Meta::Path(_)) {
            errors.at(attribute, "`#[fallback]` takes no arguments: it answers what no route does");
        } else if matches!(place, Place::Part(_)) {
            let message = "a fallback belongs to a server: a part of it can't know what the others answer\n\
                           help: put it into the module with `#[server(…)]`";
            errors.at(attribute, message);
        } else if let Some(first) = self.fallback {
            let message = format!("`{}` is the fallback of this server already", first.sig.ident);
            errors.at(attribute, message);
        } else if fit {
            self.fallback = Some(function);
        }
    }
}

fn check_async(function: &Function, errors: &mut Errors) -> bool {
    let is_async = function.sig.asyncness.is_some();
    if !is_async {
        let message =
            format!("a route answers requests, which is async: write `async fn {}`", function.sig.ident);
        errors.at(function.sig.fn_token, message);
    }
    is_async
}

impl<'a> Route<'a> {
    fn read(attribute: &Attribute, handler: &'a Function) -> syn::Result<Self> {
        let word = name(attribute).cloned().unwrap_or_else(|| format_ident!("get"));
        let (shown, example) = match word.to_string().as_str() {
            "route" => ("#[route]".to_owned(), "#[route(GET, \"/path\")]".to_owned()),
            method => (format!("#[{method}]"), format!("#[{method}(\"/path\")]")),
        };
        let no_path = |tokens: &dyn quote::ToTokens| {
            syn::Error::new_spanned(tokens, format!("`{shown}` takes a path, as in `{example}`"))
        };
        let Meta::List(list) = &attribute.meta else { return Err(no_path(attribute)) };
        list.parse_args_with(|input: ParseStream<'_>| {
            let method = if word == "route" { read_method(input, &example)? } else { word.clone() };
            if input.is_empty() {
                return Err(no_path(attribute));
            }
            let found = input.cursor().token_tree().map(|(token, _)| token);
            let literal = input.parse::<LitStr>().map_err(|_| no_path(&found))?;
            let path = Path::of_route(literal)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
            let mut errors = Errors::default();
            let (args, _) = read_keys(&shown, KEYS, input.parse()?, &mut errors);
            errors.into_result()?;
            let method_name = match method.to_string() {
                any if any == "any" => any,
                method => method.to_uppercase(),
            };
            Ok(Self { method, method_name, path, layer: args.layer, handler })
        })
    }

    /// Reports parameters that the handler can't be given. Whoever takes the whole request, or an extractor
    /// that nobody here knows, may take them from there.
    fn check_parameters(&self, place: Place<'_>, errors: &mut Errors) {
        let literal = &self.path.literal;
        let own = &self.path.parameters;
        let handler = &self.handler.sig.ident;
        let needed = own.iter().find(|name| !name.starts_with('_'));
        if let Some(name) = needed
            && self.handler.arguments().all(takes_no_parameters)
        {
            let message = format!(
                "no argument of `{handler}` takes the parameter `{{{name}}}`\n\
                 help: add one, `Path({name}): Path<…>`, or name it `{{_{name}}}` if nobody needs it"
            );
            errors.at(literal, message);
        }
        let (prefix, more) = match place {
            Place::Server(prefix) => (prefix, false),
            Place::Part(prefix) => (prefix, true),
        };
        let count = own.len() + prefix.map_or(0, |prefix| prefix.parameters.len());
        for ty in self.handler.arguments() {
            let Some(taken) = parameters_taken(ty) else { continue };
            if count > taken || (count < taken && !more) {
                let prefix = prefix.map_or_else(String::new, |prefix| prefix.literal.value());
                let has = match count {
                    0 => "no parameter".to_owned(),
                    1 => "1 parameter".to_owned(),
                    count => format!("{count} parameters"),
                };
                let path = format!("{prefix}{}", literal.value());
                errors.at(ty, format!("the path `{path}` has {has}, and this takes {taken}"));
            }
        }
    }
}

impl RouteArgs {
    fn layer(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.layer = Some(value.call()?);
        Ok(vec![])
    }
}

/// The method that `#[route(METHOD, …)]` begins with, as axum calls its function.
fn read_method(input: ParseStream<'_>, example: &str) -> syn::Result<Ident> {
    let method: Ident = input.parse().map_err(|error: syn::Error| {
        syn::Error::new(error.span(), format!("a method comes first, as in `{example}`"))
    })?;
    let name = method.to_string();
    if !METHODS.contains(&name.as_str()) {
        let help = known_words(&name, "the methods are", &METHODS);
        return Err(syn::Error::new_spanned(
            &method,
            format!("there is no method `{name}` to route by\n{help}"),
        ));
    }
    input.parse::<Option<Token![,]>>()?;
    Ok(Ident::new(&name.to_lowercase(), method.span()))
}

/// Whether an argument is known, by its name, to have nothing to do with the path.
fn takes_no_parameters(ty: &Type) -> bool {
    const STRANGERS: [&str; 13] = [
        "State",
        "Query",
        "Json",
        "Form",
        "Extension",
        "PeerAddr",
        "Shutdown",
        "Generation",
        "HeaderMap",
        "Method",
        "String",
        "Bytes",
        "Body",
    ];
    last_segment(ty).is_some_and(|segment| STRANGERS.iter().any(|name| segment.ident == name))
}

/// How many parameters `Path<T>` takes, where `T` says it: a tuple, or something that is one value.
fn parameters_taken(ty: &Type) -> Option<usize> {
    const SINGLE: [&str; 16] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64",
        "bool", "String",
    ];
    let segment = last_segment(ty).filter(|segment| segment.ident == "Path")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(Type::Tuple(tuple)) => Some(tuple.elems.len()),
        GenericArgument::Type(single) => {
            let single = last_segment(single)?;
            SINGLE.iter().any(|name| single.ident == name).then_some(1)
        }
        _ => None,
    }
}
