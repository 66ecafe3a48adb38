//! What the library takes from the table of keys, by the macro `keys!(TABLE.VIEW => CALLBACK)`.
//!
//! A view is a part of each row, in the form in which the library needs it. The views of ordinary keys go to a
//! `macro_rules!` of the library, the callback, which says what becomes of them there.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Token};

use crate::generate::{duration, number};
use crate::keys::{CIPHER_SUITES, CURVES, Entry, Feature, Form, Key, Kind, Library, MAIN, SERVER, VERSIONS};
use crate::parse::text;

/// `server.methods => methods`.
struct View {
    table: Ident,
    name: Ident,
    callback: Option<Ident>,
}

impl Parse for View {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let table = input.parse()?;
        input.parse::<Token![.]>()?;
        let name = input.parse()?;
        let callback = match input.parse::<Option<Token![=>]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Self { table, name, callback })
    }
}

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let view: syn::Result<View> = syn::parse2(input);
    let tokens = view.and_then(|view| match view.table.to_string().as_str() {
        "tls" => view.words_of_tls(),
        "server" => view.of(SERVER),
        "process" => view.of(MAIN),
        _ => Err(syn::Error::new(view.table.span(), "the tables are `server`, `process` and `tls`")),
    });
    tokens.unwrap_or_else(|error| error.to_compile_error())
}

