//! The keys of an attribute: a table says how each is written and what reads it.

use std::ops::RangeInclusive;
use std::time::Duration;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseBuffer, ParseStream, Parser};
use syn::{Expr, Ident, Lit, LitInt, LitStr, Token, Type, UnOp, parenthesized, token};

use crate::errors::{Errors, closest, known_words};
use crate::{codegen, hints, values};

/// A key that the attribute with the arguments `A` knows.
pub(crate) struct Key<A> {
    pub(crate) name: &'static str,
    /// How it is written: shown to those who wrote it otherwise.
    pub(crate) example: &'static str,
    pub(crate) read: fn(&mut A, &Value<'_>, &mut Errors) -> Reading,
}

/// What a key's value comes to: the builder's method of the key's name is called with each of these.
pub(crate) type Reading = syn::Result<Vec<TokenStream>>;

/// A key that became a method call.
pub(crate) struct BuilderCall {
    /// The user's own token, so that an editor shows the method's documentation at the key.
    pub(crate) method: Ident,
    pub(crate) argument: TokenStream,
}

/// Reads the arguments of an attribute by the table of its keys.
pub(crate) fn read_keys<A: Default>(
    attribute: &str,
    keys: &[Key<A>],
    tokens: TokenStream,
    errors: &mut Errors,
) -> (A, Vec<BuilderCall>) {
    let mut args = A::default();
    let mut calls = Vec::new();
    let mut seen: Vec<Ident> = Vec::new();
    let read_all = |input: ParseStream<'_>| {
        comma_separated(input, errors, |input, errors| {
            let (name, key) = read_key(attribute, keys, input)?;
            if seen.contains(&name) {
                let help = hints::of_twin(&name.to_string()).map(|say| format!("\nhelp: {say}"));
                let message = format!("`{name}` is given twice{}", help.unwrap_or_default());
                return Err(syn::Error::new_spanned(&name, message));
            }
            seen.push(name.clone());
            let value = Value { name: &name, example: key.example, input };
            let arguments = (key.read)(&mut args, &value, errors)?;
            calls
                .extend(arguments.into_iter().map(|argument| BuilderCall { method: name.clone(), argument }));
            Ok(())
        })
    };
    let outcome = read_all.parse2(tokens);
    errors.take(outcome);
    (args, calls)
}

fn read_key<'k, A>(
    attribute: &str,
    keys: &'k [Key<A>],
    input: ParseStream<'_>,
) -> syn::Result<(Ident, &'k Key<A>)> {
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
        let help = match (hints::of_key(attribute, &word), bare_path(&name, input)) {
            (Some(say), _) => format!("help: {say}"),
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

/// The path that begins with this name, where that is all of an element.
fn bare_path(name: &Ident, input: ParseStream<'_>) -> Option<String> {
    let rest = input.fork();
    let mut path = name.to_string();
    while rest.parse::<Option<Token![::]>>().ok()?.is_some() {
        path = format!("{path}::{}", rest.parse::<Ident>().ok()?);
    }
    (rest.is_empty() || rest.peek(Token![,])).then_some(path)
}

/// Reads elements up to the end of the input. A fault in one leaves the others readable.
pub(crate) fn comma_separated(
    input: ParseStream<'_>,
    errors: &mut Errors,
    mut read: impl FnMut(ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) -> syn::Result<()> {
    while !input.is_empty() {
        if let Err(error) = read(input, errors) {
            errors.push(error);
            skip_to_comma(input)?;
        }
        if expect_comma(input, errors)? {
            continue;
        }
        // A word is the next key; anything else belongs to nothing.
        if !input.peek(Ident::peek_any) {
            skip_to_comma(input)?;
            input.parse::<Option<Token![,]>>()?;
        }
    }
    Ok(())
}

/// Reads the comma behind an element, unless that was the last one. Says whether it was there.
pub(crate) fn expect_comma(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<bool> {
    let there = input.is_empty() || input.parse::<Option<Token![,]>>()?.is_some();
    if !there {
        errors.push(input.error("a comma is missing before this"));
    }
    Ok(there)
}

pub(crate) fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// `key = 1000`.
pub(crate) fn count<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    value.count_to(u32::MAX.into())
}

/// `key = true`.
pub(crate) fn flag<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    value.flag().map(|flag| vec![flag.into_token_stream()])
}

/// `key = "1m 30s"`.
pub(crate) fn duration<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    value.duration(Duration::ZERO).map(|(duration, _)| vec![codegen::duration(duration)])
}

/// `key = "30s"`, where zero would let nothing happen at all.
pub(crate) fn timeout<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    value.duration(Duration::from_nanos(1)).map(|(limit, _)| vec![codegen::duration(limit)])
}

