//! The life of one process, in order.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::Instant;

#[cfg(feature = "acme")]
use crate::acme::Keepers;
use crate::app::App;
use crate::app::ancestry::Ancestry;
use crate::app::announcer::Announcer;
#[cfg(feature = "tls")]
use crate::app::certificates;
use crate::app::configured::Configured;
use crate::app::last_lines::LastLines;
use crate::app::metrics;
use crate::app::parcels::Handlers;
use crate::app::receipts::Receipts;
#[cfg(feature = "cli")]
use crate::app::reopener::Reopener;
use crate::app::servers::Servers;
use crate::app::startup;
use crate::app::take_over::Started;
use crate::app::workers::Workers;
use crate::config::{Early, Settings};
#[cfg(feature = "cli")]
use crate::control::{Control, Progress, Reopen};
use crate::error::Error;
use crate::handoff::{Channel, Predecessor, StartCommand, WeakChannel};
#[cfg(not(feature = "cli"))]
use crate::lifecycle::CertificateReloader;
use crate::lifecycle::{
    Background, Event, Events, HeldBack, KnownMethod, Phase, Privileges, Pulse, Request, Requests, Signals,
    aside, guarded,
};
use crate::listen::OwnListeners;
#[cfg(feature = "cli")]
use crate::listen::OwnPurpose;
use crate::log;
use crate::status::{Observed, Snapshot};
use crate::supervision::{Supervised, Watchdog};
use crate::tls::KeyRing;

/// How long cut connections may take to half-close, and cut tasks to drop what they hold.
const CUTTING: Duration = Duration::from_millis(500);

/// A process that serves.
pub(super) struct Process {
    pub(super) start_command: StartCommand,
    /// The configuration file, if one was read.
    pub(super) configuration: Option<PathBuf>,
    pub(super) requests: Requests,
    pub(super) settings: Settings,
    pub(super) servers: Servers,
    pub(super) own: OwnListeners,
    /// Who asks it things over the control socket.
    #[cfg(feature = "cli")]
    pub(super) control: Arc<Control>,
    /// Of the TLS session tickets.
    pub(super) keys: KeyRing,
    /// To the predecessor, which may still be draining.
    pub(super) predecessor: Option<WeakChannel>,
    /// The supervisor of the service, if it has one.
    pub(super) supervised: Option<Supervised>,
    /// Of what the other process sends after a commit.
    pub(super) parcels: Handlers,
    pub(super) receipts: Receipts,
    /// Listeners that accept their last connections.
    pub(super) closing: JoinSet<()>,
    /// The application's tasks beside its servers.
    pub(super) background: Arc<Background>,
    pub(super) workers: Handle,
    /// Tells whether the worker threads and the event loop answer.
    pub(super) pulse: Arc<Pulse>,
    pub(super) events: Events,
    pub(super) announcer: Announcer,
    /// They keep the certificates valid that an authority issues.
    #[cfg(feature = "acme")]
    pub(super) keepers: Keepers,
    /// What snapshots of this process are taken of.
    pub(super) observed: Arc<Observed>,
    /// A second signal to stop has come: this process waits for nothing in flight any more.
    pub(super) ends_at_once: bool,
}

/// How a serving process goes on.
pub(super) enum Next {
    /// It is done.
    End,
    /// It serves on: the successor failed, or died in standby.
    ServeOn,
}

