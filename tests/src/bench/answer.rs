//! The only answer that a benchmark accepts, byte for byte except for its date.

use std::ops::Range;

/// A server's first answer, which all later ones must equal.
#[derive(Debug, Clone)]
pub struct Answer {
    bytes: Vec<u8>,
    date: Range<usize>,
}

impl Answer {
    /// Takes a whole answer as the model, if it is a proper one with this body.
    pub fn learn(bytes: &[u8], body: &[u8]) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}: {:?}", String::from_utf8_lossy(bytes));
        let end = find(bytes, b"\r\n\r\n").ok_or_else(|| wrong("no head"))?;
        if !bytes.starts_with(b"HTTP/1.1 200 OK\r\n") {
            return Err(wrong("not a 200"));
        }
        if &bytes[end + 4..] != body {
            return Err(wrong("not the body"));
        }
        let head = bytes[..end].to_ascii_lowercase();
        let date = find(&head, b"\r\ndate: ").ok_or_else(|| wrong("no date"))? + 8;
        let length = find(&bytes[date..], b"\r\n").ok_or_else(|| wrong("no end of the date"))?;
        Ok(Self { bytes: bytes.to_vec(), date: date..date + length })
    }

    /// The length of each answer.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Always false: an answer has a head.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether these bytes are the same answer, with any date.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.bytes.len()
            && bytes[..self.date.start] == self.bytes[..self.date.start]
            && bytes[self.date.end..] == self.bytes[self.date.end..]
    }

    /// The header fields, sorted, without date and numbers: contestants have to do the same work.
    pub fn fields(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let name = name.to_ascii_lowercase();
            let value = if name == "date" { "" } else { value.trim() };
            // The length of the body depends on the pid.
            Some(format!("{name}: {}", value.replace(|c: char| c.is_ascii_digit(), "")))
        };
        let mut fields: Vec<String> = head.lines().skip(1).filter_map(field).collect();
        fields.sort();
        fields
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: Mon, 23 Nov\r\n\r\nhi";

    #[test]
    fn only_the_date_may_change() {
        let answer = Answer::learn(FIRST, b"hi").unwrap();
        assert!(answer.matches(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: Tue, 24 Nov\r\n\r\nhi"));
        assert!(!answer.matches(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: Mon, 23 Nov\r\n\r\nho"));
        assert!(!answer.matches(b"HTTP/1.1 500 OK\r\ncontent-length: 2\r\ndate: Mon, 23 Nov\r\n\r\nhi"));
        assert_eq!(answer.fields(), ["content-length: ", "date: "]);
    }

    #[test]
    fn another_body_is_no_model() {
        assert!(Answer::learn(FIRST, b"ho").is_err());
    }
}
