//! The keys of `#[routes(…)]`, and those that it shares with a module with `#[server(…)]`.

use syn::Ident;

use super::arguments::{Arguments, Reading};
use super::path::Path;
use super::setting::Setting;
use super::value::Value;
use crate::errors::Errors;
use crate::keys::{self, Key, RoutesKey};

#[derive(Default)]
pub(crate) struct RoutesArguments {
    pub(crate) module: ModuleArguments,
    pub(crate) layer: Option<Setting>,
    pub(crate) library: Option<syn::Path>,
}

/// The keys that only a module takes.
#[derive(Default)]
pub(crate) struct ModuleArguments {
    pub(crate) prefix: Option<Path>,
    /// The modules that `routes(…)` lists.
    pub(crate) included: Vec<syn::Path>,
    /// The keys that were there, readable or not.
    pub(crate) keys: Vec<Ident>,
}

impl Arguments for RoutesArguments {
    type Own = RoutesKey;

    const KEYS: &'static [Key<RoutesKey>] = keys::ROUTES;

    fn read_own(&mut self, key: RoutesKey, value: &Value<'_>, errors: &mut Errors) -> Reading {
        match key {
            RoutesKey::Prefix => self.module.prefix(value, errors)?,
            RoutesKey::Routes => self.module.routes(value, errors)?,
            RoutesKey::Layer => self.layer = Some(value.setting()?),
            RoutesKey::Crate => self.library = Some(value.path()?),
        }
        Ok(Vec::new())
    }
}

impl ModuleArguments {
    pub(super) fn prefix(&mut self, value: &Value<'_>, errors: &mut Errors) -> syn::Result<()> {
        self.keys.push(value.name.clone());
        self.prefix = Path::of_prefix(value.text("a path in quotes")?, errors);
        Ok(())
    }

    pub(super) fn routes(&mut self, value: &Value<'_>, errors: &mut Errors) -> syn::Result<()> {
        self.keys.push(value.name.clone());
        self.included = value.paths(
            "at least one module of routes",
            "names of modules, each with `#[gracehttp::routes]`",
            "the module",
            errors,
        )?;
        Ok(())
    }
}
