//! Which certificate a client sees: by its name, its signatures and its protocol.

use std::io;

use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, Error, SupportedProtocolVersion,
};

use super::*;
use crate::tls::certificate::{Certificate, provider};
use crate::tls::challenges::PROTOCOL;
use crate::tls::peer::{TestClient, acceptor, client_config, client_config_with, sockets};
use crate::tls::set::CertificateSet;
use crate::tls::{TlsAcceptor, handshake, is_challenge, kind_of};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn certificate(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Arc<Certificate> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let chain = vec![rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone()];
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Arc::new(Certificate::check("the certificate", chain, key).unwrap())
}

fn ecdsa(names: &[&str]) -> Arc<Certificate> {
    certificate(names, &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn presenting(certificates: &[&Arc<Certificate>], is_strict: bool) -> TlsAcceptor {
    let acceptor = acceptor();
    let certificates = certificates.iter().map(|&certificate| certificate.clone()).collect();
    acceptor.presented().replace(CertificateSet::new(certificates, is_strict));
    acceptor
}

/// The certificate that a client sees, or its error; and how the handshake ended for us.
async fn seen(
    acceptor: &TlsAcceptor,
    config: ClientConfig,
    name: &str,
) -> (Result<Vec<u8>, Error>, io::Result<()>) {
    let (bare, socket) = sockets();
    let config = Arc::new(config);
    let mut client = TestClient::new(&config, socket);
    client.rustls = ClientConnection::new(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let as_client = async {
        while client.rustls.is_handshaking() {
            let output = client.output();
            client.send(&output).await;
            if client.rustls.is_handshaking() && client.receive().await? == 0 {
                return Err(Error::General("the server has ended".to_owned()));
            }
        }
        let output = client.output();
        client.send(&output).await;
        Ok(client.rustls.peer_certificates().unwrap()[0].to_vec())
    };
    let (ours, seen) = tokio::join!(handshake(acceptor, bare, &[]), as_client);
    (seen, ours.map(drop))
}

async fn sees(acceptor: &TlsAcceptor, name: &str) -> Result<Vec<u8>, Error> {
    let of_both = seen(acceptor, client_config(&TLS12), name).await.0;
    assert_eq!(of_both, seen(acceptor, client_config(&TLS13), name).await.0, "{name}");
    of_both
}

fn der(certificate: &Certificate) -> Result<Vec<u8>, Error> {
    Ok(certificate.certified().cert[0].to_vec())
}

#[tokio::test]
async fn a_client_gets_the_certificate_for_its_name() {
    let (first, second) = (ecdsa(&["a.test"]), ecdsa(&["B.test", "*.b.test"]));
    let deep = ecdsa(&["x.b.test"]);
    let acceptor = presenting(&[&first, &second, &deep], false);
    for (name, certificate) in [
        ("a.test", &first),
        ("b.test", &second),
        ("B.TEST", &second),
        ("y.b.test", &second),
        ("x.b.test", &deep),
        // A wildcard stands for one label.
        ("y.y.b.test", &first),
        ("c.test", &first),
        ("127.0.0.1", &first),
    ] {
        assert_eq!(sees(&acceptor, name).await, der(certificate), "{name}");
    }
}

#[tokio::test]
async fn a_strict_server_refuses_an_unknown_name_and_takes_none() {
    let only = ecdsa(&["a.test"]);
    let acceptor = presenting(&[&only], true);
    assert_eq!(sees(&acceptor, "a.test").await, der(&only));
    assert_eq!(sees(&acceptor, "127.0.0.1").await, der(&only));
    for version in VERSIONS {
        let (seen, ours) = seen(&acceptor, client_config(version), "b.test").await;
        assert_eq!(seen, Err(Error::AlertReceived(AlertDescription::UnrecognisedName)));
        let error = ours.unwrap_err();
        assert_eq!(kind_of(&error), "unknown_name");
        assert_eq!(error.to_string(), "there is no certificate for the name `b.test`");
    }
}

#[tokio::test]
async fn of_two_keys_for_one_name_a_client_gets_one_that_it_can_verify() {
    let ecdsa = ecdsa(&["a.test"]);
    let ed25519 = certificate(&["a.test"], &rcgen::PKCS_ED25519);
    let without = |scheme| {
        let mut provider = Arc::unwrap_or_clone(provider());
        let all = provider.signature_verification_algorithms.mapping;
        let kept: Vec<_> = all.iter().filter(|(of, _)| *of != scheme).copied().collect();
        provider.signature_verification_algorithms.mapping = kept.leak();
        client_config_with(provider, &TLS13)
    };
    for certificates in [[&ecdsa, &ed25519], [&ed25519, &ecdsa]] {
        let acceptor = presenting(&certificates, false);
        assert_eq!(sees(&acceptor, "a.test").await, der(certificates[0]));
        for name in ["a.test", "unknown.test"] {
            let no_ecdsa = without(tokio_rustls::rustls::SignatureScheme::ECDSA_NISTP256_SHA256);
            assert_eq!(seen(&acceptor, no_ecdsa, name).await.0, der(&ed25519), "{name}");
            let no_ed25519 = without(tokio_rustls::rustls::SignatureScheme::ED25519);
            assert_eq!(seen(&acceptor, no_ed25519, name).await.0, der(&ecdsa), "{name}");
        }
    }
}

#[tokio::test]
async fn a_set_that_is_replaced_is_that_of_the_next_handshake() {
    let (old, new) = (ecdsa(&["a.test"]), ecdsa(&["a.test"]));
    let acceptor = presenting(&[&old], false);
    assert_eq!(sees(&acceptor, "a.test").await, der(&old));
    acceptor.presented().replace(CertificateSet::new(vec![new.clone()], false));
    assert_eq!(sees(&acceptor, "a.test").await, der(&new));
    // A server without any certificate answers nobody.
    acceptor.presented().replace(CertificateSet::default());
    let alert = Error::AlertReceived(AlertDescription::UnrecognisedName);
    assert_eq!(sees(&acceptor, "a.test").await, Err(alert));
}

#[tokio::test]
async fn an_authority_sees_the_certificate_of_its_challenge_and_no_one_else_does() {
    let (usual, answer) = (ecdsa(&["a.test"]), ecdsa(&["a.test"]));
    let acceptor = presenting(&[&usual], false);
    let authority = || {
        let mut config = client_config(&TLS13);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config
    };
    let refused = |outcome: Result<Vec<u8>, Error>| matches!(outcome, Err(Error::AlertReceived(_)));
    assert!(refused(seen(&acceptor, authority(), "a.test").await.0));

    acceptor.presented().challenges().set("A.test", answer.certified().clone());
    let (shown, ours) = seen(&acceptor, authority(), "a.test").await;
    assert_eq!(shown, der(&answer));
    assert!(is_challenge(&ours.unwrap_err()), "no HTTP follows");
    assert!(refused(seen(&acceptor, authority(), "b.test").await.0));
    assert_eq!(sees(&acceptor, "a.test").await, der(&usual));

    acceptor.presented().challenges().remove("a.test");
    assert!(refused(seen(&acceptor, authority(), "a.test").await.0));
}

#[tokio::test]
async fn a_client_that_no_key_suits_hears_so() {
    let mut provider = Arc::unwrap_or_clone(provider());
    let rsa = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|suite| suite.suite() == rsa);
    let acceptor = presenting(&[&ecdsa(&["a.test"])], true);
    let (shown, ours) = seen(&acceptor, client_config_with(provider, &TLS12), "a.test").await;
    assert_eq!(shown, Err(Error::AlertReceived(AlertDescription::HandshakeFailure)));
    assert_eq!(kind_of(&ours.unwrap_err()), "incompatible");
}
