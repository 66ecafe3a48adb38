//! The TLS side of a server, if it has one.

use crate::conn::TlsAcceptor;
use crate::error::Error;
use crate::listen::key_ring::KeyRing;
use crate::server::ServerOptions;

/// Reads the server's certificate, if it has one. Its session tickets are made with the keys of the ring.
#[cfg(feature = "tls")]
pub(crate) fn tls_acceptor(options: &ServerOptions, keys: &KeyRing) -> Result<Option<TlsAcceptor>, Error> {
    let ServerOptions { name, tls, http1, http2, .. } = options;
    let config = tls.as_ref().map(|tls| tls.server_config(name, *http1, *http2, keys)).transpose()?;
    Ok(config.map(TlsAcceptor::from))
}

/// Without the feature no server can ask for TLS.
#[cfg(not(feature = "tls"))]
pub(crate) fn tls_acceptor(_options: &ServerOptions, _keys: &KeyRing) -> Result<Option<TlsAcceptor>, Error> {
    Ok(None)
}
