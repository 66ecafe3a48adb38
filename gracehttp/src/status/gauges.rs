//! The gauges of the metrics.

use std::os::fd::AsFd as _;
use std::sync::Weak;

use crate::lifecycle::Address;
use crate::listen::Listener;
use crate::metrics::{ServerGauges, Source};
use crate::socket::Stage;
use crate::status::snapshot::{Observed, ObservedServer};
use crate::sys;

impl Source for Observed {
    fn servers(&self) -> Vec<ServerGauges> {
        self.servers.iter().map(ObservedServer::gauges).collect()
    }
}

impl ObservedServer {
    fn gauges(&self) -> ServerGauges {
        let Self { context, listeners } = self;
        let held = context.permits.held();
        let parked = context.lot.count(Stage::Fresh) + context.lot.count(Stage::Idle);
        let queues =
            listeners.iter().filter_map(Weak::upgrade).filter_map(|listener| queue_length(&listener));
        ServerGauges {
            server: context.options.name.clone(),
            active_requests: context.metrics.map_or(0, |metrics| metrics.active_requests()),
            awake: held.saturating_sub(parked),
            parked,
            foreign: context.permits.foreign(),
            limit: context.permits.limit(),
            ends: context.ends().counts(),
            waiting: queues.reduce(|one, other| one + other),
        }
    }
}

/// How many clients wait; none for a Unix socket, of which the kernel does not say it.
fn queue_length(listener: &Listener) -> Option<usize> {
    match listener.local {
        Address::Tcp(_) => sys::queue_length(listener.fd.as_fd()).ok(),
        Address::Unix(_) => None,
    }
}
