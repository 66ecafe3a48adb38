//! The last step of a start: the process begins to serve, and takes its predecessor's place if it has one.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::access_log;
use crate::app::parcels::Handlers;
use crate::app::prepare;
use crate::app::servers::Servers;
use crate::app::startup::{Prepared, flush_log};
use crate::app::supervised::{keep_listeners, rules};
use crate::config::Settings;
use crate::conn::Moved;
use crate::error::Error;
use crate::handoff::{self, Adopter, LocalServer, Overheard, Placement, Predecessor, WeakChannel};
use crate::lifecycle::{Pulse, start};
use crate::listen::{Acceptor, OwnListeners, Running};
use crate::server::SocketAccess;
use crate::status::Document;
use crate::supervision::Supervised;
use crate::tls::KeyRing;

/// All that a process that serves consists of.
pub(super) struct Started {
    pub(super) settings: Settings,
    pub(super) servers: Servers,
    pub(super) own: OwnListeners,
    /// The keys of TLS session tickets.
    pub(super) keys: KeyRing,
    /// The channel to the predecessor, which may still be draining.
    pub(super) predecessor: Option<WeakChannel>,
    /// The supervisor of the service, if it has one.
    pub(super) supervised: Option<Supervised>,
    /// The runtime of the connections and handlers.
    pub(super) workers: Handle,
    pub(super) pulse: Arc<Pulse>,
    /// What operators read.
    pub(super) document: Arc<Document>,
}

impl Prepared {
    /// Says that this process could serve, and waits until the predecessor discards it. Its listeners are closed then,
    /// and the socket files that it has made are gone.
    pub(super) async fn rehearse(mut self) {
        end_overhearing(self.overheard.take()).await;
        let Some(predecessor) = &self.predecessor else { return };
        let ours: Vec<LocalServer<'_>> = self.servers.iter().map(local_server).collect();
        let placement = Placement::new(predecessor.listeners(), &ours);
        predecessor.rehearsed(&placement, claimed(&ours, &self.own)).await;
    }

    /// Takes the predecessor's place, if there is one, and accepts. From here on a signal to stop finds a process that
    /// serves. One thing can fail: the predecessor died at the last moment, and the supervisor has started another
    /// process in its place.
    pub(super) async fn take_over(self) -> Result<Started, Error> {
        let Self {
            settings,
            servers,
            mut own,
            moved,
            keys,
            origins,
            fresh_files,
            predecessor,
            overheard,
            supervised,
            is_rehearsal: _,
            parcels,
            workers,
            pulse,
            health,
            document,
            operators,
            events,
        } = self;
        let is_restart = predecessor.is_some();
        let predecessor = match predecessor {
            Some(predecessor) => Some(take_over_from(predecessor, &servers, &own, &moved, &parcels).await),
            None => None,
        };
        if let Some(supervised) = &supervised {
            if !supervised.take_place(&rules(&settings)) {
                return Err(Error::new(
                    "the predecessor has died, and its supervisor has started another process in its place",
                ));
            }
            // Before it accepts, so that no client is refused if the first request crashes this process.
            keep_listeners(supervised, &servers, &own).await;
        }
        if is_restart {
            access_log::follow_names();
        }
        for server in servers.iter() {
            server.update_options(Acceptor::is_adopted);
            server.open();
        }
        health.serve();
        // After it has opened, so that no client waits for what the pipe still has; and before this process says that it serves,
        // so that its messages stay in order.
        end_overhearing(overheard).await;
        if is_restart {
            operators.open(&mut own);
        }
        let access = |server: &Running, acceptor: &Acceptor| match acceptor.is_adopted() {
            true => server.context.options.socket.clone(),
            false => SocketAccess::default(),
        };
        prepare::update_access(&servers, &events, access).await;
        prepare::announce(&servers, &events);
        prepare::announce_settings(origins, &events);
        fresh_files.keep();
        Ok(Started { settings, servers, own, keys, predecessor, supervised, workers, pulse, document })
    }
}

/// From now on standard error is the former one again. It gets all that was written to the pipe first.
async fn end_overhearing(overheard: Option<Overheard>) {
    if let Some(overheard) = overheard {
        flush_log().await;
        overheard.end().await;
    }
}

/// Says that we are ready, waits for the commit, and from then on takes in what the predecessor sends.
async fn take_over_from(
    mut predecessor: Predecessor,
    servers: &Servers,
    own: &OwnListeners,
    moved: &Arc<Moved>,
    parcels: &Handlers,
) -> WeakChannel {
    let ledger = predecessor.take_ledger();
    let channel = predecessor.channel();
    let reports = channel.clone();
    moved.watch(ledger, move |report| reports.try_send(&handoff::ToPredecessor::from(report)));
    let ours: Vec<LocalServer<'_>> = servers.iter().map(local_server).collect();
    let placement = Placement::new(predecessor.listeners(), &ours);
    let held = predecessor.ready(&placement, claimed(&ours, own)).await;
    let adopter = Adopter::new(
        &predecessor,
        servers.contexts(),
        placement,
        moved.clone(),
        servers.released(),
        parcels.of_predecessor.clone(),
    );
    adopter.count_foreign(&held);
    let weak = channel.downgrade();
    parcels.reopener.pass_on_to(predecessor.parcels());
    start(adopter.run());
    weak
}

/// Which of the offered listeners these servers have, by their indices.
fn claimed(servers: &[LocalServer<'_>], own: &OwnListeners) -> impl Iterator<Item = usize> {
    let of_servers = servers.iter().flat_map(|server| &server.listeners);
    let own = own.iter().map(|own| own.listener.offer_index);
    of_servers.map(|(_, offer_index)| *offer_index).chain(own).flatten()
}

/// A server as the connections of the predecessor see it.
fn local_server(server: &Running) -> LocalServer<'_> {
    let listeners = server
        .acceptors
        .iter()
        .filter_map(|acceptor| Some((acceptor.listener.number?, acceptor.listener.offer_index)));
    LocalServer {
        name: server.name(),
        secure: server.context.is_secure(),
        plain: server.context.options.has_plain(),
        requires_client_cert: server.context.options.requires_client_cert(),
        http1: server.context.options.http1,
        listeners: listeners.collect(),
    }
}
