//! The certificate and key of a server, from files to a configuration of rustls.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::error::Error;
use crate::log;
use crate::server::{Tls, TlsSource as Source};
use crate::tls::key_ring::KeyRing;
use crate::tls::names;
use crate::tls::tickets::Tickets;
use crate::tls::validity::{self, Validity};

/// What an operator wants to know of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// For whom it is.
    pub(crate) names: Vec<String>,
    pub(crate) not_after: Option<SystemTime>,
}

impl CertificateFacts {
    fn of(chain: &[CertificateDer<'static>]) -> Self {
        let Some(leaf) = chain.first() else { return Self::default() };
        Self { names: names::of(leaf), not_after: validity::of(leaf).map(|validity| validity.not_after) }
    }
}

#[cfg(feature = "self-signed")]
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Tls {
    /// Reads the files, and makes the configuration for the handshakes of `server`.
    pub(super) fn server_config(
        &self,
        server: &str,
        http1: bool,
        http2: bool,
        keys: &KeyRing,
    ) -> Result<(Arc<ServerConfig>, CertificateFacts), Error> {
        let (chain, key) = match &self.source {
            Source::Files { cert, key } => (read_chain(server, cert)?, read_key(server, key)?),
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => make_identity(server)?,
        };
        self.notice_validity(server, &chain);
        let facts = CertificateFacts::of(&chain);
        let version = chain.first().and_then(|leaf| validity::version(leaf));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, key))
            .map_err(|error| self.unusable(server, version, error))?;
        config.alpn_protocols = [(http2, "h2"), (http1, "http/1.1")]
            .into_iter()
            .filter(|(spoken, _)| *spoken)
            .map(|(_, protocol)| protocol.into())
            .collect();
        // rustls makes only the handshake; its secrets go to our record layer. So no data of the application may pass
        // through rustls: neither early data of the client (RFC 8446 section 2.3) nor data that we send before the client's
        // Finished (section 4.4.4).
        config.enable_secret_extraction = true;
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        config.ticketer = Arc::new(Tickets::new(server, keys.clone()));
        Ok((Arc::new(config), facts))
    }

    /// Reports a certificate outside its validity. That is no reason to refuse service: some clients do not check it.
    fn notice_validity(&self, server: &str, chain: &[CertificateDer<'static>]) {
        let Some(Validity { not_before, not_after }) = chain.first().and_then(|leaf| validity::of(leaf))
        else {
            return;
        };
        let now = SystemTime::now();
        let trouble = if now > not_after {
            format!("expired at {}", humantime::format_rfc3339_seconds(not_after))
        } else if now < not_before {
            format!("is not valid before {}", humantime::format_rfc3339_seconds(not_before))
        } else {
            return;
        };
        log::notice(format_args!(
            "server `{server}`: the certificate {self} {trouble}, so clients will refuse it: replace it \
             and restart"
        ));
    }

    fn unusable(&self, server: &str, version: Option<u8>, error: rustls::Error) -> Error {
        let reason = match &error {
            rustls::Error::InconsistentKeys(_) => {
                "the key does not belong to the certificate: take the pair that was issued together, with \
                 the server's own certificate first in its file"
                    .to_owned()
            }
            rustls::Error::InvalidCertificate(_) if version.is_some_and(|version| version < 3) => format!(
                "it is of X.509 version {}, and TLS needs version 3: have it reissued, or make one: `openssl req -x509 \
                 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=localhost -addext \
                 subjectAltName=DNS:localhost -keyout key.pem -out cert.pem`",
                version.unwrap_or_default()
            ),
            rustls::Error::InvalidCertificate(_) => {
                format!("the certificate is malformed ({error}): replace it")
            }
            _ => format!(
                "the key cannot be used ({error}): take an ECDSA P-256, Ed25519 or RSA key of 2048 bits or \
                 more"
            ),
        };
        Error::caused_by(format!("server `{server}`: the certificate {self}: {reason}"), error)
    }
}

/// Named explicitly: the process-wide default is the application's, and may be missing or another one.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

fn read_chain(server: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(server, "certificate", path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| damaged(server, "certificate", path, error))?;
    if chain.is_empty() {
        let why = if PrivateKeyDer::from_pem_slice(&text).is_ok() {
            "it holds a key: are certificate and key swapped?"
        } else {
            "it must be PEM, with a section `-----BEGIN CERTIFICATE-----`"
        };
        return Err(in_file(server, "certificate", path, &format!("holds no certificate: {why}")));
    }
    Ok(chain)
}

fn read_key(server: &str, path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read(server, "key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if is_encrypted(&text) {
            let why = "is encrypted, and a server can't ask for its passphrase: decrypt it with \
                       `openssl pkey -in KEY -out PLAIN` and guard the result by its file mode";
            return in_file(server, "key", path, why);
        }
        if !matches!(error, pem::Error::NoItemsFound) {
            return damaged(server, "key", path, error);
        }
        let why = if CertificateDer::from_pem_slice(&text).is_ok() {
            "it holds a certificate: are certificate and key swapped?"
        } else {
            "it must be PEM, with a section `-----BEGIN PRIVATE KEY-----`"
        };
        in_file(server, "key", path, &format!("holds no private key: {why}"))
    })
}

/// PKCS #8 says so in the section's name, the older formats in a header line.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn read(server: &str, what: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(path).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => match std::path::absolute(path) {
                Ok(absolute) if path.is_relative() => format!(
                    "does not exist (as {}): create it, correct the path, or start the program in another \
                     directory",
                    absolute.display()
                ),
                _ => "does not exist: create it, or correct the path".to_owned(),
            },
            io::ErrorKind::PermissionDenied => {
                "cannot be read, permission denied: let the user that runs this process read it".to_owned()
            }
            _ => format!("cannot be read ({error}): put a readable file in its place"),
        };
        Error::caused_by(describe(server, what, path, &reason), error)
    })?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(in_file(server, what, path, "is text in UTF-16: save it as UTF-8"));
    }
    Ok(without_marks(bytes))
}

/// Removes the byte order marks that some editors write at the beginning. In a file that was joined from several they
/// are inside, too.
fn without_marks(mut text: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    while let Some(at) = text.windows(MARK.len()).position(|bytes| bytes == MARK) {
        text.drain(at..at + MARK.len());
    }
    text
}

fn damaged(server: &str, what: &str, path: &Path, error: pem::Error) -> Error {
    let how = match &error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line `-----END {}-----` is missing", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("`{}` begins no section", String::from_utf8_lossy(line).trim_end())
        }
        error => error.to_string(),
    };
    let reason = format!("is damaged ({how}): replace it by a whole copy");
    Error::caused_by(describe(server, what, path, &reason), error)
}

fn in_file(server: &str, what: &str, path: &Path, reason: &str) -> Error {
    Error::new(describe(server, what, path, reason))
}

fn describe(server: &str, what: &str, path: &Path, reason: &str) -> String {
    format!("server `{server}`: the {what} file {} {reason}", path.display())
}

#[cfg(feature = "self-signed")]
fn make_identity(server: &str) -> Result<Identity, Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let make = || {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, format!("{server} (gracehttp, self-signed)"));
        let certificate = params.self_signed(&key)?;
        Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
    };
    make().map_err(|error: rcgen::Error| {
        Error::caused_by(format!("server `{server}`: cannot make a self-signed certificate: {error}"), error)
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
