//! Where a process comes from: who started it, and with what.

use crate::app::App;
use crate::config::{self, Early};
use crate::error::Error;
use crate::handoff::{self, Inherited, StartCommand};
use crate::lifecycle::Privileges;
use crate::listen::OfferedListeners;
use crate::supervision::{self, Activation, Begun, Kept, Legacy, Supervised};

/// Who started this process.
pub(super) enum Ancestry {
    /// A user, a script or a service manager. It is the first of its service.
    First { activation: Activation, supervised: Option<Supervised> },
    /// A predecessor, in a restart.
    Successor(Inherited),
    /// The supervisor, after a crash.
    AfterCrash(Legacy),
}

impl Ancestry {
    /// That of this process. The first process of a service that gets a supervisor becomes two here: the supervisor never
    /// returns.
    ///
    /// Has to be called before the process has a second thread, and before it opens any descriptor. Takes the variables
    /// that only the starting process may see out of the environment.
    pub(super) fn find<S>(app: &App<S>, early: &Early<'_>) -> Result<(Self, StartCommand), Error> {
        let inherited = handoff::inherited()?;
        let legacy = supervision::legacy()?;
        let ancestry = match (inherited, legacy) {
            (Some(inherited), _) => Self::Successor(inherited),
            (None, Some(legacy)) => Self::AfterCrash(legacy),
            (None, None) => {
                let activation = Activation::take()?;
                let start_command = StartCommand::capture();
                return Ok((Self::first(app, early, activation, &start_command)?, start_command));
            }
        };
        // It gets its sockets from the process before it.
        Activation::decline();
        Ok((ancestry, StartCommand::capture()))
    }

    /// The supervisor, as far as it is known before a predecessor was asked.
    pub(super) fn supervised(&self) -> Option<Supervised> {
        match self {
            Self::First { supervised, .. } => supervised.clone(),
            Self::AfterCrash(legacy) => Some(legacy.supervised.clone()),
            Self::Successor(_) => None,
        }
    }

    fn first<S>(
        app: &App<S>,
        early: &Early<'_>,
        activation: Activation,
        start_command: &StartCommand,
    ) -> Result<Self, Error> {
        let supervise = early.supervise(app.settings.supervise);
        let of_workers = start_command.clone();
        let program = move |value: &str| of_workers.program_with(config::SUPERVISOR_VARIABLE, value);
        match supervision::begin(supervise, program)? {
            Begun::Alone => Ok(Self::First { activation, supervised: None }),
            Begun::Worker(supervised) => Ok(Self::First { activation, supervised: Some(supervised) }),
            Begun::Supervisor(supervisor) => {
                // The worker has them.
                activation.close();
                let (user, group) = early.user_and_group(&app.settings);
                // The worker reports a fault.
                let privileges = Privileges::find(user.as_deref(), group.as_deref()).ok().flatten();
                supervisor.run(privileges)
            }
        }
    }
}

/// The name under which the supervisor keeps the listeners.
pub(super) const LISTENERS: &str = "listeners";

/// The servers and the endpoints of listeners that are sent to the supervisor, in the order of their descriptors.
///
/// The form never changes: a worker of another release may read it.
pub(super) type ListenerNames = Vec<(String, String)>;

/// The listeners that the supervisor has kept.
pub(super) fn kept_listeners(kept: Vec<Kept>) -> OfferedListeners {
    OfferedListeners::new(kept.into_iter().flat_map(|Kept { data, fds, .. }| {
        let names: ListenerNames = postcard::from_bytes(&data).unwrap_or_default();
        names.into_iter().zip(fds).map(|((server, endpoint), fd)| (server, endpoint, fd))
    }))
}
