//! The little DER that an authority has to read: requests for certificates (RFC 2986).

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::jws::decode;

/// A request for a certificate of an ECDSA key.
pub(crate) struct Csr {
    /// What is signed.
    info: Vec<u8>,
    key: Vec<u8>,
    signature: Vec<u8>,
}

/// The first element: its content, and its length as a whole.
fn element(der: &[u8]) -> (&[u8], usize) {
    let (length, header) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        0x82 => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        _ => panic!("that long?"),
    };
    (&der[header..header + length], header + length)
}

/// The elements within one.
fn elements(mut content: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !content.is_empty() {
        let (_, length) = element(content);
        let (first, rest) = content.split_at(length);
        all.push(first);
        content = rest;
    }
    all
}

impl Csr {
    pub(crate) fn read(text: &str) -> Self {
        let der = decode(text);
        let [info, _, signature] = elements(element(&der).0)[..] else { panic!("no CSR") };
        let [_, _, key, _] = elements(element(info).0)[..] else { panic!("no request") };
        let [_, point] = elements(element(key).0)[..] else { panic!("no key") };
        // A bit string begins with the number of its unused bits.
        let bits = |string: &[u8]| element(string).0[1..].to_vec();
        Self { info: info.to_vec(), key: bits(point), signature: bits(signature) }
    }

    /// Whether it is signed by its key, and for these names alone.
    pub(crate) fn verify(&self, names: &[String]) {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.key);
        key.verify(&self.info, &self.signature).expect("a request that its own key has signed");
        for name in names {
            let general_name = [&[0x82, name.len() as u8], name.as_bytes()].concat();
            let found = self.info.windows(general_name.len()).filter(|window| *window == general_name);
            assert_eq!(found.count(), 1, "the request names {name}");
        }
    }
}

impl PublicKeyData for Csr {
    fn der_bytes(&self) -> &[u8] {
        &self.key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
