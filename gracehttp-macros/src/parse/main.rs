//! The keys of `#[gracehttp::main(…)]` with a form of their own.

use syn::{Ident, Path};

use super::arguments::{Arguments, Reading};
use super::list::comma_separated;
use super::setting::Argument;
use super::value::Value;
use crate::errors::{Errors, known_words};
use crate::keys::{self, Key, MainKey};

/// The signals that an application can react to. The library's `Signal` has them as variants.
const SIGNALS: [&str; 7] = ["HUP", "USR1", "USR2", "INT", "TERM", "QUIT", "TSTP"];

#[derive(Default)]
pub(crate) struct MainArguments {
    pub(crate) servers: Vec<Path>,
    /// The health checks.
    pub(crate) health: Vec<Path>,
    pub(crate) restart_on: Option<Signals>,
    pub(crate) stop_on: Option<Signals>,
    pub(crate) library: Option<Path>,
    /// Whether the key was there, readable or not.
    pub(crate) names_servers: bool,
}

pub(crate) struct Signals {
    pub(crate) key: Ident,
    pub(crate) signals: Vec<Ident>,
}

impl Arguments for MainArguments {
    type Own = MainKey;

    const KEYS: &'static [Key<MainKey>] = keys::MAIN;

    fn read_own(&mut self, key: MainKey, value: &Value<'_>, errors: &mut Errors) -> Reading {
        match key {
            MainKey::Servers => self.servers(value, errors)?,
            MainKey::Health => self.health(value, errors)?,
            MainKey::RestartOn => self.restart_on = Some(Signals::read(value, errors)?),
            MainKey::StopOn => self.stop_on = Some(Signals::read(value, errors)?),
            MainKey::Cli => return cli(value),
            MainKey::Crate => self.library = Some(value.path()?),
        }
        Ok(Vec::new())
    }
}

impl MainArguments {
    fn servers(&mut self, value: &Value<'_>, errors: &mut Errors) -> syn::Result<()> {
        self.names_servers = true;
        self.servers = value.paths(
            "at least one server",
            "names of servers, each a function or a module with `#[server]`",
            "the server",
            errors,
        )?;
        Ok(())
    }

    fn health(&mut self, value: &Value<'_>, errors: &mut Errors) -> syn::Result<()> {
        self.health = value.paths(
            "at least one health check",
            "names of health checks, each a function with `#[gracehttp::health]`",
            "the health check",
            errors,
        )?;
        Ok(())
    }
}

fn cli(value: &Value<'_>) -> Reading {
    value.nothing()?;
    Ok(vec![Argument::Nothing])
}

impl Signals {
    fn read(value: &Value<'_>, errors: &mut Errors) -> syn::Result<Self> {
        let (_, inside) = value.list()?;
        let mut signals = Vec::new();
        comma_separated(&inside, errors, |input, errors| {
            let signal: Ident = input
                .parse()
                .map_err(|error: syn::Error| value.misfit_at(error.span(), "names of signals"))?;
            if !SIGNALS.iter().any(|known| signal == known) {
                let name = signal.to_string();
                let help = known_words(name.trim_start_matches("SIG"), "the signals are", &SIGNALS);
                errors.at(&signal, format!("there is no signal `{signal}` to react to\n{help}"));
            } else if signals.contains(&signal) {
                errors.at(&signal, format!("the signal `{signal}` is listed twice"));
            } else {
                signals.push(signal);
            }
            Ok(())
        })?;
        Ok(Self { key: value.name.clone(), signals })
    }
}
