//! From the description of an application to its first accept.

use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use crate::app::App;
use crate::app::prepare::{self, Listeners};
use crate::config::Settings;
use crate::conn::{Context, Moved};
use crate::error::{Error, panic_message};
use crate::handoff::{self, Predecessor, StartUp, WeakChannel};
use crate::lifecycle::{generation, set_generation};
use crate::listen::{Entrance, KeyRing, Running};
use crate::log;
use crate::server::{Permits, Server};

/// What serves.
pub(super) struct Born {
    pub(super) settings: Settings,
    pub(super) servers: Vec<Running>,
    /// Notified whenever a permit of any server comes free.
    pub(super) released: Arc<Notify>,
    /// Of the TLS session tickets.
    pub(super) keys: KeyRing,
    /// To the predecessor, which may still be draining.
    pub(super) predecessor: Option<WeakChannel>,
    /// Of the connections and handlers.
    pub(super) workers: Workers,
}

/// Makes an application serve. A predecessor hears why if that fails.
pub(super) async fn be_born<S: Clone + Send + Sync + 'static>(
    app: App<S>,
    start_up: &StartUp,
    inherited: Option<OwnedFd>,
) -> Result<Born, Error> {
    let Some(socket) = inherited else { return begin(app, start_up, &mut None).await };
    let predecessor = Predecessor::meet(socket).await?;
    let channel = predecessor.channel().clone();
    let born = begin(app, start_up, &mut Some(predecessor)).await;
    if let Err(error) = &born {
        Predecessor::fail(&channel, error.to_string()).await;
    }
    born
}

async fn begin<S: Clone + Send + Sync + 'static>(
    app: App<S>,
    start_up: &StartUp,
    predecessor: &mut Option<Predecessor>,
) -> Result<Born, Error> {
    let App { mut servers, mut settings, start_up_code, .. } = app;
    let keys = KeyRing::default();
    if let Some(predecessor) = predecessor {
        set_generation(predecessor.generation() + 1);
        keys.inherit(predecessor.take_keys());
    }

    // What can be wrong without the application's doing is looked at first.
    let overrides = prepare::configure(&mut servers, &mut settings, start_up)?;
    #[cfg(feature = "tls")]
    let mut acceptors = prepare::acceptors(&servers, &keys)?.into_iter();
    let listeners = Listeners::open(&servers, predecessor)?;
    prepare::fit_limits(&mut servers, listeners.count());

    let workers = Workers::start(&settings)?;
    let state = start_up_code.run(Handle::clone(&workers)).await?;
    log::init();

    let released = Arc::new(Notify::new());
    let moved = Arc::new(Moved::default());
    let mut running = Vec::new();
    for (server, listeners) in servers.into_iter().zip(listeners.of_servers) {
        let entrance = Entrance {
            context: context(server, &state, &workers, &released, &moved)?,
            #[cfg(feature = "tls")]
            tls: acceptors.next().flatten(),
        };
        running.push(Running::start(&workers, &entrance, listeners));
    }

    let predecessor = match predecessor {
        Some(predecessor) => Some(take_over(predecessor, &running, &moved, &workers).await),
        None => None,
    };
    for server in &running {
        server.open();
        prepare::announce(server, generation());
    }
    prepare::announce_overrides(&overrides);
    listeners.fresh_files.keep();
    Ok(Born { settings, servers: running, released, keys, predecessor, workers })
}

/// Makes the service of a server, and all that its connections share.
fn context<S>(
    server: Server<S>,
    state: &S,
    workers: &Workers,
    released: &Arc<Notify>,
    moved: &Arc<Moved>,
) -> Result<Arc<Context>, Error> {
    // Within the runtime that serves: a factory may start tasks, and the parking lot is watched there.
    let _within = workers.enter();
    let Server { options, make, .. } = server;
    let name = options.name.clone();
    let dispatch = catch_unwind(AssertUnwindSafe(|| make(state))).map_err(|panic| {
        Error::new(format!("server `{name}`: its factory panicked: {}", panic_message(&*panic)))
    })?;
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
    workers: &Workers,
) -> WeakChannel {
    let channel = predecessor.channel().clone();
    let contexts: Vec<_> = running.iter().map(|server| server.context.clone()).collect();
    let teller = channel.clone();
    moved.watch(move |told| teller.try_send(&handoff::Reply::from(told)));
    let names = running.iter().map(|server| server.name().to_owned()).collect();
    let held = predecessor.ready(names).await;
    handoff::count_foreign(&contexts, &held);
    let weak = channel.downgrade();
    workers.spawn(handoff::welcome(channel, contexts, moved.clone()));
    weak
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
