//! What a handler can know of the connection and the process behind its request.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::{self, Display as _};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use http::{Extensions, StatusCode};
use tokio::time::Instant;

use crate::access_log::UNKNOWN;
#[cfg(feature = "tls")]
use crate::conn::client_cert::ClientCert;
use crate::conn::context::Context;
#[cfg(feature = "tls")]
use crate::conn::tls_info::TlsInfo;
use crate::conn::visit::Visit;
use crate::lifecycle::{Cut, CutRequest, CutWhile, Phase, Shutdown};
use crate::proxy::{Header, Peer};
use crate::server::Asked;
use crate::socket::Stream;

/// The facts of a connection. Each of its requests carries them in its extensions.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    /// No request has come on the connection before, in any process.
    pub(crate) is_new: bool,
    pub(crate) peer: Peer,
    /// The client that a PROXY header names, or else the peer.
    pub(crate) client: Peer,
    pub(crate) introduced: Option<Arc<Header>>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsInfo>,
    #[cfg(feature = "tls")]
    pub(super) client_cert: Option<ClientCert>,
    pub(crate) context: Arc<Context>,
    /// For the access log and spans; none if the server has neither.
    pub(super) visit: Option<Box<Visit>>,
    /// The first request that the server's end of the connection has interrupted.
    interrupted: OnceLock<Box<str>>,
    /// The request that asked to leave HTTP.
    left_by: OnceLock<Box<str>>,
}

impl ConnectionInfo {
    pub(crate) fn new(context: Arc<Context>, stream: &Stream, is_new: bool) -> Self {
        let peer = stream.peer();
        let client = stream.client(peer);
        let is_followed = context.access_log.is_some() || context.options.request_span;
        let visit = is_followed.then(|| {
            #[cfg(feature = "tls")]
            let tls = stream.session().map(|session| session.suite().version().name());
            #[cfg(not(feature = "tls"))]
            let tls = None;
            let log = context.access_log.as_ref();
            Box::new(Visit::new(log.map(|log| log.client(&name_in_log(client), tls))))
        });
        Self {
            is_new,
            peer,
            client,
            introduced: stream.introduced().cloned(),
            visit,
            #[cfg(feature = "tls")]
            tls: stream.session().map(TlsInfo::of),
            #[cfg(feature = "tls")]
            client_cert: stream
                .session()
                .and_then(|session| session.facts().client.clone())
                .map(ClientCert::new),
            context,
            interrupted: OnceLock::new(),
            left_by: OnceLock::new(),
        }
    }

    /// Whether the client speaks TLS with this process.
    pub(crate) fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Whether the connection can't move to the successor. There are three reasons: it speaks TLS, and the successor takes no
    /// sessions; its PROXY header would be lost there; or the successor does not take clients with a certificate, or without
    /// one.
    pub(crate) fn stays_behind(&self) -> bool {
        (self.introduced.is_some() && !self.context.takes_proxy_headers())
            || self.context.stays_behind()
            || !self.context.takes_client(self.is_secure(), self.has_client_cert())
    }

    /// Whether the client has shown a certificate.
    fn has_client_cert(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.client_cert.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// A request is dropped without a whole response. It is remembered if the connection is being cut.
    pub(crate) fn note_unanswered(&self, asked: &Asked) {
        if self.context.drain.phase() == Phase::Cutting {
            self.interrupted.get_or_init(|| asked.to_string().into());
        }
    }

    /// With the answer to this request the connection leaves HTTP.
    pub(crate) fn note_left_by(&self, asked: &Asked) {
        self.left_by.get_or_init(|| asked.to_string().into());
    }

    /// The request with which the connection has left HTTP.
    pub(crate) fn left_by(&self) -> Option<&str> {
        self.left_by.get().map(|line| &**line)
    }

    /// Whether a request was interrupted because the connection was cut.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.get().is_some()
    }

    /// The connection is cut at the deadline, and has been doing this since then.
    pub(crate) fn note_cut(self: &Arc<Self>, doing: CutWhile, since: Instant) {
        let cut = Cut { peer: self.client.address(), doing, age: since.elapsed(), request: self.clone() };
        self.context.ends().note_cut(cut);
    }

