//! The keys of `#[gracehttp::health]` with a form of their own.

use syn::Path;

use super::arguments::{Arguments, Reading};
use super::value::Value;
use crate::errors::Errors;
use crate::keys::{self, HealthKey, Key};

#[derive(Default)]
pub(crate) struct HealthArguments {
    pub(crate) library: Option<Path>,
}

impl Arguments for HealthArguments {
    type Own = HealthKey;

    const KEYS: &'static [Key<HealthKey>] = keys::HEALTH;

    fn read_own(&mut self, key: HealthKey, value: &Value<'_>, _: &mut Errors) -> Reading {
        match key {
            HealthKey::Crate => self.library = Some(value.path()?),
        }
        Ok(Vec::new())
    }
}
