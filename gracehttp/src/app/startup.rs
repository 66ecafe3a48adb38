//! From the description of an application to all that it needs to serve.

use std::cell::OnceCell;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::access_log::AccessLog;
use crate::app::ancestry::{Ancestry, LISTENERS, kept_listeners};
use crate::app::configured::{Configured, Origins};
use crate::app::metrics;
use crate::app::operators::Operators;
use crate::app::parcels::Handlers;
use crate::app::prepare::{self, FreshFiles, Listeners};
use crate::app::receipts;
use crate::app::servers::Servers;
use crate::app::service_user::ServiceUser;
use crate::app::workers::Workers;
use crate::config::Settings;
use crate::conn::{Context, Moved, give_memory_back, redirected};
use crate::error::Error;
use crate::handoff::{Inherited, Overheard, Parcel, Predecessor, REHEARSAL};
use crate::health::{Checks, Health, HealthDispatch};
use crate::lifecycle::{
    Background, ConnectionEnds, EndCounter, Events, Pulse, aside, generation, guarded, set_generation, start,
};
use crate::listen::{OfferedListeners, OwnListeners, Running};
use crate::log;
use crate::parking::ParkedCount;
use crate::server::{Dispatch, Permits, Server, ServerOptions, note_routes_of_routers};
use crate::status::Document;
use crate::supervision::{Activation, PARCEL, Supervised};
use crate::tls::{KeyRing, TlsAcceptor};

/// All that a process needs to serve. No later step can fail.
pub(super) struct Prepared {
    pub(super) settings: Settings,
    pub(super) servers: Servers,
    pub(super) own: OwnListeners,
    pub(super) moved: Arc<Moved>,
    pub(super) keys: KeyRing,
    pub(super) origins: Origins,
    pub(super) fresh_files: FreshFiles,
    pub(super) predecessor: Option<Predecessor>,
    /// Standard error, from which the predecessor reads as long as this process may fail.
    pub(super) overheard: Option<Overheard>,
    pub(super) supervised: Option<Supervised>,
    /// This process was only started to show that it could serve.
    pub(super) is_rehearsal: bool,
    pub(super) parcels: Handlers,
    pub(super) workers: Handle,
    pub(super) pulse: Arc<Pulse>,
    pub(super) health: Arc<Health>,
    pub(super) document: Arc<Document>,
    pub(super) operators: Operators,
    pub(super) events: Events,
}

/// From where a process gets what it does not make itself.
struct Origin {
    predecessor: Option<Predecessor>,
    supervised: Option<Supervised>,
    sockets: Sockets,
}

/// Sockets that were open before this process began.
enum Sockets {
    /// By another process of this service.
    Offered(OfferedListeners),
    /// By the program that started it.
    Passed(Activation),
}

impl Origin {
    async fn of(ancestry: Ancestry, parcels: &Handlers) -> Result<Self, Error> {
        Ok(match ancestry {
            Ancestry::First { activation, supervised } => {
                Self { predecessor: None, supervised, sockets: Sockets::Passed(activation) }
            }
            Ancestry::Successor(inherited) => {
                let mut predecessor = Predecessor::connect(inherited.socket, inherited.greeting).await?;
                set_generation(predecessor.generation().saturating_add(1));
                let supervisor = predecessor.take_parcel(PARCEL);
                let supervised =
                    supervisor.and_then(|Parcel { data, fds, .. }| Supervised::received(&data, fds));
                let sockets = Sockets::Offered(predecessor.take_listeners());
                Self { predecessor: Some(predecessor), supervised, sockets }
            }
            Ancestry::AfterCrash(mut legacy) => {
                set_generation(legacy.generation);
                metrics::adopt_kept(&mut legacy);
                receipts::adopt_kept(&mut legacy, &parcels.history);
                let sockets = Sockets::Offered(kept_listeners(legacy.take(LISTENERS)));
                Self { predecessor: None, supervised: Some(legacy.supervised), sockets }
            }
        })
    }
}

