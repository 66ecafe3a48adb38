//! A session of ours and a rustls server with the same keys, which have to do the same with the same bytes. For tests,
//! and for the fuzz target.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, ExtractedSecrets, KeyLog, RootCertStore, ServerConfig,
    ServerConnection, version,
};

use crate::record::forger::Forger;
use crate::record::suite::Version;
use crate::record::{Content, Established, Facts, Opened, Secret, Session, Suite, TrafficSecrets};

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

const VALID: &str = "a valid configuration";
const HONEST: &str = "an honest handshake";

fn only(mut provider: CryptoProvider, suite: Suite) -> Arc<CryptoProvider> {
    provider.cipher_suites.retain(|offered| u16::from(offered.suite()) == suite.number());
    assert_eq!(provider.cipher_suites.len(), 1, "rustls has {suite:?}");
    Arc::new(provider)
}

/// One certificate for all.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    static ISSUED: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    let (certificate, key) = ISSUED.get_or_init(|| {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
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
    roots.add(certificate.clone()).expect("rustls can read it");

    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .expect(VALID)
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect(VALID);
    let logged = Arc::new(Logged::default());
    config.key_log = logged.clone();
    config.enable_secret_extraction = true;
    let mut server = ServerConnection::new(Arc::new(config)).expect(VALID);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .expect(VALID)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let mut client =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").expect("a name"))
            .expect(VALID);

    while server.is_handshaking() || client.is_handshaking() || client.wants_write() || server.wants_write() {
        let sent = written(&mut client);
        server.read_tls(&mut sent.as_slice()).expect(HONEST);
        server.process_new_packets().expect(HONEST);
        let sent = written(&mut server);
        client.read_tls(&mut sent.as_slice()).expect(HONEST);
        client.process_new_packets().expect(HONEST);
    }
    (server, client, logged)
}

/// A session of ours and a rustls server with the same keys and sequence numbers, and a client that can seal any
/// content.
pub(super) fn twins(provider: &CryptoProvider, suite: Suite) -> (Session, ServerConnection, Forger) {
    let (server, client, logged) = handshake(provider, suite);
    let negotiated = client.negotiated_cipher_suite().expect("the handshake is over");
    let ExtractedSecrets { tx, rx } =
        client.dangerous_extract_secrets().expect("the configuration permits it");
    let extracted = ExtractedSecrets { tx: rx, rx: tx };
    let established = Established::new(negotiated, &extracted, logged.traffic_secrets(), 1, Facts::default())
        .expect("the secrets belong together");
    let forger = Forger::new(&established.parts);
    (Session::new(established), server, forger)
}

/// Everything that a connection wants to send.
pub(super) fn written<D>(connection: &mut rustls::ConnectionCommon<D>) -> Vec<u8> {
    let mut sent = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut sent).expect("a buffer takes everything");
    }
    sent
}

/// What came of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) text: Vec<u8>,
    /// Sent in answer, sealed. The same keys and numbers make the same bytes of the same alerts.
    pub(super) sent: Vec<u8>,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    /// The session goes on.
    Open,
    Closed,
    Fault,
}

/// The alert is part of the second value; rustls may have sent none. The third is what remains of the input.
pub(super) fn ours(session: &mut Session, input: &[u8]) -> (Outcome, Option<u8>, Vec<u8>) {
    let (mut input, mut outcome) = (input.to_vec(), Outcome::default());
    let mut rest = &mut input[..];
    loop {
        match session.open(rest, &mut outcome.sent) {
            Ok(Opened::Incomplete { needed }) => {
                assert!(needed > rest.len());
                return (outcome, None, rest.to_vec());
            }
            Ok(Opened::Record { length, content }) => {
                match content {
                    Content::Data(place) => outcome.text.extend_from_slice(&rest[place]),
                    Content::Nothing => {}
                    Content::Closed => {
                        outcome.end = End::Closed;
                        return (outcome, None, rest.to_vec());
                    }
                }
                rest = &mut rest[length..];
            }
            Err(fault) => {
                session.seal_alert(&fault, &mut outcome.sent);
                outcome.end = End::Fault;
                return (outcome, fault.alert, rest.to_vec());
            }
        }
    }
}

pub(super) fn theirs(server: &mut ServerConnection, mut input: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    while !input.is_empty() && outcome.end == End::Open {
        // It fails where a message of the handshake is longer than the buffer.
        if server.read_tls(&mut input).is_err() {
            outcome.end = End::Fault;
            break;
        }
        let result = server.process_new_packets();
        // It ends with an error where nothing is left, or with the end of the client's data.
        let _ = server.reader().read_to_end(&mut outcome.text);
        outcome.end = match result {
            Ok(state) if state.peer_has_closed() => End::Closed,
            Ok(_) => End::Open,
            Err(_) => End::Fault,
        };
    }
    outcome.sent = written(server);
    outcome
}
