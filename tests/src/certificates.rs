//! Certificates of servers, and servers whose certificates are files.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig};

use crate::patience::{PATIENCE, within};
use crate::tls::{self, Identity};
use crate::{Launch, Scratch, Service};

/// A certificate with its key, both in PEM.
#[derive(Debug)]
pub struct Pair {
    /// The certificate, or a chain that begins with it.
    pub cert: String,
    /// The key.
    pub key: String,
    /// The certificate in DER.
    pub der: Vec<u8>,
}

impl Pair {
    /// One for these names, signed by itself.
    pub fn new(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    /// The same with a change.
    pub fn with(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        Self::of_key(&rcgen::KeyPair::generate().expect("a key"), names, change)
    }

    /// The same with an RSA key, which is always the same.
    pub fn rsa(names: &[&str]) -> Self {
        let key = rcgen::KeyPair::from_pem(include_str!("tls/rsa_2048.key")).expect("a key");
        Self::of_key(&key, names, |_| {})
    }

    /// The same with an Ed25519 key.
    pub fn ed25519(names: &[&str]) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        Self::of_key(&key, names, |_| {})
    }

    fn of_key(
        key: &rcgen::KeyPair,
        names: &[&str],
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        change(&mut params);
        let made = params.self_signed(key).expect("a certificate");
        Self { cert: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
    }

    /// That of an authority, with all certificates between.
    pub fn of(identity: &Identity) -> Self {
        let Identity { chain, pem, key_pem, .. } = identity;
        Self { cert: pem.clone(), key: key_pem.clone(), der: chain[0].to_vec() }
    }

    /// Writes both files at their place: `cert.pem` and `key.pem`.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("writable");
        replace(&directory.join("cert.pem"), &self.cert);
        replace(&directory.join("key.pem"), &self.key);
    }
}

/// Replaces a file whole.
pub fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("writable");
    fs::rename(&new, path).expect("writable");
}

/// A server whose certificate is in a directory of its own.
#[derive(Debug)]
pub struct Served {
    /// The application.
    pub service: Service,
    /// Where the certificate is.
    pub directory: PathBuf,
    _scratch: Scratch,
}

impl Served {
    /// With this certificate.
    pub async fn new(pair: &Pair) -> Self {
        Self::with(|directory| pair.write(directory), |launch| launch).await
    }

    /// With these files in its directory, and this change of how it is launched.
    pub async fn with(write: impl FnOnce(&Path), change: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let directory = scratch.join("certificates");
        fs::create_dir(&directory).expect("writable");
        write(&directory);
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        let plan = format!("server web 127.0.0.1:0 cert={} key={}", cert.display(), key.display());
        Self { service: Service::with(&plan, change).await, directory, _scratch: scratch }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.service.target.address()
    }

    /// Waits until new handshakes get this certificate. No handshake fails meanwhile.
    pub async fn presents(&self, pair: &Pair) {
        let presented = async {
            while shown(self.address(), "localhost").await.expect("a handshake") != pair.der {
                sleep(Duration::from_millis(10)).await;
            }
        };
        within(PATIENCE, "the renewed certificate", presented).await;
    }

    /// Waits for a line of the log.
    pub async fn logs(&self, part: &str) -> String {
        within(PATIENCE, part, self.service.app.log.line(0, part)).await
    }
}

/// The offer of a client without tickets.
pub fn any() -> Arc<ClientConfig> {
    Arc::new(tls::config(&["http/1.1"], ALL_VERSIONS))
}

/// The certificate that a client gets for this name.
pub async fn shown(address: SocketAddr, name: &str) -> io::Result<Vec<u8>> {
    let stream = tls::connect(address, &any(), name).await?;
    Ok(leaf(&stream))
}

/// The certificate that the client has got.
pub fn leaf(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}
