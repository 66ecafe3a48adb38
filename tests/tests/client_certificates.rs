//! Client certificates: who is let in, who is told to the handler, and who is refused before any handler.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use tests::control::Stage;
use tests::patience::{PATIENCE, within};
use tests::{Scratch, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// An authority of clients.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and key.
struct Identity {
    cert: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority of clients");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([format!("{name}.test")]).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        Identity { cert, key: key.serialize_der() }
    }

    /// A list of what it has revoked.
    fn list(&self, revoked: &[u64]) -> String {
        let revoked = revoked.iter().map(|&serial| rcgen::RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2050, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }
}

/// The offer of a client, whose connections share session tickets.
fn config(version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut config = tls::config(&["http/1.1"], &[version]);
    if let Some(identity) = identity {
        let key = PrivateKeyDer::Pkcs8(identity.key.clone().into());
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let certified =
            tokio_rustls::rustls::sign::CertifiedKey::from_der(vec![identity.cert.clone()], key, &provider);
        let resolver = tokio_rustls::rustls::sign::SingleCertAndKey::from(certified.expect("a pair"));
        config.client_auth_cert_resolver = Arc::new(resolver);
    }
    Arc::new(config)
}

async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config.clone()).connect(name, tcp).await
}

/// The head of an answer, which is read whole.
async fn ask(stream: &mut TlsStream<TcpStream>) -> io::Result<String> {
    stream.write_all(b"GET /facts HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= length.parse::<usize>().expect("a number") {
            return Ok(format!("{head}\r\n"));
        }
    }
}

