//! Without the feature `tls` no server speaks TLS.

use crate::error::Error;
use crate::server::ServerOptions;
use crate::tls::key_ring::KeyRing;

/// No server has one.
pub(crate) enum TlsAcceptor {}

impl TlsAcceptor {
    pub(crate) fn of(_options: &ServerOptions, _keys: &KeyRing) -> Result<Option<Self>, Error> {
        Ok(None)
    }
}
