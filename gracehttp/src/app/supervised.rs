//! A process under a supervisor: what it reports, and what it asks of it.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::app::ancestry::{LISTENERS, ListenerNames};
use crate::app::life::Process;
use crate::app::metrics;
use crate::app::restart::offers;
use crate::app::servers::Servers;
use crate::config::Settings;
use crate::handoff::{HandoverEnd, Offer, Parcel, Successor};
use crate::lifecycle::{Privileges, Request, Trigger, start};
use crate::listen::OwnListeners;
use crate::log;
use crate::supervision::{CrashLimits, PARCEL, Rules, Supervised};

/// How many listeners go in one message.
const AT_ONCE: usize = 60;

/// What a process with these settings wants of its supervisor.
pub(super) fn rules(settings: &Settings) -> Rules {
    let Settings { hang_timeout, crash_limit, crash_window, crash_backoff, stop_on, restart_on, .. } =
        settings;
    Rules {
        hang_timeout: *hang_timeout,
        crashes: CrashLimits {
            limit: *crash_limit as u64,
            window: *crash_window,
            longest_backoff: *crash_backoff,
        },
        stop_on: stop_on.clone(),
        restart_on: restart_on.clone(),
    }
}

/// Has the supervisor keep duplicates of all listeners, and close those that are no longer among them.
pub(super) async fn keep_listeners(supervised: &Supervised, servers: &Servers, own: &OwnListeners) {
    let listeners = offers(servers, own);
    let parts: io::Result<Vec<(Vec<u8>, Vec<BorrowedFd<'_>>)>> = listeners
        .chunks(AT_ONCE)
        .map(|part| {
            let names =
                part.iter().map(|(Offer { server, endpoint, .. }, _)| (server.clone(), endpoint.clone()));
            let names = postcard::to_stdvec(&names.collect::<ListenerNames>()).map_err(io::Error::other)?;
            Ok((names, part.iter().map(|(_, fd)| *fd).collect()))
        })
        .collect();
    let kept = match parts {
        Ok(parts) => supervised.keep(LISTENERS, &parts).await,
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        log::error(format_args!(
            "the supervisor, pid {}, does not get the listeners: {error}; after a crash clients would be refused \
             until the next process has bound them",
            supervised.pid()
        ));
    }
}

impl Process {
    /// This process serves: the supervisor learns what it needs if this process dies. If the supervisor dies, this process
    /// stops.
    pub(super) async fn report_to_supervisor(&self) {
        let Some(supervised) = &self.supervised else { return };
        metrics::have_kept(supervised).await;
        self.have_receipts_kept().await;
        self.have_rights_dropped(supervised).await;
        if supervised.hang_timeout().is_some() {
            let (supervised, mut beats) = (supervised.clone(), self.pulse.watch());
            start(async move {
                while beats.changed().await.is_ok() {
                    supervised.beat(beats.borrow_and_update().workers.silence());
                }
            });
        }
        let (supervised, requester) = (supervised.clone(), self.requests.requester());
        start(async move {
            match supervised.gone().await {
                Ok(()) => requester.ask(Request::Stop(Trigger::SupervisorGone)),
                Err(error) => log::error(format_args!("the supervisor can't be watched: {error}")),
            }
        });
    }

    /// Has the supervisor become this process's user: it is still root if a restart has added the user.
    async fn have_rights_dropped(&self, supervised: &Supervised) {
        let Settings { user, group, .. } = &self.settings;
        let Ok(Some(privileges)) = Privileges::find(user.as_deref(), group.as_deref()) else { return };
        if let Err(error) = supervised.have_rights_dropped(&privileges).await {
            log::error(format_args!(
                "the supervisor, pid {}, keeps its rights: it could not be told that this process runs as {privileges}: \
                 {error}",
                supervised.pid()
            ));
        }
    }

    /// Has the supervisor keep the listeners of this process again.
    pub(super) async fn have_listeners_kept(&self) {
        if let Some(supervised) = &self.supervised {
            keep_listeners(supervised, &self.servers, &self.own).await;
        }
    }

    /// What a successor learns of the supervisor.
    pub(super) fn supervisor_parcel(&self) -> Option<Parcel> {
        let (data, fds) = self
            .supervised
            .as_ref()?
            .for_successor()
            .inspect_err(|error| {
                log::error(format_args!("the successor does not get the supervisor: {error}"));
            })
            .ok()?;
        Some(Parcel { name: PARCEL.to_owned(), data, fds })
    }

    /// Whether the supervisor has passed this signal on: then it was sent to the service, not to this very process. True
    /// once for each signal.
    pub(super) fn was_forwarded(&self, trigger: Trigger) -> bool {
        let signal = trigger.signal();
        self.supervised
            .as_ref()
            .zip(signal)
            .is_some_and(|(supervised, signal)| supervised.has_forwarded(signal))
    }

    /// Makes this process the one that counts again, after its successor. False if the service ends, or if another process
    /// has the place.
    pub(super) fn takes_back_place(&self, successor: Pid) -> bool {
        let rules = rules(&self.settings);
        self.supervised.as_ref().is_none_or(|supervised| supervised.take_back_place(successor, &rules))
    }

    /// How the successor ended, if it is dead and no process serves now.
    pub(super) async fn death_of(&self, successor: &mut Successor, end: &HandoverEnd) -> Option<String> {
        // First: once it is reaped, the supervisor may have noticed by itself.
        let counts = match &self.supervised {
            // The successor's own successor may be dead, too, or may have given the place back.
            Some(supervised) => supervised.counts(successor.pid()),
            None => !end.has_own_successor,
        };
        if !end.died {
            return None;
        }
        // A successor that lives still serves, even if it does not talk to us any more.
        let how = successor.ended().await?;
        if !counts {
            return None;
        }
        // First: the supervisor starts the next process at once, and that one gets the account.
        self.have_death_kept(&how).await;
        if let Some(supervised) = &self.supervised {
            supervised.report_lost(successor.pid(), &how);
        }
        Some(how)
    }

    /// Passes a signal on that was sent to the service while this process had its place.
    pub(super) fn pass_on(&self, trigger: Trigger, successor: Pid) {
        if let Some(signal) = trigger.signal() {
            // Our own child, not reaped: the pid is still its own.
            let _ = kill(successor, signal.number());
        }
    }
}
