//! From the description of an application to its first accept.

use std::cell::OnceCell;
use std::ops::Deref;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::app::configured::Configured;
use crate::app::prepare::{self, FreshFiles, Listeners};
use crate::config::{Provenance, Settings};
use crate::conn::{Context, Moved, TlsAcceptor};
use crate::error::Error;
use crate::handoff::{self, Adopter, Destination, Inherited, Predecessor, Routes, WeakChannel};
use crate::lifecycle::{Background, aside, generation, set_generation};
use crate::listen::{Acceptor, KeyRing, Running};
use crate::log;
use crate::server::{Permits, Server, SocketAccess};

/// What serves.
pub(super) struct Started {
    pub(super) settings: Settings,
    pub(super) servers: Vec<Running>,
    /// Notified whenever a permit of any server comes free.
    pub(super) released: Arc<Notify>,
    /// Of the TLS session tickets.
    pub(super) keys: KeyRing,
    /// To the predecessor, which may still be draining.
    pub(super) predecessor: Option<WeakChannel>,
    /// Of the connections and handlers.
    pub(super) workers: Handle,
}

/// What could serve: all that can fail is behind it.
pub(super) struct Prepared {
    settings: Settings,
    servers: Vec<Running>,
    released: Arc<Notify>,
    moved: Arc<Moved>,
    keys: KeyRing,
    provenance: Vec<Provenance>,
    fresh_files: FreshFiles,
    predecessor: Option<Predecessor>,
    workers: Handle,
}

/// Prepares an application to serve, with `workers` as soon as it needs them. A predecessor hears why if that
/// fails. Dropped, it leaves no trace but what the start-up code has begun; see [`wind_up`].
pub(super) async fn prepare<S: Clone + Send + Sync + 'static>(
    app: Configured<S>,
    inherited: Option<Inherited>,
    workers: &OnceCell<Workers>,
) -> Result<Prepared, Error> {
    // First: the predecessor's listeners need descriptors, too.
    let descriptors = prepare::raise_limit(&app.servers);
    let predecessor = match inherited {
        Some(inherited) => Some(Predecessor::meet(inherited.socket).await?),
        None => None,
    };
    let channel = predecessor.as_ref().map(|predecessor| predecessor.channel().clone());
    let prepared = begin(app, predecessor, descriptors, workers).await;
    if let Err(error) = &prepared {
        // First: a predecessor that hears of the failure kills this process.
        wind_up(workers).await;
        if let Some(channel) = channel {
            flush_log().await;
            Predecessor::fail(&channel, error.to_string()).await;
        }
    }
    prepared
}

/// Ends what the start-up code of a process that will not serve has begun: background tasks, and whatever it
/// registered clean-up code for.
pub(super) async fn wind_up(workers: &OnceCell<Workers>) {
    if let Some(workers) = workers.get() {
        Background::of(workers).wind_up(workers).await;
    }
}

/// Waits until all messages are written.
async fn flush_log() {
    // Fails if `flush` panics, which it does not.
    let _ = spawn_blocking(log::flush).await;
}

/// Tells the predecessor, if there is one, that this application can't even be configured.
pub(super) async fn refuse(fault: &Error, inherited: Option<Inherited>) {
    let Some(Inherited { socket, .. }) = inherited else { return };
    // If they can't talk, our exit status says it.
    if let Ok(predecessor) = Predecessor::meet(socket).await {
        Predecessor::fail(predecessor.channel(), fault.to_string()).await;
    }
}

async fn begin<S: Clone + Send + Sync + 'static>(
    app: Configured<S>,
    mut predecessor: Option<Predecessor>,
    descriptors: usize,
    workers: &OnceCell<Workers>,
) -> Result<Prepared, Error> {
    let Configured { servers, settings, start_up_code, provenance, .. } = app;
    let keys = KeyRing::default();
    if let Some(predecessor) = &mut predecessor {
        set_generation(predecessor.generation().saturating_add(1));
        keys.inherit(predecessor.take_keys());
    }

    // All faults that are not the application's come first, and are reported together. Aside, since name servers and
    // disks can be slow, and a certificate may come from a pipe.
    let offered = predecessor.as_mut().map(Predecessor::take_listeners).unwrap_or_default();
    let ticket_keys = keys.clone();
    let open = move || {
        let listeners = Listeners::open(&servers, offered);
        let tls_acceptors = prepare::tls_acceptors(&servers, &ticket_keys);
        both(listeners, tls_acceptors).map(|opened| (opened, servers))
    };
    let ((listeners, tls_acceptors), mut servers) =
        aside("endpoints", "what opens the endpoints", open).await??;
    prepare::fit_limits(&mut servers, listeners.count(), descriptors);

    let started = Workers::start(&settings)?;
    let workers = Handle::clone(workers.get_or_init(|| started));
    let state = start_up_code.run(workers.clone()).await?;
    log::init();

    let released = Arc::new(Notify::new());
    let moved = Arc::new(Moved::default());
    let mut running = Vec::new();
    for ((server, tls), listeners) in servers.into_iter().zip(tls_acceptors).zip(listeners.of_servers) {
        let context = context(server, tls, &state, &workers, &released, &moved).await?;
        running.push(Running::start(&workers, &context, listeners));
    }
    let fresh_files = listeners.fresh_files;
    Ok(Prepared {
        settings,
        servers: running,
        released,
        moved,
        keys,
        provenance,
        fresh_files,
        predecessor,
        workers,
    })
}

