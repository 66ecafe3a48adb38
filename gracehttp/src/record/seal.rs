//! Sealing our records.

use std::io::IoSlice;

use crate::record::aead::{Key, TAG_LENGTH};
use crate::record::alert::{Alert, Fault, OUR_CLOSE_NOTIFY};
use crate::record::header::{HEADER_LENGTH, Header, MAX_PLAIN_LENGTH, content_type};
use crate::record::limit;
use crate::record::message::OUR_KEY_UPDATE;
use crate::record::session::Session;
use crate::record::suite::Version;

/// Our key has sealed as many records as it may, and there is no other (TLS 1.2). Only an alert can follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WornOut;

impl Session {
    /// Seals one record with the first bytes of `data`, at most 2^14 of them, and appends it to `output`. Returns how
    /// many bytes it holds. Without data there is no record.
    pub(crate) fn seal(&mut self, data: &[IoSlice<'_>], output: &mut Vec<u8>) -> Result<usize, WornOut> {
        let length = data.iter().map(|slice| slice.len()).sum::<usize>().min(MAX_PLAIN_LENGTH);
        if length == 0 {
            return Ok(0);
        }
        self.keep_key_fresh(output)?;
        self.append_record(content_type::APPLICATION_DATA, data, length, output)?;
        Ok(length)
    }

    /// Appends our close_notify (RFC 8446 section 6.1). Nothing may be sealed after it.
    pub(crate) fn seal_close_notify(&mut self, output: &mut Vec<u8>) {
        self.append_alert(OUR_CLOSE_NOTIFY, output);
    }

    /// Appends the alert for a fault of the client, if there is one to send. Nothing may be sealed after it.
    pub(crate) fn seal_alert(&mut self, fault: &Fault, output: &mut Vec<u8>) {
        if let Some(alert) = fault.fatal() {
            self.append_alert(alert, output);
        }
    }

    /// Whether our key will soon be worn out and can't be renewed (TLS 1.2): the connection ends with its next
    /// response.
    pub(crate) fn is_nearly_worn_out(&self) -> bool {
        self.suite().version() == Version::Tls12 && self.parts.server.sequence >= limit::nearly(self.limit)
    }

    /// An alert may pass the limit: a session sends very few of them.
    pub(super) fn append_alert(&mut self, alert: Alert, output: &mut Vec<u8>) {
        // It fails if no sequence number is left. Then no alert can be sealed safely.
        let _ = self.append_record(content_type::ALERT, &[IoSlice::new(&alert)], alert.len(), output);
    }

    /// Renews our key if the client has asked for it or its limit is near: our KeyUpdate is the last record under the old
    /// key (RFC 8446 sections 4.6.3 and 5.5). It is sent only before data, so that a client that asks again and again
    /// does not make us write.
    fn keep_key_fresh(&mut self, output: &mut Vec<u8>) -> Result<(), WornOut> {
        let sealed = self.parts.server.sequence;
        match self.suite().version() {
            Version::Tls12 if sealed >= self.limit => Err(WornOut),
            Version::Tls13 if self.parts.owes_key_update || sealed.saturating_add(1) >= self.limit => {
                let message = [IoSlice::new(&OUR_KEY_UPDATE)];
                self.append_record(content_type::HANDSHAKE, &message, OUR_KEY_UPDATE.len(), output)?;
                let suite = self.suite();
                self.parts.server.renew(suite);
                self.sealing = Key::new(suite, &self.parts.server.secret);
                self.parts.owes_key_update = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Appends a record with the first `length` bytes of `data`, which are copied once and sealed where they are.
    fn append_record(
        &mut self,
        content_type: u8,
        data: &[IoSlice<'_>],
        length: usize,
        output: &mut Vec<u8>,
    ) -> Result<(), WornOut> {
        let suite = self.suite();
        let sequence = self.parts.server.take_sequence().ok_or(WornOut)?;
        let nonce = self.sealing.nonce(sequence);
        let explicit = &nonce[nonce.len() - suite.explicit_nonce_length()..];
        // TLS 1.3 hides the type behind the content (RFC 8446 section 5.2).
        let (header, hidden_type) = match suite.version() {
            Version::Tls13 => {
                (Header::new(content_type::APPLICATION_DATA, length + 1 + TAG_LENGTH), &[content_type][..])
            }
            Version::Tls12 => (Header::new(content_type, explicit.len() + length + TAG_LENGTH), &[][..]),
        };

        let start = output.len();
        output.reserve(HEADER_LENGTH + header.length());
        output.extend_from_slice(&header.0);
        output.extend_from_slice(explicit);
        let plain_start = output.len();
        append_first(data, length, output);
        output.extend_from_slice(hidden_type);

        let plain = &mut output[plain_start..];
        let tag = match suite.version() {
            Version::Tls13 => self.sealing.seal(nonce, &header.0, plain),
            Version::Tls12 => {
                self.sealing.seal(nonce, &header.tls12_additional_data(sequence, length), plain)
            }
        };
        let Ok(tag) = tag else {
            output.truncate(start);
            return Err(WornOut);
        };
        output.extend_from_slice(&tag);
        Ok(())
    }
}

/// Appends the first `length` bytes of these slices.
fn append_first(data: &[IoSlice<'_>], mut length: usize, output: &mut Vec<u8>) {
    for slice in data {
        let part = &slice[..slice.len().min(length)];
        output.extend_from_slice(part);
        length -= part.len();
    }
}
