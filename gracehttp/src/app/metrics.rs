//! Metrics in the life of a process: where the counters come from, what is counted, and where the counters go.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use crate::handoff::{Parcel, Predecessor};
use crate::lifecycle::Events;
use crate::log;
use crate::metrics::{self, ServerMetrics};
use crate::server::note_routes_of_routers;
use crate::status::Observed;
use crate::supervision::{Legacy, Supervised};

/// The table of counters, as a descriptor.
const PARCEL: &str = "metrics";

/// Goes on with the counters of the predecessor. One of a release without metrics has none.
pub(super) fn adopt_from(predecessor: &mut Predecessor) {
    if let Some(table) = predecessor.take_parcel(PARCEL).and_then(|mut parcel| parcel.fds.pop()) {
        metrics::adopt(table);
    }
}

/// Goes on with the counters of a process that has crashed, which the supervisor has kept.
pub(super) fn adopt_kept(legacy: &mut Legacy) {
    if let Some(table) = legacy.take(PARCEL).pop().and_then(|mut kept| kept.fds.pop()) {
        metrics::adopt(table);
    }
}

/// Has the supervisor keep the counters for the next process.
pub(super) async fn have_kept(supervised: &Supervised) {
    let Some(table) = metrics::share() else { return };
    if let Err(error) = supervised.keep(PARCEL, &[(Vec::new(), vec![table.as_fd()])]).await {
        log::error(format_args!("the supervisor does not get the counters of the metrics: {error}"));
    }
}

/// The counters for the successor.
pub(super) fn parcel() -> Option<Parcel> {
    let table = metrics::share()?;
    match table.try_clone_to_owned() {
        Ok(table) => Some(Parcel { fds: vec![table], ..Parcel::new(PARCEL, Vec::new()) }),
        Err(error) => {
            log::error(format_args!("the successor does not get the counters of the metrics: {error}"));
            None
        }
    }
}

/// The start-up code has run, which may show metrics itself. The servers' services are not made yet.
pub(super) fn begin(for_operators: bool) {
    if for_operators {
        metrics::turn_on();
    }
    if metrics::are_on() {
        note_routes_of_routers();
    }
}

/// The counters of a server, if anything asks for metrics.
pub(super) fn of_server(name: &str) -> Option<&'static ServerMetrics> {
    metrics::are_on().then(|| ServerMetrics::of(name))
}

/// From now on the events of the process are counted, if anything asks for metrics.
pub(super) fn record(events: &Events, observed: &Arc<Observed>) {
    if metrics::are_on() {
        metrics::record(events, observed.clone());
    }
}
