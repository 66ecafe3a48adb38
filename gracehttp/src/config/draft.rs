//! An unfinished configuration: the values so far, their origins, and the faults.

use std::fmt;
use std::mem::discriminant;

use super::keys::{Form, Key, PROCESS_KEYS, SERVER_KEYS, excludes, replaces};
use super::{Origin, Provenance, Settings, UnknownKeys};
use crate::error::Error;
use crate::server::ServerOptions;

pub(super) struct Draft<'a, 'b> {
    pub(super) settings: &'a mut Settings,
    pub(super) servers: &'a mut [&'b mut ServerOptions],
    pub(super) provenance: Vec<Provenance>,
    pub(super) faults: Vec<Fault>,
}

/// What is wrong with an entry of the file or of the environment.
pub(super) enum Fault<E = Error> {
    /// This program does not have the key, the server or the variable; another version of it may. Whether that is a fault
    /// is itself a key.
    Unknown(E),
    Wrong(E),
}

/// The key that a value sets.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Process(&'static Key<Settings>),
    Server(usize, &'static Key<ServerOptions>),
}

impl Place {
    pub(super) fn all(servers: usize) -> impl Iterator<Item = Self> {
        let of_server = |index| SERVER_KEYS.iter().map(move |key| Self::Server(index, key));
        PROCESS_KEYS.iter().map(Self::Process).chain((0..servers).flat_map(of_server))
    }

    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Process(key) => key.name,
            Self::Server(_, key) => key.name,
        }
    }

    pub(super) fn form(self) -> Form {
        match self {
            Self::Process(key) => key.form,
            Self::Server(_, key) => key.form,
        }
    }
}

impl<'a, 'b> Draft<'a, 'b> {
    pub(super) fn new(settings: &'a mut Settings, servers: &'a mut [&'b mut ServerOptions]) -> Self {
        Self { settings, servers, provenance: Vec::new(), faults: Vec::new() }
    }

    pub(super) fn server_names(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.name.clone()).collect()
    }

    /// Sets a value, and replaces an earlier one. An error is the second half of a sentence: it says what would be
    /// valid.
    pub(super) fn set(&mut self, place: Place, text: &str, origin: Origin) -> Result<(), String> {
        let (server, shown) = match place {
            Place::Process(key) => {
                (key.set)(self.settings, text)?;
                (None, (key.get)(self.settings))
            }
            Place::Server(index, key) => {
                let server = &mut *self.servers[index];
                (key.set)(server, text)?;
                (Some(server.name.clone()), (key.get)(server))
            }
        };
        let key = place.key();
        let mut same_server = self.provenance.iter().filter(|entry| entry.server == server);
        let rival = same_server
            .find(|entry| excludes(key, entry.key) && discriminant(&entry.origin) == discriminant(&origin));
        if let Some(rival) = rival {
            return Err(format!("{} says `{}` already: keep one of them", rival.origin, rival.key));
        }
        self.provenance.retain(|entry| entry.server != server || !replaces(key, entry.key));
        let value = shown.unwrap_or_else(|| text.to_owned());
        self.provenance.push(Provenance { server, key, value, origin });
        Ok(())
    }

    /// Whether what this program does not know is passed over, with a notice.
    pub(super) fn is_lenient(&self) -> bool {
        self.settings.unknown_keys == UnknownKeys::Warn
    }

    /// Notes a fault of an entry.
    pub(super) fn wrong(&mut self, fault: Error) {
        self.faults.push(Fault::Wrong(fault));
    }

    /// The application's settings, the origins of the values, and a notice for each key that is unknown or without effect;
    /// or all faults.
    pub(super) fn finish<A>(self, app: Option<A>) -> Result<(A, Vec<Provenance>, Vec<String>), Error> {
        let contradictions = self.contradictions();
        let without_effect = self.without_effect();
        let is_lenient = self.is_lenient();
        let (mut faults, mut notices) = (Vec::new(), Vec::new());
        for fault in self.faults {
            match fault {
                Fault::Unknown(fault) if is_lenient => notices.push(passed_over(&fault)),
                Fault::Unknown(fault) | Fault::Wrong(fault) => faults.push(fault),
            }
        }
        faults.extend(contradictions);
        notices.extend(without_effect);
        match app {
            Some(app) if faults.is_empty() => Ok((app, self.provenance, notices)),
            _ => Err(Error::several(faults)),
        }
    }
}

/// The notice about something unknown.
pub(super) fn passed_over(what: &dyn fmt::Display) -> String {
    format!("passed over (unknown_keys = warn): {what}")
}
