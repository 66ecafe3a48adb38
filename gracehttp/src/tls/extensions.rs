//! The extensions of a certificate (RFC 5280 section 4.2).

use super::der::{EXPLICIT_0, OBJECT_IDENTIFIER, OCTET_STRING, next, sequence};

const EXTENSIONS: u8 = 0xa3;

/// The value of the extension with this identifier. None if there is no such extension, or if the certificate does not look as
/// expected.
pub(super) fn value_of<'a>(certificate: &'a [u8], identifier: &[u8]) -> Option<&'a [u8]> {
    let certificate = sequence(&mut &certificate[..])?;
    let mut to_be_signed = sequence(&mut &certificate[..])?;
    let first = next(&mut to_be_signed)?;
    if first.tag != EXPLICIT_0 {
        // Version 1 has no extensions.
        return None;
    }
    let extensions =
        std::iter::from_fn(|| next(&mut to_be_signed)).find(|element| element.tag == EXTENSIONS)?;
    let mut extensions = sequence(&mut &extensions.content[..])?;
    std::iter::from_fn(|| sequence(&mut extensions)).find_map(|extension| value_if(extension, identifier))
}

/// The value of an extension, if it is the right one: its identifier, perhaps whether it is critical, its value.
fn value_if<'a>(mut extension: &'a [u8], identifier: &[u8]) -> Option<&'a [u8]> {
    let found = next(&mut extension)?;
    if found.tag != OBJECT_IDENTIFIER || found.content != identifier {
        return None;
    }
    let value = std::iter::from_fn(|| next(&mut extension)).find(|element| element.tag == OCTET_STRING)?;
    Some(value.content)
}
