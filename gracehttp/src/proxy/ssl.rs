//! The TLV about the client's TLS.

use crate::proxy::header::{Header, tlvs};

const SSL: u8 = 0x20;

/// The client speaks TLS.
const IS_TLS: u8 = 0x01;

/// The client has shown a certificate on this connection, or earlier in its session.
const HAS_CERTIFICATE: u8 = 0x02 | 0x04;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ssl<'a> {
    flags: u8,
    /// Zero means that the certificate is valid.
    verify: u32,
    values: &'a [u8],
}

/// None if the client speaks plain text, or the proxy does not say.
pub(crate) fn ssl(header: &Header) -> Option<Ssl<'_>> {
    let (&[flags, a, b, c, d], values) = header.tlv(SSL)?.split_first_chunk::<5>()?;
    let verify = u32::from_be_bytes([a, b, c, d]);
    (flags & IS_TLS != 0).then_some(Ssl { flags, verify, values })
}

impl<'a> Ssl<'a> {
    pub(crate) fn is_verified(self) -> bool {
        self.flags & HAS_CERTIFICATE != 0 && self.verify == 0
    }

    pub(crate) fn text(self, kind: u8) -> Option<&'a str> {
        let value = tlvs(self.values).find_map(|tlv| tlv.filter(|(found, _)| *found == kind))?.1;
        str::from_utf8(value).ok()
    }
}
