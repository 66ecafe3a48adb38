//! The gauges of the metrics.

use std::os::fd::AsFd as _;
use std::sync::Weak;

use crate::conn::Context;
use crate::lifecycle::Address;
use crate::listen::Listener;
use crate::metrics::{CertificateGauge, DrainGauges, DrainingConnections, ServerGauges, Source, UrlScheme};
use crate::socket::Stage;
use crate::status::predecessors::Told;
use crate::status::snapshot::{Observed, ObservedServer};
use crate::sys;

impl Source for Observed {
    fn servers(&self) -> Vec<ServerGauges> {
        self.servers.iter().map(ObservedServer::gauges).collect()
    }

    fn draining(&self) -> Vec<DrainGauges> {
        self.predecessors().iter().map(gauges_of_drain).collect()
    }
}

fn gauges_of_drain(told: &Told) -> DrainGauges {
    let report = told.report();
    let servers = report.servers.iter().map(|server| DrainingConnections {
        server: server.name.clone(),
        awake: server.awake,
        parked: server.parked,
    });
    DrainGauges { generation: report.generation, remaining: told.deadline_in(), servers: servers.collect() }
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
            active_requests: active_requests(context),
            awake: held.saturating_sub(parked),
            parked,
            foreign: context.permits.foreign(),
            limit: context.permits.limit(),
            held: context.ends().counts().open(),
            certificates: certificates(context),
            waiting: queues.reduce(|one, other| one + other),
        }
    }
}

fn active_requests(context: &Context) -> Vec<(UrlScheme, u64)> {
    let served = [false, true].into_iter().filter(|is_secure| context.serves(*is_secure)).map(UrlScheme::of);
    served
        .map(|scheme| (scheme, context.metrics.map_or(0, |metrics| metrics.active_requests(scheme))))
        .collect()
}

fn certificates(context: &Context) -> Vec<CertificateGauge> {
    #[cfg(feature = "tls")]
    let certificates = context.tls.iter().flat_map(|tls| tls.certificates()).filter_map(|facts| {
        Some(CertificateGauge {
            name: facts.names.into_iter().next().unwrap_or_default(),
            not_after: facts.not_after?,
        })
    });
    #[cfg(not(feature = "tls"))]
    let certificates = {
        let _ = context;
        std::iter::empty()
    };
    certificates.collect()
}

/// How many clients wait; none where the kernel does not say it, such as one without unix_diag of a Unix socket.
fn queue_length(listener: &Listener) -> Option<usize> {
    match listener.local {
        Address::Tcp(_) => sys::tcp_queue_length(listener.fd.as_fd()).ok(),
        Address::Unix(_) => sys::unix_queue_length(listener.fd.as_fd()).ok(),
    }
}
