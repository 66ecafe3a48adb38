//! Who has a listener, in messages: a server, or the process itself.

use crate::config::env::{process_variable, server_variable};

/// What the process itself listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnPurpose {
    /// Commands, on the control socket.
    Control,
    /// Requests of operators.
    Admin,
}

impl OwnPurpose {
    const ALL: [Self; 2] = [Self::Control, Self::Admin];

    /// What stands in the handoff in place of a server's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "(control)",
            Self::Admin => "(admin)",
        }
    }

    /// The key that sets its address.
    fn key(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Admin => "admin",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// The subject of a message about a listener.
pub(super) fn subject(name: &str) -> String {
    match OwnPurpose::of(name) {
        None => format!("server `{name}`"),
        Some(OwnPurpose::Control) => "the control socket".to_owned(),
        Some(OwnPurpose::Admin) => "the address `admin`".to_owned(),
    }
}

/// How to choose another TCP address.
pub(super) fn elsewhere_on_tcp(name: &str) -> String {
    match OwnPurpose::of(name) {
        None => format!(
            "choose another endpoint by `port` or `listen`, or without a rebuild by {} or {}",
            server_variable(name, "PORT"),
            server_variable(name, "LISTEN"),
        ),
        Some(purpose) => elsewhere_for(purpose),
    }
}

/// How to choose another path.
pub(super) fn elsewhere_on_disk(name: &str) -> String {
    match OwnPurpose::of(name) {
        None => format!(
            "choose another path by `listen`, or without a rebuild by {}",
            server_variable(name, "LISTEN")
        ),
        Some(purpose) => elsewhere_for(purpose),
    }
}

fn elsewhere_for(purpose: OwnPurpose) -> String {
    let key = purpose.key();
    format!(
        "choose another one by `{key}`, or without a rebuild by {}; `off` for none",
        process_variable(key)
    )
}
