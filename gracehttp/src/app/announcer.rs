//! Who outside learns what this process does: the service manager, and readers of the pid file.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::app::ancestry::Ancestry;
use crate::config::Settings;
use crate::handoff::StartCommand;
use crate::lifecycle::{Events, Pulse, start};
use crate::log;
use crate::status::Observed;
use crate::supervision::{Held, MainProcess, NotifySocket, PidFile, ServiceManager, Supervised, Watchdog};

/// Tells the world outside. Where nothing outside waits for it, it does nothing.
pub(super) struct Announcer {
    manager: Option<Arc<ServiceManager>>,
    watchdog: Option<Watchdog>,
    /// The supervisor, once it is known: a successor learns of it from its predecessor.
    supervised: Arc<OnceLock<Supervised>>,
    pid_file_path: Option<PathBuf>,
    /// Once this process serves.
    pid_file: Option<PidFile>,
}

impl Announcer {
    /// Begins to tell, on the control runtime. A successor keeps silent until it serves.
    pub(super) fn start(
        settings: &Settings,
        start_command: &StartCommand,
        watchdog: Option<Watchdog>,
        ancestry: &Ancestry,
        events: &Events,
    ) -> Self {
        let supervised = Arc::new(ancestry.supervised().map_or_else(OnceLock::new, OnceLock::from));
        let is_successor = matches!(ancestry, Ancestry::Successor(_));
        let manager = match NotifySocket::find() {
            Some(Ok(socket)) => {
                let outlet = MainProcess { socket, supervised: supervised.clone() };
                Some(ServiceManager::new(Box::new(outlet), settings, is_successor))
            }
            Some(Err(error)) => {
                log::notice(format_args!(
                    "the service manager is told nothing: NOTIFY_SOCKET names no socket that this process can use: {error}"
                ));
                None
            }
            None => None,
        };
        if let Some(manager) = &manager {
            events.subscribe(manager.clone());
            start(manager.clone().run());
        }
        let pid_file_path = settings.pid_file.as_ref().map(|path| start_command.resolve(path));
        Self { manager, watchdog, supervised, pid_file_path, pid_file: None }
    }

    /// This process serves.
    pub(super) async fn serving(
        &mut self,
        supervised: Option<&Supervised>,
        observed: &Arc<Observed>,
        pulse: &Arc<Pulse>,
    ) {
        let mut pid = std::process::id();
        if let Some(supervised) = supervised {
            self.supervised.get_or_init(|| supervised.clone());
            pid = supervised.pid().as_raw().unsigned_abs();
        }
        self.pid_file = self.pid_file_path.take().map(|path| PidFile::new(path, pid));
        self.write_pid_file().await;
        let Some(manager) = &self.manager else { return };
        let observed = observed.clone();
        manager.serving(Box::new(move || {
            let (here, elsewhere) = observed.held();
            Held { here, elsewhere }
        }));
        if let Some(watchdog) = self.watchdog {
            start(watchdog.feed(manager.clone(), pulse.clone()));
        }
    }

    /// This process serves again.
    pub(super) async fn took_back(&self) {
        self.write_pid_file().await;
    }

    /// This process has stopped serving, and no other has its place.
    pub(super) async fn stopped(&self) {
        if let Some(file) = &self.pid_file {
            file.remove().await;
        }
    }

    /// Waits, for a limited time, until the service manager knows all that happened.
    pub(super) async fn settled(&self) {
        if let Some(manager) = &self.manager {
            manager.settled().await;
        }
    }

    /// This process ends, stopped or replaced. Its own pid names nobody from now on, also at a path that its successor
    /// does not have.
    pub(super) async fn ends(&self) {
        if let Some(file) = self.pid_file.as_ref().filter(|file| file.names_this_process()) {
            file.remove().await;
        }
    }

    async fn write_pid_file(&self) {
        if let Some(file) = &self.pid_file {
            file.write().await;
        }
        if let Some(supervised) = self.supervised.get() {
            // The new file exists. So the supervisor may now remove a former one at another path.
            let told = supervised.have_pid_file_removed(self.pid_file.as_ref().map(PidFile::path)).await;
            if let Err(error) = told {
                log::error(format_args!(
                    "the supervisor, pid {}, does not learn where the pid file is: {error}; if the service crashes for \
                     good, the file stays, and the next start replaces it",
                    supervised.pid()
                ));
            }
        }
    }
}
