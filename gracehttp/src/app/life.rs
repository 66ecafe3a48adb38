//! The life of one process, told in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use crate::app::prepare::{self, Listeners};
use crate::app::App;
use crate::config::Settings;
use crate::conn::{Context, Moved, Phase};
use crate::error::Error;
use crate::handoff::{self, Channel, Predecessor, StartUp};
use crate::lifecycle::{Request, Signal, Signals, generation, set_generation};
use crate::listen::{Entrance, KeyRing, Running};
use crate::log;
use crate::server::{Permits, Server};

/// A process that serves.
pub(super) struct Process {
    pub(super) settings: Settings,
    pub(super) restart_on: Vec<Signal>,
    pub(super) stop_on: Vec<Signal>,
    pub(super) start_up: StartUp,
    pub(super) signals: Signals,
    pub(super) servers: Vec<Running>,
    /// Notified whenever a permit of any server comes free.
    pub(super) released: Arc<Notify>,
    /// The runtime of the connections and handlers.
    pub(super) workers: Handle,
    /// Of the TLS session tickets.
    pub(super) keys: KeyRing,
    /// To the predecessor, which may still be draining.
    pub(super) predecessor: Option<Channel>,
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
    // First of all, while there is one thread: the handoff leaves the environment.
    let inherited = handoff::inherited()?;
    let start_up = StartUp::capture();
    // The event loop has a runtime of its own: handlers that block their threads can block neither the
    // signals nor the deadlines.
    let control = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused_by(format!("no runtime for the event loop: {error}"), error))?;
    let signals = {
        let _within = control.enter();
        prepare::check_signals(&app.restart_on, &app.stop_on)?;
        let signals = Signals::install(&app.restart_on, &app.stop_on)?;
        if inherited.is_some() {
            Signals::let_through(&app.restart_on, &app.stop_on);
        }
        signals
    };
    control.block_on(async {
        let mut predecessor = match inherited {
            Some(socket) => Some(Predecessor::meet(socket).await?),
            None => None,
        };
        let channel = predecessor.as_ref().map(|predecessor| predecessor.channel().clone());
        let born = be_born(app, start_up, signals, &mut predecessor).await;
        match born {
            Ok(Some((process, workers))) => process.serve(workers).await,
            Ok(None) => Ok(()),
            Err(error) => {
                if let Some(channel) = channel {
                    Predecessor::fail(&channel, error.to_string()).await;
                }
                Err(error)
            }
        }
    })
}

/// From the description to the first accept. Nothing comes of it if a signal stops the process meanwhile.
async fn be_born<S: Clone + Send + Sync + 'static>(
    app: App<S>,
    start_up: StartUp,
    mut signals: Signals,
    predecessor: &mut Option<Predecessor>,
) -> Result<Option<(Process, Runtime)>, Error> {
    let App { mut servers, mut settings, restart_on, stop_on, start_up_code } = app;
    set_generation(predecessor.as_ref().map_or(1, |predecessor| predecessor.generation() + 1));

    let keys = KeyRing::default();
    if let Some(predecessor) = predecessor {
        keys.inherit(predecessor.take_keys());
    }
    let overrides = prepare::configure(&mut servers, &mut settings, &start_up)?;
    #[cfg(feature = "tls")]
    let acceptors = prepare::acceptors(&servers, &keys)?;
    let listeners = Listeners::open(&servers, predecessor)?;
    prepare::fit_limits(&mut servers, listeners.count());

    let workers = workers(&settings)?;
    let state = tokio::select! {
        biased;
        Request::Stop(signal) | Request::Restart(signal) = signals.next_stop() => {
            log::info(format_args!("{}", received(signal)));
            log::info(format_args!("stopped while starting up"));
            workers.shutdown_background();
            return Ok(None);
        }
        state = start_up_code.run(workers.handle().clone()) => state?,
    };
    log::init();

    let released = Arc::new(Notify::new());
    let moved = Arc::new(Moved::default());
    let mut running = Vec::new();
    #[cfg(feature = "tls")]
    let mut acceptors = acceptors.into_iter();
    for (server, listeners) in servers.into_iter().zip(listeners.of_servers) {
        prepare::announce(&server.options, &listeners, generation());
        let entrance = Entrance {
            context: context(server, &state, &workers, &released, &moved)?,
            #[cfg(feature = "tls")]
            tls: acceptors.next().flatten(),
        };
        running.push(Running::start(workers.handle(), &entrance, listeners));
    }
    prepare::announce_overrides(&overrides);

    let channel = match predecessor {
        Some(predecessor) => Some(take_over(predecessor, &running, &moved, workers.handle()).await),
        None => None,
    };
    running.iter().for_each(Running::open);
    listeners.fresh_files.keep();
    let process = Process {
        settings,
        restart_on,
        stop_on,
        start_up,
        signals,
        servers: running,
        released,
        workers: workers.handle().clone(),
        keys,
        predecessor: channel,
    };
    Ok(Some((process, workers)))
}