/// `key = "60s"`, which the kernel takes.
pub(crate) fn keepalive<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    /// The kernel counts in 15 bits.
    const LONGEST: Duration = Duration::from_secs(32_767);
    let (idle, text) = value.duration(Duration::ZERO)?;
    if idle > LONGEST {
        let message = format!("`{}` is too long: the kernel's longest is 9h 6m 7s", text.value());
        return Err(syn::Error::new(text.span(), message));
    }
    Ok(vec![codegen::duration(idle)])
}

/// `key = "2MiB"`, or a number of bytes.
pub(crate) fn size<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    value.size().map(|(bytes, _)| vec![codegen::number(bytes)])
}

/// `key = "64KiB"`, where nothing would fit into none.
pub(crate) fn positive_size<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    size_from(value, 1, "1 byte")
}

/// `key = "4MiB"`, of at least so many bytes.
pub(crate) fn size_from(value: &Value<'_>, least: u64, shown: &str) -> Reading {
    match value.size()? {
        (bytes, literal) if bytes < least => Err(value.misfit(literal, &format!("a size from {shown} on"))),
        (bytes, _) => Ok(vec![codegen::number(bytes)]),
    }
}

/// `key = function`.
pub(crate) fn callback<A>(_: &mut A, value: &Value<'_>, _: &mut Errors) -> Reading {
    value.expr().map(|function| vec![function.into_token_stream()])
}

/// What stands behind a key: `= value` or `(…)`, not yet read.
pub(crate) struct Value<'a> {
    pub(crate) name: &'a Ident,
    example: &'static str,
    input: ParseStream<'a>,
}

impl<'a> Value<'a> {
    /// `key = 8080`, in a range.
    pub(crate) fn number(&self, range: RangeInclusive<u64>) -> syn::Result<LitInt> {
        let value = self.expr()?;
        let out_of_range = |found: &dyn ToTokens| {
            let (least, most) = (range.start(), range.end());
            syn::Error::new_spanned(found, format!("`{}` is a number from {least} to {most}", self.name))
        };
        match (&value, literal(&value)) {
            (_, Some(Lit::Int(number))) if number.suffix().is_empty() => match number.base10_parse() {
                Ok(inside) if range.contains(&inside) => Ok(number.clone()),
                _ => Err(out_of_range(number)),
            },
            (Expr::Unary(negated), _) if matches!(negated.op, UnOp::Neg(_)) => Err(out_of_range(negated)),
            _ => Err(self.misfit(value, "a whole number")),
        }
    }

    /// `key = 100`, from 1 on.
    pub(crate) fn count_to(&self, most: u64) -> Reading {
        let number = self.number(1..=most)?.base10_parse()?;
        Ok(vec![codegen::number(number)])
    }

    /// `key = true`.
    pub(crate) fn flag(&self) -> syn::Result<bool> {
        let value = self.expr()?;
        match literal(&value) {
            Some(Lit::Bool(flag)) => Ok(flag.value),
            _ => Err(self.misfit(value, "`true` or `false`")),
        }
    }

    fn duration(&self, least: Duration) -> syn::Result<(Duration, LitStr)> {
        let text = self.text("a duration with its unit, in quotes")?;
        let duration =
            values::duration(&text.value()).map_err(|fault| syn::Error::new(text.span(), fault))?;
        if duration < least {
            return Err(syn::Error::new(text.span(), format!("`{}` leaves no time at all", self.name)));
        }
        Ok((duration, text))
    }

    fn size(&self) -> syn::Result<(u64, Expr)> {
        let value = self.expr()?;
        let bytes = match literal(&value) {
            Some(Lit::Str(text)) => {
                values::size(&text.value()).map_err(|fault| syn::Error::new(text.span(), fault))?
            }
            Some(Lit::Int(bytes)) if bytes.suffix().is_empty() => bytes.base10_parse()?,
            _ => return Err(self.misfit(value, "a size, in bytes or with its unit in quotes")),
        };
        Ok((bytes, value))
    }

    /// `key = expression`.
    pub(crate) fn expr(&self) -> syn::Result<Expr> {
        self.equals()?;
        self.input.parse()
    }

    /// `key = expression`, for a method that is not called with the others.
    pub(crate) fn call(&self) -> syn::Result<BuilderCall> {
        let argument = self.expr()?.into_token_stream();
        Ok(BuilderCall { method: self.name.clone(), argument })
    }

    /// `key = Type`.
    pub(crate) fn ty(&self) -> syn::Result<Type> {
        self.equals()?;
        self.input.parse().map_err(|error: syn::Error| self.misfit_at(error.span(), "a type"))
    }

    /// `key = some::path`.
    pub(crate) fn path(&self) -> syn::Result<syn::Path> {
        self.equals()?;
        self.input.call(syn::Path::parse_mod_style).map_err(|error| self.misfit_at(error.span(), "a path"))
    }

