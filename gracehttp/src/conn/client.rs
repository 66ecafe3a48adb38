//! Who asks, and how: what the connection shows, or what trusted proxies say about it.

use std::convert::Infallible;
use std::net::IpAddr;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};

use crate::conn::grammar::is_host;
use crate::conn::info::{ConnectionInfo, info};
use crate::proxy::{self, Node, Said, Scheme};

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    /// A proxy need not say it.
    pub(crate) port: Option<u16>,
}

/// Computed when it is asked for: a request that asks for nothing pays nothing.
impl ConnectionInfo {
    /// Whether the connection is that of a trusted proxy, behind the one that speaks the PROXY protocol if there is one.
    pub(crate) fn is_from_trusted_proxy(&self) -> bool {
        let trusted = &self.context.options.trusted_proxies;
        !trusted.is_empty() && trusted.contains(self.client)
    }

    /// The client of a request with these headers. None has a client of a Unix socket of whom no proxy speaks, and one
    /// whose address a trusted proxy hides.
    pub(crate) fn client_of(&self, headers: &HeaderMap) -> Option<Client> {
        match self.said(headers).client {
            Some(Node::Address { ip, port }) => Some(Client { ip, port }),
            Some(Node::Hidden | Node::Unix) => None,
            None => self.client.address().map(|peer| Client { ip: peer.ip(), port: Some(peer.port()) }),
        }
    }

    /// What the client of such a request speaks.
    pub(crate) fn scheme_of(&self, headers: &HeaderMap) -> Scheme {
        let is_secure = self.is_secure() || self.introduced.as_deref().and_then(proxy::ssl).is_some();
        let own = if is_secure { Scheme::Https } else { Scheme::Http };
        self.said(headers).scheme.unwrap_or(own)
    }

    /// The host that the client has asked for, perhaps with a port.
    pub(crate) fn host_of(&self, headers: &HeaderMap, uri: &Uri) -> Option<String> {
        let said = self.said(headers).host.filter(|host| is_host(host.as_bytes()));
        said.map(|host| host.into_owned()).or_else(|| own_host(headers, uri))
    }

    fn said<'a>(&self, headers: &'a HeaderMap) -> Said<'a> {
        if !self.is_from_trusted_proxy() {
            return Said::default();
        }
        let options = &self.context.options;
        proxy::read(headers, &options.forwarded, &options.trusted_proxies)
    }
}

/// The host of the request itself. One in its target counts more than the field (RFC 9112 section 3.2.2).
pub(super) fn own_host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let target = uri.authority().map(|authority| authority.as_str());
    let host = target.or_else(|| headers.get(HOST)?.to_str().ok())?;
    is_host(host.as_bytes()).then(|| host.to_owned())
}

/// Extractor: the address of the client, behind whatever proxies are [trusted](crate::guide::behind_a_proxy).
///
/// Without trusted proxies it is the address of [`PeerAddr`](crate::PeerAddr), which a client can't choose. Nor can it
/// choose this one: of what a request says, only the words of trusted proxies count.
///
/// A request over a Unix socket of whose client no proxy speaks has no such address, nor has one whose client's address
/// a trusted proxy hides (`for=_hidden`): these are answered `500 Internal Server Error`. Take `Option<ClientAddr>` where
/// they may come.
///
/// ```
/// use gracehttp::ClientAddr;
///
/// async fn whoami(ClientAddr(client): ClientAddr) -> String {
///     client.to_string()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        client_of(parts).ok_or((StatusCode::INTERNAL_SERVER_ERROR, "the client's address is not known"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for ClientAddr {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(client_of(parts))
    }
}

fn client_of(parts: &Parts) -> Option<ClientAddr> {
    info(parts)?.client_of(&parts.headers).map(|client| ClientAddr(client.ip))
}

impl<S: Sync> FromRequestParts<S> for Scheme {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(info(parts).map_or(Self::Http, |info| info.scheme_of(&parts.headers)))
    }
}

/// Extractor: the host that the client has asked for, perhaps with a port: `example.com:8443`.
///
/// It is the request's own, unless a trusted proxy says another in a field that is
/// [believed](crate::guide::behind_a_proxy). The client chooses it: check it before you rely on it.
///
/// A request that names no host, as HTTP/1.0 allows, is answered `400 Bad Request`; take `Option<Host>` where one may
/// come.
///
/// ```
/// use gracehttp::{Host, Scheme};
///
/// async fn address(scheme: Scheme, Host(host): Host) -> String {
///     format!("{scheme}://{host}/")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(pub String);

impl<S: Sync> FromRequestParts<S> for Host {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        host_of(parts).ok_or((StatusCode::BAD_REQUEST, "the request names no host"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Host {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(host_of(parts))
    }
}

fn host_of(parts: &Parts) -> Option<Host> {
    let host = match info(parts) {
        Some(info) => info.host_of(&parts.headers, &parts.uri),
        // A request that came over no connection, as in a unit test.
        None => own_host(&parts.headers, &parts.uri),
    };
    host.map(Host)
}
