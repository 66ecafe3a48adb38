//! OCSP responses that are stapled to a certificate (RFC 6960).

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use crate::error::Error;
use crate::tls::der::{self, BIT_STRING, ENUMERATED, EXPLICIT_0, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING};
use crate::tls::{files, validity};

/// id-pkix-ocsp-basic.
const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 48, 1, 1];

/// What messages call the file.
const FILE: &str = "`tls.ocsp`";

/// A response for one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    /// The OCSPResponse, in DER.
    pub(super) response: Vec<u8>,
    /// Until when it is valid, if it says so.
    until: Option<SystemTime>,
}

impl Staple {
    pub(super) fn is_valid_at(&self, time: SystemTime) -> bool {
        self.until.is_none_or(|until| time <= until)
    }
}

/// Why a file has no response that can be stapled.
#[derive(Debug)]
pub(super) enum Fault {
    /// It can't be read.
    Unreadable(Error),
    /// What it holds can't be used.
    Unusable(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable(error) | Self::Unusable(error)) = self;
        error.fmt(f)
    }
}

/// The response in a file, in DER, if it is for this certificate and still valid. Clients check who has signed it.
pub(super) fn read(server: &str, path: &Path, certificate: &[u8]) -> Result<Staple, Fault> {
    let response = files::read(server, FILE, path).map_err(Fault::Unreadable)?;
    staple(response, certificate, SystemTime::now()).map_err(|why| {
        Fault::Unusable(files::in_file(server, FILE, path, &format!("{why}: have a new one made")))
    })
}

/// An error says what the file holds, as the second half of a sentence.
fn staple(response: Vec<u8>, certificate: &[u8], now: SystemTime) -> Result<Staple, String> {
    let data = data(&response).ok_or("holds no successful OCSP response in DER")?;
    let until = valid_until(data, certificate).ok_or("holds an OCSP response for another certificate")?;
    let staple = Staple { until, response };
    match staple.until {
        Some(until) if !staple.is_valid_at(now) => {
            let until = humantime::format_rfc3339_seconds(until);
            Err(format!("holds an OCSP response that was valid until {until}"))
        }
        _ => Ok(staple),
    }
}

/// The ResponseData of an OCSPResponse with the status `successful` and a basic response, and nothing else (RFC 6960 section
/// 4.2.1).
fn data(response: &[u8]) -> Option<&[u8]> {
    let mut input = response;
    let data = der::sequence(&mut input).and_then(basic_response).and_then(signed_data)?;
    input.is_empty().then_some(data)
}

/// The BasicOCSPResponse within an OCSPResponse.
fn basic_response(mut response: &[u8]) -> Option<&[u8]> {
    let status = der::next(&mut response).filter(|status| status.tag == ENUMERATED)?;
    let bytes = der::next(&mut response).filter(|bytes| bytes.tag == EXPLICIT_0)?;
    let mut bytes = der::sequence(&mut &bytes.content[..])?;
    let kind = der::next(&mut bytes).filter(|kind| kind.tag == OBJECT_IDENTIFIER)?;
    let basic = der::next(&mut bytes).filter(|basic| basic.tag == OCTET_STRING)?;
    let is_successful = status.content == [0] && kind.content == BASIC;
    is_successful.then_some(basic.content)
}

/// The data of a BasicOCSPResponse, if it has an algorithm and a signature, too.
fn signed_data(mut basic: &[u8]) -> Option<&[u8]> {
    let mut parts = der::sequence(&mut basic)?;
    let data = der::sequence(&mut parts)?;
    let algorithm = der::sequence(&mut parts)?;
    let signature = der::next(&mut parts).filter(|signature| signature.tag == BIT_STRING)?;
    let are_full = [data, algorithm, signature.content].iter().all(|part| !part.is_empty());
    (are_full && basic.is_empty()).then_some(data)
}

