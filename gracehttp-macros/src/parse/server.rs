//! The keys of `#[server(…)]` with a form of their own.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, ExprLit, ExprTuple, Ident, Lit, LitStr, Path, Type, parse_quote};

use super::acme::Acme;
use super::arguments::{self, Arguments, Reading};
use super::endpoint::{Endpoint, endpoint};
use super::routes::ModuleArguments;
use super::setting::{Argument, Setting};
use super::text;
use super::value::Value;
use crate::errors::{Errors, feature_missing, known_words};
use crate::keys::{self, Key, ServerKey, TlsKey};

#[derive(Default)]
pub(crate) struct ServerArguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) state: Option<Type>,
    pub(crate) tls: Option<(Ident, Tls)>,
    /// Around the handler, the routes or the service.
    pub(crate) layer: Option<Setting>,
    pub(crate) library: Option<Path>,
    /// The keys of a module of routes.
    pub(crate) module: ModuleArguments,
    pub(crate) endpoints: Vec<WrittenEndpoint>,
    /// Whether a key of endpoints was there, readable or not.
    pub(crate) listens: bool,
}

/// An endpoint, where the user wrote it and as messages show it.
pub(crate) struct WrittenEndpoint {
    pub(crate) place: TokenStream,
    pub(crate) text: String,
    pub(crate) endpoint: Endpoint,
}

pub(crate) enum Tls {
    Files { first: Pair, others: Vec<Pair>, settings: Vec<Setting> },
    SelfSigned(Path),
    Acme(Acme, Vec<Setting>),
}

/// The files of a certificate and its key.
pub(crate) struct Pair {
    pub(crate) cert: LitStr,
    pub(crate) key: LitStr,
}

#[derive(Default)]
struct TlsFiles {
    cert: Option<LitStr>,
    key: Option<LitStr>,
    certs: Vec<Pair>,
    acme: Option<Acme>,
}

impl Arguments for ServerArguments {
    type Own = ServerKey;

    const KEYS: &'static [Key<ServerKey>] = keys::SERVER;

    fn read_own(&mut self, key: ServerKey, value: &Value<'_>, errors: &mut Errors) -> Reading {
        match key {
            ServerKey::Port => return self.port(value),
            ServerKey::Listen => {
                self.listens = true;
                return self.endpoints(value, errors);
            }
            ServerKey::PlainListen => return self.endpoints(value, errors),
            ServerKey::RedirectToHttps => return redirect_to_https(value),
            ServerKey::Hsts => return hsts(value),
            ServerKey::Name => self.name = Some(name(value)?),
            ServerKey::State => self.state = Some(value.ty()?),
            ServerKey::Tls => self.tls = Some((value.name.clone(), Tls::read(value)?)),
            ServerKey::Layer => self.layer = Some(value.setting()?),
            ServerKey::Prefix => self.module.prefix(value, errors)?,
            ServerKey::Routes => self.module.routes(value, errors)?,
            ServerKey::Health => return health(value),
            ServerKey::Crate => self.library = Some(value.path()?),
        }
        Ok(Vec::new())
    }
}

impl ServerArguments {
    fn port(&mut self, value: &Value<'_>) -> Reading {
        self.listens = true;
        if value.is_array() {
            let message = "`port` is one port\nhelp: several endpoints are `listen = [\":8080\", \":8081\"]`";
            return Err(syn::Error::new_spanned(value.expr()?, message));
        }
        let literal = value.number(0..=u64::from(u16::MAX))?;
        let port = literal.base10_parse()?;
        self.endpoints.push(WrittenEndpoint {
            place: literal.into_token_stream(),
            text: format!(":{port}"),
            endpoint: Endpoint::Tcp { host: None, port },
        });
        Ok(vec![Argument::Number(port.into())])
    }

    /// `listen = ":8080"`, or several in a list.
    fn endpoints(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        let expected = "an endpoint, or several as `[\"…\", \"…\"]`";
        if value.is_list() {
            let (parens, inside) = value.list()?;
            let endpoints: TokenStream = inside.parse()?;
            let name = value.name;
            let message = format!("`{name}` is assigned its endpoints\nhelp: write `{name} = [{endpoints}]`");
            return Err(syn::Error::new(parens.span.join(), message));
        }
        let elements: Vec<Expr> = match value.expr()? {
            Expr::Array(array) if array.elems.is_empty() => return Err(value.misfit(array, expected)),
            Expr::Array(array) => array.elems.into_iter().collect(),
            single => vec![single],
        };
        let mut arguments = Vec::new();
        for element in &elements {
            let Some(literal) = errors.take(value.string(element, expected)) else { continue };
            let text = literal.value();
            match endpoint(&text) {
                Ok(endpoint) => {
                    let place = literal.to_token_stream();
                    self.endpoints.push(WrittenEndpoint { place, text, endpoint });
                }
                Err(reason) => errors.at(&literal, reason),
            }
            arguments.push(Argument::Text(literal));
        }
        Ok(arguments)
    }
}

