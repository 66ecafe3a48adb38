//! What a server is: a name, endpoints, a service and its limits.

mod access;
mod access_log;
#[cfg(feature = "tls")]
mod acme;
mod asked;
mod builder;
#[cfg(feature = "tls")]
mod client_auth;
mod endpoint;
mod handler;
mod health_path;
#[cfg(feature = "tls")]
mod hsts;
mod https_port;
mod into_server;
pub(crate) mod kinds;
mod layer;
mod listens;
mod options;
mod permit_requests;
mod permits;
mod route;
#[cfg(feature = "axum")]
pub(crate) mod routes;
mod service;
mod state;
mod surroundings;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
pub(crate) mod tls_words;
mod when_full;

use std::fmt;
use std::sync::Arc;

pub(crate) use access::{Mode, SocketAccess};
pub use access_log::AccessLog;
pub(crate) use access_log::AccessLogTo;
#[cfg(feature = "tls")]
pub use acme::Acme;
#[cfg(feature = "acme")]
pub(crate) use acme::binding_key;
#[cfg(feature = "tls")]
pub(crate) use acme::{MASK, Secret, is_binding_key};
pub(crate) use asked::{Asked, Line};
pub use builder::ServerBuilder;
#[cfg(feature = "tls")]
pub use client_auth::ClientAuth;
pub use endpoint::Endpoint;
pub use handler::{Handler, Output};
pub(crate) use health_path::HealthPath;
#[cfg(feature = "tls")]
pub(crate) use hsts::Hsts;
pub(crate) use https_port::HttpsPort;
pub use into_server::IntoServer;
pub use layer::{Answer, BoxService};
pub use listens::{Clash, Listens};
pub(crate) use options::{DEFAULT_MAX_CONNS, ServerOptions};
pub(crate) use permits::{Permit, Permits, Turn};
pub(crate) use route::NotedWork;
pub(crate) use route::note_routes_of_routers;
pub(crate) use service::{Dispatch, Instead, ResponseFuture};
pub use service::{Request, Response};
pub(crate) use state::SharedState;
pub(crate) use surroundings::Surroundings;
#[cfg(feature = "tls")]
pub use tls::Tls;
#[cfg(feature = "tls")]
pub(crate) use tls::{CertificateFiles, Source as TlsSource};
pub use when_full::WhenFull;

use crate::error::Error;

type Make<S> = Box<dyn FnOnce(&S) -> Arc<dyn Dispatch> + Send>;

/// One server of an application. `#[server]` declares one; [`App::serve`](crate::App::serve) takes it.
///
/// `S` is the state that the application's start-up code returns. A server that reads no state is a
/// `Server<S>` for every `S`.
///
/// ```
/// use gracehttp::Server;
///
/// async fn ping() -> &'static str {
///     "pong"
/// }
///
/// let server: Server<()> = Server::builder("ping").port(9090).max_conns(1000).handler(ping);
/// assert_eq!(server.name(), "ping");
/// ```
pub struct Server<S> {
    pub(crate) options: ServerOptions,
    /// The faults in the builder's calls. They are reported all at once when the application starts.
    pub(crate) faults: Vec<Error>,
    pub(crate) answers: Answers,
    /// Makes the service. It runs once, after the start-up code.
    pub(crate) make: Make<S>,
}

/// What answers the requests of a server, for the command `routes` and for `Debug`.
#[derive(Clone, Copy)]
pub(crate) enum Answers {
    /// One handler, with its path, which begins with the crate.
    Handler(&'static str),
    /// A service, whose routes are unknown.
    Service,
    #[cfg(feature = "axum")]
    Routes(&'static routes::Table),
}

/// Only `Server<()>` has this method, so that `Server::builder` needs no type. The handler brings the state.
impl Server<()> {
    /// Starts the description of a server. Logs, errors and environment variables use its name.
    pub fn builder(name: impl Into<String>) -> ServerBuilder {
        ServerBuilder::new(name.into())
    }
}

impl<S> Server<S> {
    /// The server's name.
    pub fn name(&self) -> &str {
        &self.options.name
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(name) => f.write_str(name),
            Self::Service => f.write_str("a service"),
            #[cfg(feature = "axum")]
            Self::Routes(table) => table.fmt(f),
        }
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("options", &self.options)
            .field("answers", &self.answers)
            .finish_non_exhaustive()
    }
}
