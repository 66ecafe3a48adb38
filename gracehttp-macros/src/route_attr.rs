//! `#[get("/path")]` and its kin: what each says, and whether its function can do it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::ParseStream;
use syn::{Attribute, Ident, LitStr, Meta, Token};

use crate::args::{BuilderCall, Key, Reading, Value, expect_comma, read_keys, skip_to_comma};
use crate::errors::{Errors, known_words};
use crate::function::Function;
use crate::module::{Content, Routed, name};
use crate::parameters;
use crate::path::{METHODS, Path};
use crate::paths::Paths;
use crate::server_attr::check_handler;

const KEYS: &[Key<RouteArgs>] =
    &[Key { name: "layer", example: "layer = TimeoutLayer::new(LIMIT)", read: RouteArgs::layer }];

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
            errors.push(stray.clone());
        }
        for Routed { attributes, function } in &content.functions {
            let fit = check_async(function, errors) && check_handler(function, errors);
            for attribute in attributes {
                if name(attribute).is_some_and(|name| name == "fallback") {
                    answers.add_fallback(attribute, function, fit, place, errors);
                } else if let Some(route) = Route::read(attribute, function, errors) {
                    let fresh = parameters::check(&route, place, errors);
                    let handler = function.sig.ident.to_string();
                    let added = paths.add(&route.method_name, &route.path, &handler);
                    if errors.take(added).is_some() && fresh && fit {
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
    /// Goes on after each fault, for the sake of the others.
    fn read(attribute: &Attribute, handler: &'a Function, errors: &mut Errors) -> Option<Self> {
        let word = name(attribute).cloned().unwrap_or_else(|| format_ident!("get"));
        let (shown, example) = match word.to_string().as_str() {
            "route" => ("#[route]".to_owned(), "#[route(GET, \"/path\")]".to_owned()),
            method => (format!("#[{method}]"), format!("#[{method}(\"/path\")]")),
        };
        let no_path = |tokens: &dyn quote::ToTokens| {
            syn::Error::new_spanned(tokens, format!("`{shown}` takes a path, as in `{example}`"))
        };
        let Meta::List(list) = &attribute.meta else {
            errors.push(no_path(attribute));
            return None;
        };
        let read = list.parse_args_with(|input: ParseStream<'_>| {
            let method = if word == "route" { read_method(input, &example, errors)? } else { Some(word) };
            let Some((found, _)) = input.cursor().token_tree() else { return Err(no_path(attribute)) };
            let path = if let Ok(literal) = input.parse() {
                Path::of_route(literal, errors)
            } else {
                errors.push(no_path(&found));
                skip_to_comma(input)?;
                None
            };
            expect_comma(input, errors)?;
            let (args, _) = read_keys(&shown, KEYS, input.parse()?, errors);
            Ok((method, path, args))
        });
        let (method, path, args) = errors.take(read)?;
        let (method, path) = (method?, path?);
        let method_name = match method.to_string() {
            any if any == "any" => any,
            method => method.to_uppercase(),
        };
        Some(Self { method, method_name, path, layer: args.layer, handler })
    }
}

impl RouteArgs {
    fn layer(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.layer = Some(value.call()?);
        Ok(vec![])
    }
}

/// The method that `#[route(METHOD, …)]` begins with, as axum calls its function.
fn read_method(input: ParseStream<'_>, example: &str, errors: &mut Errors) -> syn::Result<Option<Ident>> {
    let Ok(method) = input.parse::<Ident>() else {
        let message = format!("a method comes first, as in `{example}`");
        errors.push(syn::Error::new(input.span(), message));
        // In quotes it is one all the same; another string is the path.
        let is_path = |text: LitStr| !METHODS.contains(&text.value().to_uppercase().as_str());
        if !input.fork().parse().is_ok_and(is_path) {
            skip_to_comma(input)?;
            input.parse::<Option<Token![,]>>()?;
        }
        return Ok(None);
    };
    let name = method.to_string();
    let known = METHODS.contains(&name.as_str());
    if !known {
        let help = known_words(&name, "the methods are", &METHODS);
        errors.at(&method, format!("there is no method `{name}` to route by\n{help}"));
    }
    expect_comma(input, errors)?;
    Ok(known.then(|| Ident::new(&name.to_lowercase(), method.span())))
}
