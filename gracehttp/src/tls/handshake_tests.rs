//! Handshakes whose segments a test decides: not a byte behind them may be lost.

use std::io::ErrorKind;
use std::sync::{Arc, OnceLock};

use ring::{aead, hmac};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use tokio_rustls::rustls::server::{ProducesTickets, ServerSessionMemoryCache};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    AlertDescription, CipherSuite, ClientConfig, Error, HandshakeKind, KeyLog, NamedGroup, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};

use super::*;
use crate::tls::certificate::provider;
use crate::tls::peer::{TestClient, acceptor, client_config, client_config_with, connect, sockets};

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

async fn read(stream: &mut SecureStream, length: usize) -> Vec<u8> {
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await.unwrap();
    text
}

/// The configuration of one handshake.
fn configuration(acceptor: &TlsAcceptor) -> Arc<ServerConfig> {
    acceptor.presented().for_handshake(Arc::new(ConnectionKeyLog::default())).0
}

/// Both sides can send and receive.
async fn assert_works(stream: &mut SecureStream, client: &mut TestClient) {
    let sealed = client.sealed(b"ping");
    client.send(&sealed).await;
    assert_eq!(read(stream, 4).await, b"ping");
    stream.write_all(b"pong").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(client.read(4).await, b"pong");
}

/// A configuration of clients that have a ticket.
async fn returning(acceptor: &TlsAcceptor, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let config = Arc::new(client_config(version));
    let (mut stream, mut client) = connect(acceptor, &config).await;
    // The tickets of TLS 1.3 follow the handshake.
    assert_works(&mut stream, &mut client).await;
    config
}

#[tokio::test]
async fn a_handshake_of_each_version_makes_a_session_and_tells_its_facts() {
    for version in VERSIONS {
        let (mut stream, mut client) = connect(&acceptor(), &Arc::new(client_config(version))).await;
        let facts = stream.session().facts();
        assert_eq!((facts.sni.as_deref(), facts.alpn), (Some("localhost"), Some(Alpn::Http11)));
        assert_works(&mut stream, &mut client).await;
    }
}

#[tokio::test]
async fn h2_is_agreed_on_and_a_client_without_alpn_gets_none() {
    for (offered, agreed) in [(vec![b"h2".to_vec()], Some(Alpn::H2)), (vec![], None)] {
        let mut config = client_config(&TLS13);
        config.alpn_protocols = offered;
        let (stream, _client) = connect(&acceptor(), &Arc::new(config)).await;
        assert_eq!(stream.session().facts().alpn, agreed);
    }
}

