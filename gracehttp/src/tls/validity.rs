//! The first elements of a certificate: version, serial number, names and dates; and the dates of revocation lists.
//!
//! rustls checks them only in the certificates of peers. They need no whole X.509 parser: this module walks the few
//! elements of DER before them (RFC 5280, sections 4.1 and 5.1).

use std::time::SystemTime;

use super::der::{EXPLICIT_0, Element, INTEGER, next, sequence};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The X.509 version. Version 1 has no element for it.
pub(super) fn version(certificate: &[u8]) -> Option<u8> {
    let certificate = sequence(&mut &certificate[..])?;
    let first = next(&mut sequence(&mut &certificate[..])?)?;
    if first.tag != EXPLICIT_0 {
        return Some(1);
    }
    match next(&mut &first.content[..])? {
        Element { tag: INTEGER, content: [number] } => number.checked_add(1),
        _ => None,
    }
}

/// `None` if the certificate does not look as expected: then nothing is known about its dates.
pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
    let (_issuer, mut behind) = issuer(certificate)?;
    let mut validity = sequence(&mut behind)?;
    Some(Validity { not_before: time(&next(&mut validity)?)?, not_after: time(&next(&mut validity)?)? })
}

/// When the next revocation list of this one's issuer is due (RFC 5280 section 5.1). `None` if the list does not say it.
pub(super) fn next_update(list: &[u8]) -> Option<SystemTime> {
    let list = sequence(&mut &list[..])?;
    let mut to_be_signed = sequence(&mut &list[..])?;
    let first = next(&mut to_be_signed)?;
    // A version may come before the algorithm.
    let _signature_algorithm = if first.tag == INTEGER { next(&mut to_be_signed)? } else { first };
    let _issuer = sequence(&mut to_be_signed)?;
    let _this_update = time(&next(&mut to_be_signed)?)?;
    time(&next(&mut to_be_signed)?)
}

/// The names of issuer and subject, as they are encoded: in a chain an issuer's is that of the next subject.
pub(super) fn issuer_and_subject(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (issuer, mut behind) = issuer(certificate)?;
    let _validity = sequence(&mut behind)?;
    Some((issuer, sequence(&mut behind)?))
}

/// The serial number, as it is encoded. An issuer gives each only once.
pub(super) fn serial_number(certificate: &[u8]) -> Option<&[u8]> {
    let certificate = sequence(&mut &certificate[..])?;
    let mut to_be_signed = sequence(&mut &certificate[..])?;
    let first = next(&mut to_be_signed)?;
    let number = if first.tag == EXPLICIT_0 { next(&mut to_be_signed)? } else { first };
    (number.tag == INTEGER).then_some(number.content)
}

/// The name of the issuer, and what is behind it.
fn issuer(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let certificate = sequence(&mut &certificate[..])?;
    let mut to_be_signed = sequence(&mut &certificate[..])?;
    let first = next(&mut to_be_signed)?;
    if first.tag == EXPLICIT_0 {
        let _serial_number = next(&mut to_be_signed)?;
    }
    let _signature_algorithm = sequence(&mut to_be_signed)?;
    let issuer = sequence(&mut to_be_signed)?;
    Some((issuer, to_be_signed))
}

/// A time of a certificate or an OCSP response.
pub(super) fn time(element: &Element<'_>) -> Option<SystemTime> {
    let text = std::str::from_utf8(element.content).ok().filter(|text| text.is_ascii())?;
    let text = match element.tag {
        // Two digits of the year, which RFC 5280 puts between 1950 and 2049.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_of_a_certificate_are_found() {
        let date = |text: &str| humantime::parse_rfc3339(text).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let certificate = params.self_signed(&key).unwrap();
        let expected =
            Validity { not_before: date("1999-12-31T00:00:00Z"), not_after: date("2051-02-03T00:00:00Z") };
        assert_eq!(of(certificate.der()), Some(expected));
        assert_eq!(version(certificate.der()), Some(3));
    }

    #[test]
    fn the_end_of_a_revocation_list_is_found() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
        let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2051, 2, 3),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).unwrap();
        assert_eq!(next_update(list.der()), humantime::parse_rfc3339("2051-02-03T00:00:00Z").ok());
        for end in 0..list.der().len() {
            assert_eq!(next_update(&list.der()[..end]), None);
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_dates() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        for end in 0..certificate.der().len() {
            assert_eq!(of(&certificate.der()[..end]), None);
        }
        assert_eq!(next_update(certificate.der()), None);
        assert_eq!(of(b"\x30\x89\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }
}
