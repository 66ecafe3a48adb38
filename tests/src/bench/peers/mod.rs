//! The peers of gracehttp: servers of other crates with the same answers. Each of them can be replaced without a refused
//! connection, as its library provides.

mod axum_serve;
mod ecdysis_hyper;
mod hyper_graceful;
mod inherit;
mod secure;

use crate::bench::contestant::Server;

/// axum, served by `axum::serve`.
pub const AXUM: Server = ("axum", axum_serve::serve);

/// hyper with hyper-util's `GracefulShutdown`.
pub const HYPER: Server = ("hyper", hyper_graceful::serve);

/// hyper on a listener that ecdysis passes on.
pub const ECDYSIS: Server = ("ecdysis", ecdysis_hyper::serve);
