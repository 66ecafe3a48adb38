//! `acme(…)`, a key of `tls(…)`.

use syn::{Expr, LitStr};

use super::arguments::{self, Arguments, Reading};
use super::setting::Setting;
use super::value::Value;
use crate::errors::{Errors, feature_missing};
use crate::keys::{self, AcmeKey, Key};

/// What it says. What is missing may stand in the file: the library looks for that at the start.
#[derive(Default)]
pub(crate) struct Acme {
    pub(crate) domains: Vec<LitStr>,
    pub(crate) cache: Option<LitStr>,
    /// The calls of other methods, in order.
    pub(crate) settings: Vec<Setting>,
}

impl Acme {
    /// `acme(domains = […], cache = "…")`.
    pub(super) fn read(value: &Value<'_>, errors: &mut Errors) -> syn::Result<Self> {
        if cfg!(not(feature = "acme")) {
            return Err(feature_missing(value.name, "a certificate that an authority issues", "acme"));
        }
        let (_, inside) = value.list()?;
        let (acme, settings) = arguments::read::<Self>("acme(…)", inside.parse()?, errors);
        Ok(Self { settings, ..acme })
    }
}

impl Arguments for Acme {
    type Own = AcmeKey;

    const KEYS: &'static [Key<AcmeKey>] = keys::ACME;

    fn read_own(&mut self, key: AcmeKey, value: &Value<'_>, errors: &mut Errors) -> Reading {
        match key {
            AcmeKey::Domains => self.domains = domains(value, errors)?,
            AcmeKey::Cache => {
                self.cache = Some(value.file(&value.expr()?, "the path of a directory, in quotes")?);
            }
        }
        Ok(Vec::new())
    }
}

fn domains(value: &Value<'_>, errors: &mut Errors) -> syn::Result<Vec<LitStr>> {
    let expected = "the names of the certificate, as `[\"…\", \"…\"]`";
    let list = match value.expr()? {
        Expr::Array(array) if !array.elems.is_empty() => array,
        other => return Err(value.misfit(other, expected)),
    };
    let names = list.elems.iter().filter_map(|element| errors.take(value.string(element, expected)));
    let names: Vec<LitStr> = names.collect();
    for name in &names {
        if let Err(reason) = check(&name.value()) {
            errors.at(name, reason);
        }
    }
    Ok(names)
}

/// The library's own rule, for the names that people write by mistake.
fn check(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    if name.starts_with("*.") {
        return Err(format!(
            "`{name}` is a wildcard, which no authority validates by TLS-ALPN-01: list the names"
        ));
    }
    match !name.is_empty() && name.chars().all(allowed) {
        true => Ok(()),
        false => Err(format!("`{name}` is not a domain: it is written `www.example.org`, in lower case")),
    }
}
