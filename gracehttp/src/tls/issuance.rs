//! What identifies a certificate to the authority that has issued it: the key that has signed it, and its serial number
//! (RFC 9773 section 4.1).

use super::der::{next, sequence};
use super::{extensions, validity};

/// 2.5.29.35, `authorityKeyIdentifier`.
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];

/// Its field `keyIdentifier`, which has the context-specific number 0 (RFC 5280 section 4.2.1.1).
const KEY_IDENTIFIER: u8 = 0x80;

/// The two, each as it is encoded, without its tag and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Issuance<'a> {
    pub(crate) authority_key: &'a [u8],
    pub(crate) serial: &'a [u8],
}

/// None if the certificate does not say which key has signed it, or does not look as expected.
pub(super) fn of(certificate: &[u8]) -> Option<Issuance<'_>> {
    let serial = validity::serial_number(certificate)?;
    let value = extensions::value_of(certificate, AUTHORITY_KEY_IDENTIFIER)?;
    let mut fields = sequence(&mut &value[..])?;
    let authority_key = std::iter::from_fn(|| next(&mut fields)).find(|field| field.tag == KEY_IDENTIFIER)?;
    let is_whole = !authority_key.content.is_empty() && !serial.is_empty();
    is_whole.then_some(Issuance { authority_key: authority_key.content, serial })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(change: impl FnOnce(&mut rcgen::CertificateParams)) -> rcgen::Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        params.self_signed(&key).unwrap()
    }

    /// The numbers of the example in RFC 9773 section 4.1: a serial number whose first bit is set begins with a zero byte.
    #[test]
    fn key_and_serial_number_are_found() {
        let made = certificate(|params| {
            params.serial_number = Some(rcgen::SerialNumber::from(vec![0x87, 0x65, 0x43, 0x21]));
            params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![0x69, 0x88, 0x5b]);
        });
        let found = of(made.der()).unwrap();
        assert_eq!(found.serial, [0x00, 0x87, 0x65, 0x43, 0x21]);
        assert_eq!(found.authority_key, [0x69, 0x88, 0x5b]);
    }

    #[test]
    fn what_does_not_say_them_has_none() {
        let silent = certificate(|params| params.use_authority_key_identifier_extension = false);
        assert_eq!(of(silent.der()), None);
        let made = certificate(|_| {});
        for end in 0..made.der().len() {
            assert_eq!(of(&made.der()[..end]), None);
        }
    }
}
