//! What an authority says about the time to renew a certificate (ACME Renewal Information, RFC 9773).

use std::fmt;
use std::time::{Duration, SystemTime};

use humantime::{format_duration, format_rfc3339_seconds};

/// The answer of an authority that was asked about a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RenewalSuggestion {
    pub(crate) server: String,
    /// The names that the certificate is for.
    pub(crate) names: Vec<String>,
    pub(crate) outcome: SuggestionOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SuggestionOutcome {
    /// The authority suggests to renew between `start` and `end`, and has not suggested that before. The certificate is renewed
    /// at `at`. The explanation is the authority's URL, if it is new.
    New { start: SystemTime, end: SystemTime, at: SystemTime, explanation: Option<String> },
    /// It suggests the same as before.
    Unchanged,
    /// It has given no answer that can be used. It is asked again after `pause`. `is_repeated` if the answer before it was of no use, either.
    Failed { reason: String, pause: Duration, is_repeated: bool },
}

impl SuggestionOutcome {
    /// In one word, for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::New { .. } => "new",
            Self::Unchanged => "unchanged",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for RenewalSuggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, names, outcome } = self;
        let names = names.join(", ");
        write!(f, "server `{server}`: ")?;
        match outcome {
            SuggestionOutcome::New { start, end, at, explanation } => {
                write!(
                    f,
                    "the authority suggests to renew the certificate for {names} between {} and {}; it is renewed ",
                    format_rfc3339_seconds(*start),
                    format_rfc3339_seconds(*end)
                )?;
                match at.duration_since(SystemTime::now()) {
                    Ok(_) => write!(f, "at {}", format_rfc3339_seconds(*at))?,
                    Err(_) => f.write_str("now")?,
                }
                match explanation {
                    Some(explanation) => write!(f, "; the authority explains it at {explanation}"),
                    None => Ok(()),
                }
            }
            SuggestionOutcome::Unchanged => {
                write!(f, "the authority suggests the same time to renew the certificate for {names}")
            }
            SuggestionOutcome::Failed { reason, pause, .. } => write!(
                f,
                "the authority does not say when to renew the certificate for {names}: {reason}; until it does, its last \
                 suggestion counts, or else the dates of the certificate; the authority is asked again in {}",
                format_duration(Duration::from_secs(pause.as_secs().max(1)))
            ),
        }
    }
}
