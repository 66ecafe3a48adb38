//! The description of a server, key by key. The keys of `#[server(…)]` expand to these methods.

use std::any::type_name;
use std::path::PathBuf;
use std::sync::Arc;

use axum_core::BoxError;
use axum_core::response::IntoResponse;
use tower_service::Service;

use crate::error::Error;
use crate::proxy::{BelievedFields, Network, Networks};
#[cfg(feature = "tls")]
use crate::server::Tls;
use crate::server::kinds::{self, Kind};
use crate::server::route::noting_routes;
use crate::server::service::{HandlerDispatch, ServiceDispatch};
use crate::server::{
    AccessLog, AccessLogTo, Answers, Dispatch, Endpoint, Handler, HttpsPort, Mode, Request, Server,
    ServerOptions, WhenFull,
};

/// Describes a [`Server`]; made by [`Server::builder`].
///
/// Set the options first; then one of [`handler`](Self::handler), [`service`](Self::service) and
/// [`factory`](Self::factory) completes the server. A duration that is longer than 366 days, as
/// [`Duration::MAX`](std::time::Duration::MAX) is, becomes one of 366 days.
///
/// ```
/// use std::time::Duration;
///
/// use gracehttp::Server;
///
/// let server: Server<()> = Server::builder("api")
///     .port(8080)
///     .max_conns(1000)
///     .idle_timeout(Duration::from_secs(30))
///     .handler(async || "hello");
/// ```
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

    /// Listens on a TCP port of all interfaces, IPv6 and IPv4. It is short for `.listen(":PORT")`. Port 0 lets the
    /// kernel choose.
    pub fn port(self, port: u16) -> Self {
        self.set(&["listen"], |options| options.endpoints.push(Endpoint::Tcp { host: None, port }))
    }

    /// Listens on one more endpoint: `host:port`, `:port`, `[ipv6]:port`, `unix:/path`, or a socket that another program
    /// passes, `systemd:NAME` or `fd:N`.
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
        self.set(&["tls", "tls.cert", "tls.key", "tls.certs"], |options| options.tls = Some(tls))
    }

    /// Listens on one more endpoint, whose connections speak plain text, beside the endpoints over TLS. All endpoints share
    /// the handlers and the limits.
    ///
    /// It is for a server with [`tls`](Self::tls), and most useful with
    /// [`redirect_to_https`](Self::redirect_to_https).
    #[cfg(feature = "tls")]
    pub fn plain_listen(mut self, endpoint: &str) -> Self {
        match endpoint.parse() {
            Ok(endpoint) => self.options.plain_endpoints.push(endpoint),
            Err(fault) => self.faults.push(Error::of_server(&self.options.name, fault)),
        }
        self.set(&["plain_listen"], |_| ())
    }

    /// Answers requests over plain text with `308 Permanent Redirect` to the same address over HTTPS, at this port. It is
    /// off by default.
    ///
    /// The path of [`health`](Self::health) and those under `/.well-known/acme-challenge/` are answered as usual.
    pub fn redirect_to_https(self, port: u16) -> Self {
        let port = HttpsPort::new(port);
        let fault = "redirect_to_https is 0: valid is a port from 1 on";
        self.require(port.is_some(), fault)
            .set(&["redirect_to_https"], |options| options.redirect_to_https = port)
    }

    /// Tells browsers to reach this host over HTTPS alone: a duration, and after it perhaps `include_subdomains` and
    /// `preload`, as in `"365d, include_subdomains, preload"`. Nothing is told by default.
    ///
    /// Responses over TLS say so in the field `Strict-Transport-Security`, unless the handler has set one.
    #[cfg(feature = "tls")]
    pub fn hsts(self, policy: &str) -> Self {
        let policy = policy.parse();
        let fault = policy.as_ref().err().map_or_else(String::new, |reason| format!("hsts: {reason}"));
        self.require(policy.is_ok(), fault).set(&["hsts"], |options| options.hsts = policy.ok())
    }

    /// How many connections the server holds at once, over all of its endpoints; 100 000 by default.
    ///
    /// A full server accepts nothing more. Further clients wait in the kernel's queue, cost no descriptor, and are
    /// served as soon as a connection ends. [`when_full`](Self::when_full) says whether the server makes room for them.
    pub fn max_conns(self, connections: usize) -> Self {
        let fault = "max_conns is 0: valid is a whole number from 1 on";
        self.require(connections > 0, fault).set(&["max_conns"], |options| options.max_conns = connections)
    }

    /// The length of the kernel's queue of connections that are not accepted yet, per endpoint; 4096 by default. The
    /// kernel caps it at `net.core.somaxconn`.
    pub fn backlog(self, connections: u32) -> Self {
        self.require(connections > 0, "backlog is 0: valid is a whole number from 1 on")
            .set(&["backlog"], |options| options.backlog = connections)
    }

    /// The permission bits of the files of the server's Unix sockets, such as `0o660`. By default the umask decides.
    ///
    /// Connecting needs write permission. The bits are set before the first client can connect.
    pub fn socket_mode(self, mode: u32) -> Self {
        let mode = Mode::new(mode);
        let fault = "socket_mode is out of range: valid are permission bits up to 0o777";
        self.require(mode.is_some(), fault).set(&["socket_mode"], |options| options.socket.mode = mode)
    }

    /// The user that owns the files of the server's Unix sockets, by name or number; that of the process by default.
    /// Only root can give a file to another user.
    pub fn socket_user(self, user: impl Into<String>) -> Self {
        let user = user.into();
        self.set(&["socket_user"], |options| options.socket.user = Some(user))
    }

    /// The group that owns the files of the server's Unix sockets, by name or number; that of the process by default.
    /// Unless the process runs as root, it has to be a member of that group.
    pub fn socket_group(self, group: impl Into<String>) -> Self {
        let group = group.into();
        self.set(&["socket_group"], |options| options.socket.group = Some(group))
    }

    /// What a full server does for waiting clients. The default, [`WhenFull::Recycle`], makes room for them.
    pub fn when_full(self, choice: WhenFull) -> Self {
        self.set(&["when_full"], |options| options.when_full = choice)
    }

    /// Writes one line for each request, in this form. There is no access log by default.
    ///
    /// The [guide](crate::guide::logs) shows the forms, and what stands in the lines.
    ///
    /// ```
    /// use gracehttp::{AccessLog, Server};
    ///
    /// let server = Server::builder("api").port(8080).access_log(AccessLog::Json).access_log_to("/var/log/app/access.log");
    /// ```
    pub fn access_log(self, form: AccessLog) -> Self {
        self.set(&["access_log"], |options| options.access_log = form)
    }

    /// Where the access log goes: `stdout`, which is the default, `stderr`, `tracing`, or the path of a file, which several
    /// servers may share. A file of such a name is `./stderr`.
    pub fn access_log_to(self, target: impl Into<PathBuf>) -> Self {
        let target: PathBuf = target.into();
        self.require(
            !target.as_os_str().is_empty(),
            "access_log_to is empty: valid is `stdout`, `stderr`, `tracing`, or the path of a file",
        )
        .set(&["access_log_to"], |options| options.access_log_to = AccessLogTo::of(target))
    }

    /// The proxies whose word about a client counts: addresses, networks such as `10.0.0.0/8`, and `unix` for all that
    /// comes over a Unix socket; none by default.
    ///
    /// [The guide](crate::guide::behind_a_proxy) tells what they may say.
    pub fn trusted_proxies(self, networks: impl IntoIterator<Item: AsRef<str>>) -> Self {
        self.accept("trusted_proxies", networks_of(networks), |options, value| {
            options.trusted_proxies = value;
        })
    }

    /// The header fields that the trusted proxies set: `forwarded`, or some of `x-forwarded-for`, `x-forwarded-proto` and
    /// `x-forwarded-host`; the first two of these by default.
    ///
    /// No other field is believed, since a proxy passes it on as the client has sent it.
    pub fn forwarded(self, fields: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let names: Vec<String> = fields.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let fields = BelievedFields::read(names.iter().map(String::as_str));
        let fields = fields.map_err(|reason| format!("`{}`: {reason}", names.join(", ")));
        self.accept("forwarded", fields, |options, value| options.forwarded = value)
    }

    /// The proxies that begin each connection with a header of the PROXY protocol, version 1 or 2: addresses, networks, and
    /// `unix`; none by default.
    ///
    /// From these the header is required; from others none is accepted. [The
    /// guide](crate::guide::behind_a_proxy#the-proxy-protocol) tells more.
    pub fn proxy_protocol(self, networks: impl IntoIterator<Item: AsRef<str>>) -> Self {
        self.accept("proxy_protocol", networks_of(networks), |options, value| options.proxy_protocol = value)
    }

    /// The path at which the server says whether the application is ready for requests: `200 OK` or `503 Service
    /// Unavailable`, for GET and HEAD, before all routes. There is none by default.
    ///
    /// See [`HealthCheck`](crate::HealthCheck) for checks of the application's own.
    pub fn health(self, path: &str) -> Self {
        let path = path.parse();
        let fault =
            path.as_ref().err().map_or_else(String::new, |reason| format!("health is not a path: {reason}"));
        self.require(path.is_ok(), fault).set(&["health"], |options| options.health = path.ok())
    }

    /// Sets the option of an ordinary key, if the kind of the key accepts the value.
    fn accept<V>(
        mut self,
        key: &'static str,
        value: Result<V, String>,
        set: impl FnOnce(&mut ServerOptions, V),
    ) -> Self {
        match value {
            Ok(value) => set(&mut self.options, value),
            Err(reason) => self = self.require(false, format!("{key} is {reason}")),
        }
        self.set(&[key], |_| ())
    }

    fn set(mut self, keys: &[&'static str], set: impl FnOnce(&mut ServerOptions)) -> Self {
        set(&mut self.options);
        self.options.chosen.extend(keys);
        self
    }

    /// Records a fault. All faults are reported at once when the application starts.
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
            Arc::new(HandlerDispatch::new(handler, &Arc::new(state.clone())))
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

    /// Completes the server with a function that makes its tower service from the state. It runs once, after the
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
            Arc::new(ServiceDispatch::new(noting_routes(factory(state)), name))
        })
    }

    pub(super) fn complete<S>(
        self,
        answers: Answers,
        make: impl FnOnce(&S, &str) -> Arc<dyn Dispatch> + Send + 'static,
    ) -> Server<S> {
        let Self { options, faults } = self;
        let name = options.name.clone();
        Server { options, faults, answers, make: Box::new(move |state| make(state, &name)) }
    }
}

/// An error reads on from "KEY is ".
fn networks_of(networks: impl IntoIterator<Item: AsRef<str>>) -> Result<Networks, String> {
    let read = |text: &str| text.parse::<Network>().map_err(|reason| format!("`{text}`: {reason}"));
    networks.into_iter().map(|text| read(text.as_ref())).collect()
}

/// Declares the builder's methods for ordinary keys.
macro_rules! methods {
    ($($(#[$attribute:meta])* $name:ident($argument:ident: $type:ty), $kind:expr;)*) => {
        /// Keys of ordinary kinds.
        impl ServerBuilder {
            $(
                $(#[$attribute])*
                pub fn $name(self, $argument: $type) -> Self {
                    self.accept(stringify!($name), $kind.accept($argument), |options, value| options.$name = value)
                }
            )*
        }
    };
}

gracehttp_macros::keys!(server.methods => methods);