impl Prepared {
    /// Takes the predecessor's place, if there is one, and accepts. From here on nothing can fail, and a
    /// signal to stop finds a process that serves.
    pub(super) async fn take_over(self) -> Started {
        let Self { settings, servers, released, moved, keys, provenance, fresh_files, predecessor, workers } =
            self;
        let predecessor = match predecessor {
            Some(predecessor) => Some(take_over_from(predecessor, &servers, &moved, &released).await),
            None => None,
        };
        for server in &servers {
            server.update_options(Acceptor::is_adopted);
            server.open();
        }
        let access = |server: &Running, acceptor: &Acceptor| match acceptor.is_adopted() {
            true => server.context.options.socket.clone(),
            false => SocketAccess::default(),
        };
        prepare::update_access(&servers, access).await;
        for server in &servers {
            prepare::announce(server, generation());
        }
        prepare::announce_provenance(&provenance);
        fresh_files.keep();
        Started { settings, servers, released, keys, predecessor, workers }
    }
}

/// Two results as one, with the faults of both.
fn both<A, B>(one: Result<A, Error>, other: Result<B, Error>) -> Result<(A, B), Error> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(Error::several(vec![one, other])),
        (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => Err(fault),
    }
}

/// Makes the service of a server, and all that its connections share.
async fn context<S: Clone + Send + Sync + 'static>(
    server: Server<S>,
    tls: Option<TlsAcceptor>,
    state: &S,
    workers: &Handle,
    released: &Arc<Notify>,
    moved: &Arc<Moved>,
) -> Result<Arc<Context>, Error> {
    let Server { options, make, .. } = server;
    let name = options.name.clone();
    let made = {
        let (state, workers) = (state.clone(), workers.clone());
        // A factory is the application's, and may start tasks.
        move || {
            let _within = workers.enter();
            make(&state)
        }
    };
    let dispatch = aside("factory", &format!("server `{name}`: its factory"), made).await?;
    // The parking lot registers with the runtime that serves.
    let _within = workers.enter();
    let permits = Arc::new(Permits::new(options.max_conns, released.clone()));
    Context::new(options, tls, dispatch, permits, moved.clone()).map(Arc::new).map_err(|error| {
        Error::caused_by(format!("server `{name}`: no parking lot for its connections: {error}"), error)
    })
}

/// Says that we are ready, waits for our turn, and from then on takes in what the predecessor sends.
async fn take_over_from(
    predecessor: Predecessor,
    running: &[Running],
    moved: &Arc<Moved>,
    released: &Arc<Notify>,
) -> WeakChannel {
    let channel = predecessor.channel();
    let teller = channel.clone();
    moved.watch(move |report| teller.try_send(&handoff::ToPredecessor::from(report)));
    let destinations: Vec<Destination<'_>> = running.iter().map(destination).collect();
    let routes = Routes::new(predecessor.offers(), &destinations);
    let claimed = destinations
        .iter()
        .flat_map(|destination| destination.listeners.iter().filter_map(|(_, place)| *place));
    let held = predecessor.ready(routes.servers(), claimed).await;
    let contexts = running.iter().map(|server| server.context.clone()).collect();
    let adopter = Adopter::new(&predecessor, contexts, routes, moved.clone(), released.clone());
    adopter.count_foreign(&held);
    let weak = channel.downgrade();
    tokio::spawn(adopter.run());
    weak
}

/// A server as the connections of the predecessor see it.
fn destination(server: &Running) -> Destination<'_> {
    let listeners = server
        .acceptors
        .iter()
        .filter_map(|acceptor| Some((acceptor.listener.number?, acceptor.listener.place)));
    Destination {
        name: server.name(),
        secure: server.is_secure(),
        http1: server.context.options.http1,
        listeners: listeners.collect(),
    }
}

/// The runtime of the connections and handlers.
///
/// Handlers that still block their threads at the end are not waited for: they end with the process.
pub(super) struct Workers {
    /// Empty only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Workers {
    fn start(settings: &Settings) -> Result<Self, Error> {
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = settings.worker_threads {
            builder.worker_threads(threads);
        }
        let runtime = builder
            .enable_all()
            .thread_name("gracehttp")
            .build()
            .map_err(|error| Error::caused_by(format!("no runtime for the servers: {error}"), error))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Deref for Workers {
    type Target = Handle;

    fn deref(&self) -> &Self::Target {
        &self.handle
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
