//! The client of tests of TLS streams: rustls without a socket of its own, so that a test decides which bytes go in
//! which segment.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};

use crate::server::{ServerOptions, Tls};
use crate::socket::{BareStream, Family, ProxyHeader, SecureStream, Socket, Stream, Untaken};
use crate::sys::Descriptor;
use crate::tls::certificate::provider;
use crate::tls::{KeyRing, TlsAcceptor, handshake};

/// A server's side of TLS, with a certificate for `localhost`.
pub(crate) fn acceptor() -> TlsAcceptor {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = tempfile(&(issued.cert.pem() + &issued.signing_key.serialize_pem()));
    let options = ServerOptions { tls: Some(Tls::files(&file, &file)), ..ServerOptions::new("web") };
    let acceptor = TlsAcceptor::of(&options, &KeyRing::default());
    std::fs::remove_file(file).unwrap();
    acceptor.unwrap().unwrap()
}

fn tempfile(text: &str) -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("gracehttp-peer-{}-{number}.pem", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

/// The configuration of clients that share the tickets of their sessions.
pub(crate) fn client_config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_config_with(Arc::unwrap_or_clone(provider()), version)
}

pub(crate) fn client_config_with(
    provider: CryptoProvider,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// A socket of ours, and the client's end.
pub(crate) fn sockets() -> (BareStream, UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let fd = Descriptor::new(ours.into());
    let socket = Socket {
        fd,
        family: Family::Unix,
        origin: None,
        listener: None,
        session: None,
        proxy_header: ProxyHeader::AsListed,
        untaken: Untaken::NOTHING,
    };
    let Stream::Plain(bare) = socket.wake() else { panic!("a plain socket") };
    (bare, UnixStream::from_std(theirs).unwrap())
}

/// A session after its handshake, and its client.
pub(crate) async fn connect(
    acceptor: &TlsAcceptor,
    config: &Arc<ClientConfig>,
) -> (SecureStream, TestClient) {
    let (bare, socket) = sockets();
    let mut client = TestClient::new(config, socket);
    let (stream, ()) = tokio::join!(handshake(acceptor, bare, &[]), async {
        let last = client.last_flight().await;
        client.send(&last).await;
    });
    (stream.unwrap(), client)
}

/// A client whose records its test sends.
pub(crate) struct TestClient {
    pub(crate) rustls: ClientConnection,
    pub(crate) socket: UnixStream,
}

impl TestClient {
    pub(crate) fn new(config: &Arc<ClientConfig>, socket: UnixStream) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self { rustls: ClientConnection::new(config.clone(), name).unwrap(), socket }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// All that rustls has to send.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        while self.rustls.wants_write() {
            self.rustls.write_tls(&mut output).unwrap();
        }
        output
    }

    /// Makes the handshake up to its last bytes of the client, which are returned.
    pub(crate) async fn last_flight(&mut self) -> Vec<u8> {
        loop {
            let output = self.output();
            if !self.rustls.is_handshaking() {
                return output;
            }
            self.send(&output).await;
            assert_ne!(self.receive().await.unwrap(), 0, "the server has ended");
        }
    }

    /// The same with each byte on its own.
    pub(crate) async fn handshake_in_bytes(&mut self) {
        while self.rustls.is_handshaking() || self.rustls.wants_write() {
            for byte in self.output() {
                self.send(&[byte]).await;
                tokio::task::yield_now().await;
            }
            if self.rustls.is_handshaking() {
                assert_ne!(self.receive().await.unwrap(), 0, "the server has ended");
            }
        }
    }

    /// Records with this text.
    pub(crate) fn sealed(&mut self, text: &[u8]) -> Vec<u8> {
        self.rustls.set_buffer_limit(None);
        self.rustls.writer().write_all(text).unwrap();
        self.output()
    }

    /// Reads what has come; 0 bytes at the end.
    pub(crate) async fn receive(&mut self) -> Result<usize, Error> {
        let mut bytes = [0; 4096];
        let count = self.socket.read(&mut bytes).await.unwrap();
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            self.rustls.read_tls(&mut rest).unwrap();
            self.rustls.process_new_packets()?;
        }
        Ok(count)
    }

    /// Reads so many bytes of text.
    pub(crate) async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < length {
            self.read_some(&mut text);
            if text.len() < length {
                assert_ne!(self.receive().await.unwrap(), 0, "the server has ended");
            }
        }
        assert_eq!(text.len(), length);
        text
    }

    pub(crate) fn read_some(&mut self, text: &mut Vec<u8>) {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = self.rustls.reader().read(&mut part) {
            text.extend_from_slice(&part[..count]);
        }
    }

    /// Reads to the end of the socket. Returns the text, and whether a close_notify came; or the alert.
    pub(crate) async fn read_to_end(&mut self) -> Result<(Vec<u8>, bool), Error> {
        let mut text = Vec::new();
        let mut closed = false;
        loop {
            self.read_some(&mut text);
            match self.receive().await? {
                0 => return Ok((text, closed)),
                _ => closed |= self.rustls.process_new_packets()?.peer_has_closed(),
            }
        }
    }
}

#[derive(Debug)]
struct Believer(Arc<CryptoProvider>);

impl ServerCertVerifier for Believer {
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
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
