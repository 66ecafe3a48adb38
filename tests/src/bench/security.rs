//! What lies between TCP and HTTP: nothing, or TLS.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use crate::bench::sessions::Sessions;
use crate::client::Target;
use crate::tls;

/// The variable that makes a contestant speak TLS: gracehttp reads it by itself, the others by [`acceptor`].
pub(crate) const SERVER_SPEAKS_TLS: &str = "GRACEHTTP_SERVER__PING__TLS";

/// What the clients of a server speak below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    Plain,
    /// TLS of this version.
    Tls {
        /// The only version that they offer.
        version: Version,
        /// Whether a new connection resumes an earlier session.
        resumes: bool,
    },
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(format!("{text:?} is neither 1.2 nor 1.3")),
        }
    }
}

impl Security {
    /// TLS with a full handshake for each connection.
    pub fn tls(version: Version) -> Self {
        Self::Tls { version, resumes: false }
    }

    /// TLS with a resumed session for each connection but the first ones.
    pub fn resumed(version: Version) -> Self {
        Self::Tls { version, resumes: true }
    }

    /// A server at this address, for clients that share their sessions.
    pub fn endpoint(self, address: SocketAddr) -> Endpoint {
        let tls = match self {
            Self::Plain => None,
            Self::Tls { version, resumes } => Some(Arc::new(client_config(version, resumes))),
        };
        Endpoint { address, tls }
    }
}

/// A server's address, and what its clients speak there.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The address.
    pub address: SocketAddr,
    /// The offer of a client, if it speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// The same for the clients of the tests.
    pub fn target(&self) -> Target {
        match self.tls {
            None => Target::Plain(self.address),
            Some(_) => Target::Tls(self.address),
        }
    }
}

fn client_config(version: Version, resumes: bool) -> ClientConfig {
    let versions = match version {
        Version::Tls12 => [&TLS12],
        Version::Tls13 => [&TLS13],
    };
    let mut config = tls::config(&["http/1.1"], &versions);
    config.resumption =
        if resumes { Resumption::store(Arc::new(Sessions::default())) } else { Resumption::disabled() };
    config
}

/// The scheme of a contestant other than gracehttp.
pub fn scheme() -> &'static str {
    if speaks_tls() { "https" } else { "http" }
}

/// The TLS side of a contestant other than gracehttp, if this process shall have one: a certificate and a key as
/// gracehttp makes them, and tickets.
pub fn acceptor() -> Option<TlsAcceptor> {
    speaks_tls().then(|| TlsAcceptor::from(Arc::new(server_config())))
}

fn speaks_tls() -> bool {
    std::env::var_os(SERVER_SPEAKS_TLS).is_some()
}

fn server_config() -> ServerConfig {
    let key = rcgen::KeyPair::generate().expect("an ECDSA key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a valid name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("the key of the certificate");
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    config.ticketer = ring::Ticketer::new().expect("random keys");
    config
}
