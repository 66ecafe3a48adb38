//! What became of a certificate that an authority was asked for.

use std::fmt;
use std::time::{Duration, SystemTime};

use humantime::{format_duration, format_rfc3339_seconds};

/// An order of a server that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateOrder {
    pub(crate) server: String,
    /// For whom the certificate is.
    pub(crate) names: Vec<String>,
    pub(crate) outcome: OrderOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderOutcome {
    /// There was no certificate before.
    Issued { not_after: Option<SystemTime> },
    /// The new certificate replaces an earlier one.
    Renewed { not_after: Option<SystemTime> },
    /// There is no new certificate. `present` is the end of the present one, if there is any. The next attempt comes after
    /// `pause`.
    Failed { reason: String, present: Option<SystemTime>, pause: Duration },
}

impl OrderOutcome {
    /// In one word, for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Issued { .. } => "issued",
            Self::Renewed { .. } => "renewed",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for CertificateOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, names, outcome } = self;
        match outcome {
            OrderOutcome::Issued { not_after } | OrderOutcome::Renewed { not_after } => {
                write!(f, "server `{server}`: there is a new certificate for {}", names.join(", "))?;
                match not_after {
                    Some(not_after) => write!(f, ", valid until {}", format_rfc3339_seconds(*not_after)),
                    None => Ok(()),
                }
            }
            OrderOutcome::Failed { reason, present, pause } => {
                write!(f, "server `{server}`: no new certificate: {reason}; ")?;
                match present {
                    None => f.write_str("handshakes are refused until there is one")?,
                    Some(at) => write!(f, "the present one is valid until {}", format_rfc3339_seconds(*at))?,
                }
                let pause = Duration::from_secs(pause.as_secs().max(1));
                write!(f, "; the next attempt is in {}", format_duration(pause))
            }
        }
    }
}
