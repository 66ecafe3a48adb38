//! The cipher suites whose records can be opened and sealed: all that rustls has.

use tokio_rustls::rustls::SupportedCipherSuite;

use crate::record::provider::{aead, hkdf};

/// A cipher suite. The numbers are those of the IANA registry "TLS Cipher Suites".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Suite {
    Tls13Aes128Gcm = 0x1301,
    Tls13Aes256Gcm = 0x1302,
    Tls13ChaCha20Poly1305 = 0x1303,
    Tls12EcdsaAes128Gcm = 0xc02b,
    Tls12EcdsaAes256Gcm = 0xc02c,
    Tls12EcdsaChaCha20Poly1305 = 0xcca9,
    Tls12RsaAes128Gcm = 0xc02f,
    Tls12RsaAes256Gcm = 0xc030,
    Tls12RsaChaCha20Poly1305 = 0xcca8,
}

/// A TLS version. The versions before are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// An AEAD algorithm (RFC 5116).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Suite {
    /// The suite that a handshake agreed on.
    pub(crate) fn negotiated(suite: SupportedCipherSuite) -> Option<Self> {
        Self::from_number(suite.suite().into())
    }

    /// The suite with this number, if it is known.
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0x1301 => Self::Tls13Aes128Gcm,
            0x1302 => Self::Tls13Aes256Gcm,
            0x1303 => Self::Tls13ChaCha20Poly1305,
            0xc02b => Self::Tls12EcdsaAes128Gcm,
            0xc02c => Self::Tls12EcdsaAes256Gcm,
            0xcca9 => Self::Tls12EcdsaChaCha20Poly1305,
            0xc02f => Self::Tls12RsaAes128Gcm,
            0xc030 => Self::Tls12RsaAes256Gcm,
            0xcca8 => Self::Tls12RsaChaCha20Poly1305,
            _ => return None,
        })
    }

    pub(crate) fn number(self) -> u16 {
        self as u16
    }

    /// The name in the IANA registry.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls13Aes128Gcm => "TLS_AES_128_GCM_SHA256",
            Self::Tls13Aes256Gcm => "TLS_AES_256_GCM_SHA384",
            Self::Tls13ChaCha20Poly1305 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::Tls12EcdsaAes128Gcm => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::Tls12EcdsaAes256Gcm => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Self::Tls12EcdsaChaCha20Poly1305 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Self::Tls12RsaAes128Gcm => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Self::Tls12RsaAes256Gcm => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Self::Tls12RsaChaCha20Poly1305 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        }
    }

    pub(crate) fn version(self) -> Version {
        match self {
            Self::Tls13Aes128Gcm | Self::Tls13Aes256Gcm | Self::Tls13ChaCha20Poly1305 => Version::Tls13,
            _ => Version::Tls12,
        }
    }

    pub(super) fn cipher(self) -> Cipher {
        match self {
            Self::Tls13Aes128Gcm | Self::Tls12EcdsaAes128Gcm | Self::Tls12RsaAes128Gcm => Cipher::Aes128Gcm,
            Self::Tls13Aes256Gcm | Self::Tls12EcdsaAes256Gcm | Self::Tls12RsaAes256Gcm => Cipher::Aes256Gcm,
            Self::Tls13ChaCha20Poly1305
            | Self::Tls12EcdsaChaCha20Poly1305
            | Self::Tls12RsaChaCha20Poly1305 => Cipher::ChaCha20Poly1305,
        }
    }

    /// The hash function of the key schedule of TLS 1.3.
    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self.cipher() {
            Cipher::Aes256Gcm => hkdf::HKDF_SHA384,
            Cipher::Aes128Gcm | Cipher::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
        }
    }

    /// The length of that hash, and of a traffic secret.
    pub(super) fn hash_length(self) -> usize {
        match self.cipher() {
            Cipher::Aes256Gcm => 48,
            Cipher::Aes128Gcm | Cipher::ChaCha20Poly1305 => 32,
        }
    }

    /// The bytes of a nonce that stand in each record: AES-GCM in TLS 1.2 has them (RFC 5288 section 3).
    pub(super) fn explicit_nonce_length(self) -> usize {
        match (self.version(), self.cipher()) {
            (Version::Tls12, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => 8,
            _ => 0,
        }
    }
}

impl Version {
    /// As nginx and OpenSSL write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

impl Cipher {
    pub(super) fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    pub(super) fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// How many records a key may seal. RFC 8446 section 5.5 allows 2^24.5 with AES-GCM; ChaCha20-Poly1305 has no
    /// limit that matters before the sequence number ends.
    pub(super) fn confidentiality_limit(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 24,
            Self::ChaCha20Poly1305 => 1 << 63,
        }
    }
}
