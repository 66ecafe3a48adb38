//! The life of one process, told in order.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::app::App;
use crate::app::configured::Configured;
use crate::app::startup::{self, Started};
use crate::config::Settings;
use crate::error::Error;
use crate::handoff::{self, Channel, Predecessor, StartUp, WeakChannel};
use crate::lifecycle::{Background, HeldBack, Phase, Request, Signal, Signals, aside};
use crate::listen::{KeyRing, Running};
use crate::log;

/// A process that serves.
pub(super) struct Process {
    pub(super) start_up: StartUp,
    /// The configuration file, if one was read.
    pub(super) configuration: Option<PathBuf>,
    pub(super) signals: Signals,
    pub(super) settings: Settings,
    pub(super) servers: Vec<Running>,
    /// Notified whenever a permit of any server comes free.
    pub(super) released: Arc<Notify>,
    /// Of the TLS session tickets.
    pub(super) keys: KeyRing,
    /// To the predecessor, which may still be draining.
    pub(super) predecessor: Option<WeakChannel>,
    /// Listeners that accept their last connections.
    pub(super) closing: JoinSet<()>,
    /// The application's tasks beside its servers.
    pub(super) background: Arc<Background>,
    pub(super) workers: Handle,
    /// A second signal to stop has come: nothing that is in flight is waited for any more.
    pub(super) hurried: bool,
}

/// How a serving process goes on.
pub(super) enum Next {
    /// It is done.
    End,
    /// It serves on: the successor failed, or died when it could still be helped.
    ServeOn,
}

/// Lives the whole life of an application.
pub(super) fn live<S: Clone + Send + Sync + 'static>(app: App<S>) -> Result<(), Error> {
    // First of all, while there is one thread: no signal has its default effect any more, and the handoff
    // leaves the environment.
    let held_back = Signals::hold_back();
    let inherited = handoff::inherited()?;
    let start_up = StartUp::capture();
    log::install_hook();
    // The event loop has a runtime of its own: handlers that block their threads can block neither the
    // signals nor the deadlines.
    let control = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused_by(format!("no runtime for the event loop: {error}"), error))?;
    // Before the handlers stand: the configuration says which signals they are for.
    let app = match control.block_on(configure(app, &start_up, &held_back)) {
        Ok(Some(app)) => app,
        Ok(None) => return Ok(()),
        Err(fault) => {
            control.block_on(startup::refuse(&fault, inherited));
            return Err(fault);
        }
    };
    let mut signals = {
        let _within = control.enter();
        let Settings { restart_on, stop_on, .. } = &app.settings;
        let signals = Signals::install(restart_on, stop_on)?;
        match &inherited {
            Some(inherited) => signals.let_through_all(&inherited.ignored),
            None => held_back.let_through(&signals),
        }
        signals
    };
    let configuration = app.file.clone();
    // Outlives whatever way the start-up ends, for the clean-up code.
    let workers = OnceCell::new();
    control.block_on(async {
        let prepared = tokio::select! {
            biased;
            request = signals.next_stop() => {
                log::info(format_args!("{}", received(request.signal())));
                tokio::select! {
                    () = startup::wind_up(&workers) => {}
                    request = signals.next_stop() => log::info(format_args!("{}", received(request.signal()))),
                }
                say_stopped_early();
                return Ok(());
            }
            prepared = startup::prepare(app, inherited, &workers) => prepared?,
        };
        let Started { settings, servers, released, keys, predecessor, workers } = prepared.take_over().await;
        let closing = JoinSet::new();
        let process = Process {
            start_up,
            configuration,
            signals,
            settings,
            servers,
            released,
            keys,
            predecessor,
            closing,
            background: Background::of(&workers),
            workers,
            hurried: false,
        };
        process.serve().await;
        Ok(())
    })
}

/// Settles the configuration, which can be slow to read. A stop signal that comes first ends it: one of those that
/// the code names, since the configuration is not known yet.
async fn configure<S: Clone + Send + Sync + 'static>(
    app: App<S>,
    start_up: &StartUp,
    held_back: &HeldBack,
) -> Result<Option<Configured<S>>, Error> {
    let stop_on = app.settings.stop_on.clone();
    let start_up = start_up.clone();
    let settle = move || Configured::settle(app, &start_up);
    tokio::select! {
        biased;
        Ok(signal) = held_back.next(&stop_on) => {
            log::info(format_args!("{}", received(signal)));
            say_stopped_early();
            Ok(None)
        }
        settled = aside("configuration", "what reads the configuration", settle) => settled?.map(Some),
    }
}