#[tokio::test]
async fn resumed_sessions_work_as_well() {
    for version in VERSIONS {
        let acceptor = acceptor();
        let config = returning(&acceptor, version).await;
        let (mut stream, mut client) = connect(&acceptor, &config).await;
        assert_eq!(client.rustls.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
        assert_works(&mut stream, &mut client).await;
    }
}

#[tokio::test]
async fn each_byte_may_come_in_a_segment_of_its_own() {
    for version in VERSIONS {
        let acceptor = acceptor();
        for config in [Arc::new(client_config(version)), returning(&acceptor, version).await] {
            let (bare, socket) = sockets();
            let mut client = TestClient::new(&config, socket);
            let (stream, ()) = tokio::join!(handshake(&acceptor, bare, &[]), client.handshake_in_bytes());
            assert_works(&mut stream.unwrap(), &mut client).await;
        }
    }
}

/// In TLS 1.2 only a client that resumes can send data in the segment of its Finished.
#[tokio::test]
async fn what_comes_in_the_segment_of_finished_is_not_lost() {
    for version in VERSIONS {
        let acceptor = acceptor();
        let config = returning(&acceptor, version).await;
        let (bare, socket) = sockets();
        let mut client = TestClient::new(&config, socket);
        let (stream, cut) = tokio::join!(handshake(&acceptor, bare, &[]), async {
            let finished = client.last_flight().await;
            let (whole, cut) = (client.sealed(b"GET / HTTP/1.1"), client.sealed(b"the second"));
            client.send(&[&finished[..], &whole, &cut[..20]].concat()).await;
            cut
        });
        let mut stream = stream.unwrap();
        assert!(stream.is_in_record());
        assert_eq!(read(&mut stream, 14).await, b"GET / HTTP/1.1");
        client.send(&cut[20..]).await;
        assert_eq!(read(&mut stream, 10).await, b"the second");
        assert!(!stream.is_in_record());
        assert_works(&mut stream, &mut client).await;
    }
}

/// Keeps the secret of a session of TLS 1.2.
#[derive(Debug, Default)]
struct MasterSecret(OnceLock<Vec<u8>>);

impl KeyLog for MasterSecret {
    fn log(&self, _: &str, _: &[u8], secret: &[u8]) {
        self.0.set(secret.to_vec()).unwrap();
    }
}

/// The first bytes of P_hash of TLS 1.2 (RFC 5246 section 5).
fn expanded(secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let (mut a, mut output) = (hmac::sign(&key, seed), Vec::new());
    while output.len() < length {
        output.extend_from_slice(hmac::sign(&key, &[a.as_ref(), seed].concat()).as_ref());
        a = hmac::sign(&key, a.as_ref());
    }
    output
}

/// The key of a client of TLS 1.2 with AES-128-GCM, which seals what a test wants (RFC 5288 section 3).
struct ClientKey {
    key: aead::LessSafeKey,
    iv: [u8; 4],
    sequence: u64,
}

impl ClientKey {
    /// The randoms are those of the ServerHello and the ClientHello.
    fn new(master_secret: &[u8], randoms: [&[u8]; 2]) -> Self {
        let seed = [b"key expansion", randoms[0], randoms[1]].concat();
        let block = expanded(master_secret, &seed, 36);
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &block[..16]).unwrap();
        Self { key: aead::LessSafeKey::new(key), iv: block[32..36].try_into().unwrap(), sequence: 0 }
    }

    fn nonce(&self, explicit: &[u8]) -> aead::Nonce {
        aead::Nonce::try_assume_unique_for_key(&[&self.iv, explicit].concat()).unwrap()
    }

    fn additional_data(&self, kind: u8, length: u8) -> aead::Aad<Vec<u8>> {
        aead::Aad::from([&self.sequence.to_be_bytes()[..], &[kind, 3, 3, 0, length]].concat())
    }

    /// The content of the first record.
    fn open(&self, record: &[u8]) -> Vec<u8> {
        let mut sealed = record[13..].to_vec();
        let additional_data = self.additional_data(record[0], record.len() as u8 - 29);
        self.key.open_in_place(self.nonce(&record[5..13]), additional_data, &mut sealed).unwrap().to_vec()
    }

    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let (length, explicit) = (content.len() as u8, self.sequence.to_be_bytes());
        let mut sealed = content.to_vec();
        let additional_data = self.additional_data(kind, length);
        self.key.seal_in_place_append_tag(self.nonce(&explicit), additional_data, &mut sealed).unwrap();
        self.sequence += 1;
        [&[kind, 3, 3, 0, length + 24][..], &explicit, &sealed].concat()
    }
}

