//! Client certificates: who is let in, who is told to the handler, and who is refused before any handler.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tests::client::Stream;
use tests::control::Stage;
use tests::patience::{PATIENCE, within};
use tests::tls::{self, Authority, Identity, year};
use tests::{Client, Failure, Launch, Scratch};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The offer of a client, whose connections share session tickets.
fn config(version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> Arc<ClientConfig> {
    match identity {
        Some(identity) => identity.config(&["http/1.1"], version),
        None => Arc::new(tls::config(&["http/1.1"], &[version])),
    }
}

async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    tls::connect(address, config, "localhost").await
}

/// Who the handler says that the client is.
async fn who<S: Stream>(client: &mut Client<S>) -> Result<String, Failure> {
    let reply = client.get("/facts").await?;
    Ok(reply.header("client-subject").expect("a field").to_owned())
}

/// Connects and asks. None is the client's refusal: over TLS 1.3 it comes after the client's handshake.
async fn visit(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<(String, HandshakeKind)> {
    let stream = connect(address, config).await.ok()?;
    let kind = stream.get_ref().1.handshake_kind().expect("a handshake");
    Some((who(&mut Client::over(stream)).await.ok()?, kind))
}

/// The revocation list of a server.
enum Listed<'a> {
    Nothing,
    These(&'a str),
    /// The file is there already.
    AsWritten,
}

async fn serve(scratch: &Scratch, authority: &Authority, auth: &str, list: Listed<'_>) -> Stage {
    serve_with(scratch, authority, auth, list, |launch| launch).await
}

async fn serve_with(
    scratch: &Scratch,
    authority: &Authority,
    auth: &str,
    list: Listed<'_>,
    change: impl FnOnce(Launch) -> Launch,
) -> Stage {
    let (cert, key) = scratch.certificate("server");
    let ca = scratch.write("clients.pem", &authority.pem);
    if let Listed::These(list) = list {
        scratch.write("clients.crl", list);
    }
    Stage::with(|launch| {
        let launch = launch
            .env("GRACEHTTP_SERVER__WEB__TLS__CERT", cert)
            .env("GRACEHTTP_SERVER__WEB__TLS__KEY", key)
            // Only a command has files read again, so that it tells what it has found.
            .env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "0s")
            .env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CA", ca)
            .env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_AUTH", auth);
        let launch = change(launch);
        match list {
            Listed::Nothing => launch,
            _ => launch.env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CRL", scratch.join("clients.crl")),
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_an_authority_vouches_for_is_let_in_and_no_other() {
    let (scratch, authority, other) = (Scratch::new(), Authority::new(), Authority::new());
    let stage = serve(&scratch, &authority, "required", Listed::Nothing).await;
    let address = stage.web.address();
    let alice = authority.issue("alice", 2, |_| {});
    let bob = authority.intermediate("department").issue("bob", 3, |_| {});
    let expired = authority.issue("old", 4, |params| params.not_after = rcgen::date_time_ymd(2001, 2, 3));
    let stranger = other.issue("alice", 2, |_| {});
    // Without the certificate between its own and the authority's.
    let without_chain = Identity { chain: bob.chain[..1].to_vec(), ..bob.clone() };
    for version in VERSIONS {
        for (identity, subject) in [(&alice, "CN=alice"), (&bob, "CN=bob")] {
            let known = config(version, Some(identity));
            let (told, kind) = visit(address, &known).await.expect("an answer");
            assert_eq!(told, subject);
            assert_ne!(kind, HandshakeKind::Resumed);
            // A session that is resumed has the same client.
            let again = visit(address, &known).await.expect("an answer");
            assert_eq!(again, (subject.to_owned(), HandshakeKind::Resumed));
        }
        for refused in [None, Some(&expired), Some(&stranger), Some(&without_chain)] {
            assert_eq!(visit(address, &config(version, refused)).await, None);
        }
    }
}

#[tokio::test]
async fn where_certificates_are_optional_only_a_bad_one_is_refused() {
    let (scratch, authority, other) = (Scratch::new(), Authority::new(), Authority::new());
    let stage = serve(&scratch, &authority, "optional", Listed::Nothing).await;
    let address = stage.web.address();
    for version in VERSIONS {
        let (told, _) = visit(address, &config(version, None)).await.expect("an answer");
        assert_eq!(told, "none");
        let alice = authority.issue("alice", 2, |_| {});
        let (told, _) = visit(address, &config(version, Some(&alice))).await.expect("an answer");
        assert_eq!(told, "CN=alice");
        let stranger = other.issue("alice", 2, |_| {});
        assert_eq!(visit(address, &config(version, Some(&stranger))).await, None);
    }
}

#[tokio::test]
async fn a_client_that_is_revoked_is_refused_from_the_next_handshake_on_whatever_ticket_it_has() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let stage = serve(&scratch, &authority, "required", Listed::These(&authority.list(&[]))).await;
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
    // One that rests, and one that is awake all the time.
    let mut parked = Client::over(connect(address, &both[0].1).await.expect("a handshake"));
    assert_eq!(who(&mut parked).await.expect("an answer"), "CN=bob");
    let mut awake = Client::over(connect(address, &both[1].1).await.expect("a handshake"));
    awake.send(tests::client::get("/slow?ms=1000")).await.expect("room");
    scratch.write("clients.crl", authority.list(&[3]));
    let told = stage.run(&["reload-certs"]).await.succeeded();
    assert!(told.contains("new handshakes use the renewed client authorities"), "{told}");
    for (alice, bob) in &both {
        let (told, kind) = visit(address, alice).await.expect("an answer");
        assert_eq!(told, "CN=alice");
        assert_ne!(kind, HandshakeKind::Resumed, "tickets of before do not count");
        assert_eq!(visit(address, bob).await, None);
    }
    // What is open stays open, whether it rests or not.
    awake.reply().await.expect("an answer");
    assert_eq!(who(&mut awake).await.expect("an answer"), "CN=bob");
    assert_eq!(who(&mut parked).await.expect("an answer"), "CN=bob");
    // A list that can't be read changes nothing. The file and its key are named.
    let no_list = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    for (content, fault) in [
        ("nonsense", "holds no revocation list: it must be PEM"),
        (authority.pem.as_str(), "holds no revocation list: it must be PEM"),
        (no_list, "can't be used (provided CRL"),
        (&no_list[..30], "is damaged"),
    ] {
        scratch.write("clients.crl", content);
        let told = stage.run(&["reload-certs"]).await.failed();
        let named = told.contains("the `tls.client_crl` file") && told.contains("clients.crl");
        assert!(named && told.contains(fault) && told.contains("stays in use"), "{fault}: {told}");
    }
    // Nor does one of authorities.
    scratch.write("clients.crl", authority.list(&[3]));
    scratch.write("clients.pem", "nonsense");
    let told = stage.run(&["reload-certs"]).await.failed();
    assert!(told.contains("the `tls.client_ca` file") && told.contains("clients.pem"), "{told}");
    for (alice, bob) in &both {
        visit(address, alice).await.expect("an answer");
        assert_eq!(visit(address, bob).await, None);
    }
}

/// A ticket is good for hours, and a certificate may expire meanwhile. The client hears why it is refused.
#[tokio::test]
async fn a_session_of_a_certificate_that_has_expired_meanwhile_is_not_resumed() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let stage = serve(&scratch, &authority, "optional", Listed::Nothing).await;
    let address = stage.web.address();
    // Certificates have whole seconds.
    let expires = SystemTime::now() + Duration::from_secs(3);
    let alice = authority.issue("alice", 2, |params| params.not_after = expires.into());
    let configs = VERSIONS.map(|version| config(version, Some(&alice)));
    for config in &configs {
        assert_eq!(visit(address, config).await.expect("an answer").0, "CN=alice");
    }
    let over = expires + Duration::from_secs(1);
    within(PATIENCE, "the end", sleep(over.duration_since(SystemTime::now()).unwrap_or_default())).await;
    for config in &configs {
        let mut stream = connect(address, config).await.expect("resumed, as far as the client knows");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        let refused = stream.read(&mut [0]).await.expect_err("an alert").to_string();
        assert!(refused.contains("CertificateExpired"), "{refused}");
    }
}

/// Its ticket is of no use without the authority.
#[tokio::test]
async fn a_client_whose_authority_is_removed_is_refused_from_the_next_handshake_on_whatever_ticket_it_has() {
    let (scratch, old, new) = (Scratch::new(), Authority::new(), Authority::new());
    let stage = serve(&scratch, &old, "required", Listed::Nothing).await;
    let address = stage.web.address();
    let alices = VERSIONS.map(|version| config(version, Some(&old.issue("alice", 2, |_| {}))));
    for alice in &alices {
        visit(address, alice).await.expect("an answer");
        assert_eq!(visit(address, alice).await.expect("an answer").1, HandshakeKind::Resumed);
    }
    let mut parked = Client::over(connect(address, &alices[0]).await.expect("a handshake"));
    assert_eq!(who(&mut parked).await.expect("an answer"), "CN=alice");
    scratch.write("clients.pem", &new.pem);
    let told = stage.run(&["reload-certs"]).await.succeeded();
    assert!(told.contains("new handshakes use the renewed client authorities"), "{told}");
    for alice in &alices {
        assert_eq!(visit(address, alice).await, None);
    }
    assert_eq!(who(&mut parked).await.expect("an answer"), "CN=alice");
    // Back again, as after a mistake.
    scratch.write("clients.pem", &old.pem);
    stage.run(&["reload-certs"]).await.succeeded();
    for alice in &alices {
        visit(address, alice).await.expect("an answer");
    }
}

/// In DER, these bytes are no mark at the beginning of a text.
#[tokio::test]
async fn a_list_in_der_is_taken_as_it_is() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let (with_mark, other) = (0x01ef_bbbf, 2);
    scratch.write("clients.crl", authority.list_in_der(&[with_mark]));
    let stage = serve(&scratch, &authority, "required", Listed::AsWritten).await;
    for (serial, is_let_in) in [(with_mark, false), (other, true)] {
        let client = config(&TLS13, Some(&authority.issue("alice", serial, |_| {})));
        assert_eq!(visit(stage.web.address(), &client).await.is_some(), is_let_in, "{serial:#x}");
    }
}

/// It says nothing of what was revoked since.
#[tokio::test]
async fn where_the_revocation_list_has_expired_no_certificate_is_accepted() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let stage =
        serve(&scratch, &authority, "optional", Listed::These(&authority.list_until(year(2021), &[]))).await;
    let address = stage.web.address();
    let alice = authority.issue("alice", 2, |_| {});
    for version in VERSIONS {
        assert_eq!(visit(address, &config(version, Some(&alice))).await, None);
        assert_eq!(visit(address, &config(version, None)).await.expect("an answer").0, "none");
    }
    let list = scratch.join("clients.crl");
    let expired = format!(
        "server `web`: the revocation list {} expired at 2021-01-01T00:00:00Z, so each client whose certificate comes from \
         its issuer is refused: replace the file",
        list.display()
    );
    stage.app.log.line(0, &expired).await;
    // The command says it, too.
    let mut check = stage.command(&["check"]);
    check.env_remove("GRACEHTTP_CONTROL").env("APP_PLAN", stage.scratch.join("plan"));
    check.env("GRACEHTTP_SERVER__WEB__TLS__CERT", scratch.certificate("server").0);
    check.env("GRACEHTTP_SERVER__WEB__TLS__KEY", scratch.certificate("server").1);
    check.env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CA", scratch.join("clients.pem"));
    check.env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CRL", &list);
    let checked = tokio::task::spawn_blocking(move || check.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && told.contains(&expired), "{told}");
    // A current list comes into use, and an expired one does not replace it.
    scratch.write("clients.crl", authority.list(&[]));
    stage.run(&["reload-certs"]).await.succeeded();
    scratch.write("clients.crl", authority.list_until(year(2022), &[]));
    let told = stage.run(&["reload-certs"]).await.failed();
    assert!(told.contains("expired at 2022-01-01T00:00:00Z") && told.contains("stays in use"), "{told}");
    for version in VERSIONS {
        let (told, _) = visit(address, &config(version, Some(&alice))).await.expect("an answer");
        assert_eq!(told, "CN=alice");
    }
    assert_eq!(stage.app.log.count(0, "expired at 2021-01-01"), 1, "each is told once\n{}", stage.app.log);
}

/// It is told when it happens, and not at each look at the files.
#[tokio::test]
async fn a_revocation_list_that_expires_meanwhile_is_told_once() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    // Lists have whole seconds.
    let end = SystemTime::now() + Duration::from_secs(4);
    let list = Listed::These(&authority.list_until(end, &[]));
    let often = |launch: Launch| launch.env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "50ms");
    let stage = serve_with(&scratch, &authority, "required", list, often).await;
    let address = stage.web.address();
    let alice = config(&TLS13, Some(&authority.issue("alice", 2, |_| {})));
    assert_eq!(visit(address, &alice).await.expect("an answer").0, "CN=alice");
    stage.app.log.line(0, "ERROR gracehttp: server `web`: the revocation list").await;
    assert_eq!(visit(address, &alice).await, None);
    stage.app.restart().await;
    // Each process tells it for itself.
    tests::patience::eventually("both to tell", || stage.app.log.count(0, "the revocation list") == 2).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.app.log.count(0, "the revocation list"), 2, "{}", stage.app.log);
}
