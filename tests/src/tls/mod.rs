//! TLS for the client: it trusts every server, since tests sign their own certificates.

mod authority;
mod ragged;
mod records;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};

pub use authority::{Authority, Identity, year};
pub use ragged::Ragged;
pub use records::{Received, Record};
pub use wire::Wire;

/// One suite of TLS 1.3, and one of TLS 1.2.
pub const VERSIONS: [SupportedCipherSuite; 2] =
    [TLS13_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];

/// Every AEAD under both versions. (The suites with RSA protect records in the same way.)
pub const SUITES: [SupportedCipherSuite; 6] = [
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// A connector that offers these protocols by ALPN, and no ticket of an earlier session.
pub fn connector(alpn: &[&str]) -> TlsConnector {
    TlsConnector::from(Arc::new(config(alpn, ALL_VERSIONS)))
}

/// The configuration of a client's offer. Connections that share one share the tickets of their sessions.
pub fn config(alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    configure(ring::default_provider(), alpn, versions)
}

/// The offer of a single suite.
pub fn only(suite: SupportedCipherSuite, alpn: &[&str]) -> ClientConfig {
    let provider = CryptoProvider { cipher_suites: vec![suite], ..ring::default_provider() };
    configure(provider, alpn, &[suite.version()])
}

/// Connects with this offer, and asks for this name.
pub async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(config.clone()).connect(name, tcp).await
}

fn configure(
    provider: CryptoProvider,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(provider);
    let believer = Arc::new(Believer { provider: Arc::clone(&provider), staple: Staple::default() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("ring knows TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(believer)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// The OCSP response of the last handshake; empty if there was none.
pub type Staple = Arc<Mutex<Vec<u8>>>;

/// A client's offer, and what servers staple to their certificates.
pub fn recording(versions: &[&'static SupportedProtocolVersion]) -> (ClientConfig, Staple) {
    let mut config = config(&["http/1.1"], versions);
    let staple = Staple::default();
    let provider = Arc::new(ring::default_provider());
    let believer = Believer { provider, staple: staple.clone() };
    config.dangerous().set_certificate_verifier(Arc::new(believer));
    (config, staple)
}

/// Trusts every certificate, and notes what is stapled to it.
#[derive(Debug)]
struct Believer {
    provider: Arc<CryptoProvider>,
    staple: Staple,
}

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().expect("no panic") = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
