//! The certificate and key of a server.

/// The certificate and key of a server.
#[derive(Debug, Clone)]
pub struct Tls;
