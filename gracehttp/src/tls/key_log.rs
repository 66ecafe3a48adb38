//! The traffic secrets of one connection.

use std::sync::OnceLock;

use tokio_rustls::rustls::KeyLog;

use crate::record::{Secret, TrafficSecrets};

/// Keeps the traffic secrets of one handshake. rustls gives them to nothing but a key log, and the keys that it gives
/// when the handshake is done can't be renewed without them. It keeps nothing else of what is logged.
#[derive(Debug, Default)]
pub(super) struct KeyLogOfOne {
    client: OnceLock<Secret>,
    server: OnceLock<Secret>,
}

impl KeyLogOfOne {
    fn place(&self, label: &str) -> Option<&OnceLock<Secret>> {
        match label {
            "CLIENT_TRAFFIC_SECRET_0" => Some(&self.client),
            "SERVER_TRAFFIC_SECRET_0" => Some(&self.server),
            _ => None,
        }
    }

    /// What was logged; nothing by a handshake of TLS 1.2.
    pub(super) fn secrets(&self) -> Option<TrafficSecrets> {
        let secret = |place: &OnceLock<Secret>| Secret::new(place.get()?.bytes());
        Some(TrafficSecrets { client: secret(&self.client)?, server: secret(&self.server)? })
    }
}

impl KeyLog for KeyLogOfOne {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if let (Some(place), Some(secret)) = (self.place(label), Secret::new(secret)) {
            let _ = place.set(secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        self.place(label).is_some()
    }
}
