//! Opening the client's records.

use std::ops::Range;

use crate::record::aead::{Key, TAG_LENGTH};
use crate::record::alert::{self, Fault, OUR_NO_RENEGOTIATION, Received};
use crate::record::header::{HEADER_LENGTH, Header, MAX_PLAIN_LENGTH, content_type};
use crate::record::message::Message;
use crate::record::session::Session;
use crate::record::suite::Version;

/// How many records without data of the application may come in a row. As many as rustls and BoringSSL allow.
const MAX_WITHOUT_DATA: u8 = 32;

/// What was found at the beginning of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The record is not whole: at least so many bytes of input are needed in all.
    Incomplete { needed: usize },
    /// A record of so many bytes.
    Record { length: usize, content: Content },
}

/// What a record holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Application data; the plain text lies at this place of the input.
    Data(Range<usize>),
    /// Nothing for the application: it was about the session itself.
    Nothing,
    /// The client sends no more (close_notify).
    Closed,
}

impl Session {
    /// Opens, in place, the record at the beginning of `input`. Bytes that have to be sent in answer are appended to
    /// `output`.
    pub(crate) fn open(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> Result<Opened, Fault> {
        let Some(header) = Header::read(input, self.suite().version())? else {
            return Ok(Opened::Incomplete { needed: HEADER_LENGTH });
        };
        let length = HEADER_LENGTH + header.length();
        let Some(record) = input.get_mut(..length) else {
            return Ok(Opened::Incomplete { needed: length });
        };
        // It is never sealed in TLS 1.3, and after the handshake it is unexpected in both versions (RFC 8446 section 5).
        if header.content_type() == content_type::CHANGE_CIPHER_SPEC {
            return Err(Fault::unexpected_message("a ChangeCipherSpec after the handshake"));
        }
        let (content_type, plain) = self.decrypt(header, record)?;
        let content = self.receive(content_type, plain, record, output)?;
        Ok(Opened::Record { length, content })
    }

    /// Decrypts a record. Returns the type of its content and the place of its plain text.
    fn decrypt(&mut self, header: Header, record: &mut [u8]) -> Result<(u8, Range<usize>), Fault> {
        let not_authentic = || Fault::bad_record_mac("a record is not authentic");
        let sequence = self.parts.client.take_sequence().ok_or_else(not_authentic)?;
        let explicit_length = self.suite().explicit_nonce_length();
        let plain_length =
            header.length().checked_sub(explicit_length + TAG_LENGTH).ok_or_else(not_authentic)?;
        let plain = HEADER_LENGTH + explicit_length..HEADER_LENGTH + explicit_length + plain_length;

        // Between header and content stands the explicit part of the nonce, or nothing.
        let (front, sealed) = record.split_at_mut(plain.start);
        let nonce = match front[HEADER_LENGTH..].try_into() {
            Ok(explicit) => self.opening.nonce_with(explicit),
            Err(_) => self.opening.nonce(sequence),
        };
        let opened = match self.suite().version() {
            Version::Tls13 => self.opening.open(nonce, &header.0, sealed),
            Version::Tls12 => {
                self.opening.open(nonce, &header.tls12_additional_data(sequence, plain_length), sealed)
            }
        };
        opened.map_err(|_| not_authentic())?;

        let (content_type, plain) = match self.suite().version() {
            Version::Tls13 => unpad(record, plain)?,
            Version::Tls12 => (header.content_type(), plain),
        };
        if plain.len() > MAX_PLAIN_LENGTH {
            return Err(Fault::record_overflow("the content of a record is too long"));
        }
        Ok((content_type, plain))
    }

    /// Acts on the content of a record.
    fn receive(
        &mut self,
        content_type: u8,
        plain: Range<usize>,
        record: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<Content, Fault> {
        if self.parts.message.has_begun() && content_type != content_type::HANDSHAKE {
            return Err(Fault::unexpected_message("a record between the parts of a message"));
        }
        // RFC 8446 section 5.4. TLS 1.2 forbids only to send them (RFC 5246 section 6.2.1).
        if plain.is_empty()
            && matches!(content_type, content_type::ALERT | content_type::HANDSHAKE)
            && self.suite().version() == Version::Tls13
        {
            return Err(Fault::unexpected_message("an empty alert, or an empty part of a message"));
        }
        match content_type {
            content_type::APPLICATION_DATA if !plain.is_empty() => {
                self.parts.without_data = 0;
                return Ok(Content::Data(plain));
            }
            content_type::APPLICATION_DATA => {}
            content_type::ALERT => {
                let version = self.suite().version();
                if alert::receive(&record[plain], version, &mut self.parts.warnings)? == Received::Closed {
                    return Ok(Content::Closed);
                }
            }
            content_type::HANDSHAKE => self.receive_messages(&record[plain], output)?,
            _ => return Err(Fault::decode_error("a record with content of unknown type")),
        }
        self.parts.without_data = self.parts.without_data.saturating_add(1);
        if self.parts.without_data > MAX_WITHOUT_DATA {
            return Err(Fault::unexpected_message("too many records without data"));
        }
        Ok(Content::Nothing)
    }

    fn receive_messages(&mut self, mut content: &[u8], output: &mut Vec<u8>) -> Result<(), Fault> {
        let version = self.suite().version();
        while let Some(message) = self.parts.message.take(&mut content, version)? {
            match message {
                // What follows is under the next key, so it can't be in this record (RFC 8446 section 5.1).
                Message::KeyUpdate(_) if !content.is_empty() => {
                    return Err(Fault::unexpected_message("a KeyUpdate is not the end of its record"));
                }
                Message::KeyUpdate(requested @ (0 | 1)) => self.renew_opening_key(requested == 1),
                Message::KeyUpdate(_) => {
                    return Err(Fault::illegal_parameter("a KeyUpdate with an unknown value"));
                }
                Message::ClientHello if self.parts.refused_renegotiation => {
                    return Err(Fault::no_renegotiation("a second renegotiation"));
                }
                Message::ClientHello => {
                    self.parts.refused_renegotiation = true;
                    self.append_alert(OUR_NO_RENEGOTIATION, output);
                }
            }
        }
        Ok(())
    }

    /// The client goes on under its next key (RFC 8446 section 4.6.3). However often it requests ours before we send
    /// data, one KeyUpdate answers all.
    fn renew_opening_key(&mut self, requested: bool) {
        let suite = self.suite();
        self.parts.client.renew(suite);
        self.opening = Key::new(suite, &self.parts.client.secret);
        self.parts.owes_key_update |= requested;
    }
}

/// The type of the content, which stands behind it, before the padding (RFC 8446 sections 5.2 and 5.4).
fn unpad(record: &[u8], inner: Range<usize>) -> Result<(u8, Range<usize>), Fault> {
    if inner.len() > MAX_PLAIN_LENGTH + 1 {
        return Err(Fault::record_overflow("the content of a record is too long"));
    }
    let Some(end) = record[inner.clone()].iter().rposition(|&byte| byte != 0) else {
        return Err(Fault::unexpected_message("a record has only padding"));
    };
    let plain = inner.start..inner.start + end;
    match record[plain.end] {
        content_type::CHANGE_CIPHER_SPEC => Err(Fault::unexpected_message("a ChangeCipherSpec was sealed")),
        content_type => Ok((content_type, plain)),
    }
}
