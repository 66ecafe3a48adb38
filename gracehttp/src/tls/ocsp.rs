//! OCSP responses that are stapled to a certificate (RFC 6960).

use std::path::Path;

use crate::error::Error;
use crate::log;
use crate::tls::der::{self, BIT_STRING, ENUMERATED, EXPLICIT_0, OBJECT_IDENTIFIER, OCTET_STRING};
use crate::tls::files;

/// id-pkix-ocsp-basic.
const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 48, 1, 1];

/// What messages call the file.
const FILE: &str = "`tls.ocsp`";

/// The response in a file, in DER. Clients check whether it is about the certificate, and still valid.
pub(super) fn read(server: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let response = files::read(server, FILE, path)?;
    let why = "holds no successful OCSP response in DER: have a new one made";
    is_successful(&response).then_some(response).ok_or_else(|| files::in_file(server, FILE, path, why))
}

/// The response in a file, as [`read`] gives it. If the file holds no successful one, a notice says so, and there is none.
pub(super) fn read_if_successful(server: &str, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let response = files::read(server, FILE, path)?;
    if is_successful(&response) {
        return Ok(Some(response));
    }
    let path = path.display();
    log::notice(format_args!(
        "server `{server}`: the {FILE} file {path} holds no successful OCSP response in DER, so none is stapled to the \
         certificate: have a new one made"
    ));
    Ok(None)
}

/// Whether this is an OCSPResponse with the status `successful` and a basic response (RFC 6960 section 4.2.1), and nothing else.
fn is_successful(response: &[u8]) -> bool {
    let mut input = response;
    let is_basic = der::sequence(&mut input).and_then(basic_response).is_some_and(is_signed);
    is_basic && input.is_empty()
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

/// Whether a BasicOCSPResponse has data, an algorithm and a signature.
fn is_signed(mut basic: &[u8]) -> bool {
    let Some(mut parts) = der::sequence(&mut basic) else { return false };
    let data = der::sequence(&mut parts);
    let algorithm = der::sequence(&mut parts);
    let signature = der::next(&mut parts).filter(|signature| signature.tag == BIT_STRING);
    let are_full = [data, algorithm, signature.map(|signature| signature.content)]
        .into_iter()
        .all(|part| part.is_some_and(|part| !part.is_empty()));
    are_full && basic.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        [&[tag, content.len() as u8][..], &content].concat()
    }

    fn response(status: u8, kind: &[u8], basic: &[u8]) -> Vec<u8> {
        let bytes = element(0x30, &[&element(OBJECT_IDENTIFIER, &[kind]), &element(OCTET_STRING, &[basic])]);
        element(0x30, &[&[ENUMERATED, 1, status], &element(EXPLICIT_0, &[&bytes])])
    }

    #[test]
    fn only_a_signed_basic_response_is_successful() {
        let signed = |data: &[u8]| {
            let (data, algorithm) = (element(0x30, &[data]), element(0x30, &[&[5, 0]]));
            element(0x30, &[&data, &algorithm, &element(BIT_STRING, &[&[0, 7]])])
        };
        let basic = signed(&[2, 1, 7]);
        let good = response(0, &BASIC, &basic);
        assert!(is_successful(&good));
        // One that says `try later`; one of another kind; one without data; one with something behind it.
        assert!(!is_successful(&response(3, &BASIC, &basic)));
        assert!(!is_successful(&response(0, &[1, 2, 3], &basic)));
        assert!(!is_successful(&response(0, &BASIC, &signed(&[]))));
        assert!(!is_successful(&response(0, &BASIC, &[])));
        assert!(!is_successful(&[&good[..], &[0]].concat()));
        // Five bytes that begin like one.
        assert!(!is_successful(&[0x30, 3, ENUMERATED, 1, 0]));
        for length in 0..good.len() {
            assert!(!is_successful(&good[..length]), "{length}");
        }
    }
}
