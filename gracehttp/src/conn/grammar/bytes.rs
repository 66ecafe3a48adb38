//! Tables of what each byte may be part of, and the search for bytes that end a line or are forbidden.

/// A byte of a token (RFC 9110 section 5.6.2): methods, field names.
pub(in crate::conn) const TOKEN: u8 = 1;
/// A byte of a path. More than RFC 3986 section 3.3 allows: also what browsers send unencoded (the URL Standard's
/// path percent-encode set), but nothing that could end the target, and no byte above 0x7e.
pub(in crate::conn) const PATH: u8 = 2;
/// A byte of a query, in the same way (RFC 3986 section 3.4).
pub(in crate::conn) const QUERY: u8 = 4;
/// A byte of a host name or an IPv4 address (RFC 3986 section 3.2.2). Without percent-encoding: no name that can be
/// resolved needs it.
pub(in crate::conn) const HOST_NAME: u8 = 8;
/// A byte of a scheme (RFC 3986 section 3.1).
pub(in crate::conn) const SCHEME: u8 = 16;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        let (alphanumeric, graphic) = (byte.is_ascii_alphanumeric(), byte.is_ascii_graphic());
        classes[byte as usize] = class(TOKEN, alphanumeric || has(b"!#$%&'*+-.^_`|~", byte))
            | class(PATH, graphic && !has(b"#?<>`", byte))
            | class(QUERY, graphic && !has(b"#\"<>", byte))
            | class(HOST_NAME, alphanumeric || has(b"-._~!$&'()*+,;=", byte))
            | class(SCHEME, alphanumeric || has(b"+-.", byte));
        byte += 1;
    }
    classes
};

const fn class(class: u8, holds: bool) -> u8 {
    if holds { class } else { 0 }
}

const fn has(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether a byte is of one of these classes.
pub(in crate::conn) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// How many bytes at the beginning are of this class. Unrolled, since it runs over all names and targets: a byte costs
/// three instructions.
#[inline]
pub(in crate::conn) fn run(bytes: &[u8], class: u8) -> usize {
    let (fours, rest) = bytes.as_chunks();
    let mut at = 0;
    for &[first, second, third, fourth] in fours {
        if !is(first, class) {
            return at;
        }
        if !is(second, class) {
            return at + 1;
        }
        if !is(third, class) {
            return at + 2;
        }
        if !is(fourth, class) {
            return at + 3;
        }
        at += 4;
    }
    at + rest.iter().take_while(|&&byte| is(byte, class)).count()
}

/// Without the spaces and tabs around it (OWS, RFC 9110 section 5.6.3).
pub(in crate::conn) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// How many bytes at the beginning are printable ASCII: no control characters, and none above 0x7e.
///
/// Not inlined: alone, it has enough registers for its constants.
#[inline(never)]
pub(in crate::conn) fn printable(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let mut at = 0;
    for block in blocks {
        // Without a branch for each byte, the compiler makes six vector instructions of this.
        if !block.iter().fold(true, |all, &byte| all & is_printable(byte)) {
            let block = u128::from_le_bytes(*block);
            let (low, high) = (unprintable(block as u64), unprintable((block >> 64) as u64));
            return at + if low != 0 { place(low) } else { 8 + place(high) };
        }
        at += 16;
    }
    at + rest.iter().take_while(|&&byte| is_printable(byte)).count()
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f)
}

const ONES: u64 = u64::MAX / 0xff;

/// Marks the bytes of a word that are not printable, each in its highest bit: those below 0x20 (the subtraction borrows),
/// DEL (the addition carries), and those that have that bit already. Only the lowest mark is exact: a borrow or carry may
/// have set others above it.
fn unprintable(word: u64) -> u64 {
    (word.wrapping_sub(ONES * 0x20) | word.wrapping_add(ONES) | word) & (ONES * 0x80)
}

/// The place of the first marked byte.
fn place(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unprintable_byte_is_found_at_every_place() {
        for unprintable in (0..0x20).chain(0x7f..=0xff) {
            for length in 1..40 {
                for at in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[at..].fill(unprintable);
                    assert_eq!(printable(&bytes), at, "{bytes:?}");
                    bytes[at + 1..].fill(b'~');
                    assert_eq!(printable(&bytes), at, "{bytes:?}");
                }
            }
        }
        let all: Vec<u8> = (0x20..0x7f).collect();
        assert_eq!(printable(&all), all.len());
        assert_eq!(printable(b""), 0);
    }

    #[test]
    fn a_run_ends_with_its_class() {
        for length in 0..20 {
            for at in 0..=length {
                let mut bytes = vec![b'a'; length];
                bytes[at..].fill(b':');
                assert_eq!(run(&bytes, TOKEN), at);
            }
        }
    }

    #[test]
    fn http_accepts_every_byte_that_passes() {
        for byte in 0..=0xff {
            if is(byte, PATH) {
                assert!(http::Uri::try_from(&[b'/', byte][..]).is_ok(), "{byte:#x} in a path");
            }
            if is(byte, QUERY) {
                assert!(http::Uri::try_from(&[b'/', b'?', byte][..]).is_ok(), "{byte:#x} in a query");
            }
            if is(byte, TOKEN) {
                assert!(http::Method::from_bytes(&[byte]).is_ok(), "{byte:#x} in a method");
                assert!(http::HeaderName::from_bytes(&[byte]).is_ok(), "{byte:#x} in a name");
            }
            if is(byte, HOST_NAME) {
                assert!(http::uri::Authority::try_from(&[byte][..]).is_ok(), "{byte:#x} in a host");
            }
        }
    }

    #[test]
    fn spaces_and_tabs_are_trimmed() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
    }
}
