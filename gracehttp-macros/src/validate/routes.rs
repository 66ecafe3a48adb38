//! A module of routes: the item that `#[routes(…)]` is on, or one kind of item that `#[server(…)]` is on.

use proc_macro2::TokenStream;
use syn::{Attribute, Ident, Meta};

use super::handler::Handler;
use super::parameters::Place;
use super::paths::Paths;
use super::{Checked, parameters};
use crate::errors::{Errors, feature_missing};
use crate::parse::{
    Annotated, Attributed, Content, Function, Item, Module, ModuleArguments, Path, Route, RouteAttribute,
    RoutedFunction, RoutesArguments, Setting, Shell,
};

/// The item that `#[routes]` is on.
pub(crate) enum RoutesItem {
    Routes {
        routes: Box<Routes>,
        layer: Option<Setting>,
        library: Option<syn::Path>,
    },
    /// A module whose routes can't be served.
    Unusable(Shell),
    /// No module.
    Other(TokenStream),
}

/// A module of routes.
pub(crate) struct Routes {
    pub(crate) module: Shell,
    pub(crate) prefix: Option<Path>,
    /// Modules of routes in its braces.
    pub(crate) within: Vec<Ident>,
    /// Modules of routes that lie elsewhere.
    pub(crate) included: Vec<syn::Path>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) fallback: Option<Handler>,
}

/// A route and the function that answers it.
pub(crate) struct Answer {
    pub(crate) route: Route,
    pub(crate) handler: Handler,
}

pub(crate) fn routes(parsed: Attributed<RoutesArguments>, errors: &mut Errors) -> Checked<RoutesItem> {
    let Attributed { arguments: RoutesArguments { module: arguments, layer, library }, annotated, .. } =
        parsed;
    let Annotated { source, item, .. } = annotated;
    let belongs = "`#[routes]` belongs on a module, `mod routes { … }`, whose functions are routes";
    Checked(match item {
        Some(Item::Module(module)) => match of_module(*module, arguments, Place::Part, errors) {
            Ok(routes) => RoutesItem::Routes { routes: Box::new(routes), layer, library },
            Err(module) => RoutesItem::Unusable(module),
        },
        Some(Item::Function(function)) => {
            errors.at(&function.sig.ident, belongs);
            RoutesItem::Other(source)
        }
        Some(Item::Other(token)) => {
            errors.at(token, belongs);
            RoutesItem::Other(source)
        }
        None => RoutesItem::Other(source),
    })
}

/// The routes of a module, or the bare module where they can't be served: it is in a file of its own, or the
/// library has no router.
pub(super) fn of_module(
    module: Module,
    arguments: ModuleArguments,
    place: Place,
    errors: &mut Errors,
) -> Result<Routes, Shell> {
    let Module { shell, keyword, content } = module;
    let Some(content) = content else {
        errors.at(keyword, in_file(&shell.ident));
        return Err(shell);
    };
    let ModuleArguments { prefix, mut included, keys } = arguments;
    let Content { functions, modules: within, strays, .. } = content;
    let includes = keys.iter().any(|key| key == "routes");
    let is_empty = functions.is_empty() && within.is_empty() && strays.is_empty() && !includes;
    for stray in strays {
        errors.push(stray);
    }
    let (answers, fallback) = answers(functions, prefix.as_ref(), place, errors);
    if is_empty {
        let message = format!(
            "`{}` has no routes\nhelp: put `#[get(\"/\")]`, or another method, on an async function in it",
            shell.ident
        );
        errors.at(&shell.ident, message);
    }
    if !cfg!(feature = "axum") {
        errors.push(feature_missing(keyword, "a module of routes", "axum"));
        return Err(shell);
    }
    included.retain(|path| {
        let is_other = !is_itself(path, &shell.ident);
        if !is_other {
            errors.at(path, format!("`{}` can't be a part of itself", shell.ident));
        }
        is_other
    });
    Ok(Routes { module: shell, prefix, within, included, answers, fallback })
}

/// The routes and the fallback of a module, without those that have faults.
fn answers(
    functions: Vec<RoutedFunction>,
    prefix: Option<&Path>,
    place: Place,
    errors: &mut Errors,
) -> (Vec<Answer>, Option<Handler>) {
    let mut answers = Vec::new();
    let mut fallback = None;
    let mut paths = Paths::default();
    for RoutedFunction { attributes, function } in functions {
        let handler = check_async(&function, errors).then(|| Handler::of(&function, errors)).flatten();
        for attribute in attributes {
            let (route, faults) = match attribute {
                RouteAttribute::Route { route, faults } => (route, faults),
                RouteAttribute::Fallback { attribute } => {
                    let fits = check_fallback(&attribute, fallback.as_ref(), place, errors);
                    fallback = fallback.or_else(|| handler.clone().filter(|_| fits));
                    continue;
                }
            };
            errors.append(faults);
            let Some(route) = route else { continue };
            let fresh = parameters::check(&route, &function, prefix, place, errors);
            let added = paths.add(&route.method_name, &route.path, &function.sig.ident.to_string());
            if errors.take(added).is_some()
                && fresh
                && let Some(handler) = handler.clone()
            {
                answers.push(Answer { route, handler });
            }
        }
    }
    (answers, fallback)
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

/// Says whether the attribute makes its function the fallback.
fn check_fallback(
    attribute: &Attribute,
    earlier: Option<&Handler>,
    place: Place,
    errors: &mut Errors,
) -> bool {
    let message = if !matches!(attribute.meta, Meta::Path(_)) {
        "`#[fallback]` takes no arguments: it answers what no route does".to_owned()
    } else if place == Place::Part {
        "a fallback belongs to a server: a part of it can't know what the others answer\n\
         help: put it into the module with `#[server(…)]`"
            .to_owned()
    } else if let Some(earlier) = earlier {
        format!("`{}` is the fallback of this server already", earlier.ident)
    } else {
        return true;
    };
    errors.at(attribute, message);
    false
}

/// Whether a path in an attribute means the module that has the attribute.
fn is_itself(path: &syn::Path, module: &Ident) -> bool {
    let mut names = path.segments.iter().skip_while(|segment| segment.ident == "self");
    names.next().is_some_and(|first| first.ident == *module) && names.next().is_none()
}

/// What is wrong with a module in a file of its own, and what to write instead.
fn in_file(module: &Ident) -> String {
    format!(
        "`{module}` is in a file of its own, where an attribute can't look into it\n\
         help: leave `mod {module};` without an attribute, write the routes in its file as \
         `#[gracehttp::routes] pub mod routes {{ … }}`, and list them: `#[server(…, routes({module}::routes))]`"
    )
}
