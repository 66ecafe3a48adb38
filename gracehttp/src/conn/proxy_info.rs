//! What a handler can know of the PROXY header of its connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::request::Parts;

use crate::conn::info::info;
use crate::proxy::{self, Header};

/// Extractor: what the proxy before this server has said about the connection, in a header of the
/// [PROXY protocol](crate::guide::behind_a_proxy#the-proxy-protocol).
///
/// A connection without such a header has none and is answered `500 Internal Server Error`; take `Option<ProxyInfo>`
/// where both may come.
///
/// ```
/// use gracehttp::ProxyInfo;
///
/// async fn asked_for(proxy: ProxyInfo) -> String {
///     proxy.authority().unwrap_or("no name").to_owned()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyInfo(Arc<Header>);

impl ProxyInfo {
    /// The client's address. None if the proxy speaks for itself, as in its health checks, or for a client without an
    /// address.
    pub fn source(&self) -> Option<SocketAddr> {
        self.0.addresses.map(|addresses| addresses.source)
    }

    /// The address to which the client has connected.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.0.addresses.map(|addresses| addresses.destination)
    }

    /// The host that the client has named, by SNI for example (`PP2_TYPE_AUTHORITY`).
    pub fn authority(&self) -> Option<&str> {
        self.text(0x02)
    }

    /// The protocol that the client and the proxy have agreed on (`PP2_TYPE_ALPN`).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tlv(0x01)
    }

    /// The name that the proxy has given to the connection (`PP2_TYPE_UNIQUE_ID`).
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlv(0x05)
    }

    /// The network namespace of the connection (`PP2_TYPE_NETNS`).
    pub fn netns(&self) -> Option<&str> {
        self.text(0x30)
    }

    /// What the proxy knows of the client's TLS (`PP2_TYPE_SSL`); none if the client speaks plain text, or the proxy does
    /// not say.
    pub fn ssl(&self) -> Option<ProxySsl<'_>> {
        proxy::ssl(&self.0).map(ProxySsl)
    }

    /// The value of any other type. Cloud providers have types of their own.
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.0.tlv(kind)
    }

    fn text(&self, kind: u8) -> Option<&str> {
        str::from_utf8(self.tlv(kind)?).ok()
    }
}

/// The TLS between a client and the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxySsl<'a>(proxy::Ssl<'a>);

impl<'a> ProxySsl<'a> {
    /// The version, such as `TLSv1.3`.
    pub fn version(self) -> Option<&'a str> {
        self.0.text(0x21)
    }

    /// The common name in the client's certificate. Check [`is_verified`](Self::is_verified) first.
    pub fn common_name(self) -> Option<&'a str> {
        self.0.text(0x22)
    }

    /// The cipher, by its name in OpenSSL.
    pub fn cipher(self) -> Option<&'a str> {
        self.0.text(0x23)
    }

    /// Whether the client has shown a certificate, on this connection or earlier in its session, and the proxy has found
    /// it valid.
    pub fn is_verified(self) -> bool {
        self.0.is_verified()
    }
}

impl<S: Sync> FromRequestParts<S> for ProxyInfo {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        of_request(parts).ok_or((StatusCode::INTERNAL_SERVER_ERROR, "this connection has no PROXY header"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for ProxyInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(of_request(parts))
    }
}

fn of_request(parts: &Parts) -> Option<ProxyInfo> {
    info(parts)?.introduced.clone().map(ProxyInfo)
}
