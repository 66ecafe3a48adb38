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
use crate::server::{
    Answers, Dispatch, Endpoint, Handler, LEAST_CONN_MEMORY, LONGEST, LONGEST_KEEPALIVE, MOST_HEADERS, Mode,
    Request, Server, ServerOptions, WhenFull,
};

/// Describes a [`Server`]; made by [`Server::builder`].
///
/// Options come first, then one of [`handler`](Self::handler), [`service`](Self::service) and
/// [`factory`](Self::factory) completes the server. A duration that is longer than 366 days, as
/// [`Duration::MAX`] is, becomes one of 366 days.
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
    pub fn port(self, port: u16) -> Self {
        self.set(&["listen"], |options| options.endpoints.push(Endpoint::Tcp { host: None, port }))
    }

    /// Listens on one more endpoint: `host:port`, `:port`, `[ipv6]:port` or `unix:/path`.
    ///
    /// An endpoint that can't be read is an error when the application starts.
    pub fn listen(mut self, endpoint: &str) -> Self {
        match endpoint.parse() {
            Ok(endpoint) => self.options.endpoints.push(endpoint),
            Err(fault) => self.faults.push(Error::of_server(&self.options.name, fault)),
        }
        self.set(&["listen"], |_| ())
    }

    /// Serves HTTPS with this certificate.
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: Tls) -> Self {
        self.set(&["tls", "tls.cert", "tls.key"], |options| options.tls = Some(tls))
    }

    /// How many connections the server holds at once, over all of its endpoints; 100 000 by default.
    ///
    /// Once they are all held nothing more is accepted: clients wait in the kernel's queue, cost no descriptor, and
    /// are served as soon as a connection ends. [`when_full`](Self::when_full) says whether the server makes room for
    /// them.
    pub fn max_conns(self, connections: usize) -> Self {
        let fault = "max_conns is 0, which would serve nobody: valid is a number from 1 on";
        self.require(connections > 0, fault).set(&["max_conns"], |options| options.max_conns = connections)
    }

    /// The length of the kernel's queue of connections that nobody has accepted yet, per endpoint; 4096 by
    /// default, capped by the kernel's `net.core.somaxconn`.
    pub fn backlog(self, connections: u32) -> Self {
        self.require(connections > 0, "backlog is 0: valid is a whole number from 1 on")
            .set(&["backlog"], |options| options.backlog = connections)
    }

    /// Whether HTTP/1.1 is served; on by default.
    pub fn http1(self, on: bool) -> Self {
        self.set(&["http1"], |options| options.http1 = on)
    }

    /// Whether HTTP/2 is served, by ALPN on TLS and by prior knowledge on plain text; on by default.
    pub fn http2(self, on: bool) -> Self {
        self.set(&["http2"], |options| options.http2 = on)
    }

    /// How long a TLS handshake, or telling HTTP/2 from HTTP/1 on plain text, may take; 10 s by default.
    pub fn handshake_timeout(self, limit: Duration) -> Self {
        self.set_timeout("handshake_timeout", limit, |options, limit| options.handshake_timeout = limit)
    }

    /// How long a request head may take from its first byte to its last; 10 s by default.
    pub fn header_read_timeout(self, limit: Duration) -> Self {
        self.set_timeout("header_read_timeout", limit, |options, limit| options.header_read_timeout = limit)
    }

    /// How long a handler may take until its response begins; off by default. A handler that takes longer is dropped,
    /// a notice names the request, and the answer is `503 Service Unavailable`.
    pub fn request_timeout(self, limit: Duration) -> Self {
        self.set_timeout("request_timeout", limit, |options, limit| options.request_timeout = Some(limit))
    }

    /// How long a connection may wait for its next request; 75 s by default.
    pub fn idle_timeout(self, limit: Duration) -> Self {
        self.set_timeout("idle_timeout", limit, |options, limit| options.idle_timeout = limit)
    }

    /// The largest request body, in bytes; 2 MiB by default. Over it the answer is `413 Content Too Large`.
    pub fn max_body(self, bytes: u64) -> Self {
        self.set(&["max_body"], |options| options.max_body = bytes)
    }

    /// The largest request head, in bytes; 64 KiB by default. Over it the answer is
    /// `431 Request Header Fields Too Large`.
    pub fn max_header_size(self, bytes: usize) -> Self {
        self.require(bytes > 0, "max_header_size is 0: valid is a size from 1 byte on")
            .set(&["max_header_size"], |options| options.max_header_size = bytes)
    }

    /// How many fields a request head may have, up to 10 000; 100 by default. Over it the answer is
    /// `431 Request Header Fields Too Large`.
    pub fn max_headers(self, fields: usize) -> Self {
        let fault = format!("max_headers is {fields}: valid is a whole number from 1 to {MOST_HEADERS}");
        self.require((1..=MOST_HEADERS).contains(&fields), fault)
            .set(&["max_headers"], |options| options.max_headers = fields)
    }

    /// The idle time after which the kernel probes whether a TCP peer still exists; 60 s by default. Zero
    /// turns the probes off, and the kernel's longest time is 9 h 6 min.
    pub fn tcp_keepalive(self, idle: Duration) -> Self {
        let idle = (!idle.is_zero()).then_some(idle.min(LONGEST_KEEPALIVE));
        self.set(&["tcp_keepalive"], |options| options.tcp_keepalive = idle)
    }

    /// Whether small packets are sent at once (`TCP_NODELAY`); on by default.
    pub fn nodelay(self, on: bool) -> Self {
        self.set(&["nodelay"], |options| options.nodelay = on)
    }

    /// The permission bits of the files of the server's Unix sockets, `0o660` say, in place of what the umask leaves.
    ///
    /// Connecting needs write permission. The bits are set before the first client can connect.
    pub fn socket_mode(self, mode: u32) -> Self {
        let mode = Mode::new(mode);
        let fault = "socket_mode is out of range: valid are permission bits up to 0o777";
        self.require(mode.is_some(), fault).set(&["socket_mode"], |options| options.socket.mode = mode)
    }

    /// The owner, by name or number, of the files of the server's Unix sockets, in place of the process's user. Only
    /// root can give a file to another user.
    pub fn socket_user(self, user: impl Into<String>) -> Self {
        let user = user.into();
        self.set(&["socket_user"], |options| options.socket.user = Some(user))
    }

    /// The group, by name or number, of the files of the server's Unix sockets, in place of the process's group.
    /// Unless the process runs as root, it has to be a member of that group.
    pub fn socket_group(self, group: impl Into<String>) -> Self {
        let group = group.into();
        self.set(&["socket_group"], |options| options.socket.group = Some(group))
    }

    /// What a full server does for the clients that wait; by default [`WhenFull::Recycle`] makes room for them.
    pub fn when_full(self, choice: WhenFull) -> Self {
        self.set(&["when_full"], |options| options.when_full = choice)
    }

    /// How long a handler may take to begin its response to a client that has closed its sending half; 1 s by
    /// default. After that the request is dropped and its connection closed.
    ///
    /// Such a client may have left or may be waiting for the answer: the two look the same. Zero treats it as gone at
    /// once.
    pub fn half_close_timeout(self, limit: Duration) -> Self {
        self.set(&["half_close_timeout"], |options| options.half_close_timeout = limit.min(LONGEST))
    }

    /// The most memory that one connection may hold for requests and responses under way, in bytes, 64 KiB at
    /// least; 4 MiB by default.
    pub fn max_conn_memory(self, bytes: usize) -> Self {
        let fault = format!("max_conn_memory is {bytes}: valid is a size from 64 KiB on");
        self.require(bytes >= LEAST_CONN_MEMORY, fault)
            .set(&["max_conn_memory"], |options| options.max_conn_memory = bytes)
    }

    fn set(mut self, keys: &[&'static str], set: impl FnOnce(&mut ServerOptions)) -> Self {
        set(&mut self.options);
        self.options.chosen.extend(keys);
        self
    }

    /// Sets a duration that has to leave time for something.
    fn set_timeout(
        self,
        key: &'static str,
        limit: Duration,
        set: impl FnOnce(&mut ServerOptions, Duration),
    ) -> Self {
        self.require(!limit.is_zero(), format!("{key} is 0: valid is a duration above zero"))
            .set(&[key], |options| set(options, limit.min(LONGEST)))
    }

    /// What is wrong is told with all else that is, when the application starts.
    fn require(mut self, is_valid: bool, fault: impl Into<String>) -> Self {
        if !is_valid {
            self.faults.push(Error::of_server(&self.options.name, Error::new(fault)));
        }
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
        self.complete(Answers::Service, |state, name| Arc::new(ServiceDispatch::new(factory(state), name)))
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