fn say_stopped_early() {
    log::info(format_args!("stopped while starting up, pid {}", std::process::id()));
}

impl Process {
    /// Serves until a signal stops the process or a successor has its place.
    async fn serve(mut self) {
        loop {
            let next = match self.signals.next().await {
                Request::Restart(signal) => self.restart(signal).await,
                Request::Stop(signal) => self.stop(signal).await,
            };
            if let Next::End = next {
                break;
            }
        }
        for server in &self.servers {
            let answers = server.context.answers.snapshot();
            tracing::debug!(target: "gracehttp", "server `{}` has answered: {answers}", server.name());
        }
        // A predecessor that still drains learns that this end is no accident.
        if let Some(predecessor) = self.to_predecessor() {
            Predecessor::announce_exit(&predecessor).await;
        }
    }

    /// Connections that this process holds.
    pub(super) fn held(&self) -> usize {
        held(&self.servers)
    }

    /// The channel to the predecessor, while that lives.
    pub(super) fn to_predecessor(&self) -> Option<Channel> {
        self.predecessor.as_ref().and_then(WeakChannel::upgrade)
    }

    /// Enters a phase in all servers.
    pub(super) fn enter(&self, phase: Phase) {
        self.servers.iter().for_each(|server| server.enter(phase));
    }

    /// Cuts what is left at the deadline, and reports it.
    pub(super) async fn cut(&self) {
        let connections_left: Vec<String> = self
            .servers
            .iter()
            .map(|server| (server.name(), server.context.permits.held()))
            .filter(|(_, held)| *held > 0)
            .map(|(name, held)| format!("{held} of server {name}"))
            .collect();
        let connections_left = (!connections_left.is_empty())
            .then(|| format!("{} ({})", connections(self.held()), connections_left.join(", ")));
        let left: Vec<String> = connections_left.into_iter().chain(self.background.left()).collect();
        if left.is_empty() {
            return;
        }
        log::notice(format_args!(
            "the drain's limit of {} has passed: cutting {}",
            crate::lifecycle::show(self.settings.drain_timeout),
            left.join(" and ")
        ));
        self.enter(Phase::Cutting);
        self.background.cut();
        // A moment for half-closes to reach their clients, and for tasks to drop what they hold.
        let none_left = async {
            until(&self.released, || self.held() == 0).await;
            self.background.idle().await;
        };
        let _ = tokio::time::timeout(CUTTING, none_left).await;
    }

    /// Runs the clean-up code, after the drain. One more signal to stop gives it up.
    pub(super) async fn clean_up(&mut self, deadline: Instant) {
        self.background.cut();
        let deadline = if self.hurried { Instant::now() } else { deadline };
        tokio::select! {
            biased;
            () = self.background.clean_up_by(deadline, &self.workers) => {}
            request = self.signals.next_stop() => {
                log::info(format_args!("{}", received(request.signal())));
                log::notice(format_args!("one more signal to stop gives the clean-up code up"));
            }
        }
    }
}

/// A number of connections in words.
pub(super) fn connections(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} connection{plural}")
}

/// Connections that this process holds.
pub(super) fn held(servers: &[Running]) -> usize {
    servers.iter().map(|server| server.context.permits.held()).sum()
}

/// Connections that a generation before this one holds.
pub(super) fn foreign(servers: &[Running]) -> usize {
    servers.iter().map(|server| server.context.permits.foreign()).sum()
}

/// Resolves once a condition on the counts of connections holds.
pub(super) async fn until(released: &Notify, condition: impl Fn() -> bool) {
    loop {
        // Made before the counts are read, so that no release between the two is missed.
        let notified = released.notified();
        if condition() {
            return;
        }
        notified.await;
    }
}

/// How long cut connections may take to say so.
const CUTTING: Duration = Duration::from_millis(500);

/// The original's words, which scripts look for.
pub(super) fn received(signal: Signal) -> String {
    format!("Received SIG. [PID:{}, SIG:{signal}]", std::process::id())
}
