//! The TLS side of a server.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::error::Error;
use crate::server::ServerOptions;
use crate::socket::BareStream;
use crate::tls::key_ring::KeyRing;

/// Makes TLS sessions of a server's sockets. Clones are the same.
#[derive(Clone)]
pub(crate) struct TlsAcceptor {
    config: Arc<ServerConfig>,
}

impl TlsAcceptor {
    /// Reads the server's certificate, if it has one. Its session tickets are made with the keys of the ring.
    pub(crate) fn of(options: &ServerOptions, keys: &KeyRing) -> Result<Option<Self>, Error> {
        let ServerOptions { name, tls, http1, http2, .. } = options;
        let config = tls.as_ref().map(|tls| tls.server_config(name, *http1, *http2, keys)).transpose()?;
        Ok(config.map(|config| Self { config }))
    }

    /// Makes the handshake. If it fails, the client is sent the alert that says why.
    pub(crate) async fn accept(&self, bare: BareStream) -> io::Result<TlsStream<BareStream>> {
        tokio_rustls::TlsAcceptor::from(self.config.clone()).accept(bare).await
    }
}