/// The runtime of the connections and handlers.
fn workers(settings: &Settings) -> Result<Runtime, Error> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = settings.worker_threads {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .thread_name("gracehttp")
        .build()
        .map_err(|error| Error::caused_by(format!("no runtime for the servers: {error}"), error))
}

/// Makes the service of a server, and all that its connections share.
fn context<S>(
    server: Server<S>,
    state: &S,
    workers: &Runtime,
    released: &Arc<Notify>,
    moved: &Arc<Moved>,
) -> Result<Arc<Context>, Error> {
    // Within the runtime that serves: a factory may start tasks, and the parking lot is watched there.
    let _within = workers.enter();
    let Server { options, make, .. } = server;
    let dispatch = make(state);
    let name = options.name.clone();
    let permits = Arc::new(Permits::new(options.max_conns, released.clone()));
    Context::new(options, dispatch, permits, moved.clone()).map(Arc::new).map_err(|error| {
        Error::caused_by(format!("server `{name}`: no parking lot for its connections: {error}"), error)
    })
}

/// Says that we are ready, waits for our turn, and from then on takes in what the predecessor sends.
async fn take_over(
    predecessor: &mut Predecessor,
    running: &[Running],
    moved: &Arc<Moved>,
    workers: &Handle,
) -> Channel {
    let channel = predecessor.channel().clone();
    let contexts: Vec<_> = running.iter().map(|server| server.context.clone()).collect();
    let teller = channel.clone();
    moved.watch(move |told| teller.try_send(&handoff::Reply::from(told)));
    let names = running.iter().map(|server| server.name().to_owned()).collect();
    let held = predecessor.ready(names).await;
    handoff::count_foreign(&contexts, &held);
    workers.spawn(handoff::welcome(channel.clone(), contexts, moved.clone()));
    channel
}

impl Process {
    /// Serves until a signal stops the process or a successor has its place.
    async fn serve(mut self, workers: Runtime) -> Result<(), Error> {
        loop {
            let next = match self.signals.next().await {
                Request::Restart(signal) => self.restart(signal).await,
                Request::Stop(signal) => self.stop(signal).await,
            };
            if let Next::End = next {
                break;
            }
        }
        // A predecessor that still drains learns that this end is no accident.
        if let Some(predecessor) = &self.predecessor {
            Predecessor::farewell(predecessor).await;
        }
        // Handlers that still block their threads are not waited for: they end with the process.
        workers.shutdown_background();
        Ok(())
    }

    /// Connections that this process holds.
    pub(super) fn held(&self) -> usize {
        held(&self.servers)
    }

    /// Enters a phase in all servers.
    pub(super) fn enter(&self, phase: Phase) {
        self.servers.iter().for_each(|server| server.enter(phase));
    }

    /// Cuts what is left at the deadline, and reports it.
    pub(super) async fn cut(&self) {
        let left: Vec<String> = self
            .servers
            .iter()
            .map(|server| (server.name(), server.context.permits.held()))
            .filter(|(_, held)| *held > 0)
            .map(|(name, held)| format!("{held} of server {name}"))
            .collect();
        if left.is_empty() {
            return;
        }
        log::notice(format_args!(
            "the drain's limit of {} has passed: cutting {} connections ({})",
            crate::config::show(self.settings.drain_timeout),
            self.held(),
            left.join(", ")
        ));
        self.enter(Phase::Cutting);
        // A moment for half-closes to reach their clients.
        let none_held = until(&self.released, || self.held() == 0);
        let _ = tokio::time::timeout(CUTTING, none_held).await;
    }
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
