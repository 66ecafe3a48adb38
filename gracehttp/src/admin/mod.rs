//! What an operator reads over HTTP: whether the process lives and is ready, metrics, a status page.
//!
//! All of it runs on the control runtime, so it answers while every worker thread is blocked.

mod events;
mod host;
mod patience;
mod respond;
mod routes;
mod serve;

pub(crate) use host::Hosts;
pub(crate) use serve::Admin;
