//! How an authority looks at an endpoint (RFC 8737), and how a careful client does.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Whether the endpoint proves the control of this name.
pub(crate) async fn looks_right(endpoint: SocketAddr, name: &str, digest: &[u8]) -> Result<(), String> {
    let tcp = TcpStream::connect(endpoint).await.map_err(|error| error.to_string())?;
    let server_name = name.to_owned().try_into().map_err(|_| "no name".to_owned())?;
    let handshake = TlsConnector::from(onlooker(&["acme-tls/1"])).connect(server_name, tcp);
    let mut stream = handshake.await.map_err(|error| error.to_string())?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(b"acme-tls/1") {
        return Err("another protocol was chosen".to_owned());
    }
    let [certificate] = session.peer_certificates().unwrap_or_default() else {
        return Err("not one certificate".to_owned());
    };
    let certificate = certificate.to_vec();
    // The extension acmeIdentifier, critical, with the digest; and the name as the only one.
    const IDENTIFIER: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 1, 1, 0xff, 4, 0x22, 4, 0x20];
    let count = |part: &[u8]| certificate.windows(part.len()).filter(|window| *window == part).count();
    if count(&[IDENTIFIER, digest].concat()) != 1 {
        return Err("the certificate lacks the digest".to_owned());
    }
    let length = name.len() as u8;
    if count(&[&[0x30, length + 2, 0x82, length], name.as_bytes()].concat()) != 1 {
        return Err("the certificate is not for this name alone".to_owned());
    }
    // It is over: the endpoint may be closed already, and resets the connection then.
    _ = stream.write_all(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await;
    match stream.read_u8().await {
        Ok(_) => Err("HTTP is spoken after a challenge".to_owned()),
        Err(error) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()) => {
            Ok(())
        }
        // An alert.
        Err(error) => Err(error.to_string()),
    }
}

/// A client that takes every certificate and offers these protocols.
pub(crate) fn onlooker(protocols: &[&str]) -> Arc<ClientConfig> {
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The status line of an answer over a connection whose certificate a client of this root trusts, and the certificate.
pub(crate) async fn trusted_get(
    endpoint: SocketAddr,
    name: &str,
    root: CertificateDer<'static>,
) -> Result<(String, Vec<u8>), String> {
    let (answer, certificate) = trusted_answer(endpoint, name, "/ping", root).await?;
    Ok((answer.lines().next().unwrap_or_default().to_owned(), certificate))
}

/// The same, with the whole answer, for any path.
pub(crate) async fn trusted_answer(
    endpoint: SocketAddr,
    name: &str,
    path: &str,
    root: CertificateDer<'static>,
) -> Result<(String, Vec<u8>), String> {
    let mut roots = RootCertStore::empty();
    roots.add(root).map_err(|error| error.to_string())?;
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(endpoint).await.map_err(|error| error.to_string())?;
    let server_name = name.to_owned().try_into().map_err(|_| "no name".to_owned())?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(server_name, tcp);
    let mut stream = handshake.await.map_err(|error| error.to_string())?;
    let certificate = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    Ok((answer, certificate.unwrap_or_default()))
}

/// Takes every certificate: rustls reads none with a critical extension that it does not know.
#[derive(Debug)]
struct Onlooker;

impl ServerCertVerifier for Onlooker {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
