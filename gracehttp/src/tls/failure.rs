//! Why a handshake failed, in words that programs read.

use std::fmt;
use std::io;

use tokio_rustls::rustls::{self, CertificateError};

/// Why a handshake leads to no connection, where rustls sees no fault.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The client asks for a name of which there is no certificate.
    UnknownName(Option<String>),
    /// The client wants to see the certificate of a challenge of this name, and none is under way.
    UnexpectedChallenge(Option<String>),
    /// An authority has looked at the certificate of a challenge. There was no fault.
    Challenge,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName(Some(name)) => write!(f, "there is no certificate for the name `{name}`"),
            Self::UnknownName(None) => {
                f.write_str("there is no certificate for clients that ask for no name")
            }
            Self::UnexpectedChallenge(name) => {
                let name = name.as_deref().unwrap_or_default();
                write!(f, "no authority is expected to look at a challenge of the name `{name}`")
            }
            Self::Challenge => f.write_str("it was an authority's challenge"),
        }
    }
}

impl std::error::Error for Refusal {}

fn refusal(error: &io::Error) -> Option<&Refusal> {
    error.get_ref()?.downcast_ref()
}

/// Whether the handshake was complete, and for an authority alone.
pub(crate) fn is_challenge(error: &io::Error) -> bool {
    matches!(refusal(error), Some(Refusal::Challenge))
}

/// The kind of a failure. There are few, whatever clients send.
pub(crate) fn kind_of(error: &io::Error) -> &'static str {
    match refusal(error) {
        Some(Refusal::UnknownName(_)) => return "unknown_name",
        Some(Refusal::UnexpectedChallenge(_)) => return "unexpected_challenge",
        Some(Refusal::Challenge) | None => {}
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(_)) => "alert_received",
        Some(rustls::Error::NoApplicationProtocol) => "no_common_protocol",
        Some(rustls::Error::PeerIncompatible(_)) => "incompatible",
        Some(rustls::Error::NoCertificatesPresented) => "no_certificate",
        Some(rustls::Error::InvalidCertificate(fault)) => kind_of_certificate(fault),
        Some(_) => "invalid_message",
        None if error.kind() == io::ErrorKind::InvalidData => "no_tls",
        None if error.kind() == io::ErrorKind::Other => "internal",
        None => "closed",
    }
}

/// Why the certificate of a client was refused.
fn kind_of_certificate(fault: &CertificateError) -> &'static str {
    match fault {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "certificate_expired",
        CertificateError::Revoked => "certificate_revoked",
        CertificateError::UnknownIssuer => "certificate_of_unknown_issuer",
        CertificateError::UnknownRevocationStatus => "no_revocation_list",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "revocation_list_expired"
        }
        _ => "certificate",
    }
}
