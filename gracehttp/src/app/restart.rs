//! The restart: a successor is started and gets ready. Until it is, nothing changes.

use std::os::fd::{AsFd, BorrowedFd};

use tokio::time::{Instant, sleep_until};

use crate::app::life::{Next, Process, received};
use crate::config::Settings;
use crate::handoff::{Claims, Offer, Successor};
use crate::lifecycle::{Request, Signal, generation, tie};
use crate::listen::Acceptor;
use crate::log;

/// What became of an attempt to start a successor.
enum Attempt {
    Ready(Box<Successor>, Claims),
    Failed,
    /// A signal to stop came meanwhile.
    Stopped(Signal),
}

/// What became of the wait for a successor.
enum Readiness {
    Ready(Claims),
    Failed(String),
    Stopped(Signal),
}

impl Process {
    /// Restarts. One more signal to restart that comes meanwhile is one more restart afterwards: the binary
    /// may have been replaced in between.
    pub(super) async fn restart(&mut self, signal: Signal) -> Next {
        log::info(format_args!("{}", received(signal)));
        if let Some(tie) = tie() {
            log::error(format_args!(
                "{signal} is refused, nothing is restarted: {tie}, so a successor would end, too. Start a new \
                 container, and stop this one by SIGTERM"
            ));
            return Next::ServeOn;
        }
        loop {
            let mut again = None;
            match self.attempt(&mut again).await {
                Attempt::Ready(successor, claims) => {
                    return self.hand_over(successor, &claims, again).await;
                }
                Attempt::Stopped(signal) => return self.stop(signal).await,
                Attempt::Failed if again.is_some() => {}
                Attempt::Failed => return Next::ServeOn,
            }
        }
    }

    /// Starts a successor and waits until it is ready. If it fails, for whatever reason, it is reaped, the
    /// operator hears why, and this process has lost nothing.
    async fn attempt(&mut self, again: &mut Option<Signal>) -> Attempt {
        if let Some(gone) = self.configuration.as_deref().filter(|file| !file.exists()) {
            // A successor would start without any configuration file.
            log::error(format_args!(
                "start new process failed: the configuration file {}, which this process has read, is gone: put it \
                 back; an empty one will do",
                gone.display()
            ));
            say_who_serves_on();
            return Attempt::Failed;
        }
        let Settings { restart_on, stop_on, .. } = &self.settings;
        let mut successor = match Successor::start(&self.start_up, restart_on, stop_on) {
            Ok(successor) => successor,
            Err(error) => {
                log::errors("", &error);
                say_who_serves_on();
                return Attempt::Failed;
            }
        };
        match self.readiness(&mut successor, again).await {
            Readiness::Ready(claims) => Attempt::Ready(Box::new(successor), claims),
            Readiness::Failed(reason) => {
                let pid = successor.pid();
                successor.kill().await;
                log::errors(&format!("start new process failed, pid {pid}: "), &reason);
                say_who_serves_on();
                Attempt::Failed
            }
            Readiness::Stopped(signal) => {
                let second = async {
                    let request = self.signals.next_stop().await;
                    self.hurry(request.signal());
                };
                successor.stop(second).await;
                Attempt::Stopped(signal)
            }
        }
    }

    /// Waits until the successor is ready, has failed, or is not wanted any more.
    async fn readiness(&mut self, successor: &mut Successor, again: &mut Option<Signal>) -> Readiness {
        let Self { servers, signals, settings, keys, .. } = self;
        let acceptors =
            servers.iter().flat_map(|server| server.acceptors.iter().map(move |acceptor| (server, acceptor)));
        let listeners: Vec<(Offer, BorrowedFd<'_>)> = acceptors
            .map(|(server, Acceptor { listener, .. })| {
                let secure = server.is_secure();
                let (server, endpoint) = (server.name().to_owned(), listener.endpoint.to_string());
                (Offer { server, endpoint, secure }, listener.as_fd())
            })
            .collect();
        let deadline = Instant::now() + settings.ready_timeout;
        let keys = keys.for_successor(settings.ready_timeout);
        let ready = successor.ready(generation(), &keys, &listeners);
        tokio::pin!(ready);
        loop {
            tokio::select! {
                biased;
                verdict = &mut ready => return verdict.map_or_else(Readiness::Failed, Readiness::Ready),
                request = signals.next() => match request {
                    Request::Stop(signal) => return Readiness::Stopped(signal),
                    Request::Restart(signal) => {
                        log::info(format_args!("{}", received(signal)));
                        *again = Some(signal);
                    }
                },
                () = sleep_until(deadline) => return Readiness::Failed(format!(
                    "it was not ready within {} (ready_timeout)",
                    crate::lifecycle::show(settings.ready_timeout)
                )),
            }
        }
    }
}

fn say_who_serves_on() {
    log::error(format_args!("generation {}, pid {}, serves on", generation(), std::process::id()));
}
