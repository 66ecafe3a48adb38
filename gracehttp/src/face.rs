//! The public items of the crate, beside its public modules.

pub use crate::app::App;
pub use crate::config::UnknownKeys;
pub use crate::conn::{ClientAddr, Generation, Host, PeerAddr, ProxyInfo, ProxySsl, RequestId, TraceContext};
#[cfg(feature = "tls")]
pub use crate::conn::{ClientCert, TlsInfo};
pub use crate::error::Error;
pub use crate::health::{HealthCheck, HealthFunction, IntoHealthCheck};
pub use crate::lifecycle::{Shutdown, Signal, Supervise, generation, on_exit, spawn};
pub use crate::listen::restore_limits;
pub use crate::log::LogFormat;
pub use crate::proxy::Scheme;
pub use crate::server::{
    AccessLog, Answer, BoxService, Endpoint, Handler, IntoServer, Request, Response, Server, ServerBuilder,
    WhenFull,
};
#[cfg(feature = "tls")]
pub use crate::server::{Acme, ClientAuth, Tls};
/// The version of axum whose extractors and routers work here. With `use gracehttp::axum`, a program needs no dependency
/// of its own on axum, and can't have another version of it.
#[cfg(feature = "axum")]
pub use axum;
/// WebSockets, with the feature `ws`: the extractor `WebSocketUpgrade` and what belongs to it.
///
/// A WebSocket stays with the process that accepted it. Select on [`Shutdown`] beside it, and say goodbye with a close
/// frame of [`close_code::AWAY`](ws::close_code::AWAY): [the guide](crate::guide::restarts#responses-without-an-end)
/// tells how.
#[cfg(feature = "ws")]
pub use axum::extract::ws;
#[cfg(feature = "axum")]
pub use axum::extract::{Form, Json, Path, Query, State};
#[cfg(feature = "axum")]
pub use axum::response::sse::{self, Sse};
pub use axum_core::body::Body;
pub use axum_core::extract::{FromRef, FromRequest, FromRequestParts};
pub use axum_core::response::IntoResponse;
#[doc = include_str!("../docs/health.md")]
pub use gracehttp_macros::health;
#[doc = include_str!("../docs/main.md")]
pub use gracehttp_macros::main;
#[doc = include_str!("../docs/routes.md")]
pub use gracehttp_macros::routes;
#[doc = include_str!("../docs/server.md")]
pub use gracehttp_macros::server;
pub use gracehttp_macros::{any, delete, fallback, get, head, options, patch, post, put, route};
pub use http::{HeaderMap, Method, StatusCode};
