//! The subject of a certificate in words (RFC 4514).

use std::fmt::Write as _;

use super::der::{Element, OBJECT_IDENTIFIER, next, sequence};
use super::validity::issuer_and_subject;

const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// The attributes that RFC 4514 names, by their identifiers.
const NAMED: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

/// The subject, its last part first; empty if the certificate has none, or does not look as expected.
pub(crate) fn subject_of(certificate: &[u8]) -> String {
    let Some((_, mut subject)) = issuer_and_subject(certificate) else { return String::new() };
    let parts = std::iter::from_fn(|| next(&mut subject)).filter(|part| part.tag == SET);
    let mut parts: Vec<String> = parts.map(|part| in_words(part.content)).collect();
    parts.reverse();
    parts.join(",")
}

/// The attributes of one part.
fn in_words(mut part: &[u8]) -> String {
    let attributes = std::iter::from_fn(|| sequence(&mut part)).filter_map(attribute);
    attributes.collect::<Vec<_>>().join("+")
}

fn attribute(mut attribute: &[u8]) -> Option<String> {
    let identifier = next(&mut attribute).filter(|element| element.tag == OBJECT_IDENTIFIER)?.content;
    let value = next(&mut attribute)?;
    let named = NAMED.iter().find(|(known, _)| *known == identifier);
    let text = match (named, value.tag) {
        (Some(_), UTF8_STRING | PRINTABLE_STRING | IA5_STRING) => std::str::from_utf8(value.content).ok(),
        _ => None,
    };
    let name = named.map_or_else(|| dotted(identifier), |(_, name)| (*name).to_owned());
    Some(format!("{name}={}", text.map_or_else(|| encoded(&value), escaped)))
}

/// An attribute's identifier in numbers.
fn dotted(identifier: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in identifier {
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let first = numbers.first().copied().unwrap_or_default();
    let (root, second) = (first / 40, first % 40);
    let (root, second) = if root > 2 { (2, first - 80) } else { (root, second) };
    let rest: String = numbers.iter().skip(1).map(|number| format!(".{number}")).collect();
    format!("{root}.{second}{rest}")
}

/// A value that is not shown as text (section 2.4): as it is encoded, with its tag and length.
fn encoded(value: &Element<'_>) -> String {
    let length = value.content.len();
    let header = match u8::try_from(length) {
        Ok(short @ ..0x80) => vec![value.tag, short],
        _ => [&[value.tag, 0x88][..], &(length as u64).to_be_bytes()].concat(),
    };
    header.iter().chain(value.content).fold("#".to_owned(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text that can't be taken for more than one value.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => escaped.extend(['\\', c]),
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            '#' if at == 0 => escaped.push_str("\\#"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| _ = write!(escaped, "\\{byte:02x}"));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(parts: &[(rcgen::DnType, &str)]) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        parts.iter().for_each(|(kind, text)| params.distinguished_name.push(kind.clone(), *text));
        let made = params.self_signed(&key).unwrap();
        for cut in 0..made.der().len() {
            subject_of(&made.der()[..cut]);
        }
        subject_of(made.der())
    }

    #[test]
    fn a_subject_is_written_with_its_last_part_first_and_pretends_nothing() {
        use rcgen::DnType::{CommonName, CountryName, CustomDnType, OrganizationName};
        let parts = [(CountryName, "DE"), (OrganizationName, "Müller & Co"), (CommonName, "client")];
        assert_eq!(subject(&parts), "CN=client,O=Müller & Co,C=DE");
        assert_eq!(subject(&[(CommonName, "a,O=admin+\0 ")]), "CN=a\\,O\\=admin\\+\\00\\ ");
        assert_eq!(subject(&[(CustomDnType(vec![1, 3, 6, 1]), "x")]), "1.3.6.1=#0c0178");
        assert_eq!(subject(&[]), "");
    }
}
