//! What became of certificates that were read again.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

/// One certificate of a server that was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateReload {
    pub(crate) server: String,
    /// What it is, with its files, as messages show it.
    pub(crate) certificate: String,
    pub(crate) outcome: ReloadOutcome,
}

#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "without TLS there are no certificates"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReloadOutcome {
    /// New handshakes get another one than before.
    Renewed { not_after: Option<SystemTime> },
    /// The files hold the one that is in use.
    Unchanged,
    /// What the files hold can't be used, for this reason: the one before stays.
    Kept { reason: String },
    /// New handshakes get no OCSP response, for this reason.
    Unstapled { reason: String },
}

impl ReloadOutcome {
    /// In one word, for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Renewed { .. } => "renewed",
            Self::Unchanged => "unchanged",
            Self::Kept { .. } => "kept",
            Self::Unstapled { .. } => "unstapled",
        }
    }

    /// Why the files, or one of them, can't be used.
    pub(crate) fn fault(&self) -> Option<&str> {
        match self {
            Self::Kept { reason } | Self::Unstapled { reason } => Some(reason),
            Self::Renewed { .. } | Self::Unchanged => None,
        }
    }
}

impl fmt::Display for CertificateReload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, certificate, outcome } = self;
        match outcome {
            ReloadOutcome::Renewed { not_after } => {
                write!(f, "server `{server}`: new handshakes use the renewed {certificate}")?;
                match not_after {
                    Some(not_after) => {
                        write!(f, ", valid until {}", humantime::format_rfc3339_seconds(*not_after))
                    }
                    None => Ok(()),
                }
            }
            ReloadOutcome::Unchanged => {
                write!(f, "server `{server}`: the {certificate} is unchanged")
            }
            // It names server and files.
            ReloadOutcome::Kept { reason } => write!(f, "{reason}; what was there before stays in use"),
            ReloadOutcome::Unstapled { reason } => {
                write!(f, "{reason}; nothing is stapled to the certificate")
            }
        }
    }
}

/// Asks for the certificates to be read again at once. The answer has one outcome for each; it never comes if the
/// process ends before.
#[derive(Clone)]
pub(crate) struct CertificateReloader(Arc<dyn Fn(oneshot::Sender<Vec<CertificateReload>>) + Send + Sync>);

impl CertificateReloader {
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "without TLS there are no certificates"))]
    pub(crate) fn new(ask: impl Fn(oneshot::Sender<Vec<CertificateReload>>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only commands ask"))]
    pub(crate) async fn ask(&self) -> Option<Vec<CertificateReload>> {
        let (answer, answered) = oneshot::channel();
        (self.0)(answer);
        answered.await.ok()
    }
}

impl fmt::Debug for CertificateReloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateReloader").finish_non_exhaustive()
    }
}
