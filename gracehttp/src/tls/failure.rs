//! Why a handshake failed, in words that programs read.

use std::io;

use tokio_rustls::rustls;

/// The kind of a failure. There are few, whatever clients send.
pub(crate) fn kind_of(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(_)) => "alert_received",
        Some(rustls::Error::NoApplicationProtocol) => "no_common_protocol",
        Some(rustls::Error::PeerIncompatible(_)) => "incompatible",
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => "certificate",
        Some(_) => "invalid_message",
        None if error.kind() == io::ErrorKind::InvalidData => "no_tls",
        None if error.kind() == io::ErrorKind::Other => "internal",
        None => "closed",
    }
}
