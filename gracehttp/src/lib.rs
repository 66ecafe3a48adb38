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
#[cfg(feature = "axum")]
pub use axum::extract::{Form, Json, Path, Query, State};
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
#[cfg(feature = "tls")]
pub use server::Tls;
pub use server::{
    Answer, BoxService, Endpoint, Handler, IntoServer, Request, Response, Server, ServerBuilder,
};

/// The READMEs' programs compile, too.
#[cfg(all(doctest, feature = "axum", feature = "tls"))]
mod readme {
    #[doc = include_str!("../../README.md")]
    mod english {}

    #[doc = include_str!("../../README.zh-CN.md")]
    mod chinese {}
}
