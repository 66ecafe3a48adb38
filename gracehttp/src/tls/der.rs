//! Elements of DER (X.690), one after the other. What does not look as expected is none.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
/// The element with the context-specific number 0: the version of a certificate, the bytes of an OCSP response.
pub(super) const EXPLICIT_0: u8 = 0xa0;

pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
}

/// The content of the first element, which has to be a sequence. The input continues behind it.
pub(super) fn sequence<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    next(input).filter(|element| element.tag == SEQUENCE).map(|element| element.content)
}

/// The first element. The input continues behind it.
pub(super) fn next<'a>(input: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&[tag, first_length], mut rest) = input.split_first_chunk::<2>()?;
    let mut length = usize::from(first_length);
    if first_length & 0x80 != 0 {
        // The long form: how many bytes the length has, then the length.
        let (bytes, after) = rest.split_at_checked(usize::from(first_length & 0x7f))?;
        length =
            bytes.iter().try_fold(0usize, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))?;
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(Element { tag, content })
}