/// Prepares an application to serve, and starts `workers` as soon as it needs them. If that fails, the predecessor
/// learns why. If it is dropped, only the work of the start-up code is left; see [`end_early`].
pub(super) async fn prepare<S: Clone + Send + Sync + 'static>(
    app: Configured<S>,
    ancestry: Ancestry,
    workers: &OnceCell<Workers>,
    parcels: &Handlers,
    events: &Events,
) -> Result<Prepared, Error> {
    // First: the predecessor's listeners need descriptors, too.
    let descriptors = prepare::raise_limit(&app.servers);
    // They get up meanwhile. Whether they could is looked at when they are needed.
    let started = Workers::start(&app.settings);
    let mut origin = Origin::of(ancestry, parcels).await?;
    log::note_generation(generation());
    let overheard = origin.predecessor.as_mut().and_then(Predecessor::overhear);
    let channel = origin.predecessor.as_ref().map(|predecessor| predecessor.channel().clone());
    let prepared = begin(app, origin, descriptors, (started, workers), parcels, events).await;
    if let Err(error) = &prepared {
        // First: a predecessor that learns of the failure kills this process.
        end_early(workers, events).await;
        if let Some(channel) = channel {
            flush_log().await;
            Predecessor::fail(&channel, error.to_string()).await;
        }
    }
    prepared.map(|prepared| Prepared { overheard, ..prepared })
}

/// Cleans up after the start-up code of a process that will not serve: background tasks end, and clean-up code runs.
pub(super) async fn end_early(workers: &OnceCell<Workers>, events: &Events) {
    if let Some(workers) = workers.get() {
        Background::of(workers).end_early(workers, events).await;
    }
}

/// Waits until all messages are written.
pub(super) async fn flush_log() {
    // Fails if `flush` panics, which it does not.
    let _ = spawn_blocking(log::flush).await;
}

/// Tells the predecessor, if there is one, that this application can't even be configured.
pub(super) async fn refuse(fault: &Error, ancestry: Ancestry) {
    let Ancestry::Successor(Inherited { socket, greeting, .. }) = ancestry else { return };
    // If they can't talk, our exit status says it.
    if let Ok(predecessor) = Predecessor::connect(socket, greeting).await {
        Predecessor::fail(predecessor.channel(), fault.to_string()).await;
    }
}

