//! The arguments of an attribute, read by the table of its keys.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, Token};

use super::list::comma_separated;
use super::setting::{Argument, Setting};
use super::value::Value;
use crate::errors::{Errors, closest, feature_missing, hints, known_words};
use crate::keys::{Form, Key};

/// The keys of an attribute that need more than a call of the builder's method of the same name.
pub(crate) trait Arguments: Default {
    /// The keys with a form of their own.
    type Own: Copy + 'static;

    const KEYS: &'static [Key<Self::Own>];

    /// Reads a key with a form of its own. Calls the builder's method of its name with each argument returned.
    fn read_own(&mut self, key: Self::Own, value: &Value<'_>, errors: &mut Errors) -> Reading;
}

pub(crate) type Reading = syn::Result<Vec<Argument>>;

/// Reads the arguments of an attribute. A fault in one leaves the others readable.
pub(super) fn read<A: Arguments>(
    attribute: &str,
    tokens: TokenStream,
    errors: &mut Errors,
) -> (A, Vec<Setting>) {
    let mut arguments = A::default();
    let mut settings = Vec::new();
    let mut seen: Vec<Ident> = Vec::new();
    let read_all = |input: ParseStream<'_>| {
        comma_separated(input, errors, |input, errors| {
            let (name, key) = read_key(attribute, A::KEYS, input)?;
            if seen.contains(&name) {
                let help = hints::for_second(&name.to_string()).map(|hint| format!("\nhelp: {hint}"));
                let message = format!("`{name}` is given twice{}", help.unwrap_or_default());
                return Err(syn::Error::new_spanned(&name, message));
            }
            seen.push(name.clone());
            if let Some(feature) = key.feature.filter(|feature| !feature.is_on()) {
                return Err(feature_missing(&name, &format!("the key `{name}`"), feature.name()));
            }
            let value = Value { name: &name, example: key.example, input };
            let read = match key.kind {
                Form::Own(own) => arguments.read_own(own, &value, errors)?,
                Form::Ordinary(kind) => vec![value.of_kind(kind)?],
            };
            settings.extend(read.into_iter().map(|argument| Setting { key: name.clone(), argument }));
            Ok(())
        })
    };
    let outcome = read_all.parse2(tokens);
    errors.take(outcome);
    (arguments, settings)
}

fn read_key<'k, O>(
    attribute: &str,
    keys: &'k [Key<O>],
    input: ParseStream<'_>,
) -> syn::Result<(Ident, &'k Key<O>)> {
    let names = || keys.iter().map(|key| key.name).collect::<Vec<_>>();
    // `crate` is a key and a keyword.
    let Ok(name) = input.call(Ident::parse_any) else {
        let help = known_words("", "the keys are", &names());
        return Err(
            input.error(format!("a key of `{attribute}` is expected, such as `{}`\n{help}", keys[0].example))
        );
    };
    let unknown = || {
        let word = name.to_string();
        let help = match (hints::for_unknown(attribute, &word), bare_path(&name, input)) {
            (Some(hint), _) => format!("help: {hint}"),
            (None, Some(server)) if attribute == hints::MAIN && closest(&word, &names()).is_none() => {
                format!("help: servers are in a list: `servers({server})`")
            }
            _ => known_words(&word, "the keys are", &names()),
        };
        syn::Error::new_spanned(&name, format!("`{attribute}` has no key `{name}`\n{help}"))
    };
    let key = keys.iter().find(|key| name == key.name).ok_or_else(unknown)?;
    Ok((name, key))
}

/// The path that begins with this name, if the element is nothing but a path.
fn bare_path(name: &Ident, input: ParseStream<'_>) -> Option<String> {
    let rest = input.fork();
    let mut path = name.to_string();
    while rest.parse::<Option<Token![::]>>().ok()?.is_some() {
        path = format!("{path}::{}", rest.parse::<Ident>().ok()?);
    }
    (rest.is_empty() || rest.peek(Token![,])).then_some(path)
}