    /// `key(one, my::other)`, each once.
    pub(crate) fn paths(
        &self,
        at_least_one: &str,
        expected: &str,
        called: &str,
        errors: &mut Errors,
    ) -> syn::Result<Vec<syn::Path>> {
        let (parens, inside) = self.list()?;
        if inside.is_empty() {
            return Err(self.misfit_at(parens.span.join(), at_least_one));
        }
        let name = |path: &syn::Path| {
            let name = path.to_token_stream().to_string().replace(' ', "");
            name.trim_start_matches("self::").to_owned()
        };
        let mut paths: Vec<syn::Path> = Vec::new();
        comma_separated(&inside, errors, |input, errors| {
            let path = input
                .call(syn::Path::parse_mod_style)
                .map_err(|error| self.misfit_at(error.span(), expected))?;
            if input.peek(token::Paren) {
                return Err(call_of(&path, &input.parse()?, called));
            }
            if paths.iter().any(|earlier| name(earlier) == name(&path)) {
                errors.at(&path, format!("{called} `{}` is listed twice", name(&path)));
            } else {
                paths.push(path);
            }
            Ok(())
        })?;
        Ok(paths)
    }

    /// The inside of `key(…)`, and its parentheses.
    pub(crate) fn list(&self) -> syn::Result<(token::Paren, ParseBuffer<'a>)> {
        if !self.is_list() {
            return Err(self.misfit(self.name, "a list in parentheses"));
        }
        let inside;
        let parens = parenthesized!(inside in self.input);
        Ok((parens, inside))
    }

    /// `key`.
    pub(crate) fn nothing(&self) -> syn::Result<()> {
        if self.input.is_empty() || self.input.peek(Token![,]) {
            return Ok(());
        }
        Err(self.misfit(self.name, "no value"))
    }

    /// Whether the value is written `key = […]`.
    pub(crate) fn is_array(&self) -> bool {
        self.input.peek(Token![=]) && self.input.peek2(token::Bracket)
    }

    /// Whether the value is written `key(…)`.
    pub(crate) fn is_list(&self) -> bool {
        self.input.peek(token::Paren)
    }

    /// The value is of a kind that the key does not take.
    pub(crate) fn misfit(&self, found: impl ToTokens, expected: &str) -> syn::Error {
        syn::Error::new_spanned(found, self.expectation(expected))
    }

    pub(crate) fn misfit_at(&self, found: Span, expected: &str) -> syn::Error {
        syn::Error::new(found, self.expectation(expected))
    }

    fn expectation(&self, expected: &str) -> String {
        format!("`{}` takes {expected}, as in `{}`", self.name, self.example)
    }

    /// `key = "text"`.
    pub(crate) fn text(&self, expected: &str) -> syn::Result<LitStr> {
        self.string(&self.expr()?, expected)
    }

    /// `key = "text"`, or a macro that makes one, such as `concat!(…)`.
    pub(crate) fn text_or_macro(&self, expected: &str) -> syn::Result<Expr> {
        let value = self.expr()?;
        match (literal(&value), &value) {
            (Some(Lit::Str(_)), _) | (_, Expr::Macro(_)) => Ok(value),
            _ => Err(self.misfit(value, expected)),
        }
    }

    /// A string, or a part of a value that ought to be one.
    pub(crate) fn string(&self, found: &Expr, expected: &str) -> syn::Result<LitStr> {
        match literal(found) {
            Some(Lit::Str(text)) => Ok(text.clone()),
            _ => Err(self.misfit(found, expected)),
        }
    }

    /// The path of a file, or a part of a value that ought to be one.
    pub(crate) fn file(&self, found: &Expr, expected: &str) -> syn::Result<LitStr> {
        let file = self.string(found, expected)?;
        match file.value().is_empty() {
            true => Err(syn::Error::new(file.span(), "between these quotes stands the path of a file")),
            false => Ok(file),
        }
    }

    fn equals(&self) -> syn::Result<()> {
        match self.input.parse::<Option<Token![=]>>()? {
            Some(_) if !self.input.is_empty() && !self.input.peek(Token![,]) => Ok(()),
            _ => Err(self.misfit(self.name, "a value")),
        }
    }
}

/// `api::server()` in a list of names.
fn call_of(path: &syn::Path, arguments: &Group, called: &str) -> syn::Error {
    let mut named = path.clone();
    if named.segments.len() > 1 && named.segments.last().is_some_and(|last| last.ident == "server") {
        named.segments.pop();
        named.segments.pop_punct();
    }
    let named = named.to_token_stream().to_string().replace(' ', "");
    syn::Error::new_spanned(quote!(#path #arguments), format!("name {called} without a call: `{named}`"))
}

/// The literal that an expression is. One that comes through `macro_rules!` has an invisible group around it.
fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(value) => Some(&value.lit),
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}