/// Lives the whole life of an application.
pub(super) fn live<S: Clone + Send + Sync + 'static>(app: App<S>, events: &Events) -> Result<(), Error> {
    // First of all, while there is one thread: no signal has its default effect any more, and what is for this process
    // alone leaves the environment.
    let held_back = Signals::hold_back();
    let watchdog = Watchdog::take();
    // Before the first message, and before a supervisor parts from this process.
    let environment: Vec<_> = std::env::vars_os().collect();
    let early = Early::read(&environment, app.config.as_deref());
    log::choose(early.log_choice(&app.settings));
    if let (Some(_), _) = early.user_and_group(&app.settings) {
        Privileges::forgo_new_rights();
    }
    let (ancestry, start_command) = Ancestry::find(&app, &early)?;
    log::install_hook();
    KnownMethod::choose(&environment);
    events.emit(&Event::Starting);
    // The event loop has a runtime of its own: handlers that block their threads can block neither the
    // signals nor the deadlines.
    let control = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused_by(format!("no runtime for the event loop: {error}"), error))?;
    // Before the handlers are installed: the configuration says which signals they handle.
    let app = match control.block_on(configure(app, &start_command, &held_back, events)) {
        Ok(Some(app)) => app,
        Ok(None) => return Ok(()),
        Err(fault) => {
            control.block_on(startup::refuse(&fault, ancestry));
            return Err(fault);
        }
    };
    let requests = {
        let _within = control.enter();
        let Settings { restart_on, stop_on, .. } = &app.settings;
        let signals = Signals::install(restart_on, stop_on)?;
        match &ancestry {
            Ancestry::Successor(inherited) => signals.let_through_all(&inherited.ignored),
            Ancestry::AfterCrash(_) => signals.let_through_all(&[]),
            Ancestry::First { .. } => held_back.let_through(&signals),
        }
        Requests::new(signals)
    };
    // Outlives each way in which the start-up can end: the clean-up code runs there.
    let workers = OnceCell::new();
    let last_lines = control.block_on(async {
        let configuration = app.file.clone();
        let mut announcer = Announcer::start(&app.settings, &start_command, watchdog, &ancestry, events);
        let parcels = Handlers::default();
        parcels.pass_requests_on(&requests.requester());
        let started = start(app, ancestry, requests, &workers, &parcels, events).await?;
        let Some((started, requests)) = started else {
            return Ok(LastLines::default());
        };
        let Started { settings, servers, own, keys, predecessor, supervised, workers, pulse, document } =
            started;
        let background = Background::of(&workers);
        let receipts = Receipts::of(&parcels);
        let observed = Observed::new(
            servers.iter(),
            background.clone(),
            predecessor.clone(),
            receipts.history().clone(),
        );
        #[cfg(any(feature = "admin", feature = "cli"))]
        let observed = observed.with_predecessors(parcels.predecessors.clone());
        let observed = Arc::new(observed);
        events.subscribe(observed.clone());
        document.show(observed.clone());
        announcer.serving(supervised.as_ref(), &observed, &pulse).await;
        metrics::record(events, &observed);
        #[cfg(feature = "tls")]
        let certificates = certificates::look_after(&servers, events);
        #[cfg(not(feature = "tls"))]
        let certificates = None;
        #[cfg(feature = "cli")]
        let (control, own) = {
            let progress = Arc::new(Progress::default());
            events.subscribe(progress.clone());
            let (requester, reopen) = (requests.requester(), reopen(&parcels.reopener));
            let control = Control::new(document, observed.clone(), requester, progress, reopen, certificates);
            serve_control(own, control)
        };
        #[cfg(not(feature = "cli"))]
        let _: Option<CertificateReloader> = certificates;
        #[cfg(feature = "acme")]
        let keepers = Keepers::start(
            servers.iter().map(|server| (&server.context.options, &server.context.tls)),
            events,
        );
        let process = Process {
            start_command,
            configuration,
            requests,
            settings,
            servers,
            own,
            #[cfg(feature = "cli")]
            control,
            keys,
            predecessor,
            supervised,
            parcels,
            receipts,
            closing: JoinSet::new(),
            background,
            workers,
            pulse,
            events: events.clone(),
            announcer,
            #[cfg(feature = "acme")]
            keepers,
            observed,
            ends_at_once: false,
        };
        Ok(process.serve().await)
    })?;
    last_lines.write(workers.into_inner());
    Ok(())
}

/// Settles the configuration. If that reads a file, which can be slow, it runs on a thread of its own, and a stop signal that
/// comes meanwhile ends the start. Only the signals that the code names do so, since the configuration is not known yet.
async fn configure<S: Clone + Send + Sync + 'static>(
    app: App<S>,
    start_command: &StartCommand,
    held_back: &HeldBack,
    events: &Events,
) -> Result<Option<Configured<S>>, Error> {
    let stop_on = app.settings.stop_on.clone();
    let is_at_hand = Configured::is_at_hand(&app, start_command);
    let start_command = start_command.clone();
    let settle = move || Configured::settle(app, &start_command);
    let settling = "reading the configuration";
    if is_at_hand {
        return guarded(settling, settle)?.map(Some);
    }
    tokio::select! {
        biased;
        Ok(signal) = held_back.next(&stop_on) => {
            events.emit(&Event::StopRequested { trigger: signal.into() });
            events.emit(&Event::StoppedEarly);
            Ok(None)
        }
        settled = aside("configuration", settling, settle) => settled?.map(Some),
    }
}