    /// The client's name in the log.
    pub(crate) fn client(&self) -> impl fmt::Display {
        name_in_messages(self.client)
    }

    /// The connection's facts, as requests carry them. They are the same for all its requests: cloning them costs half
    /// as much as inserting each.
    pub(crate) fn facts(self: &Arc<Self>) -> Extensions {
        let mut extensions = empty();
        extensions.insert(self.clone());
        // For axum's extractor of that name, and for crates that are written for axum.
        #[cfg(feature = "axum")]
        if let Some(peer) = self.peer.address() {
            extensions.insert(axum::extract::ConnectInfo(peer));
        }
        extensions
    }
}

/// Extensions with room for a connection's facts and what a router adds. Their clones have the same room; without it each
/// of them would have to grow.
fn empty() -> Extensions {
    static EMPTY: OnceLock<Extensions> = OnceLock::new();
    EMPTY.get_or_init(with_room).clone()
}

fn with_room() -> Extensions {
    #[derive(Clone)]
    struct Place<const NUMBER: usize>;
    let mut extensions = Extensions::new();
    extensions.insert(Place::<0>);
    extensions.insert(Place::<1>);
    extensions.insert(Place::<2>);
    extensions.insert(Place::<3>);
    extensions.insert(Place::<4>);
    extensions.clear();
    extensions
}

impl CutRequest for ConnectionInfo {
    fn request(&self) -> Option<String> {
        self.interrupted.get().map(ToString::to_string)
    }
}

pub(super) fn info(parts: &Parts) -> Option<&ConnectionInfo> {
    parts.extensions.get::<Arc<ConnectionInfo>>().map(|info| &**info)
}

/// The name of a client in messages.
pub(crate) fn name_in_messages(peer: Peer) -> impl fmt::Display {
    fmt::from_fn(move |f| match peer {
        Peer::Tcp(address) => address.fmt(f),
        Peer::Unix => f.write_str("a Unix socket"),
        Peer::Gone => f.write_str("a client that has left"),
    })
}

/// The name of a client in the access log.
pub(crate) fn name_in_log(peer: Peer) -> Cow<'static, str> {
    match peer {
        Peer::Tcp(address) => address.ip().to_string().into(),
        Peer::Unix => "unix".into(),
        Peer::Gone => UNKNOWN.into(),
    }
}

/// Extractor: the address at the other end of the connection.
///
/// That is the client itself, or the last proxy before this server. For limits, logs and all else that is about a client
/// take [`ClientAddr`](crate::ClientAddr), which is the client behind the proxies that the server trusts; this one is for
/// what is about the connection.
///
/// A request over a Unix socket has no such address and is answered `500 Internal Server Error`; take
/// `Option<PeerAddr>` where both may come. An IPv4 client has an IPv4 address here, even if its socket takes both
/// IPv6 and IPv4.
///
/// axum's `ConnectInfo<SocketAddr>` works, too, as do crates that ask for it.
///
/// ```
/// use gracehttp::PeerAddr;
///
/// async fn whoami(PeerAddr(peer): PeerAddr) -> String {
///     peer.ip().to_string()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

impl<S: Sync> FromRequestParts<S> for PeerAddr {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        info(parts)
            .and_then(|info| info.peer.address())
            .map(PeerAddr)
            .ok_or((StatusCode::INTERNAL_SERVER_ERROR, "this connection has no peer address"))
    }
}

impl<S: Sync> axum_core::extract::OptionalFromRequestParts<S> for PeerAddr {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(info(parts).and_then(|info| info.peer.address()).map(PeerAddr))
    }
}

impl<S: Sync> FromRequestParts<S> for Shutdown {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(match info(parts) {
            Some(info) => Self::of(info.context.drain.clone()),
            // A request that came over no connection, as in a unit test, is never drained.
            None => Self::never(),
        })
    }
}

/// Extractor: which generation answers. 1 is the first process, its successor 2, and so on.
///
/// ```
/// use gracehttp::Generation;
///
/// async fn which(Generation(number): Generation) -> String {
///     format!("this is generation {number}\n")
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl<S: Sync> FromRequestParts<S> for Generation {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(crate::lifecycle::generation()))
    }
}
