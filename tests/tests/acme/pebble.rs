//! Pebble, the authority that Let's Encrypt has made for tests: it follows the protocol strictly, refuses good nonces at random,
//! and answers in an order that nobody can rely on.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tests::patience::eventually;
use tests::process::{ReservedPort, skipped, tool};
use tests::{Launch, Scratch, Target};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::validation::{trusted_answer, trusted_get};
use crate::{ISSUED, endpoint};

const KID: &str = "kid-1";
const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// Pebble, and a name server for which every name is here.
struct Pebble {
    directory: SocketAddr,
    management: SocketAddr,
    processes: Vec<Child>,
    _ports: Vec<ReservedPort>,
}

impl Pebble {
    /// It validates challenges at this port.
    async fn start(scratch: &Scratch, tls_port: u16) -> Self {
        let ports: Vec<_> = (0..4).map(|_| ReservedPort::new()).collect();
        let [directory, management, names, names_management] =
            [0, 1, 2, 3].map(|place: usize| ports[place].address());
        let config = json!({"pebble": {
            "listenAddress": directory.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": scratch.join("authority.pem"),
            "privateKey": scratch.join("authority.key"),
            "httpPort": 1,
            "tlsPort": tls_port,
            "externalAccountBindingRequired": true,
            "externalAccountMACKeys": {KID: KEY},
        }});
        let config = scratch.write("pebble.json", config.to_string());
        let spawn = |command: &mut Command| {
            let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            quiet.spawn().expect("pebble's programs come together")
        };
        let names_server = spawn(
            Command::new("pebble-challtestsrv")
                .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
                .args(["-dns01", &names.to_string(), "-management", &names_management.to_string()]),
        );
        let pebble = spawn(
            Command::new("pebble")
                .args(["-strict", "-dnsserver", &names.to_string(), "-config"])
                .arg(config)
                .env("PEBBLE_VA_NOSLEEP", "1")
                // So few that three refusals in a row, which end an attempt, are no matter of luck.
                .env("PEBBLE_WFE_NONCEREJECT", "5"),
        );
        let pebble = Self { directory, management, processes: vec![names_server, pebble], _ports: ports };
        for address in [directory, management, names_management] {
            eventually("pebble to listen", || std::net::TcpStream::connect(address).is_ok()).await;
        }
        pebble
    }

    /// Under which its certificates are.
    async fn root(&self, ca: CertificateDer<'static>) -> CertificateDer<'static> {
        let (answer, _) = trusted_answer(self.management, "localhost", "/roots/0", ca).await.expect("a root");
        let pem = &answer[answer.find("-----BEGIN").expect("PEM")..];
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for process in &mut self.processes {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

#[tokio::test]
async fn pebble_issues_renews_and_hears_of_a_new_contact() {
    if !tool("pebble") || !tool("pebble-challtestsrv") {
        return;
    }
    let scratch = Scratch::new();
    let (ca, _) = scratch.certificate("authority");
    let port = ReservedPort::new();
    let pebble = Pebble::start(&scratch, port.number()).await;
    let root = pebble.root(CertificateDer::from_pem_file(&ca).unwrap()).await;
    let (cache, directory) =
        (scratch.join("cache"), format!("https://localhost:{}/dir", pebble.directory.port()));
    let plan = |names: &str| {
        let (cache, ca) = (cache.display(), ca.display());
        format!("server web {} acme={names};{cache};{directory};{ca}", port.address())
    };
    let key = scratch.write("eab", KEY);
    let config = scratch.write("app.toml", "");
    let app = Launch::app(&scratch, &plan("a.test,b.test"))
        .env("GRACEHTTP_CONFIG", &config)
        .env("GRACEHTTP_SERVER__WEB__TLS__ACME__EAB_KID", KID)
        .env("GRACEHTTP_SERVER__WEB__TLS__ACME__EAB_HMAC_KEY_FILE", key)
        .spawn();
    let endpoint = endpoint(&app).await;
    app.log.line(0, ISSUED).await;
    for name in ["a.test", "b.test"] {
        let (line, _) = trusted_get(endpoint, name, root.clone()).await.unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK", "{name}");
    }
    // An old pebble has no renewal information.
    let of_authority = CertificateDer::from_pem_file(&ca).unwrap();
    let (resources, _) = trusted_answer(pebble.directory, "localhost", "/dir", of_authority).await.unwrap();
    if resources.contains("renewalInfo") {
        app.log.line(0, "the authority suggests to renew the certificate for a.test, b.test").await;
    } else {
        skipped("a pebble that says when to renew");
    }
    // The successor has one more name, and another contact.
    scratch.write("plan", plan("a.test,b.test,c.test"));
    scratch.write("app.toml", "[server.web.tls.acme]\ncontact = \"mailto:new@example.org\"\n");
    let start = app.log.end();
    let successor = app.restart().await;
    app.serves(&Target::Tls(endpoint), &successor).await;
    app.log.line(start, "is now mailto:new@example.org").await;
    app.log.line(start, "there is a new certificate for a.test, b.test, c.test").await;
    assert!(trusted_get(endpoint, "c.test", root).await.is_ok());
    assert!(app.stop().await.is_clean());
}
