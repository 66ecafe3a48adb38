//! The lines of TLS handshakes that have failed.

use std::fmt::Display;
use std::time::Duration;

use crate::access_log::escape::put;
use crate::access_log::{AccessLog, Form, Outcome};

/// The cause in these lines.
const CAUSE: &str = "tls_handshake";

/// The most bytes of a line that the reason takes.
const LONGEST: usize = 512;

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
                self.begin_json(line, Duration::ZERO);
                line.extend_from_slice(&self.client(client, None).constant);
                line.extend_from_slice(br#","status":null,"bytes":0"#);
                line.extend_from_slice(br#","cause":""#);
                line.extend_from_slice(CAUSE.as_bytes());
                line.extend_from_slice(br#"","tls_failure":""#);
                line.extend_from_slice(failed.kind.as_bytes());
                line.extend_from_slice(br#"","reason":""#);
                put(line, self.form.style(), why.as_bytes(), LONGEST);
                line.extend_from_slice(b"\"}\n");
            }
            Form::Common | Form::Combined => {
                line.extend_from_slice(client.as_bytes());
                self.end_common(line, None, &Outcome::unread(None, CAUSE));
            }
        });
    }
}
