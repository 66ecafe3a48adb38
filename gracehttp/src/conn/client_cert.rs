//! The certificate that a client has shown.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::request::Parts;
use ring::digest::{SHA256, digest};

use crate::conn::info::info;
use crate::record::ClientChain;
use crate::tls;

/// Extractor: the certificate that the client has shown, and that one of the authorities of
/// [`client_ca`](crate::Tls::client_ca) has issued. It needs the feature `tls`.
///
/// A request of a client without one is answered `401 Unauthorized`, before the handler; take `Option<ClientCert>` where
/// certificates are optional.
///
/// ```
/// use gracehttp::ClientCert;
///
/// async fn whoami(client: ClientCert) -> String {
///     format!("{} with {}\n", client.subject(), client.fingerprint())
/// }
/// ```
#[derive(Clone)]
pub struct ClientCert {
    chain: Arc<ClientChain>,
}

impl ClientCert {
    pub(super) fn new(chain: Arc<ClientChain>) -> Self {
        Self { chain }
    }

    /// The subject as RFC 4514 writes it, such as `CN=client,O=Example`: special characters are escaped, so no value can be
    /// taken for another one.
    pub fn subject(&self) -> String {
        tls::subject_of(self.der())
    }

    /// The alternative names, in their order: names, addresses, URIs (as of SPIFFE) and addresses of mail.
    pub fn names(&self) -> Vec<String> {
        tls::names_of(self.der())
    }

    /// The SHA-256 digest of the certificate, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        digest(&SHA256, self.der()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The whole certificate, in DER.
    pub fn der(&self) -> &[u8] {
        self.chain.own()
    }
}

impl PartialEq for ClientCert {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl Eq for ClientCert {}

impl fmt::Debug for ClientCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCert").field("subject", &self.subject()).finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for ClientCert {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        of_request(parts).ok_or((StatusCode::UNAUTHORIZED, "this connection has no client certificate"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for ClientCert {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(of_request(parts))
    }
}

fn of_request(parts: &Parts) -> Option<ClientCert> {
    info(parts)?.client_cert.clone()
}
