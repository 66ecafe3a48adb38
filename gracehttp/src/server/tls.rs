//! Where a server finds its certificate and its key.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a server finds its certificate and its private key.
///
/// The process reads the files when it starts, before it accepts. A restart reads them again, so a renewed
/// certificate takes effect.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) source: Source,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
    #[cfg(feature = "self-signed")]
    SelfSigned,
}

impl Tls {
    /// A certificate chain with the server's own certificate first, and its private key, both in PEM. One file may
    /// hold both.
    pub fn files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { source: Source::Files { cert: cert.into(), key: key.into() } }
    }

    /// A self-signed certificate for `localhost`, `127.0.0.1` and `::1`. It is for development: no client trusts it,
    /// and each process makes another.
    #[cfg(feature = "self-signed")]
    pub fn self_signed() -> Self {
        Self { source: Source::SelfSigned }
    }

    /// Sets the file of the certificate; the key stays.
    pub(crate) fn set_cert(tls: &mut Option<Self>, cert: PathBuf) {
        let key = tls.as_ref().and_then(Self::files_named).map(|(_, key)| key.to_owned());
        *tls = Some(Self::files(cert, key.unwrap_or_default()));
    }

    /// Sets the file of the key; the certificate stays.
    pub(crate) fn set_key(tls: &mut Option<Self>, key: PathBuf) {
        let cert = tls.as_ref().and_then(Self::files_named).map(|(cert, _)| cert.to_owned());
        *tls = Some(Self::files(cert.unwrap_or_default(), key));
    }

    /// The files of certificate and key. A file that is not set is an empty path.
    pub(crate) fn files_named(&self) -> Option<(&Path, &Path)> {
        match &self.source {
            Source::Files { cert, key } => Some((cert, key)),
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => None,
        }
    }
}

/// The text that follows "the certificate".
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Files { cert, key } => write!(f, "{} (key {})", cert.display(), key.display()),
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => f.write_str("of its own making"),
        }
    }
}