/// Until when the response for a certificate is valid: `Some(None)` if it does not say so, `None` if there is no response for
/// it. The serial number tells the certificate from others.
fn valid_until(mut data: &[u8], certificate: &[u8]) -> Option<Option<SystemTime>> {
    let serial_number = validity::serial_number(certificate)?;
    // The version, who responds, and when. The list of responses is the first sequence.
    let mut responses =
        std::iter::from_fn(|| der::next(&mut data)).find(|part| part.tag == der::SEQUENCE)?.content;
    std::iter::from_fn(|| der::sequence(&mut responses)).find_map(|mut response| {
        let mut id = der::sequence(&mut response)?;
        let numbers = std::iter::from_fn(|| der::next(&mut id)).find(|part| part.tag == INTEGER)?;
        if numbers.content != serial_number {
            return None;
        }
        let _status = der::next(&mut response)?;
        let _this_update = der::next(&mut response)?;
        let next_update = der::next(&mut response).filter(|part| part.tag == EXPLICIT_0);
        Some(next_update.and_then(|part| validity::time(&der::next(&mut &part.content[..])?)))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = content.len() as u8;
        let length: &[u8] = if length < 128 { &[length] } else { &[0x81, length] };
        [&[tag], length, &content].concat()
    }

    fn sequence(content: &[&[u8]]) -> Vec<u8> {
        element(der::SEQUENCE, content)
    }

    fn response(status: u8, kind: &[u8], basic: &[u8]) -> Vec<u8> {
        let bytes = sequence(&[&element(OBJECT_IDENTIFIER, &[kind]), &element(OCTET_STRING, &[basic])]);
        sequence(&[&[ENUMERATED, 1, status], &element(EXPLICIT_0, &[&bytes])])
    }

    fn signed(data: &[u8]) -> Vec<u8> {
        let (data, algorithm) = (sequence(&[data]), sequence(&[&[5, 0]]));
        sequence(&[&data, &algorithm, &element(BIT_STRING, &[&[0, 7]])])
    }

    /// The response for a certificate with this serial number.
    fn single(serial: &[u8], until: Option<&str>) -> Vec<u8> {
        const GENERALIZED_TIME: u8 = 0x18;
        let time = |time: &str| element(GENERALIZED_TIME, &[time.as_bytes()]);
        let hashes = [sequence(&[&[5, 0]]), element(OCTET_STRING, &[&[1]]), element(OCTET_STRING, &[&[2]])];
        let id = sequence(&[&hashes.concat(), &element(INTEGER, &[serial])]);
        let until = until.map(|until| element(EXPLICIT_0, &[&time(until)])).unwrap_or_default();
        sequence(&[&id, &[0x80, 0], &time("20200101000000Z"), &until])
    }

    fn of(singles: &[&[u8]]) -> Vec<u8> {
        let by_key = element(0xa2, &[&element(OCTET_STRING, &[&[3]])]);
        let produced_at = element(0x18, &[b"20200101000000Z"]);
        response(0, &BASIC, &signed(&[by_key, produced_at, sequence(singles)].concat()))
    }

    fn certificate(serial: u64) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.serial_number = Some(serial.into());
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn only_a_signed_basic_response_is_successful() {
        let basic = signed(&[2, 1, 7]);
        let good = response(0, &BASIC, &basic);
        assert!(data(&good).is_some());
        // One that says `try later`; one of another kind; one without data; one with something behind it.
        assert!(data(&response(3, &BASIC, &basic)).is_none());
        assert!(data(&response(0, &[1, 2, 3], &basic)).is_none());
        assert!(data(&response(0, &BASIC, &signed(&[]))).is_none());
        assert!(data(&response(0, &BASIC, &[])).is_none());
        assert!(data(&[&good[..], &[0]].concat()).is_none());
        // Five bytes that begin like one.
        assert!(data(&[0x30, 3, ENUMERATED, 1, 0]).is_none());
        for length in 0..good.len() {
            assert!(data(&good[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn a_response_is_for_one_certificate_and_a_time() {
        let certificate = certificate(7);
        let (mine, other) = (single(&[7], Some("20300101000000Z")), single(&[8], None));
        let end = humantime::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
        let of_time = |response: &[u8], now| staple(response.to_vec(), &certificate, now);
        for response in [of(&[&mine]), of(&[&other, &mine])] {
            assert_eq!(of_time(&response, end).unwrap().until, Some(end));
            let late = of_time(&response, end + Duration::from_secs(1)).unwrap_err();
            assert_eq!(late, "holds an OCSP response that was valid until 2030-01-01T00:00:00Z");
        }
        let without_end = of(&[&single(&[7], None)]);
        assert!(of_time(&without_end, end).unwrap().is_valid_at(end + Duration::from_secs(1)));
        for response in [of(&[&other]), of(&[])] {
            assert!(of_time(&response, end).unwrap_err().contains("for another certificate"));
        }
        // Whatever its content, no panic.
        let whole = of(&[&mine]);
        for length in 0..whole.len() {
            assert!(of_time(&whole[..length], end).is_err(), "{length}");
        }
    }
}
