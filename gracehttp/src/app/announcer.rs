//! Who outside learns what this process does: the service manager, and readers of the pid file.

use std::sync::Arc;

use crate::config::Settings;
use crate::handoff::StartCommand;
use crate::lifecycle::{Events, Pulse};
use crate::log;
use crate::status::Observed;
use crate::supervision::{Held, NotifySocket, PidFile, ServiceManager, Watchdog};

/// Tells the world outside. Where nothing outside waits for it, it does nothing.
pub(super) struct Announcer {
    manager: Option<Arc<ServiceManager>>,
    watchdog: Option<Watchdog>,
    pid_file: Option<PidFile>,
}

impl Announcer {
    /// Begins to tell, on the control runtime. A successor keeps silent until it serves.
    pub(super) fn start(
        settings: &Settings,
        start_command: &StartCommand,
        watchdog: Option<Watchdog>,
        is_successor: bool,
        events: &Events,
    ) -> Self {
        let manager = match NotifySocket::find() {
            Some(Ok(socket)) => Some(ServiceManager::new(Box::new(socket), settings, is_successor)),
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
            tokio::spawn(manager.clone().run());
        }
        let path = settings.pid_file.as_ref().map(|path| start_command.resolve(path));
        let pid_file = path.map(|path| PidFile::new(path, std::process::id()));
        Self { manager, watchdog, pid_file }
    }

    /// This process serves.
    pub(super) async fn serving(&self, observed: &Arc<Observed>, pulse: &Arc<Pulse>) {
        self.write_pid_file().await;
        let Some(manager) = &self.manager else { return };
        let observed = observed.clone();
        manager.serving(Box::new(move || {
            let (here, elsewhere) = observed.held();
            Held { here, elsewhere }
        }));
        if let Some(watchdog) = self.watchdog {
            tokio::spawn(watchdog.feed(manager.clone(), pulse.clone()));
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

    async fn write_pid_file(&self) {
        if let Some(file) = &self.pid_file {
            file.write().await;
        }
    }
}
