//! The cipher suites whose records can be opened and sealed: all that rustls has.

/// A TLS version with a cipher. The numbers are those of the IANA registry "TLS Cipher Suites"; a suite of TLS 1.2 has
/// two, of which the one for ECDSA certificates stands for both, since records do not depend on the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Suite {
    Tls13Aes128Gcm = 0x1301,
    Tls13Aes256Gcm = 0x1302,
    Tls13ChaCha20Poly1305 = 0x1303,
    Tls12Aes128Gcm = 0xc02b,
    Tls12Aes256Gcm = 0xc02c,
    Tls12ChaCha20Poly1305 = 0xcca9,
}

impl Suite {
    /// The suite with this number, if it is one of the six.
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0x1301 => Self::Tls13Aes128Gcm,
            0x1302 => Self::Tls13Aes256Gcm,
            0x1303 => Self::Tls13ChaCha20Poly1305,
            0xc02b => Self::Tls12Aes128Gcm,
            0xc02c => Self::Tls12Aes256Gcm,
            0xcca9 => Self::Tls12ChaCha20Poly1305,
            _ => return None,
        })
    }

    pub(crate) fn number(self) -> u16 {
        self as u16
    }
}
