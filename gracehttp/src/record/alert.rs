//! Alerts (RFC 8446 section 6, RFC 5246 section 7.2): those that say why a session ends, and those that come.
//!
//! The alert for a fault is the one that rustls sends for the same bytes. Where rustls sends none, and where a MUST of
//! RFC 8446 says otherwise, it is that of the RFC.

use crate::record::suite::Version;

/// How often a client may send a warning that changes nothing. As many as rustls and BoringSSL allow.
const MAX_WARNINGS: u8 = 4;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

const CLOSE_NOTIFY: u8 = 0;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;

/// An alert: its level and its description.
pub(super) type Alert = [u8; 2];

pub(super) const OUR_CLOSE_NOTIFY: Alert = [WARNING, CLOSE_NOTIFY];
pub(super) const OUR_NO_RENEGOTIATION: Alert = [WARNING, NO_RENEGOTIATION];

/// Why a record ends the session. The client is sent the alert that says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// RFC 8446 section 6. None if the client has ended the session itself, by an alert of its own.
    pub(crate) alert: Option<u8>,
    pub(crate) reason: &'static str,
}

impl Fault {
    pub(super) fn unexpected_message(reason: &'static str) -> Self {
        Self { alert: Some(UNEXPECTED_MESSAGE), reason }
    }

    pub(super) fn bad_record_mac(reason: &'static str) -> Self {
        Self { alert: Some(BAD_RECORD_MAC), reason }
    }

    pub(super) fn record_overflow(reason: &'static str) -> Self {
        Self { alert: Some(RECORD_OVERFLOW), reason }
    }

    pub(super) fn illegal_parameter(reason: &'static str) -> Self {
        Self { alert: Some(ILLEGAL_PARAMETER), reason }
    }

    pub(super) fn decode_error(reason: &'static str) -> Self {
        Self { alert: Some(DECODE_ERROR), reason }
    }

    pub(super) fn no_renegotiation(reason: &'static str) -> Self {
        Self { alert: Some(NO_RENEGOTIATION), reason }
    }

    /// The client's certificate is refused, with this alert.
    #[cfg(feature = "tls")]
    pub(crate) fn refused_certificate(alert: u8) -> Self {
        Self { alert: Some(alert), reason: "the client's certificate is not accepted" }
    }

    /// The alert to send.
    pub(super) fn fatal(&self) -> Option<Alert> {
        self.alert.map(|description| [FATAL, description])
    }
}

/// What an alert of the client means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The client sends no more.
    Closed,
    /// Nothing changes.
    Warning,
}

/// Reads an alert. `warnings` counts those that change nothing.
pub(super) fn receive(content: &[u8], version: Version, warnings: &mut u8) -> Result<Received, Fault> {
    let &[level, description] = content else {
        return Err(Fault::decode_error("an alert is not two bytes"));
    };
    match (level, description) {
        (WARNING | FATAL, CLOSE_NOTIFY) => Ok(Received::Closed),
        (WARNING, _) if *warnings >= MAX_WARNINGS => {
            Err(Fault::unexpected_message("too many warning alerts"))
        }
        // TLS 1.3 has no warnings but this one (RFC 8446 section 6.1).
        (WARNING, _) if version == Version::Tls12 || description == USER_CANCELED => {
            *warnings += 1;
            Ok(Received::Warning)
        }
        (WARNING, _) => Err(Fault::decode_error("a warning alert in TLS 1.3")),
        (FATAL, _) => Err(Fault { alert: None, reason: "the client sent a fatal alert" }),
        _ => Err(Fault::illegal_parameter("an alert of unknown level")),
    }
}
