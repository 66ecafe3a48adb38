//! `#[get("/path")]` and the like, on a function in a module.

use quote::format_ident;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, LitStr, Meta, Token};

use super::arguments::{self, Arguments, Reading};
use super::attributes::last_name;
use super::list::{expect_comma, skip_to_comma};
use super::path::{METHODS, Path};
use super::setting::Setting;
use super::value::Value;
use crate::errors::{Errors, known_words};
use crate::keys::{self, Key, RouteKey};

/// An attribute that makes a function answer requests.
pub(crate) enum RouteAttribute {
    Fallback {
        attribute: Attribute,
    },
    Route {
        /// Nothing where the attribute could not be read.
        route: Option<Route>,
        /// What is wrong with the attribute. It is reported after the faults of earlier functions.
        faults: Errors,
    },
}

/// One path that a function answers.
pub(crate) struct Route {
    /// axum's function of the method, where the user wrote it.
    pub(crate) method: Ident,
    /// `GET`, or `any`.
    pub(crate) method_name: String,
    pub(crate) path: Path,
    pub(crate) layer: Option<Setting>,
}

#[derive(Default)]
struct RouteArguments {
    layer: Option<Setting>,
}

impl RouteAttribute {
    pub(super) fn read(attribute: Attribute) -> Self {
        if last_name(&attribute).is_some_and(|name| name == "fallback") {
            return Self::Fallback { attribute };
        }
        let mut faults = Errors::default();
        let route = Route::read(&attribute, &mut faults);
        Self::Route { route, faults }
    }
}

impl Route {
    /// Goes on after each fault, to find the others.
    fn read(attribute: &Attribute, errors: &mut Errors) -> Option<Self> {
        let word = last_name(attribute).cloned().unwrap_or_else(|| format_ident!("get"));
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
            let (arguments, _): (RouteArguments, _) = arguments::read(&shown, input.parse()?, errors);
            Ok((method, path, arguments))
        });
        let (method, path, arguments) = errors.take(read)?;
        let (method, path) = (method?, path?);
        let method_name = match method.to_string() {
            any if any == "any" => any,
            method => method.to_uppercase(),
        };
        Some(Self { method, method_name, path, layer: arguments.layer })
    }
}

impl Arguments for RouteArguments {
    type Own = RouteKey;

    const KEYS: &'static [Key<RouteKey>] = keys::ROUTE;

    fn read_own(&mut self, key: RouteKey, value: &Value<'_>, _: &mut Errors) -> Reading {
        match key {
            RouteKey::Layer => self.layer = Some(value.setting()?),
        }
        Ok(Vec::new())
    }
}

/// Reads the method at the beginning of `#[route(METHOD, …)]`. Returns the name of axum's function for it.
fn read_method(input: ParseStream<'_>, example: &str, errors: &mut Errors) -> syn::Result<Option<Ident>> {
    let Ok(method) = input.parse::<Ident>() else {
        let message = format!("a method comes first, as in `{example}`");
        errors.push(syn::Error::new(input.span(), message));
        // A method in quotes is still a method; any other string is the path.
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
