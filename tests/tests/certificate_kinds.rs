//! Certificates of every kind: keys, chains, and the versions and suites that they are for.

use std::process::Stdio;
use std::sync::Arc;

use rcgen::{CertificateParams, SanType};
use tests::certificates::{Pair, Served, any, leaf, shown};
use tests::control::Stage;
use tests::tls::{self, Authority, Identity};
use tests::{Client, Launch, Scratch};
use tokio_rustls::rustls;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn for_localhost(params: &mut CertificateParams) {
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().expect("a name"))];
}

#[tokio::test]
async fn keys_of_each_kind_serve_clients_of_each_version_across_a_restart() {
    for (pair, suite) in [
        (Pair::new(&["localhost"]), "ECDSA"),
        (Pair::rsa(&["localhost"]), "RSA"),
        (Pair::ed25519(&["localhost"]), "ECDSA"),
    ] {
        let served = Served::new(&pair).await;
        let mut clients = Vec::new();
        for version in VERSIONS {
            let config = Arc::new(tls::config(&["http/1.1"], &[version]));
            let stream = tls::connect(served.address(), &config, "localhost").await.expect("a handshake");
            assert_eq!(leaf(&stream), pair.der);
            let negotiated = stream.get_ref().1.negotiated_cipher_suite().expect("a suite").suite();
            if version == &TLS12 {
                assert!(format!("{negotiated:?}").contains(suite), "{negotiated:?}");
            }
            let mut client = Client::over(stream);
            client.get("/ping").await.expect("an answer");
            clients.push(client);
        }
        let successor = served.service.app.restart().await;
        for client in &mut clients {
            client.moves_to(successor.pid()).await;
        }
    }
}

/// A client that trusts the root alone verifies the whole chain.
#[tokio::test]
async fn a_chain_with_an_intermediate_certificate_is_sent_whole() {
    let root = Authority::new();
    let identity = root.intermediate("middle").issue("server", 2, for_localhost);
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).expect("a root");
    let strict = |version: &'static SupportedProtocolVersion| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let builder = builder.expect("versions").with_root_certificates(roots.clone());
        Arc::new(builder.with_no_client_auth())
    };
    let served = Served::new(&Pair::of(&identity)).await;
    for version in VERSIONS {
        let stream = tls::connect(served.address(), &strict(version), "localhost").await;
        let shown = stream.expect("a chain").get_ref().1.peer_certificates().expect("a chain").len();
        assert_eq!(shown, 2);
    }
    let short = Identity {
        pem: Pair::of(&identity)
            .cert
            .split_inclusive("-----END CERTIFICATE-----\n")
            .next()
            .expect("a certificate")
            .to_owned(),
        ..identity
    };
    let served = Served::new(&Pair::of(&short)).await;
    for version in VERSIONS {
        assert!(tls::connect(served.address(), &strict(version), "localhost").await.is_err());
    }
}

#[tokio::test]
async fn versions_and_suites_are_chosen_by_key() {
    let pair = Pair::new(&["localhost"]);
    let serve = async |keys: &[(&str, &str)]| {
        let change = |launch: Launch| {
            keys.iter().fold(launch, |launch, (key, value)| {
                launch.env(&format!("GRACEHTTP_SERVER__WEB__TLS__{key}"), value)
            })
        };
        Served::with(|directory| pair.write(directory), change).await
    };
    let newest = serve(&[("MIN_VERSION", "1.3")]).await;
    let old = Arc::new(tls::config(&["http/1.1"], &[&TLS12]));
    assert!(tls::connect(newest.address(), &old, "localhost").await.is_err());
    shown(newest.address(), "localhost").await.expect("a handshake");
    let served = serve(&[("CIPHER_SUITES", "TLS_CHACHA20_POLY1305_SHA256"), ("CURVES", "secp384r1")]).await;
    let stream = tls::connect(served.address(), &any(), "localhost").await.expect("a handshake");
    let session = stream.get_ref().1;
    let suite = session.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let group = session.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(group, rustls::NamedGroup::secp384r1);
}

/// An RSA certificate, and suites of TLS 1.2 that are for ECDSA alone; and the reverse.
#[tokio::test]
async fn suites_that_are_for_no_key_of_the_server_are_told_with_the_way_out() {
    let (rsa, ecdsa) = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    for (pair, kind, its, other) in
        [(Pair::rsa(&["localhost"]), "RSA", rsa, ecdsa), (Pair::new(&["localhost"]), "ECDSA", ecdsa, rsa)]
    {
        let scratch = Scratch::new();
        pair.write(scratch.path());
        let plan = format!(
            "server web 127.0.0.1:0 cert={} key={}",
            scratch.join("cert.pem").display(),
            scratch.join("key.pem").display()
        );
        for args in [&["check"][..], &[]] {
            let mut command = tests::control::program(tests::process::bin("app"));
            command.args(args).env("APP_PLAN", scratch.write("plan", &plan));
            command.env("GRACEHTTP_SERVER__WEB__TLS__CIPHER_SUITES", other);
            let output = command.stdin(Stdio::null()).output().expect("a program");
            let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!output.status.success(), "{told}");
            assert!(
                told.contains(&format!("no suite in `tls.cipher_suites` is for its {kind} key: add {its}")),
                "{told}"
            );
        }
        // Clients of TLS 1.3 can use it. So it serves, and says who can't.
        let both = format!("{other}, TLS_AES_128_GCM_SHA256");
        let served = Served::with(
            |directory| pair.write(directory),
            |launch| launch.env("GRACEHTTP_SERVER__WEB__TLS__CIPHER_SUITES", both),
        )
        .await;
        served.logs(&format!("clients of TLS 1.2 can't use it, since no suite of that version in `tls.cipher_suites` is for its {kind} key")).await;
        assert_eq!(shown(served.address(), "localhost").await.expect("a handshake"), pair.der);
        let old = Arc::new(tls::config(&["http/1.1"], &[&TLS12]));
        assert!(tls::connect(served.address(), &old, "localhost").await.is_err());
    }
}

/// What a predecessor without the key has begun goes on: it is for new handshakes.
#[tokio::test]
async fn a_restart_that_ends_a_version_moves_the_connections_of_before() {
    let scratch = Scratch::new();
    Pair::new(&["localhost"]).write(scratch.path());
    let (cert, key) = (scratch.join("cert.pem"), scratch.join("key.pem"));
    let before = format!("[server.web.tls]\ncert = \"{}\"\nkey = \"{}\"\n", cert.display(), key.display());
    let file = scratch.write("app.toml", &before);
    let stage = Stage::with(|launch: Launch| launch.env("GRACEHTTP_CONFIG", file)).await;
    let mut clients = Vec::new();
    let configs = VERSIONS.map(|version| Arc::new(tls::config(&["http/1.1"], &[version])));
    for config in &configs {
        let stream = tls::connect(stage.web.address(), config, "localhost").await.expect("a handshake");
        let mut client = Client::over(stream);
        client.get("/ping").await.expect("an answer");
        clients.push(client);
    }
    scratch.write("app.toml", before + "min_version = \"1.3\"\n");
    let successor = stage.app.restart().await;
    for client in &mut clients {
        client.moves_to(successor.pid()).await;
    }
    // A ticket of before does not get around it.
    assert!(tls::connect(stage.web.address(), &configs[0], "localhost").await.is_err());
    let stream = tls::connect(stage.web.address(), &configs[1], "localhost").await.expect("a handshake");
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}
