#![doc = include_str!("../docs/crate.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod app;
mod config;
mod conn;
mod error;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handoff;
mod lifecycle;
mod listen;
pub mod log;
mod parking;
mod server;
mod sys;
pub mod test;

pub use app::App;
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
pub use conn::{Generation, PeerAddr, Shutdown};
pub use error::Error;
#[doc = include_str!("../docs/main.md")]
pub use gracehttp_macros::main;
#[doc = include_str!("../docs/routes.md")]
pub use gracehttp_macros::routes;
#[doc = include_str!("../docs/server.md")]
pub use gracehttp_macros::server;
pub use gracehttp_macros::{any, delete, fallback, get, head, options, patch, post, put, route};
pub use lifecycle::{Signal, generation, on_exit, spawn};
pub use listen::restore_limits;
#[cfg(feature = "tls")]
pub use server::Tls;
pub use server::{
    Answer, BoxService, Endpoint, Handler, IntoServer, Request, Response, Server, ServerBuilder, WhenFull,
};

/// The READMEs' programs compile, too.
#[cfg(all(doctest, feature = "axum", feature = "tls"))]
mod readme {
    #[doc = include_str!("../../README.md")]
    mod english {}

    #[doc = include_str!("../../README.zh-CN.md")]
    mod chinese {}
}
