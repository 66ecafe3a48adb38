//! The description of a server, key by key: what the keys of `#[server(…)]` call.

use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

use axum_core::BoxError;
use axum_core::response::IntoResponse;
use tower_service::Service;

use crate::error::Error;
#[cfg(feature = "tls")]
use crate::server::Tls;
use crate::server::service::{HandlerDispatch, ServiceDispatch};
use crate::server::{Answers, Dispatch, Endpoint, Handler, Request, Server, ServerOptions};

/// Describes a [`Server`]; made by [`Server::builder`].
///
/// Options come first, then one of [`handler`](Self::handler), [`service`](Self::service) and
/// [`factory`](Self::factory) completes the server.
#[must_use = "a server needs a handler, a service or a factory"]
#[derive(Debug)]
pub struct ServerBuilder {
    options: ServerOptions,
    faults: Vec<Error>,
}

impl ServerBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self { options: ServerOptions::new(name), faults: Vec::new() }
    }

    /// Listens on a TCP port of all interfaces, IPv6 and IPv4. Short for `.listen(":PORT")`; port 0 lets
    /// the kernel choose.
    pub fn port(mut self, port: u16) -> Self {
        self.options.endpoints.push(Endpoint::Tcp { host: None, port });
        self
    }

    /// Listens on one more endpoint: `host:port`, `:port`, `[ipv6]:port` or `unix:/path`.
    ///
    /// An endpoint that can't be read is an error when the application starts.
    pub fn listen(mut self, endpoint: &str) -> Self {
        match endpoint.parse() {
            Ok(endpoint) => self.options.endpoints.push(endpoint),
            Err(fault) => self.faults.push(Error::of_server(&self.options.name, fault)),
        }
        self
    }

    /// Serves HTTPS with this certificate.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.options.tls = Some(tls);
        self
    }

    /// How many connections the server holds at once, over all of its endpoints; 100 000 by default.
    ///
    /// Over it nothing is accepted: clients wait in the kernel's queue, cost no descriptor, and are served
    /// as soon as a connection ends.
    pub fn max_conns(mut self, connections: usize) -> Self {
        if connections == 0 {
            let fault = Error::new("max_conns is 0, which would serve nobody: valid is a number from 1 on");
            self.faults.push(Error::of_server(&self.options.name, fault));
        }
        self.options.max_conns = connections;
        self
    }

    /// The length of the kernel's queue of connections that nobody has accepted yet, per endpoint; 4096 by
    /// default, capped by the kernel's `net.core.somaxconn`.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.options.backlog = connections;
        self
    }

    /// Whether HTTP/1.1 is served; on by default.
    pub fn http1(mut self, on: bool) -> Self {
        self.options.http1 = on;
        self
    }

    /// Whether HTTP/2 is served, by ALPN on TLS and by prior knowledge on plain text; on by default.
    pub fn http2(mut self, on: bool) -> Self {
        self.options.http2 = on;
        self
    }

    /// How long a TLS handshake, or telling HTTP/2 from HTTP/1 on plain text, may take; 10 s by default.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.options.handshake_timeout = limit;
        self
    }

    /// How long a request head may take from its first byte to its last; 10 s by default.
    pub fn header_read_timeout(mut self, limit: Duration) -> Self {
        self.options.header_read_timeout = limit;
        self
    }

    /// How long a handler may take until its response begins; off by default. Over it the answer is
    /// `503 Service Unavailable`.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.options.request_timeout = Some(limit);
        self
    }

    /// How long a connection may wait for its next request; 75 s by default.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.options.idle_timeout = limit;
        self
    }

    /// The largest request body, in bytes; 2 MiB by default. Over it the answer is `413 Content Too Large`.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.options.max_body = bytes;
        self
    }

    /// The largest request head, in bytes; 64 KiB by default. Over it the answer is
    /// `431 Request Header Fields Too Large`.
    pub fn max_header_size(mut self, bytes: usize) -> Self {
        self.options.max_header_size = bytes;
        self
    }

    /// How many fields a request head may have; 100 by default. Over it the answer is
    /// `431 Request Header Fields Too Large`.
    pub fn max_headers(mut self, fields: usize) -> Self {
        self.options.max_headers = fields;
        self
    }

    /// The idle time after which the kernel probes whether a TCP peer still exists; 60 s by default. Zero
    /// turns the probes off.
    pub fn tcp_keepalive(mut self, idle: Duration) -> Self {
        self.options.tcp_keepalive = (!idle.is_zero()).then_some(idle);
        self
    }

    /// Whether small packets are sent at once (`TCP_NODELAY`); on by default.
    pub fn nodelay(mut self, on: bool) -> Self {
        self.options.nodelay = on;
        self
    }

    /// Completes the server with an async function of extractors.
    pub fn handler<H, M, S>(self, handler: H) -> Server<S>
    where
        H: Handler<M, S>,
        M: 'static,
        S: Clone + Send + Sync + 'static,
    {
        self.complete(Answers::Handler(type_name::<H>()), |state: &S, _| {
            Arc::new(HandlerDispatch::new(handler, Arc::new(state.clone())))
        })
    }

    /// Completes the server with a tower service, for example an axum `Router`.
    pub fn service<T, S>(self, service: T) -> Server<S>
    where
        T: Service<Request> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Error: Into<BoxError>,
        T::Future: Send,
        S: 'static,
    {
        self.factory(|_: &S| service)
    }

    /// Completes the server with a function that makes its tower service from the state, once, after the
    /// start-up code.
    pub fn factory<F, T, S>(self, factory: F) -> Server<S>
    where
        F: FnOnce(&S) -> T + Send + 'static,
        T: Service<Request> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Error: Into<BoxError>,
        T::Future: Send,
        S: 'static,
    {
        self.complete(Answers::Service, |state, name| {
            Arc::new(ServiceDispatch::new(factory(state), name.to_owned()))
        })
    }

    fn complete<S>(
        self,
        answers: Answers,
        make: impl FnOnce(&S, &str) -> Arc<dyn Dispatch> + Send + 'static,
    ) -> Server<S> {
        let Self { options, faults } = self;
        let name = options.name.clone();
        Server { options, faults, answers, make: Box::new(move |state| make(state, &name)) }
    }
}
