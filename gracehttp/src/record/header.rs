//! The header of a record, and what else is authenticated with its content.

use crate::record::alert::Fault;
use crate::record::suite::Version;

/// The length of a header: type, version and length (RFC 8446 section 5.1).
pub(crate) const HEADER_LENGTH: usize = 5;

/// The longest content of a record, as plain text (RFC 8446 section 5.1).
pub(crate) const MAX_PLAIN_LENGTH: usize = 1 << 14;

/// The longest content of a record, as it is sent: that of TLS 1.2 (RFC 5246 section 6.2.3). TLS 1.3 allows less (RFC
/// 8446 section 5.2).
pub(crate) const MAX_SEALED_LENGTH: usize = MAX_PLAIN_LENGTH + 2048;

/// What a record holds (RFC 8446 section 5.1).
pub(super) mod content_type {
    pub(in crate::record) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in crate::record) const ALERT: u8 = 21;
    pub(in crate::record) const HANDSHAKE: u8 = 22;
    pub(in crate::record) const APPLICATION_DATA: u8 = 23;
    /// RFC 6520. It is refused, but only after its record has been authenticated.
    pub(in crate::record) const HEARTBEAT: u8 = 24;
}

/// Content type, version and length.
#[derive(Clone, Copy)]
pub(super) struct Header(pub(super) [u8; HEADER_LENGTH]);

impl Header {
    /// A header of ours. Both versions write the number of TLS 1.2 (RFC 8446 section 5.1).
    pub(super) fn new(content_type: u8, length: usize) -> Self {
        let [high, low] = (length as u16).to_be_bytes();
        Self([content_type, 3, 3, high, low])
    }

    /// The header at the beginning of the input, or none if it is not whole. Its length is trusted only if type and
    /// version are possible. Otherwise bytes that are not TLS would make the session wait for more that never come.
    /// Each field is judged as soon as it is whole.
    pub(super) fn read(input: &[u8], version: Version) -> Result<Option<Self>, Fault> {
        let is_type = |byte: &u8| (content_type::CHANGE_CIPHER_SPEC..=content_type::HEARTBEAT).contains(byte);
        if !input.first().is_none_or(is_type) {
            return Err(Fault::decode_error("a record of unknown type"));
        }
        if input.get(1..3).is_some_and(|version| version[0] != 3) {
            return Err(Fault::decode_error("a record of an unknown version"));
        }
        let Some(&header) = input.first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
        let header = Self(header);
        if header.length() == 0 && header.content_type() != content_type::APPLICATION_DATA {
            return Err(Fault::decode_error("an empty record"));
        }
        if header.length() > max_length(version) {
            return Err(Fault::record_overflow("a record that is too long"));
        }
        Ok(Some(header))
    }

    pub(super) fn content_type(&self) -> u8 {
        self.0[0]
    }

    /// How many bytes follow the header.
    pub(super) fn length(&self) -> usize {
        u16::from_be_bytes([self.0[3], self.0[4]]).into()
    }

    /// What TLS 1.2 authenticates with the content (RFC 5246 section 6.2.3.3). TLS 1.3 authenticates the header as it
    /// stands (RFC 8446 section 5.2).
    pub(super) fn tls12_additional_data(&self, sequence: u64, plain_length: usize) -> [u8; 13] {
        let mut data = [0; 13];
        data[..8].copy_from_slice(&sequence.to_be_bytes());
        data[8..11].copy_from_slice(&self.0[..3]);
        data[11..].copy_from_slice(&(plain_length as u16).to_be_bytes());
        data
    }
}

/// RFC 8446 section 5.2 and RFC 5246 section 6.2.3.
fn max_length(version: Version) -> usize {
    match version {
        Version::Tls13 => MAX_PLAIN_LENGTH + 256,
        Version::Tls12 => MAX_SEALED_LENGTH,
    }
}
