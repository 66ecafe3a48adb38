//! Lines of clients that never came to a request.

use std::fmt::Display;

use crate::access_log::escape::put;
use crate::access_log::{AccessLog, Client, Form, clock};
use crate::lifecycle::generation;

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
    pub(crate) fn write_handshake(&self, client: &Client, failed: &FailedHandshake<'_>) {
        let why = failed.why.to_string();
        self.target.queue.push(|line| match self.form {
            Form::Json => {
                line.extend_from_slice(br#"{"time":""#);
                clock::put_rfc3339(line, clock::began(std::time::Duration::ZERO));
                line.extend_from_slice(br#"","server":""#);
                line.extend_from_slice(&self.server);
                line.extend_from_slice(br#"","client":""#);
                line.extend_from_slice(client.address().as_bytes());
                line.extend_from_slice(br#"","status":null,"bytes":0"#);
                super::line::put_field(line, br#","generation":"#, generation());
                line.extend_from_slice(br#","cause":"tls_handshake","tls_failure":""#);
                line.extend_from_slice(failed.kind.as_bytes());
                line.extend_from_slice(br#"","reason":""#);
                put(line, self.form.style(), why.as_bytes(), LONGEST);
                line.extend_from_slice(b"\"}\n");
            }
            Form::Common | Form::Combined => {
                line.extend_from_slice(client.address().as_bytes());
                line.extend_from_slice(b" - - [");
                clock::put_common(line, clock::began(std::time::Duration::ZERO));
                line.extend_from_slice(b"] \"-\" 499 0");
                if self.form == Form::Combined {
                    line.extend_from_slice(br#" "-" "-""#);
                }
                line.push(b'\n');
            }
        });
    }
}