/// A server's name. It is a part of the names of environment variables.
fn name(value: &Value<'_>) -> syn::Result<LitStr> {
    let name = value.text("a string")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.value().is_empty() || !name.value().chars().all(allowed) {
        return Err(syn::Error::new(name.span(), "a server's name is made of letters, digits, `_` and `-`"));
    }
    Ok(name)
}

/// `redirect_to_https = true`, or the port of the https addresses.
fn redirect_to_https(value: &Value<'_>) -> Reading {
    let expr = value.expr()?;
    let port = match &expr {
        Expr::Lit(ExprLit { lit: Lit::Bool(flag), .. }) => {
            return Ok(flag.value.then_some(USUAL).into_iter().collect());
        }
        Expr::Lit(ExprLit { lit: Lit::Int(port), .. }) if port.suffix().is_empty() => {
            port.base10_parse().ok()
        }
        _ => None,
    };
    match port {
        Some(port @ 1..=65535) => Ok(vec![Argument::Number(port)]),
        _ => Err(value.misfit(expr, "`true` for port 443, or a port")),
    }
}

/// The port of an https address that names none.
const USUAL: Argument = Argument::Number(443);

/// `hsts = "180d"`, or a list with `include_subdomains` and `preload` after the duration.
fn hsts(value: &Value<'_>) -> Reading {
    let expected = "a duration, or a list of it, `include_subdomains` and `preload`, in quotes";
    let expr = value.expr()?;
    let elements: Vec<Expr> = match &expr {
        Expr::Array(array) => array.elems.iter().cloned().collect(),
        single => vec![single.clone()],
    };
    let words =
        elements.iter().map(|element| value.string(element, expected)).collect::<syn::Result<Vec<_>>>()?;
    let Some((first, words)) = words.split_first() else { return Err(value.misfit(expr, expected)) };
    let max_age =
        text::long_duration(&first.value()).map_err(|fault| syn::Error::new(first.span(), fault))?;
    for word in words {
        if !["include_subdomains", "preload"].contains(&word.value().as_str()) {
            let message = format!("`{}` is neither `include_subdomains` nor `preload`", word.value());
            return Err(syn::Error::new(word.span(), message));
        }
    }
    let preload = words.iter().find(|word| word.value() == "preload");
    let is_broad = words.iter().any(|word| word.value() == "include_subdomains");
    if let Some(preload) = preload
        && (!is_broad || max_age < LEAST_OF_PRELOAD)
    {
        let message =
            "the lists of browsers take no domain without `\"include_subdomains\"` and `\"365d\"` at least";
        return Err(syn::Error::new(preload.span(), message));
    }
    let written = [first].into_iter().chain(words).map(LitStr::value).collect::<Vec<_>>().join(", ");
    Ok(vec![Argument::Text(LitStr::new(&written, first.span()))])
}

const LEAST_OF_PRELOAD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A path that a client can ask for as it is written.
fn health(value: &Value<'_>) -> Reading {
    let path = value.text("a path in quotes")?;
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#{}*%\"<>\\^`|".contains(&byte);
    if !path.value().starts_with('/') || !path.value().bytes().all(plain) {
        return Err(value.misfit(path, "a path without query and parameters"));
    }
    Ok(vec![Argument::Text(path)])
}

impl Tls {
    fn read(value: &Value<'_>) -> syn::Result<Self> {
        if value.is_list() { Self::listed(value) } else { Self::assigned(value) }
    }

    /// `tls(cert = "…", key = "…")`.
    fn listed(value: &Value<'_>) -> syn::Result<Self> {
        let (parens, inside) = value.list()?;
        let mut errors = Errors::default();
        let (files, settings) = arguments::read("tls(…)", inside.parse()?, &mut errors);
        errors.into_result()?;
        let TlsFiles { cert, key, certs, acme } = files;
        let has_files = cert.is_some() || key.is_some() || !certs.is_empty();
        if let Some(acme) = acme {
            return match has_files {
                false => Ok(Self::Acme(acme, settings)),
                true => {
                    let message = "`acme(…)` stands in place of certificates in files: keep one of them";
                    Err(syn::Error::new(parens.span.join(), message))
                }
            };
        }
        let mut pairs = certs.into_iter();
        match (cert, key, pairs.next()) {
            (Some(cert), Some(key), None) => {
                Ok(Self::Files { first: Pair { cert, key }, others: Vec::new(), settings })
            }
            (None, None, Some(first)) => Ok(Self::Files { first, others: pairs.collect(), settings }),
            (_, _, Some(_)) => {
                let message = "`certs` stands in place of `cert` and `key`: list that pair first";
                Err(syn::Error::new(parens.span.join(), message))
            }
            _ => Err(value.misfit_at(parens.span.join(), "a certificate and its key")),
        }
    }

