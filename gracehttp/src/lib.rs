#![doc = include_str!("../docs/crate.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "gracehttp runs on Linux alone: its restarts hand connections over by means that other kernels do not have. \
     Build for a Linux target, in a container or by `cargo check --target x86_64-unknown-linux-gnu`"
);

#[cfg(target_os = "linux")]
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[cfg(target_os = "linux")]
mod access_log;
#[cfg(all(target_os = "linux", feature = "acme"))]
mod acme;
#[cfg(all(target_os = "linux", feature = "admin"))]
mod admin;
#[cfg(target_os = "linux")]
mod app;
#[cfg(target_os = "linux")]
mod config;
#[cfg(target_os = "linux")]
mod conn;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod control;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod face;
#[cfg(all(target_os = "linux", any(doc, doctest)))]
pub mod guide;
#[cfg(target_os = "linux")]
mod handoff;
#[cfg(target_os = "linux")]
mod health;
#[cfg(target_os = "linux")]
mod ledger;
#[cfg(target_os = "linux")]
mod lifecycle;
#[cfg(target_os = "linux")]
mod listen;
#[cfg(target_os = "linux")]
pub mod log;
#[cfg(all(target_os = "linux", feature = "admin"))]
pub mod metrics;
#[cfg(all(target_os = "linux", not(feature = "admin")))]
#[path = "metrics/without.rs"]
mod metrics;
#[cfg(target_os = "linux")]
mod parking;
#[cfg(target_os = "linux")]
mod proxy;
#[cfg(target_os = "linux")]
#[cfg_attr(not(feature = "tls"), path = "record/without.rs")]
mod record;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
mod status;
#[cfg(target_os = "linux")]
mod supervision;
#[cfg(target_os = "linux")]
mod sync;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
pub mod test;
#[cfg(target_os = "linux")]
mod tls;

#[cfg(target_os = "linux")]
pub use face::*;

/// The READMEs' programs compile, too.
#[cfg(all(target_os = "linux", doctest, feature = "axum", feature = "tls"))]
mod readme {
    #[doc = include_str!("../../README.md")]
    mod english {}

    #[doc = include_str!("../../README.zh-CN.md")]
    mod chinese {}
}
