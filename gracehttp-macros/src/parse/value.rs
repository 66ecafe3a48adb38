//! The value behind a key, read by its kind.

use std::ops::RangeInclusive;
use std::time::Duration;

use proc_macro2::{Group, Span};
use quote::{ToTokens, quote};
use syn::parse::{ParseBuffer, ParseStream};
use syn::{Expr, ExprLit, Ident, Lit, LitInt, LitStr, Token, Type, UnOp, parenthesized, token};

use super::endpoint::{Endpoint, endpoint};
use super::list::comma_separated;
use super::setting::{Argument, Setting};
use super::text;
use crate::errors::Errors;
use crate::keys::{CheckList, Kind};

/// What stands behind a key: `= value` or `(…)`, not yet read.
pub(crate) struct Value<'a> {
    pub(super) name: &'a Ident,
    pub(super) example: &'static str,
    pub(super) input: ParseStream<'a>,
}

impl<'a> Value<'a> {
    /// Reads a value of an ordinary kind.
    pub(super) fn of_kind(&self, kind: Kind) -> syn::Result<Argument> {
        Ok(match kind {
            Kind::Count { most } => Argument::Number(self.number(1..=most)?.base10_parse()?),
            Kind::Flag => Argument::Flag(self.flag()?),
            Kind::Duration => Argument::Duration(self.duration()?.0),
            Kind::Timeout => Argument::Duration(self.timeout()?),
            Kind::Keepalive => Argument::Duration(self.keepalive()?),
            Kind::Length => Argument::Number(self.size(0)?),
            Kind::Size { least } => Argument::Number(self.size(least)?),
            Kind::Mode => Argument::Number(self.mode()?.into()),
            Kind::Text { expected } => Argument::Text(self.filled_text(expected)?),
            Kind::Address { only_unix } => Argument::Text(self.address(only_unix)?),
            Kind::List { expected, check } => Argument::Texts(self.texts(expected, check)?),
            Kind::Choice { of, words } => Argument::Choice { of, word: self.choice(words)? },
            Kind::File { expected } => Argument::Code(self.text_or_macro(expected)?),
            Kind::Callback => Argument::Code(self.expr()?),
        })
    }

    /// `key = 8080`, in a range.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> syn::Result<LitInt> {
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

    /// `key = true`.
    pub(super) fn flag(&self) -> syn::Result<bool> {
        let value = self.expr()?;
        match literal(&value) {
            Some(Lit::Bool(flag)) => Ok(flag.value),
            _ => Err(self.misfit(value, "`true` or `false`")),
        }
    }

    /// `key = "1m 30s"`, and the text for messages about it.
    fn duration(&self) -> syn::Result<(Duration, LitStr)> {
        let text = self.text("a duration with its unit, in quotes")?;
        let duration = text::duration(&text.value()).map_err(|fault| syn::Error::new(text.span(), fault))?;
        Ok((duration, text))
    }

    fn timeout(&self) -> syn::Result<Duration> {
        match self.duration()? {
            (Duration::ZERO, text) => {
                Err(syn::Error::new(text.span(), format!("`{}` leaves no time at all", self.name)))
            }
            (timeout, _) => Ok(timeout),
        }
    }

    fn keepalive(&self) -> syn::Result<Duration> {
        /// The kernel counts in 15 bits.
        const LONGEST: Duration = Duration::from_secs(32_767);
        match self.duration()? {
            (idle, text) if idle > LONGEST => {
                let message = format!("`{}` is too long: the kernel's longest is 9h 6m 7s", text.value());
                Err(syn::Error::new(text.span(), message))
            }
            (idle, _) => Ok(idle),
        }
    }

    /// `key = "2MiB"`, or a number of bytes.
    fn size(&self, least: u64) -> syn::Result<u64> {
        let value = self.expr()?;
        let bytes = match literal(&value) {
            Some(Lit::Str(text)) => {
                text::size(&text.value()).map_err(|fault| syn::Error::new(text.span(), fault))?
            }
            Some(Lit::Int(bytes)) if bytes.suffix().is_empty() => bytes.base10_parse()?,
            _ => return Err(self.misfit(value, "a size, in bytes or with its unit in quotes")),
        };
        if bytes < least {
            return Err(self.misfit(value, &format!("a size from {} on", text::shown_size(least))));
        }
        Ok(bytes)
    }

    fn mode(&self) -> syn::Result<u32> {
        let text = self.text("permission bits in octal, in quotes")?;
        text::mode(&text.value()).map_err(|fault| syn::Error::new(text.span(), fault))
    }

    /// `key = "text"`, not empty.
    fn filled_text(&self, expected: &str) -> syn::Result<LitStr> {
        let text = self.text(expected)?;
        match text.value().is_empty() {
            true => Err(self.misfit(text, expected)),
            false => Ok(text),
        }
    }

    /// `key = ["one", "two"]`, or `key = "one"`.
    fn texts(&self, expected: &str, check: CheckList) -> syn::Result<Vec<LitStr>> {
        let elements: Vec<Expr> = match self.expr()? {
            Expr::Array(array) if array.elems.is_empty() => return Err(self.misfit(array, expected)),
            Expr::Array(array) => array.elems.into_iter().collect(),
            single => vec![single],
        };
        let texts =
            elements.iter().map(|element| self.string(element, expected)).collect::<syn::Result<Vec<_>>>()?;
        if let Some(several) = texts.iter().find(|text| text.value().contains(',')) {
            return Err(self.several_in_one(several));
        }
        let values: Vec<String> = texts.iter().map(LitStr::value).collect();
        match check(&values) {
            Ok(()) => Ok(texts),
            Err((place, fault)) => Err(syn::Error::new(texts[place].span(), fault)),
        }
    }