    /// `tls = ("…", "…")`, or `tls = self_signed`.
    fn assigned(value: &Value<'_>) -> syn::Result<Self> {
        let expected = "the files of a certificate and its key, or `self_signed`";
        match value.expr()? {
            Expr::Tuple(files) => {
                let first = Pair::read(value, &files, expected)?;
                Ok(Self::Files { first, others: Vec::new(), settings: Vec::new() })
            }
            Expr::Path(path) if path.path.is_ident("self_signed") => match cfg!(feature = "self-signed") {
                true => Ok(Self::SelfSigned(path.path)),
                false => {
                    Err(feature_missing(path, "a certificate of the server's own making", "self-signed"))
                }
            },
            other => Err(value.misfit(other, expected)),
        }
    }
}

impl Arguments for TlsFiles {
    type Own = TlsKey;

    const KEYS: &'static [Key<TlsKey>] = keys::TLS;

    fn read_own(&mut self, key: TlsKey, value: &Value<'_>, errors: &mut Errors) -> Reading {
        let file = || value.file(&value.expr()?, "a file's path in quotes").map(Some);
        match key {
            TlsKey::Cert => self.cert = file()?,
            TlsKey::Key => self.key = file()?,
            TlsKey::Certs => self.certs = pairs(value, errors)?,
            TlsKey::MinVersion => {
                let version = value.text("a version of TLS in quotes")?;
                known(&version, keys::VERSIONS)?;
                return Ok(vec![Argument::Text(version)]);
            }
            TlsKey::CipherSuites => return words(value, "cipher suites", keys::CIPHER_SUITES, errors),
            TlsKey::ClientCrl => return files(value, errors),
            TlsKey::Curves => return words(value, "curves", keys::CURVES, errors),
            TlsKey::Acme => self.acme = Some(Acme::read(value, errors)?),
        }
        Ok(Vec::new())
    }
}

impl Pair {
    fn read(value: &Value<'_>, pair: &ExprTuple, expected: &str) -> syn::Result<Self> {
        let mut elements = pair.elems.iter();
        match (elements.next(), elements.next(), elements.next()) {
            (Some(cert), Some(key), None) => {
                Ok(Self { cert: value.file(cert, expected)?, key: value.file(key, expected)? })
            }
            _ => Err(value.misfit(pair, expected)),
        }
    }
}

/// `certs = [("a.pem", "a.key"), …]`.
fn pairs(value: &Value<'_>, errors: &mut Errors) -> syn::Result<Vec<Pair>> {
    let expected = "pairs of files, each a certificate and its key";
    let list = match value.expr()? {
        Expr::Array(array) if !array.elems.is_empty() => array,
        other => return Err(value.misfit(other, expected)),
    };
    let pairs = list.elems.iter().filter_map(|element| match element {
        Expr::Tuple(pair) => errors.take(Pair::read(value, pair, expected)),
        other => {
            errors.at(other, value.misfit(other, expected));
            None
        }
    });
    Ok(pairs.collect())
}

/// `key = "file"`, or several in brackets.
fn files(value: &Value<'_>, errors: &mut Errors) -> Reading {
    let expected = "a file's path in quotes, or several in brackets";
    let list = match value.expr()? {
        Expr::Array(array) if !array.elems.is_empty() => array,
        single => {
            let file = value.file(&single, expected)?;
            return Ok(vec![Argument::Code(parse_quote!([#file]))]);
        }
    };
    for element in &list.elems {
        let read = value.file(element, expected);
        errors.take(read);
    }
    Ok(vec![Argument::Code(Expr::Array(list))])
}

/// `key = ["…", "…"]`: one or several of these words.
fn words(value: &Value<'_>, what: &str, all: &[&'static str], errors: &mut Errors) -> Reading {
    let expected = format!("{what} in quotes, in brackets");
    let list = match value.expr()? {
        Expr::Array(array) if !array.elems.is_empty() => array,
        other => return Err(value.misfit(other, &expected)),
    };
    for element in &list.elems {
        let read = value.string(element, &expected).and_then(|word| known(&word, all));
        errors.take(read);
    }
    Ok(vec![Argument::Code(Expr::Array(list))])
}

/// Whether a text is one of these words.
fn known(text: &LitStr, all: &[&'static str]) -> syn::Result<()> {
    match all.contains(&text.value().as_str()) {
        true => Ok(()),
        false => {
            let message = format!(
                "`{}` is unknown here\n{}",
                text.value(),
                known_words(&text.value(), "valid are", all)
            );
            Err(syn::Error::new(text.span(), message))
        }
    }
}
