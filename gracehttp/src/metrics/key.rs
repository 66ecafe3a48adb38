//! The key of a series in the table: the name of its family and its labels, as bytes.

/// Separates the parts of a key. No UTF-8 has this byte.
const SEPARATOR: u8 = 0xff;

/// The label under which the bounds of a histogram's buckets are part of its key: a histogram with other buckets is
/// another series.
const BOUNDS: &str = "le";

/// A key that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    pub(super) family: String,
    pub(super) labels: Vec<(String, String)>,
    /// Those of a histogram, in words.
    pub(super) bounds: Option<String>,
}

/// Puts a key together.
pub(super) fn encode<'a>(
    family: &str,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    bounds: Option<&[f64]>,
) -> Vec<u8> {
    let mut key = family.as_bytes().to_vec();
    let mut add = |name: &str, value: &str| {
        for part in [name, value] {
            key.push(SEPARATOR);
            key.extend_from_slice(part.as_bytes());
        }
    };
    labels.into_iter().for_each(|(name, value)| add(name, value));
    if let Some(bounds) = bounds {
        add(BOUNDS, &in_words(bounds));
    }
    key
}

/// Takes a key apart. None if this release did not make it.
pub(super) fn decode(key: &[u8]) -> Option<Key> {
    let mut parts = key.split(|byte| *byte == SEPARATOR).map(|part| str::from_utf8(part).ok());
    let mut decoded = Key { family: parts.next()??.to_owned(), labels: Vec::new(), bounds: None };
    while let Some(name) = parts.next() {
        let (name, value) = (name?, parts.next()??.to_owned());
        match name {
            BOUNDS => decoded.bounds = Some(value),
            _ => decoded.labels.push((name.to_owned(), value)),
        }
    }
    Some(decoded)
}

/// The bounds of buckets as they stand in a key.
pub(super) fn in_words(bounds: &[f64]) -> String {
    bounds.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_together_comes_apart_again() {
        let key = encode("orders", [("kind", "a=\"b\",\n"), ("empty", "")], Some(&[0.5, 1.0]));
        let labels = vec![("kind".to_owned(), "a=\"b\",\n".to_owned()), ("empty".to_owned(), String::new())];
        let expected = Key { family: "orders".to_owned(), labels, bounds: Some("0.5,1".to_owned()) };
        assert_eq!(decode(&key), Some(expected));
        let alone = Key { family: "alone".to_owned(), labels: Vec::new(), bounds: None };
        assert_eq!(decode(&encode("alone", [], None)), Some(alone));
    }

    #[test]
    fn a_strange_key_is_none() {
        for key in [&b"name\xfflabel"[..], b"\xfe", b"name\xff\xc3\xff"] {
            assert_eq!(decode(key), None, "{key:?}");
        }
    }
}
