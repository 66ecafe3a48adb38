//! What the tests of this room talk to: rustls, in memory.

use std::collections::HashMap;
use std::io::IoSlice;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, ExtractedSecrets, KeyLog, RootCertStore, ServerConfig,
    ServerConnection, version,
};

use crate::record::forger::{Forger, SUITES};
use crate::record::{
    Content, Established, Facts, Fault, Opened, Secret, Session, Suite, TrafficSecrets, Version,
};

pub(super) fn suites_of(version: Version) -> impl Iterator<Item = Suite> {
    SUITES.into_iter().filter(move |suite| suite.version() == version)
}

/// The providers that rustls can have in this build.
pub(super) fn providers() -> Vec<CryptoProvider> {
    vec![
        #[cfg(feature = "aws-lc-rs")]
        rustls::crypto::aws_lc_rs::default_provider(),
        rustls::crypto::ring::default_provider(),
    ]
}

/// Keeps the secrets that a handshake logs.
#[derive(Debug, Default)]
pub(super) struct Logged(Mutex<HashMap<String, Vec<u8>>>);

impl KeyLog for Logged {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().insert(label.to_owned(), secret.to_vec());
    }
}

impl Logged {
    pub(super) fn traffic_secrets(&self) -> Option<TrafficSecrets> {
        let logged = self.0.lock();
        let secret = |label: &str| Secret::new(logged.get(label)?);
        Some(TrafficSecrets {
            client: secret("CLIENT_TRAFFIC_SECRET_0")?,
            server: secret("SERVER_TRAFFIC_SECRET_0")?,
        })
    }
}

fn only(mut provider: CryptoProvider, suite: Suite) -> Arc<CryptoProvider> {
    provider.cipher_suites.retain(|offered| u16::from(offered.suite()) == suite.number());
    assert_eq!(provider.cipher_suites.len(), 1, "rustls has {suite:?}");
    Arc::new(provider)
}

/// One certificate for all.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    static ISSUED: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    let (certificate, key) = ISSUED.get_or_init(|| {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (issued.cert.der().to_vec(), issued.signing_key.serialize_der())
    });
    (CertificateDer::from(certificate.clone()), PrivatePkcs8KeyDer::from(key.clone()).into())
}

/// rustls on both sides after the handshake, and what the server logged. Each side has read all that the other sent.
pub(super) fn handshake(
    provider: &CryptoProvider,
    suite: Suite,
) -> (ServerConnection, ClientConnection, Arc<Logged>) {
    let provider = only(provider.clone(), suite);
    let versions = [match suite.version() {
        Version::Tls12 => &version::TLS12,
        Version::Tls13 => &version::TLS13,
    }];
    let (certificate, key) = certificate();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();

    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let logged = Arc::new(Logged::default());
    config.key_log = logged.clone();
    config.enable_secret_extraction = true;
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let mut client =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();

    while server.is_handshaking() || client.is_handshaking() || client.wants_write() || server.wants_write() {
        let sent = written(&mut client);
        server.read_tls(&mut sent.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let sent = written(&mut server);
        client.read_tls(&mut sent.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    (server, client, logged)
}

/// A session of ours and the rustls client that it was agreed with.
pub(super) fn connect(provider: &CryptoProvider, suite: Suite) -> (Session, ClientConnection) {
    let (server, client, logged) = handshake(provider, suite);
    (Session::new(establish(server, &logged)), client)
}

/// A session of ours and the rustls server whose twin it is: the same keys, the same sequence numbers. The client is one
/// that seals whatever it likes.
pub(super) fn twins(provider: &CryptoProvider, suite: Suite) -> (Session, ServerConnection, Forger) {
    let (server, client, logged) = handshake(provider, suite);
    let negotiated = client.negotiated_cipher_suite().unwrap();
    let ExtractedSecrets { tx, rx } = client.dangerous_extract_secrets().unwrap();
    let extracted = ExtractedSecrets { tx: rx, rx: tx };
    let established =
        Established::new(negotiated, &extracted, logged.traffic_secrets(), Facts::default()).unwrap();
    let forger = Forger::new(&established.parts);
    (Session::new(established), server, forger)
}

pub(super) fn establish(server: ServerConnection, logged: &Logged) -> Established {
    let suite = server.negotiated_cipher_suite().unwrap();
    let extracted = server.dangerous_extract_secrets().unwrap();
    Established::new(suite, &extracted, logged.traffic_secrets(), Facts::default()).unwrap()
}

/// Everything that a connection wants to send.
pub(super) fn written<D>(connection: &mut rustls::ConnectionCommon<D>) -> Vec<u8> {
    let mut sent = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut sent).unwrap();
    }
    sent
}

/// Records with this text, as the client sends it.
pub(super) fn sent_by(client: &mut ClientConnection, text: &[u8]) -> Vec<u8> {
    let (mut sent, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let taken = client.writer().write(rest).unwrap();
        rest = &rest[taken..];
        sent.extend(written(client));
    }
    sent
}

/// The text that the client reads from these records.
pub(super) fn read_by(client: &mut ClientConnection, mut records: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while !records.is_empty() {
        client.read_tls(&mut records).unwrap();
        let state = client.process_new_packets().unwrap();
        let mut part = vec![0; state.plaintext_bytes_to_read()];
        client.reader().read_exact(&mut part).unwrap();
        text.extend(part);
    }
    text
}

/// Opens all records of the input. Returns their text and what is to be sent in answer.
pub(super) fn open_all(session: &mut Session, input: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let (mut input, mut text, mut answer) = (input.to_vec(), Vec::new(), Vec::new());
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let Opened::Record { length, content } = session.open(rest, &mut answer)? else {
            panic!("a cut record of {} bytes", rest.len());
        };
        match content {
            Content::Data(place) => text.extend_from_slice(&rest[place]),
            Content::Nothing => {}
            Content::Closed => panic!("the client has closed"),
        }
        rest = &mut rest[length..];
    }
    Ok((text, answer))
}

/// Seals all of the text.
pub(super) fn seal_all(session: &mut Session, mut text: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while !text.is_empty() {
        let taken = session.seal(&[IoSlice::new(text)], &mut output).unwrap();
        text = &text[taken..];
    }
    output
}
