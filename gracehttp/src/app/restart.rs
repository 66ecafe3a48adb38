//! The restart: a successor is started and gets ready. Until it is, nothing changes.

use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::Pid;
use tokio::time::{Instant, sleep_until};

use crate::app::life::{Next, Process};
use crate::app::rehearsal::refuse_rehearsal;
use crate::app::servers::Servers;
use crate::config::Settings;
use crate::handoff::{Claims, Offer, Purpose, Successor};
use crate::lifecycle::{Event, Outcome, Request, SuccessorFault, Tie, Trigger, generation};
use crate::listen::{Acceptor, OwnListener, OwnListeners};
use crate::supervision::Supervised;

/// All listeners of the process: those of its servers, then its own.
pub(super) fn offers<'l>(servers: &'l Servers, own: &'l OwnListeners) -> Vec<(Offer, BorrowedFd<'l>)> {
    let of_servers = servers.acceptors().map(|(server, Acceptor { listener, .. })| {
        let secure = listener.is_secure;
        let (server, endpoint) = (server.name().to_owned(), listener.spelled());
        (Offer { server, endpoint, secure }, listener.as_fd())
    });
    let of_process = own.iter().map(|OwnListener { purpose, listener, .. }| {
        let (server, endpoint) = (purpose.name().to_owned(), listener.spelled());
        (Offer { server, endpoint, secure: false }, listener.as_fd())
    });
    of_servers.chain(of_process).collect()
}

/// What became of an attempt to start a successor.
enum Attempt {
    Ready(Box<Successor>, Claims),
    Failed,
    /// A signal to stop came meanwhile.
    Stopped(Trigger),
}

/// What was asked for while a successor started, and is still to be done.
#[derive(Default)]
pub(super) struct Again {
    pub(super) restart: Option<Trigger>,
    pub(super) rehearsal: Option<Trigger>,
}

/// What became of the wait for a successor.
pub(super) enum Readiness {
    Ready(Claims),
    Failed(SuccessorFault),
    Stopped(Trigger),
}

impl Process {
    /// Restarts. One more signal to restart that comes meanwhile is one more restart afterwards: the binary
    /// may have been replaced in between.
    pub(super) async fn restart(&mut self, trigger: Trigger) -> Next {
        self.events.emit(&Event::RestartRequested { trigger });
        if let Some(reason) = Tie::find() {
            self.receipts.open_account();
            self.give_up_account(Outcome::Failed, reason.to_string());
            self.events.emit(&Event::RestartRefused { trigger, reason });
            return Next::ServeOn;
        }
        loop {
            let mut again = Again::default();
            match self.attempt(&mut again).await {
                Attempt::Ready(successor, claims) => {
                    return self.hand_over(successor, &claims, again.restart).await;
                }
                Attempt::Stopped(trigger) => {
                    self.ignore_restart(again.restart);
                    let reason = format!("{trigger} has stopped the process before the successor was ready");
                    self.give_up_account(Outcome::Stopped, reason);
                    return self.stop(trigger).await;
                }
                Attempt::Failed if again.restart.is_some() => {}
                Attempt::Failed => return Next::ServeOn,
            }
        }
    }

    /// Starts a successor and waits until it is ready. If it fails, it is reaped, the
    /// operator learns why, and this process has lost nothing.
    async fn attempt(&mut self, again: &mut Again) -> Attempt {
        self.receipts.open_account();
        let mut successor = match self.start_successor() {
            Ok(successor) => successor,
            Err(reason) => return self.failed(None, reason, Vec::new()),
        };
        let pid = successor.pid();
        self.receipts.account().note_started(pid);
        self.events.emit(&Event::SuccessorStarted { successor: pid });
        match self.readiness(&mut successor, Purpose::Restart, again).await {
            Readiness::Ready(claims) => {
                self.receipts.account().note_ready();
                self.events.emit(&Event::SuccessorReady { successor: pid });
                Attempt::Ready(Box::new(successor), claims)
            }
            Readiness::Failed(reason) => {
                let last_lines = successor.kill().await;
                self.failed(Some(pid), reason, last_lines)
            }
            Readiness::Stopped(trigger) => {
                self.stop_successor(successor).await;
                Attempt::Stopped(trigger)
            }
        }
    }

    /// Starts the process of a successor.
    pub(super) fn start_successor(&self) -> Result<Successor, SuccessorFault> {
        if let Some(gone) = self.configuration.as_ref().filter(|file| !file.exists()) {
            return Err(SuccessorFault::ConfigurationGone(gone.clone()));
        }
        let Settings { restart_on, stop_on, .. } = &self.settings;
        Successor::start(&self.start_command, generation(), restart_on, stop_on)
            .map_err(SuccessorFault::NotStarted)
    }

    /// A restart that was asked for does not begin, since this process stops.
    pub(super) fn ignore_restart(&self, asked: Option<Trigger>) {
        if let Some(trigger) = asked {
            self.events.emit(&Event::RestartIgnored { trigger, successor: None });
        }
    }

    /// Ends a successor that is not wanted any more. A second request to stop does not wait for its clean-up.
    pub(super) async fn stop_successor(&mut self, successor: Successor) {
        // However this process ends from now on, the service was asked to.
        self.supervised.iter().for_each(Supervised::end);
        let second = async {
            let trigger = self.requests.next_stop().await;
            self.end_at_once(trigger);
        };
        successor.stop(second).await;
    }

    /// Waits until the successor is ready, has failed, or is not wanted any more.
    pub(super) async fn readiness(
        &mut self,
        successor: &mut Successor,
        purpose: Purpose,
        again: &mut Again,
    ) -> Readiness {
        let parcels = self.parcels_for_successor();
        let Self { servers, own, requests, settings, keys, events, .. } = self;
        let listeners = offers(servers, own);
        let deadline = Instant::now() + settings.ready_timeout;
        let keys = keys.for_successor(settings.ready_timeout);
        let ready = successor.ready(purpose, &keys, parcels, &listeners);
        tokio::pin!(ready);
        loop {
            tokio::select! {
                biased;
                verdict = &mut ready => return match verdict {
                    Ok(claims) => Readiness::Ready(claims),
                    Err(reason) => Readiness::Failed(SuccessorFault::Reported(reason)),
                },
                request = requests.next() => match request {
                    Request::Stop(trigger) => return Readiness::Stopped(trigger),
                    Request::Restart(trigger) => {
                        events.emit(&Event::RestartRequested { trigger });
                        again.restart = Some(trigger);
                    }
                    Request::Rehearse(trigger) => match purpose {
                        Purpose::Restart => refuse_rehearsal(events),
                        Purpose::Rehearsal => again.rehearsal = Some(trigger),
                    },
                },
                () = sleep_until(deadline) => {
                    return Readiness::Failed(SuccessorFault::NotReady { limit: settings.ready_timeout });
                }
            }
        }
    }

    fn failed(&mut self, successor: Option<Pid>, reason: SuccessorFault, last_lines: Vec<String>) -> Attempt {
        let text = reason.to_string();
        self.events.emit(&Event::SuccessorFailed { successor, reason, last_lines });
        self.give_up_account(Outcome::Failed, text);
        Attempt::Failed
    }
}