/// RFC 5246 section 6.2.1 lets a client spread a message over records, also the one that ends the handshake.
#[tokio::test]
async fn finished_of_tls_1_2_may_come_in_several_records() {
    for part in [1, 7, 16] {
        let mut provider = Arc::unwrap_or_clone(provider());
        provider
            .cipher_suites
            .retain(|suite| suite.suite() == CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        let mut config = client_config_with(provider, &TLS12);
        let master_secret = Arc::new(MasterSecret::default());
        config.key_log = master_secret.clone();
        let (bare, socket) = sockets();
        let mut client = TestClient::new(&Arc::new(config), socket);
        let acceptor = acceptor();
        let (stream, mut key) = tokio::join!(handshake(&acceptor, bare, &[]), async {
            let hello = client.output();
            client.send(&hello).await;
            let mut answer = Vec::new();
            let last = loop {
                let start = answer.len();
                client.socket.read_buf(&mut answer).await.unwrap();
                client.rustls.read_tls(&mut &answer[start..]).unwrap();
                client.rustls.process_new_packets().unwrap();
                let output = client.output();
                if !output.is_empty() {
                    break output;
                }
            };
            let (before, finished) = last.split_at(last.len() - 45);
            let mut key = ClientKey::new(master_secret.0.get().unwrap(), [&answer[11..43], &hello[11..43]]);
            let parts: Vec<u8> =
                key.open(finished).chunks(part).flat_map(|part| key.seal(HANDSHAKE, part)).collect();
            client.send(&[before, &parts].concat()).await;
            key
        });
        let mut stream = stream.unwrap();
        client.send(&key.seal(APPLICATION_DATA, b"ping")).await;
        assert_eq!(read(&mut stream, 4).await, b"ping");
        stream.write_all(b"pong").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(client.read(4).await, b"pong");
    }
}

#[tokio::test]
async fn a_key_update_right_behind_finished_is_answered_with_the_first_data() {
    let (acceptor, config) = (acceptor(), Arc::new(client_config(&TLS13)));
    let (bare, socket) = sockets();
    let mut client = TestClient::new(&config, socket);
    let (stream, ()) = tokio::join!(handshake(&acceptor, bare, &[]), async {
        let finished = client.last_flight().await;
        client.rustls.refresh_traffic_keys().unwrap();
        let update = client.output();
        let data = client.sealed(b"under the next key");
        client.send(&[finished, update, data].concat()).await;
    });
    let mut stream = stream.unwrap();
    assert_eq!(read(&mut stream, 18).await, b"under the next key");
    assert_works(&mut stream, &mut client).await;
    client.rustls.refresh_traffic_keys().unwrap();
    assert_works(&mut stream, &mut client).await;
}

/// A group that the server does not have, so that it asks for a share of another.
#[derive(Debug)]
struct UnknownGroup;

impl SupportedKxGroup for UnknownGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Self))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(0x4a4a)
    }
}

impl ActiveKeyExchange for UnknownGroup {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Err(Error::DecryptError)
    }

    fn pub_key(&self) -> &[u8] {
        &[7; 32]
    }

    fn group(&self) -> NamedGroup {
        self.name()
    }
}

#[tokio::test]
async fn a_client_may_have_to_send_another_hello() {
    let mut provider = Arc::unwrap_or_clone(provider());
    provider.kx_groups.insert(0, &UnknownGroup);
    let config = Arc::new(client_config_with(provider, &TLS13));
    let (mut stream, mut client) = connect(&acceptor(), &config).await;
    assert_eq!(client.rustls.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
    assert_works(&mut stream, &mut client).await;
}

/// A server that accepts early data: its sessions are not in the ticket, but in its memory.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[tokio::test]
async fn early_data_is_rejected_and_the_connection_works() {
    let acceptor = acceptor();
    let mut config = client_config(&TLS13);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let (_bare, socket) = sockets();
    let mut first = TestClient::new(&config, socket);
    let mut generous = ServerConfig::clone(&configuration(&acceptor));
    generous.max_early_data_size = 1 << 14;
    generous.ticketer = Arc::new(NoTickets);
    generous.session_storage = ServerSessionMemoryCache::new(8);
    let mut server = ServerConnection::new(Arc::new(generous)).unwrap();
    while first.rustls.is_handshaking() || server.is_handshaking() || server.wants_write() {
        server.read_tls(&mut &first.output()[..]).unwrap();
        server.process_new_packets().unwrap();
        let mut output = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut output).unwrap();
        }
        first.rustls.read_tls(&mut &output[..]).unwrap();
        first.rustls.process_new_packets().unwrap();
    }

    let (bare, socket) = sockets();
    let mut client = TestClient::new(&config, socket);
    use std::io::Write as _;
    client.rustls.early_data().expect("a session that allows it").write_all(b"too early").unwrap();
    let (stream, ()) = tokio::join!(handshake(&acceptor, bare, &[]), async {
        let last = client.last_flight().await;
        client.send(&last).await;
    });
    assert!(!client.rustls.is_early_data_accepted());
    assert_works(&mut stream.unwrap(), &mut client).await;
}

