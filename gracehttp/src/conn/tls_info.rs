//! What a handler can know of the TLS session behind its request.

use std::convert::Infallible;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::request::Parts;

use crate::conn::info::info;
use crate::record::{Alpn, Session, Suite};

/// Extractor: the TLS session of the connection. It stays the same when a restart moves the connection. It needs the
/// feature `tls`.
///
/// A request in plain text has none and is answered `500 Internal Server Error`; take `Option<TlsInfo>` where both may
/// come.
///
/// ```
/// use gracehttp::TlsInfo;
///
/// async fn greet(tls: TlsInfo) -> String {
///     format!("hello over {}, with {}\n", tls.version(), tls.cipher())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    suite: Suite,
    sni: Option<Arc<str>>,
    alpn: Option<Alpn>,
}

impl TlsInfo {
    pub(crate) fn of(session: &Session) -> Self {
        let facts = session.facts();
        Self { suite: session.suite(), sni: facts.sni.clone(), alpn: facts.alpn }
    }

    /// The version that client and server agreed on: `TLSv1.2` or `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        self.suite.version().name()
    }

    /// The cipher suite that they agreed on, by its name in the IANA registry: `TLS_AES_128_GCM_SHA256`, for example.
    pub fn cipher(&self) -> &'static str {
        self.suite.name()
    }

    /// The name of the server that the client asked for (server name indication, RFC 6066 section 3). A client that
    /// connects to an address instead of a name sends none.
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// The protocol that client and server agreed on (ALPN, RFC 7301): `http/1.1` or `h2`. A client that offers none
    /// has none.
    pub fn alpn(&self) -> Option<&'static str> {
        self.alpn.map(|alpn| match alpn {
            Alpn::Http11 => "http/1.1",
            Alpn::H2 => "h2",
        })
    }
}

impl<S: Sync> FromRequestParts<S> for TlsInfo {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        of_request(parts).ok_or((StatusCode::INTERNAL_SERVER_ERROR, "this connection has no TLS session"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for TlsInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(of_request(parts))
    }
}

fn of_request(parts: &Parts) -> Option<TlsInfo> {
    info(parts)?.tls.clone()
}
