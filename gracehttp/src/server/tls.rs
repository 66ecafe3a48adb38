//! Where a server finds its certificates and its keys.

use std::fmt;
use std::path::PathBuf;

/// Where a server finds its certificates and their private keys.
///
/// The process reads the files when it starts, before it accepts. A restart reads them again, so a renewed
/// certificate takes effect.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) source: Source,
    pub(crate) sni_strict: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The first pair is the default.
    Files(Vec<CertificateFiles>),
    #[cfg(feature = "self-signed")]
    SelfSigned,
}

/// The files of a certificate and its key. A file that is not set is an empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Tls {
    /// A certificate chain with the server's own certificate first, and its private key, both in PEM. One file may
    /// hold both.
    pub fn files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::of(Source::Files(vec![CertificateFiles { cert: cert.into(), key: key.into() }]))
    }

    /// A self-signed certificate for `localhost`, `127.0.0.1` and `::1`. It is for development: no client trusts it,
    /// and each process makes another.
    #[cfg(feature = "self-signed")]
    pub fn self_signed() -> Self {
        Self::of(Source::SelfSigned)
    }

    fn of(source: Source) -> Self {
        Self { source, sni_strict: false }
    }

    /// Sets the file of the certificate; the key stays.
    pub(crate) fn set_cert(tls: &mut Option<Self>, cert: PathBuf) {
        let files = tls.as_ref().and_then(Self::files_named).cloned().unwrap_or_default();
        Self::set_source(tls, Source::Files(vec![CertificateFiles { cert, ..files }]));
    }

    /// Sets the file of the key; the certificate stays.
    pub(crate) fn set_key(tls: &mut Option<Self>, key: PathBuf) {
        let files = tls.as_ref().and_then(Self::files_named).cloned().unwrap_or_default();
        Self::set_source(tls, Source::Files(vec![CertificateFiles { key, ..files }]));
    }

    /// Sets where the certificates are; all else stays.
    pub(crate) fn set_source(tls: &mut Option<Self>, source: Source) {
        match tls {
            Some(tls) => tls.source = source,
            None => *tls = Some(Self::of(source)),
        }
    }

    /// The files of the one certificate and its key.
    pub(crate) fn files_named(&self) -> Option<&CertificateFiles> {
        match &self.source {
            Source::Files(all) => all.first().filter(|_| all.len() == 1),
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => None,
        }
    }
}

impl fmt::Display for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (key {})", self.cert.display(), self.key.display())
    }
}