async fn begin<S: Clone + Send + Sync + 'static>(
    app: Configured<S>,
    origin: Origin,
    descriptors: usize,
    (started, workers): (Result<Workers, Error>, &OnceCell<Workers>),
    parcels: &Handlers,
    events: &Events,
) -> Result<Prepared, Error> {
    let Configured {
        mut servers,
        settings,
        health_checks,
        start_up_code,
        origins,
        mut own_addresses,
        file,
        secret_files,
    } = app;
    let Origin { mut predecessor, supervised, sockets } = origin;
    let health = Arc::new(Health::new());
    events.subscribe(health.clone());
    let document = Document::new(health.clone());
    let keys = KeyRing::default();
    let is_rehearsal =
        predecessor.as_mut().is_some_and(|predecessor| predecessor.take_parcel(REHEARSAL).is_some());
    if let Some(predecessor) = &mut predecessor {
        keys.adopt(predecessor.take_keys());
        parcels.receive(predecessor);
        metrics::adopt_from(predecessor);
    }
    if let Some(supervised) = &supervised {
        supervised.note_signals(settings.restart_on.iter().chain(&settings.stop_on).copied());
    }

    // All faults that are not the application's come first, and are reported together. Aside if they may have to wait:
    // name servers and disks can be slow, and a certificate may come from a pipe.
    let offered = match sockets {
        Sockets::Offered(offered) => offered,
        Sockets::Passed(activation) => activation.offered(prepare::descriptors_of(&servers, &own_addresses)),
    };
    let user = ServiceUser::find(&settings)?;
    if let Some(user) = &user {
        user.own_socket_files(&mut servers, &mut own_addresses);
    }
    let ticket_keys = keys.clone();
    let at_once = prepare::open_at_once(&servers, &own_addresses);
    let open = move || {
        let listeners = Listeners::open(&servers, &own_addresses, offered);
        let tls_acceptors = prepare::tls_acceptors(&servers, &ticket_keys);
        let opened = both(listeners, tls_acceptors);
        let opened = match user {
            // Before the files of the logs: the user could not open again what root has made.
            Some(user) => {
                let opened = opened?;
                user.assume(&servers, file.as_deref(), &secret_files)?;
                Ok(opened)
            }
            None => opened,
        };
        both(opened, prepare::access_logs(&servers)).map(|opened| (opened, servers))
    };
    let opening = "opening the endpoints";
    let (((mut listeners, tls_acceptors), access_logs), mut servers) = match at_once {
        true => guarded(opening, open),
        false => aside("endpoints", opening, open).await,
    }??;
    let has_spans = servers.iter().any(|server| server.options.request_span);
    let shows_routes = has_spans || access_logs.iter().any(Option::is_some);
    let operators = Operators::new(&settings, &health, &document, events);
    if predecessor.is_none() {
        operators.open(&mut listeners.own);
    }
    prepare::fit_limits(&mut servers, listeners.count(), descriptors, events);

    let started = started?;
    let workers = workers.get_or_init(|| started);
    let (workers, pulse) = (Handle::clone(workers), workers.pulse().clone());
    let (options, factories): (Vec<_>, Vec<_>) = servers
        .into_iter()
        .map(|Server { options, make, .. }| {
            let name = options.name.clone();
            (options, (name, make))
        })
        .unzip();
    let for_operators = operators.is_some();
    let make_services = {
        let workers = workers.clone();
        move |state: &S| {
            log::init();
            metrics::begin(for_operators);
            if shows_routes {
                note_routes_of_routers();
            }
            // A factory is the application's, and may start tasks.
            let _within = workers.enter();
            let made = factories
                .into_iter()
                .map(|(name, make)| guarded(&format!("server `{name}`: its factory"), || make(state)));
            made.collect::<Result<Vec<_>, Error>>()
        }
    };
    let (state, services) = start_up_code.run(workers.clone(), make_services).await?;
    let (state, services) = (Arc::new(state), services?);

    let released = Arc::new(Notify::new());
    let moved = Arc::new(Moved::default());
    let parked = Arc::new(ParkedCount::default());
    let shared =
        Shared { workers: &workers, released: &released, moved: &moved, parked: &parked, health: &health };
    let mut running = Vec::new();
    let made =
        options.into_iter().zip(services).zip(tls_acceptors).zip(access_logs).zip(listeners.of_servers);
    for ((((options, service), tls), access_log), listeners) in made {
        let context = context(options, service, tls, access_log, &shared)?;
        running.push(Running::start(&workers, &context, listeners));
    }
    let servers = Servers::new(running, released);
    let is_asked =
        operators.is_some() || servers.iter().any(|server| server.context.options.health.is_some());
    let probes = health_checks.into_iter().map(|check| check.bind(state.clone())).collect();
    let beats = is_asked.then(|| pulse.watch());
    health.begin(Checks::new(probes, workers.clone(), beats)).await?;
    start(give_memory_back(parked));
    let (own, fresh_files) = (listeners.own, listeners.fresh_files);
    Ok(Prepared {
        settings,
        servers,
        own,
        moved,
        keys,
        origins,
        fresh_files,
        predecessor,
        overheard: None,
        supervised,
        is_rehearsal,
        parcels: parcels.clone(),
        workers,
        pulse,
        health,
        document,
        operators,
        events: events.clone(),
    })
}

/// What the connections of all servers share.
struct Shared<'a> {
    workers: &'a Handle,
    released: &'a Arc<Notify>,
    moved: &'a Arc<Moved>,
    parked: &'a Arc<ParkedCount>,
    health: &'a Arc<Health>,
}

/// Two results as one, with the faults of both.
fn both<A, B>(one: Result<A, Error>, other: Result<B, Error>) -> Result<(A, B), Error> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(Error::several(vec![one, other])),
        (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => Err(fault),
    }
}

/// All that the connections of a server share.
fn context(
    options: ServerOptions,
    dispatch: Arc<dyn Dispatch>,
    tls: Option<TlsAcceptor>,
    access_log: Option<AccessLog>,
    shared: &Shared<'_>,
) -> Result<Arc<Context>, Error> {
    let Shared { workers, released, moved, parked, health } = *shared;
    let name = options.name.clone();
    let dispatch = redirected(&options, dispatch);
    let dispatch: Arc<dyn Dispatch> = match &options.health {
        Some(path) => Arc::new(HealthDispatch::new(path.clone(), health.clone(), dispatch)),
        None => dispatch,
    };
    // The parking lot registers with the runtime that serves.
    let _within = workers.enter();
    let measured_by = metrics::of_server(&name);
    let ends = ConnectionEnds::counted_by(measured_by.map(|metrics| metrics as &'static dyn EndCounter));
    let permits = Arc::new(Permits::with_ends(options.max_conns, released.clone(), ends));
    let context = Context::new(options, tls, dispatch, permits, moved.clone(), parked.clone());
    context.map(|context| Arc::new(context.measured_by(measured_by).logged_by(access_log))).map_err(|error| {
        Error::caused_by(format!("server `{name}`: no parking lot for its connections: {error}"), error)
    })
}