impl View {
    fn words_of_tls(&self) -> syn::Result<TokenStream> {
        let words = match self.name.to_string().as_str() {
            "versions" => VERSIONS,
            "cipher_suites" => CIPHER_SUITES,
            "curves" => CURVES,
            _ => return Err(syn::Error::new(self.name.span(), "TLS has no such words")),
        };
        Ok(quote!(&[#(#words),*]))
    }

    fn of<O>(&self, table: &[Key<O>]) -> syn::Result<TokenStream> {
        let Self { name, callback, .. } = self;
        let ordinary = || {
            let keys = table.iter().filter(|key| matches!(key.library, Library::FromRow));
            keys.map(|key| Ordinary::new(key).map_err(|reason| syn::Error::new(name.span(), reason)))
                .collect::<syn::Result<Vec<_>>>()
        };
        Ok(match name.to_string().as_str() {
            "fields" => {
                let fields = ordinary()?.into_iter().map(|key| key.field());
                quote!(#callback! { #(#fields),* })
            }
            "methods" => {
                let methods = ordinary()?.into_iter().map(|key| key.method());
                quote!(#callback! { #(#methods;)* })
            }
            "entries" => {
                let mut ordinary = ordinary()?.into_iter();
                let entries = table.iter().flat_map(|key| match key.library {
                    Library::FromRow => ordinary.next().map(|key| key.entry(callback)).into_iter().collect(),
                    Library::ByHand(entries) => {
                        entries.iter().map(|entry| constant(entry, key.feature)).collect::<Vec<_>>()
                    }
                    Library::Code => vec![],
                });
                quote!(&[#(#entries),*])
            }
            "code" => {
                let code =
                    table.iter().filter(|key| matches!(key.library, Library::Code)).map(|key| key.name);
                quote!(&[#(#code),*])
            }
            "other_words" => {
                let words = table.iter().flat_map(other_words);
                let words = words.map(|(key, words)| quote!((#key, &[#(#words),*])));
                quote!(&[#(#words),*])
            }
            "features" => {
                let features = table.iter().filter_map(|key| {
                    let (name, feature) = (key.name, key.feature?.name());
                    Some(quote!((#name, #feature)))
                });
                quote!(&[#(#features),*])
            }
            "defaults" => {
                let defaults = table.iter().filter(|key| key.has_default_value());
                let defaults = defaults.map(|Key { name, default, feature, .. }| {
                    let condition = condition(*feature);
                    quote!(#condition (#name, #default))
                });
                quote!(&[#(#defaults),*])
            }
            _ => return Err(syn::Error::new(name.span(), "there is no such view of the table of keys")),
        })
    }
}

/// A key whose field, method and entry come from its row alone.
struct Ordinary {
    name: Ident,
    docs: Vec<String>,
    /// What the method takes.
    argument: Ident,
    taken: TokenStream,
    /// The type of the field.
    kept: TokenStream,
    default: TokenStream,
    /// One of the library's kinds.
    kind: TokenStream,
    /// The attribute that leaves the key out where its feature is missing.
    condition: Option<TokenStream>,
}

impl Ordinary {
    fn new<O>(key: &Key<O>) -> Result<Self, String> {
        let wrong_default = |reason: String| format!("the default of `{}`: {reason}", key.name);
        let time = || text::duration(key.default).map(duration).map_err(wrong_default);
        let size = || text::size(key.default).map(number).map_err(wrong_default);
        let count = || key.default.parse().map(number).map_err(|_| wrong_default("not a number".to_owned()));
        let (on, off) = (key.default == "true", key.default == "off");

        let [bool, usize, u64] = [quote!(bool), quote!(usize), quote!(u64)];
        let duration = quote!(::core::time::Duration);
        let limit = quote!(::core::option::Option<#duration>);
        let (argument, taken, kept, default, kind) = match key.kind {
            Form::Ordinary(Kind::Count { most }) => {
                let most = Literal::usize_suffixed(most as usize);
                ("count", &usize, &usize, count()?, quote!(kinds::Count { most: #most }))
            }
            Form::Ordinary(Kind::Flag) => ("on", &bool, &bool, quote!(#on), quote!(kinds::Flag)),
            Form::Ordinary(Kind::Duration) => {
                ("period", &duration, &duration, time()?, quote!(kinds::Period))
            }
            Form::Ordinary(Kind::Timeout) if off => {
                ("limit", &duration, &limit, quote!(None), quote!(kinds::OptionalTimeout))
            }
            Form::Ordinary(Kind::Timeout) => ("limit", &duration, &duration, time()?, quote!(kinds::Timeout)),
            Form::Ordinary(Kind::Keepalive) => {
                let idle = time()?;
                ("idle", &duration, &limit, quote!(Some(#idle)), quote!(kinds::Keepalive))
            }
            Form::Ordinary(Kind::Length) => {
                ("bytes", &u64, &u64, size()?, quote!(kinds::Size { least: 0_u64 }))
            }
            Form::Ordinary(Kind::Size { least }) => {
                let least = Literal::usize_suffixed(least as usize);
                ("bytes", &usize, &usize, size()?, quote!(kinds::Size { least: #least }))
            }
            _ => {
                return Err(format!("the kind of `{}` needs `Library::ByHand` or `Library::Code`", key.name));
            }
        };
        Ok(Self {
            name: format_ident!("{}", key.name),
            docs: docs(key),
            argument: format_ident!("{argument}"),
            taken: taken.clone(),
            kept: kept.clone(),
            default,
            kind,
            condition: condition(key.feature),
        })
    }

    fn field(&self) -> TokenStream {
        let Self { name, kept, default, condition, .. } = self;
        quote!(#condition #name: #kept = #default)
    }

    fn method(&self) -> TokenStream {
        let Self { name, docs, argument, taken, kind, condition, .. } = self;
        quote!(#condition #(#[doc = #docs])* #name(#argument: #taken), #kind)
    }

    fn entry(&self, callback: &Option<Ident>) -> TokenStream {
        let Self { name, kind, condition, .. } = self;
        quote!(#condition #callback!(#name, #kind))
    }
}

/// The documentation of a method, line by line, with the default behind the first sentence.
fn docs<O>(key: &Key<O>) -> Vec<String> {
    let default = match key.default {
        "true" => "on".to_owned(),
        "false" => "off".to_owned(),
        _ => key.shown_default(),
    };
    let (first, rest) = key.first_sentence();
    format!(" {first}; {default} by default.{rest}").lines().map(String::from).collect()
}

/// The library's constant for an entry: `TLS_CERT` for `tls.cert`.
fn constant(entry: &Entry, feature: Option<Feature>) -> TokenStream {
    let name = format_ident!("{}", entry.name.to_uppercase().replace('.', "_"));
    let condition = condition(feature);
    quote!(#condition #name)
}

/// `#[cfg(feature = "tls")]`.
fn condition(feature: Option<Feature>) -> Option<TokenStream> {
    let feature = feature?.name();
    Some(quote!(#[cfg(feature = #feature)]))
}

/// The entries of the file that a key has, with the words that other programs use for them.
fn other_words<O>(key: &Key<O>) -> Vec<(&'static str, Vec<&'static str>)> {
    let of_key = key.other_words.iter().copied();
    let entries = match key.library {
        Library::FromRow => vec![(key.name, of_key.collect())],
        Library::ByHand([entry]) => {
            vec![(entry.name, of_key.chain(entry.other_words.iter().copied()).collect())]
        }
        Library::ByHand(entries) => {
            entries.iter().map(|entry| (entry.name, entry.other_words.to_vec())).collect()
        }
        Library::Code => vec![],
    };
    entries.into_iter().filter(|(_, words): &(_, Vec<_>)| !words.is_empty()).collect()
}
