//! The TLS side of a server.

use std::sync::Arc;

use tokio_rustls::rustls::{KeyLog, ServerConfig};

use crate::error::Error;
use crate::server::ServerOptions;
use crate::tls::config::CertificateFacts;
use crate::tls::key_ring::KeyRing;

/// Makes TLS sessions of a server's sockets. Clones are the same.
#[derive(Clone)]
pub(crate) struct TlsAcceptor {
    config: Arc<ServerConfig>,
    certificate: Arc<CertificateFacts>,
}

impl TlsAcceptor {
    /// Reads the server's certificate, if it has one. Its session tickets are made with the keys of the ring.
    pub(crate) fn of(options: &ServerOptions, keys: &KeyRing) -> Result<Option<Self>, Error> {
        let ServerOptions { name, tls, http1, .. } = options;
        let http2 = options.has_http2();
        let config = tls.as_ref().map(|tls| tls.server_config(name, *http1, http2, keys)).transpose()?;
        Ok(config.map(|(config, certificate)| Self { config, certificate: Arc::new(certificate) }))
    }

    /// What an operator wants to know of its certificate.
    #[cfg_attr(not(any(feature = "admin", feature = "cli")), expect(dead_code, reason = "operators read it"))]
    pub(crate) fn certificate(&self) -> &CertificateFacts {
        &self.certificate
    }

    /// The configuration for one handshake, whose secrets the log gets. A clone is little more than some pointers.
    pub(super) fn config(&self, key_log: Arc<dyn KeyLog>) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        config.key_log = key_log;
        Arc::new(config)
    }
}
