//! A strict client: one HTTP/1.1 connection that forgives nothing.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum_core::body::Body;
use http::HeaderValue;
use http::header::{CONNECTION, HOST};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{Request, Response};

/// How long an answer may take. A test that passes never waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client connects to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
}

impl Target {
    /// Reads a URL in the form of the banner.
    pub(super) fn from_url(url: &str) -> Option<Self> {
        let (scheme, address) = url.split_once("://")?;
        Some(Self { address: address.parse().ok()?, tls: scheme == "https" })
    }
}

/// Why a request was not answered, in words.
#[derive(Debug)]
pub(super) struct Fault(String);

impl Fault {
    pub(super) fn new(words: String) -> Self {
        Self(words)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection to a server.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    host: HeaderValue,
    /// The server has said that it closes it.
    told_to_close: bool,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Fault> {
        let opened = async {
            let stream = TcpStream::connect(target.address)
                .await
                .map_err(|error| Fault(format!("the connection was not accepted: {error}")))?;
            if target.tls { secure(stream).await } else { speak(stream).await }
        };
        let sender = patiently("a connection", opened).await?;
        let host =
            HeaderValue::try_from(target.address.to_string()).map_err(|error| Fault(error.to_string()))?;
        Ok(Self { sender, host, told_to_close: false })
    }

    /// Whether the server has announced that it closes the connection.
    pub(super) fn is_told_to_close(&self) -> bool {
        self.told_to_close
    }

    /// Sends a request and waits for the whole of its response.
    pub(super) async fn send(&mut self, mut request: Request) -> Result<Response, Fault> {
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        let answered = async {
            self.sender.ready().await.map_err(|error| lost("the idle connection was closed", &error))?;
            let response = self
                .sender
                .send_request(request)
                .await
                .map_err(|error| lost("the request was not answered", &error))?;
            let (head, body) = response.into_parts();
            self.told_to_close = head.headers.get(CONNECTION).is_some_and(|value| value == "close");
            let body = body.collect().await.map_err(|error| lost("the answer broke off", &error))?;
            Ok(Response::from_parts(head, Body::from(body.to_bytes())))
        };
        patiently("an answer", answered).await
    }
}

fn lost(what: &str, error: &hyper::Error) -> Fault {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(" ({cause})"));
    Fault(format!("{what}: {error}{cause}"))
}

async fn patiently<T>(what: &str, event: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(PATIENCE, event).await.unwrap_or_else(|_| Err(Fault(format!("no {what} within {PATIENCE:?}"))))
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<SendRequest<Body>, Fault> {
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| Fault(error.to_string()))?;
    // What goes wrong on the connection, its requests hear of.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(not(feature = "tls"))]
async fn secure(_: TcpStream) -> Result<SendRequest<Body>, Fault> {
    Err(Fault("this client speaks no TLS: the feature `tls` is off".to_owned()))
}

#[cfg(feature = "tls")]
async fn secure(stream: TcpStream) -> Result<SendRequest<Body>, Fault> {
    use tokio_rustls::rustls::pki_types::ServerName;

    let name = ServerName::try_from("localhost").map_err(|error| Fault(error.to_string()))?;
    let connector = tls::connector().map_err(|error| Fault(error.to_string()))?;
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| Fault(format!("the TLS handshake failed: {error}")))?;
    speak(stream).await
}

#[cfg(feature = "tls")]
mod tls {
    //! Accepts any certificate: tests sign their own.

    use std::sync::Arc;

    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::client::danger::{
        HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
    };
    use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

    pub(super) fn connector() -> Result<TlsConnector, Error> {
        let provider = crate::tls::crypto_provider();
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    #[derive(Debug)]
    struct AcceptAnyCertificate(Arc<CryptoProvider>);

    impl ServerCertVerifier for AcceptAnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
