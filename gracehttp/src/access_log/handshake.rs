//! The lines of TLS handshakes that have failed.

use std::fmt::Display;

use crate::access_log::entry::{LONGEST, put_text};
use crate::access_log::{AccessLog, Form, Outcome, date};
use crate::lifecycle::clock;

/// The cause in these lines.
const CAUSE: &str = "tls_handshake";

/// A TLS handshake that has failed.
pub(crate) struct FailedHandshake<'a> {
    /// Its name where programs read it.
    pub(crate) kind: &'static str,
    pub(crate) why: &'a dyn Display,
}

impl AccessLog {
    /// Logs a failed handshake.
    pub(crate) fn write_handshake(&self, client: &str, failed: &FailedHandshake<'_>) {
        let why = failed.why.to_string();
        self.target.queue.push(|line| match self.form {
            Form::Json => {
                date::begin_json(line, clock::precise());
                line.extend_from_slice(&self.client(client, None).constant);
                line.extend_from_slice(b",\"status\":null,\"bytes\":0");
                put_text(line, b",\"cause\":\"", CAUSE.as_bytes(), LONGEST);
                put_text(line, b",\"tls_failure\":\"", failed.kind.as_bytes(), LONGEST);
                put_text(line, b",\"reason\":\"", why.as_bytes(), LONGEST);
                line.extend_from_slice(b"}\n");
            }
            Form::Common | Form::Combined => {
                line.extend_from_slice(client.as_bytes());
                self.end_common(line, None, &Outcome::unread(None, CAUSE));
            }
        });
    }
}
