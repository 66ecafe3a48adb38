//! For whom a certificate is, for operators: the names that it lists (RFC 5280, section 4.2.1.6).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::der::{Element, next, sequence};
use super::extensions;

const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
const URI: u8 = 0x86;
const MAIL: u8 = 0x81;

/// 2.5.29.17, `subjectAltName`.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Names and addresses, in their order; none if the certificate does not look as expected.
pub(super) fn of(certificate: &[u8]) -> Vec<String> {
    elements(certificate).filter_map(|element| shown(&element)).collect()
}

/// The names without the addresses.
pub(super) fn dns_of(certificate: &[u8]) -> Vec<String> {
    elements(certificate)
        .filter(|element| element.tag == DNS_NAME)
        .filter_map(|element| shown(&element))
        .collect()
}

/// All that tell who somebody is: names, addresses, URIs and addresses of mail.
pub(crate) fn all_of(certificate: &[u8]) -> Vec<String> {
    let text = |element: &Element<'_>| match element.tag {
        URI | MAIL => std::str::from_utf8(element.content).ok().map(str::to_owned),
        _ => shown(element),
    };
    elements(certificate).filter_map(|element| text(&element)).collect()
}

fn elements(certificate: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut rest = alternatives(certificate).unwrap_or_default();
    std::iter::from_fn(move || next(&mut rest))
}

fn alternatives(certificate: &[u8]) -> Option<&[u8]> {
    let mut value = extensions::value_of(certificate, SUBJECT_ALT_NAME)?;
    sequence(&mut value)
}

fn shown(name: &Element<'_>) -> Option<String> {
    match name.tag {
        DNS_NAME => std::str::from_utf8(name.content).ok().map(str::to_owned),
        IP_ADDRESS => {
            let v4 = || <[u8; 4]>::try_from(name.content).ok().map(|bytes| Ipv4Addr::from(bytes).to_string());
            let v6 =
                || <[u8; 16]>::try_from(name.content).ok().map(|bytes| Ipv6Addr::from(bytes).to_string());
            v4().or_else(v6)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_those_of_the_certificate() {
        let names = ["api.example.org", "*.example.org", "127.0.0.1", "::1"].map(str::to_owned);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names.to_vec()).unwrap().self_signed(&key).unwrap();
        assert_eq!(of(certificate.der()), names);
        let nameless = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        assert_eq!(of(nameless.der()), Vec::<String>::new());
        for cut in 0..certificate.der().len() {
            of(&certificate.der()[..cut]);
        }
    }
}