    /// `key = "one, two"`, as a variable of the environment has it.
    fn several_in_one(&self, several: &LitStr) -> syn::Error {
        let apart: Vec<String> = several.value().split(',').map(|one| format!("{:?}", one.trim())).collect();
        let message = format!(
            "one text is one element here\nhelp: several are a list, `{} = [{}]`",
            self.name,
            apart.join(", ")
        );
        syn::Error::new(several.span(), message)
    }

    /// `key = "unix:/run/app.sock"`, or `key = off`, which becomes the text that the file has for it.
    fn address(&self, only_unix: bool) -> syn::Result<LitStr> {
        let expected = match only_unix {
            true => "`unix:` and the path of a socket in quotes, or `off`",
            false => "an endpoint in quotes, or `off`",
        };
        let value = self.expr()?;
        if let Expr::Path(path) = &value
            && path.path.is_ident("off")
        {
            return Ok(LitStr::new("off", path.path.require_ident()?.span()));
        }
        let text = self.string(&value, expected)?;
        match endpoint(&text.value()) {
            _ if text.value() == "off" => Ok(text),
            Ok(Endpoint::Unix(_)) => Ok(text),
            Ok(_) if !only_unix => Ok(text),
            Err(fault) if !only_unix => Err(syn::Error::new(text.span(), fault)),
            Err(fault) if text.value().starts_with("unix:") => {
                // Its help would be about hosts and ports.
                let reason = fault.lines().next().unwrap_or_default();
                Err(syn::Error::new(text.span(), format!("{reason}\nhelp: {}", self.expectation(expected))))
            }
            _ => Err(self.misfit(text, expected)),
        }
    }

    /// `key = word`.
    fn choice(&self, words: &[&str]) -> syn::Result<Ident> {
        let choice = self.expr()?;
        match &choice {
            Expr::Path(path) if words.iter().any(|known| path.path.is_ident(known)) => {
                path.path.require_ident().cloned()
            }
            // As in the file.
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if words.contains(&text.value().as_str()) => {
                Ok(Ident::new(&text.value(), text.span()))
            }
            _ => {
                let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>();
                Err(self.misfit(choice, &words.join(" or ")))
            }
        }
    }

    /// `key = expression`.
    pub(super) fn expr(&self) -> syn::Result<Expr> {
        self.equals()?;
        self.input.parse()
    }

    /// `key = expression`, for a method that is not called with the others.
    pub(super) fn setting(&self) -> syn::Result<Setting> {
        Ok(Setting { key: self.name.clone(), argument: Argument::Code(self.expr()?) })
    }

    /// `key = Type`.
    pub(super) fn ty(&self) -> syn::Result<Type> {
        self.equals()?;
        self.input.parse().map_err(|error: syn::Error| self.misfit_at(error.span(), "a type"))
    }

    /// `key = some::path`.
    pub(super) fn path(&self) -> syn::Result<syn::Path> {
        self.equals()?;
        self.input.call(syn::Path::parse_mod_style).map_err(|error| self.misfit_at(error.span(), "a path"))
    }

    /// `key(one, my::other)`, each once.
    pub(super) fn paths(
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
    pub(super) fn list(&self) -> syn::Result<(token::Paren, ParseBuffer<'a>)> {
        if !self.is_list() {
            return Err(self.misfit(self.name, "a list in parentheses"));
        }
        let inside;
        let parens = parenthesized!(inside in self.input);
        Ok((parens, inside))
    }

    /// `key`.
    pub(super) fn nothing(&self) -> syn::Result<()> {
        if self.input.is_empty() || self.input.peek(Token![,]) {
            return Ok(());
        }
        Err(self.misfit(self.name, "no value"))
    }

    /// Whether the value is written `key = […]`.
    pub(super) fn is_array(&self) -> bool {
        self.input.peek(Token![=]) && self.input.peek2(token::Bracket)
    }

    /// Whether the value is written `key(…)`.
    pub(super) fn is_list(&self) -> bool {
        self.input.peek(token::Paren)
    }

    /// The value is of a kind that the key does not take.
    pub(super) fn misfit(&self, found: impl ToTokens, expected: &str) -> syn::Error {
        syn::Error::new_spanned(found, self.expectation(expected))
    }

    pub(super) fn misfit_at(&self, found: Span, expected: &str) -> syn::Error {
        syn::Error::new(found, self.expectation(expected))
    }

    fn expectation(&self, expected: &str) -> String {
        format!("`{}` takes {expected}, as in `{}`", self.name, self.example)
    }

    /// `key = "text"`.
    pub(super) fn text(&self, expected: &str) -> syn::Result<LitStr> {
        self.string(&self.expr()?, expected)
    }

    /// `key = "text"`, not empty, or a macro that makes one, such as `concat!(…)`.
    pub(super) fn text_or_macro(&self, expected: &str) -> syn::Result<Expr> {
        let value = self.expr()?;
        match (literal(&value), &value) {
            (Some(Lit::Str(text)), _) if text.value().is_empty() => Err(self.misfit(value, expected)),
            (Some(Lit::Str(_)), _) | (_, Expr::Macro(_)) => Ok(value),
            _ => Err(self.misfit(value, expected)),
        }
    }

    /// A string, or a part of a value that ought to be one.
    pub(super) fn string(&self, found: &Expr, expected: &str) -> syn::Result<LitStr> {
        match literal(found) {
            Some(Lit::Str(text)) => Ok(text.clone()),
            _ => Err(self.misfit(found, expected)),
        }
    }

    /// The path of a file, or a part of a value that ought to be one.
    pub(super) fn file(&self, found: &Expr, expected: &str) -> syn::Result<LitStr> {
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
