//! Where a server finds its certificate and its key.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a server finds its certificate and its private key.
///
/// The files are read when the process starts, before it accepts; a restart reads them anew, which is how a
/// renewed certificate takes effect.
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
    /// A certificate chain, the server's own certificate first, and its private key, both in PEM. They may be
    /// the same file.
    pub fn files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { source: Source::Files { cert: cert.into(), key: key.into() } }
    }

    /// A certificate of the server's own making, for `localhost`, `127.0.0.1` and `::1`: for development,
    /// since no client trusts it and each process makes another.
    #[cfg(feature = "self-signed")]
    pub fn self_signed() -> Self {
        Self { source: Source::SelfSigned }
    }

    /// Takes the certificate from another file; the key stays.
    pub(crate) fn set_cert(tls: &mut Option<Self>, cert: PathBuf) {
        let key = tls.as_ref().and_then(Self::files_named).map(|(_, key)| key.to_owned());
        *tls = Some(Self::files(cert, key.unwrap_or_default()));
    }

    /// Takes the key from another file; the certificate stays.
    pub(crate) fn set_key(tls: &mut Option<Self>, key: PathBuf) {
        let cert = tls.as_ref().and_then(Self::files_named).map(|(cert, _)| cert.to_owned());
        *tls = Some(Self::files(cert.unwrap_or_default(), key));
    }

    /// The files of certificate and key; one that nobody has named is an empty path.
    pub(crate) fn files_named(&self) -> Option<(&Path, &Path)> {
        match &self.source {
            Source::Files { cert, key } => Some((cert, key)),
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => None,
        }
    }
}

/// As it reads after "the certificate".
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Files { cert, key } => write!(f, "{} (key {})", cert.display(), key.display()),
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => f.write_str("of its own making"),
        }
    }
}