/// Starts to serve, unless a request to stop comes first: then what the start-up code has begun is ended, for which a
/// second signal does not wait.
async fn start<S: Clone + Send + Sync + 'static>(
    app: Configured<S>,
    ancestry: Ancestry,
    mut requests: Requests,
    workers: &OnceCell<Workers>,
    parcels: &Handlers,
    events: &Events,
) -> Result<Option<(Started, Requests)>, Error> {
    let supervised = ancestry.supervised();
    let prepare_to_serve = async {
        let prepared = startup::prepare(app, ancestry, workers, parcels, events).await?;
        if prepared.is_rehearsal {
            prepared.rehearse().await;
            return Ok::<_, Error>(None);
        }
        Ok(Some(prepared))
    };
    let end = tokio::select! {
        biased;
        trigger = requests.next_stop() => {
            events.emit(&Event::StopRequested { trigger });
            // However this process ends from now on, it was asked to.
            supervised.iter().for_each(Supervised::end);
            Event::StoppedEarly
        }
        prepared = prepare_to_serve => match prepared? {
            Some(prepared) => return Ok(Some((prepared.take_over().await?, requests))),
            None => Event::Rehearsed,
        },
    };
    tokio::select! {
        () = startup::end_early(workers, events) => {}
        trigger = requests.next_stop() => events.emit(&Event::StopRequested { trigger }),
    }
    events.emit(&end);
    Ok(None)
}

/// Has the access logs opened anew.
#[cfg(feature = "cli")]
fn reopen(reopener: &Reopener) -> Reopen {
    let reopener = reopener.clone();
    Box::new(move || {
        let reopener = reopener.clone();
        Box::pin(async move { reopener.reopen().await })
    })
}

/// Opens the control socket, if there is one, to those who ask.
#[cfg(feature = "cli")]
fn serve_control(mut own: OwnListeners, control: Arc<Control>) -> (Arc<Control>, OwnListeners) {
    let clients = control.clone();
    own.serve(OwnPurpose::Control, move |socket| clients.take_in(socket.fd));
    (control, own)
}

impl Process {
    /// Serves until a signal stops the process or a successor has its place. Returns the requests to be logged at the very end.
    async fn serve(mut self) -> LastLines {
        self.report_to_supervisor().await;
        loop {
            let request = self.requests.next().await;
            // This process does what the service was asked for.
            self.was_forwarded(request.trigger());
            let next = match request {
                Request::Restart(trigger) => self.restart(trigger).await,
                Request::Stop(trigger) => self.stop(trigger).await,
                Request::Rehearse(trigger) => self.rehearse(trigger).await,
            };
            if let Next::End = next {
                break;
            }
        }
        self.announcer.ends().await;
        self.own.close();
        for (server, ends) in self.observed.ends() {
            self.events.emit(&Event::Drained { server, ends });
        }
        for server in self.snapshot().servers {
            self.events.emit(&Event::Answered { server: server.name.into(), answers: server.answers });
        }
        #[cfg(feature = "cli")]
        self.control.finish().await;
        // A predecessor that still drains learns that this end is no accident.
        if let Some(predecessor) = self.to_predecessor() {
            Predecessor::announce_exit(&predecessor).await;
        }
        self.announcer.settled().await;
        LastLines::of(&self.servers)
    }

    /// The process at this moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.observed.snapshot()
    }

    /// The channel to the predecessor, while that lives.
    pub(super) fn to_predecessor(&self) -> Option<Channel> {
        self.predecessor.as_ref().and_then(WeakChannel::upgrade)
    }

    /// Cuts what is left at the deadline, and reports it.
    pub(super) async fn cut(&self) {
        let left = self.snapshot();
        let (connections, tasks) = (left.held(), left.tasks);
        if connections.is_empty() && tasks.is_none() {
            return;
        }
        let limit = self.settings.drain_timeout;
        self.events.emit(&Event::DrainTimedOut { limit, connections, tasks });
        self.servers.enter(Phase::Cutting);
        self.background.cut();
        let none_left = async {
            self.servers.until(|servers| servers.held() == 0).await;
            self.background.idle().await;
        };
        let _ = tokio::time::timeout(CUTTING, none_left).await;
    }

    /// Runs the clean-up code, after the drain. One more signal to stop ends it.
    pub(super) async fn clean_up(&mut self, deadline: Instant) {
        self.background.cut();
        let deadline = if self.ends_at_once { Instant::now() } else { deadline };
        tokio::select! {
            biased;
            outcome = self.background.clean_up_by(deadline, &self.workers) => {
                if let Err(unfinished) = outcome {
                    self.events.emit(&Event::CleanUpUnfinished(unfinished));
                }
            }
            trigger = self.requests.next_stop() => {
                self.events.emit(&Event::CleanUpAbandoned { trigger });
            }
        }
    }
}