/// What a server says to these bytes: the alert, and the kind of its error.
async fn answer(bytes: &[u8]) -> (Vec<u8>, ErrorKind) {
    let (bare, mut socket) = sockets();
    socket.write_all(bytes).await.unwrap();
    let error = handshake(&acceptor(), bare, &[]).await.unwrap_err();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.unwrap();
    (said, error.kind())
}

/// What bare rustls says to them.
fn answer_of_rustls(bytes: &[u8]) -> Vec<u8> {
    let mut server = ServerConnection::new(configuration(&acceptor())).unwrap();
    server.read_tls(&mut &bytes[..]).unwrap();
    server.process_new_packets().unwrap_err();
    let mut said = Vec::new();
    server.write_tls(&mut said).unwrap();
    said
}

/// The client keeps its side open: waiting for more would wait for ever.
#[tokio::test]
async fn what_is_no_tls_is_refused_at_once_with_the_alert_of_rustls() {
    let header_of_too_much = [22, 3, 1, 0xff, 0xff];
    for bytes in [&b"GET /"[..], b"G", b"\x16\x04\x01\x00\x05", &header_of_too_much, b"\x16\x03\x01\x00\x00"]
    {
        let (said, kind) = answer(bytes).await;
        assert_eq!((said, kind), (answer_of_rustls(bytes), ErrorKind::InvalidData), "{bytes:?}");
    }
}

/// rustls knows this version, though no record of today has it. It would not be fed in single records.
#[tokio::test]
async fn a_record_of_ssl_2_is_refused() {
    assert_eq!(answer(b"\x16\x02\x00\x00\x05hello").await.1, ErrorKind::InvalidData);
}

/// A Unix socket, too, is reset if it is closed with unread bytes.
#[tokio::test]
async fn a_client_that_has_sent_more_reads_the_alert_and_then_the_end() {
    let bytes = [&b"\x17\x03\x03\x00\x01a"[..], &[0x17; 40_000]].concat();
    let (said, kind) = answer(&bytes).await;
    assert_eq!((said, kind), (answer_of_rustls(&bytes[..6]), ErrorKind::InvalidData));
}

#[tokio::test]
async fn a_client_without_a_common_suite_is_told_so() {
    let mut provider = Arc::unwrap_or_clone(provider());
    // The certificate is for ECDSA.
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
    let config = Arc::new(client_config_with(provider, &TLS12));
    let (bare, socket) = sockets();
    let mut client = TestClient::new(&config, socket);
    let hello = client.output();
    client.send(&hello).await;
    let error = handshake(&acceptor(), bare, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let alert = client.read_to_end().await.unwrap_err();
    assert_eq!(alert, Error::AlertReceived(AlertDescription::HandshakeFailure));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_handshake() {
    let config = Arc::new(client_config(&TLS13));
    for sent in [0, 3, 100] {
        let (bare, socket) = sockets();
        let mut client = TestClient::new(&config, socket);
        let hello = client.output();
        client.send(&hello[..sent]).await;
        drop(client);
        assert_eq!(handshake(&acceptor(), bare, &[]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_length_is_trusted_only_behind_a_possible_type_and_version() {
    assert_eq!(next(b""), Next::Part(5));
    assert_eq!(next(b"\x16\x03"), Next::Part(5));
    assert_eq!(next(b"\x16\x03\x01\x00\x02"), Next::Part(7));
    assert_eq!(next(b"\x16\x03\x01\x00\x02ab\x16"), Next::Record(7));
    assert_eq!(next(b"\x17\x03\x03\x48\x00"), Next::Part(5 + MAX_SEALED_LENGTH));
    for other in [&b"G"[..], b"\x13", b"\x19\x03", b"\x16\x02", b"\x17\x03\x03\x48\x01"] {
        assert_eq!(next(other), Next::Other, "{other:?}");
    }
}
