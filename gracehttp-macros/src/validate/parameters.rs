//! The parameters of a path, and the arguments that take them.

use syn::Type;

use super::types::{first_argument, last_segment};
use crate::errors::Errors;
use crate::parse::{Function, Path, Route};

/// What a module of routes is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// A server.
    Server,
    /// A part of servers or of other parts, which may have parameters in their own prefixes.
    Part,
}

/// Reports parameters that no argument of the handler takes, and parameters that the prefix has already. Says
/// whether there were none of the latter.
///
/// An argument of an unknown type may take parameters from the request, so it counts as taking them.
pub(super) fn check(
    route: &Route,
    function: &Function,
    prefix: Option<&Path>,
    place: Place,
    errors: &mut Errors,
) -> bool {
    let literal = &route.path.literal;
    let own = &route.path.parameters;
    // The prefixes of the modules around a part may have more parameters.
    let more = place == Place::Part;
    let of_prefix = prefix.map_or(&[][..], |prefix| &prefix.parameters);
    let text = prefix.map_or_else(String::new, |prefix| prefix.literal.value());
    let mut fresh = true;
    for name in own.iter().filter(|name| of_prefix.contains(name)) {
        errors.at(literal, format!("the parameter `{{{name}}}` is in the prefix `{text}` already"));
        fresh = false;
    }

    let handler = &function.sig.ident;
    let needed = own.iter().find(|name| !name.starts_with('_'));
    if let Some(name) = needed
        && function.arguments().all(takes_no_parameters)
    {
        let message = format!(
            "no argument of `{handler}` takes the parameter `{{{name}}}`\n\
             help: add one, `Path({name}): Path<…>`, or name it `{{_{name}}}` if no argument needs it"
        );
        errors.at(literal, message);
    }

    let names: Vec<&str> = of_prefix.iter().chain(own).map(String::as_str).collect();
    let count = names.len();
    let taken = function.arguments().filter_map(|ty| Some((ty, parameters_taken(ty)?)));
    let misfits: Vec<(&Type, usize)> =
        taken.filter(|(_, taken)| count > *taken || (count < *taken && !more)).collect();
    let path = format!("{text}{}", literal.value());
    let has = match count {
        0 => "no parameter".to_owned(),
        1 => "1 parameter".to_owned(),
        count => format!("{count} parameters"),
    };
    match &misfits[..] {
        // One argument for each parameter: a mistake that gets a message of its own.
        [_, rest @ ..] if !rest.is_empty() && count > 1 => {
            for (ty, _) in rest {
                let help = all_at_once(&names);
                errors.at(
                    ty,
                    format!("one `Path` takes all parameters of a path, and `{path}` has {has}\n{help}"),
                );
            }
        }
        misfits => {
            for (ty, taken) in misfits {
                let help = if count == 0 { String::new() } else { format!("\n{}", all_at_once(&names)) };
                errors.at(ty, format!("the path `{path}` has {has}, and this takes {taken}{help}"));
            }
        }
    }
    fresh
}

/// A help line with an argument that takes the parameters of these names.
fn all_at_once(names: &[&str]) -> String {
    let argument = match names {
        [name] => format!("Path({name}): Path<…>"),
        names => format!("Path(({})): Path<({})>", names.join(", "), vec!["…"; names.len()].join(", ")),
    };
    format!("help: take them as `{argument}`")
}

/// Whether the name of an argument's type is known, and the type takes nothing from the path.
fn takes_no_parameters(ty: &Type) -> bool {
    const WITHOUT_PARAMETERS: [&str; 21] = [
        "State",
        "Query",
        "RawQuery",
        "Json",
        "Form",
        "RawForm",
        "Multipart",
        "Extension",
        "PeerAddr",
        "TlsInfo",
        "ConnectInfo",
        "Shutdown",
        "Generation",
        "HeaderMap",
        "TypedHeader",
        "Method",
        "Version",
        "WebSocketUpgrade",
        "String",
        "Bytes",
        "Body",
    ];
    let Some(segment) = last_segment(ty) else { return false };
    if segment.ident == "Option" || segment.ident == "Result" {
        return first_argument(ty).is_some_and(takes_no_parameters);
    }
    WITHOUT_PARAMETERS.iter().any(|name| segment.ident == name)
}

/// How many parameters `Path<T>` takes, if `T` shows it: a tuple, or a type that is one value.
fn parameters_taken(ty: &Type) -> Option<usize> {
    const SINGLE: [&str; 16] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64",
        "bool", "String",
    ];
    last_segment(ty).filter(|segment| segment.ident == "Path")?;
    match first_argument(ty)? {
        Type::Tuple(tuple) => Some(tuple.elems.len()),
        single => {
            let single = last_segment(single)?;
            SINGLE.iter().any(|name| single.ident == name).then_some(1)
        }
    }
}
