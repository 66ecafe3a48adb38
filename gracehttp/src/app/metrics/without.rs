//! A build without the feature `admin` counts nothing for Prometheus.

use std::sync::Arc;

use crate::handoff::{Parcel, Predecessor};
use crate::lifecycle::Events;
use crate::metrics::ServerMetrics;
use crate::status::Observed;
use crate::supervision::{Legacy, Supervised};

pub(super) fn adopt_from(_: &mut Predecessor) {}

pub(super) fn adopt_kept(_: &mut Legacy) {}

pub(super) async fn have_kept(_: &Supervised) {}

pub(super) fn parcel() -> Option<Parcel> {
    None
}

pub(super) fn begin(_: bool) {}

pub(super) fn of_server(_: &str) -> Option<&'static ServerMetrics> {
    None
}

pub(super) fn record(_: &Events, _: &Arc<Observed>) {}