/// Connects and asks. An error of either is the client's refusal: over TLS 1.3 it comes after the client's handshake.
async fn visit(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<(String, HandshakeKind)> {
    let mut stream = connect(address, config).await?;
    let answer = ask(&mut stream).await?;
    Ok((answer, stream.get_ref().1.handshake_kind().expect("a handshake")))
}

async fn serve(scratch: &Scratch, authority: &Authority, auth: &str, list: Option<&str>) -> Stage {
    let (cert, key) = scratch.certificate("server");
    let ca = scratch.write("clients.pem", &authority.pem);
    let list = list.map(|list| scratch.write("clients.crl", list));
    Stage::with(|launch| {
        let launch = launch
            .env("GRACEHTTP_SERVER__WEB__TLS__CERT", cert)
            .env("GRACEHTTP_SERVER__WEB__TLS__KEY", key)
            .env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CA", ca)
            .env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_AUTH", auth);
        match list {
            Some(list) => launch.env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CRL", list),
            None => launch,
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_an_authority_vouches_for_is_let_in_and_no_other() {
    let (scratch, authority, other) = (Scratch::new(), Authority::new(), Authority::new());
    let stage = serve(&scratch, &authority, "required", None).await;
    let address = stage.web.address();
    let alice = authority.issue("alice", 2, |_| {});
    let expired = authority.issue("old", 3, |params| params.not_after = rcgen::date_time_ymd(2001, 2, 3));
    let stranger = other.issue("alice", 2, |_| {});
    for version in VERSIONS {
        let known = config(version, Some(&alice));
        let (answer, kind) = visit(address, &known).await.expect("an answer");
        assert!(answer.contains("client-subject: CN=alice\r\n"), "{answer}");
        assert_ne!(kind, HandshakeKind::Resumed);
        // A session that is resumed has the same client.
        let (answer, kind) = visit(address, &known).await.expect("an answer");
        assert!(answer.contains("client-subject: CN=alice\r\n"), "{answer}");
        assert_eq!(kind, HandshakeKind::Resumed);
        for refused in [None, Some(&expired), Some(&stranger)] {
            assert!(visit(address, &config(version, refused)).await.is_err());
        }
    }
}

#[tokio::test]
async fn where_certificates_are_optional_only_a_bad_one_is_refused() {
    let (scratch, authority, other) = (Scratch::new(), Authority::new(), Authority::new());
    let stage = serve(&scratch, &authority, "optional", None).await;
    let address = stage.web.address();
    for version in VERSIONS {
        let (answer, _) = visit(address, &config(version, None)).await.expect("an answer");
        assert!(answer.contains("client-subject: none\r\n"), "{answer}");
        let alice = authority.issue("alice", 2, |_| {});
        let (answer, _) = visit(address, &config(version, Some(&alice))).await.expect("an answer");
        assert!(answer.contains("client-subject: CN=alice\r\n"), "{answer}");
        let stranger = other.issue("alice", 2, |_| {});
        assert!(visit(address, &config(version, Some(&stranger))).await.is_err());
    }
}

#[tokio::test]
async fn a_client_that_is_revoked_is_refused_from_the_next_handshake_on_whatever_ticket_it_has() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let stage = serve(&scratch, &authority, "required", Some(&authority.list(&[]))).await;
    let address = stage.web.address();
    let (alice, bob) = (authority.issue("alice", 2, |_| {}), authority.issue("bob", 3, |_| {}));
    let both: Vec<_> = VERSIONS
        .into_iter()
        .map(|version| (config(version, Some(&alice)), config(version, Some(&bob))))
        .collect();
    for (alice, bob) in &both {
        visit(address, alice).await.expect("an answer");
        visit(address, bob).await.expect("an answer");
    }
    scratch.write("clients.crl", authority.list(&[3]));
    let told = stage.run(&["reload-certs"]).await.succeeded();
    assert!(told.contains("new handshakes use the renewed client authorities"), "{told}");
    for (alice, bob) in &both {
        let (answer, kind) = visit(address, alice).await.expect("an answer");
        assert!(answer.contains("CN=alice"), "{answer}");
        assert_ne!(kind, HandshakeKind::Resumed, "tickets of before do not count");
        assert!(visit(address, bob).await.is_err());
    }
    // A list that can't be read changes nothing.
    scratch.write("clients.crl", "nonsense");
    let told = stage.run(&["reload-certs"]).await.failed();
    assert!(told.contains("stays in use"), "{told}");
    for (alice, bob) in &both {
        visit(address, alice).await.expect("an answer");
        assert!(visit(address, bob).await.is_err());
    }
}

/// Nor does one come in over a connection of before.
#[tokio::test]
async fn a_connection_of_before_certificates_were_required_is_not_served_by_the_successor() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let (cert, key) = scratch.certificate("server");
    let ca = scratch.write("clients.pem", &authority.pem);
    let file = scratch.join("app.toml");
    let before = format!("[server.web.tls]\ncert = \"{}\"\nkey = \"{}\"\n", cert.display(), key.display());
    for optional in ["", "client_auth = \"optional\"\n"] {
        let asked = format!("{before}client_ca = \"{}\"\n", ca.display());
        let first = if optional.is_empty() { before.clone() } else { format!("{asked}{optional}") };
        std::fs::write(&file, first).expect("writable");
        let stage = Stage::with(|launch| launch.env("GRACEHTTP_CONFIG", &file)).await;
        let nobody = config(&TLS13, None);
        let mut stream = connect(stage.web.address(), &nobody).await.expect("a handshake");
        assert!(ask(&mut stream).await.expect("an answer").contains("client-subject: none\r\n"));
        std::fs::write(&file, asked).expect("writable");
        stage.app.restart().await;
        // It ends in order, as one with an identity does.
        let mut rest = Vec::new();
        let end = within(PATIENCE, "the end", stream.read_to_end(&mut rest)).await;
        assert_eq!(end.expect("a close in order"), 0);
        assert!(visit(stage.web.address(), &nobody).await.is_err());
    }
}

/// The identity does not move, so its connection stays: it is answered, and closes in order.
#[tokio::test]
async fn a_connection_with_a_client_certificate_ends_in_order_at_a_restart() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let stage = serve(&scratch, &authority, "required", None).await;
    let address = stage.web.address();
    let alice = config(&TLS13, Some(&authority.issue("alice", 2, |_| {})));
    let mut stream = connect(address, &alice).await.expect("a handshake");
    for _ in 0..3 {
        assert!(ask(&mut stream).await.expect("an answer").contains("CN=alice"));
    }
    let successor = stage.app.restart().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("a close in order");
    assert!(rest.is_empty());
    let (answer, kind) = visit(address, &alice).await.expect("an answer of the successor");
    assert!(answer.contains("CN=alice"), "{answer}");
    assert_eq!(kind, HandshakeKind::Resumed, "the successor has the same authorities");
    assert!(successor.is_running());
}
