//! The traffic secrets of one connection.

use std::sync::OnceLock;

use tokio_rustls::rustls::KeyLog;

use crate::record::{Secret, TrafficSecrets};

/// Keeps the traffic secrets of one handshake, and nothing else that is logged. rustls passes them only to a key log. The
/// keys that it extracts after the handshake are not enough: the next keys follow from the secrets (RFC 8446 section 7.2).
#[derive(Debug, Default)]
pub(super) struct ConnectionKeyLog {
    client: OnceLock<Secret>,
    server: OnceLock<Secret>,
}

impl ConnectionKeyLog {
    fn place(&self, label: &str) -> Option<&OnceLock<Secret>> {
        match label {
            "CLIENT_TRAFFIC_SECRET_0" => Some(&self.client),
            "SERVER_TRAFFIC_SECRET_0" => Some(&self.server),
            _ => None,
        }
    }

    /// The secrets that were logged. A handshake of TLS 1.2 logs none of these.
    pub(super) fn secrets(&self) -> Option<TrafficSecrets> {
        let secret = |place: &OnceLock<Secret>| Secret::new(place.get()?.bytes());
        Some(TrafficSecrets { client: secret(&self.client)?, server: secret(&self.server)? })
    }
}

impl KeyLog for ConnectionKeyLog {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if let (Some(place), Some(secret)) = (self.place(label), Secret::new(secret)) {
            let _ = place.set(secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        self.place(label).is_some()
    }
}
