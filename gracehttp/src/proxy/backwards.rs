//! Lists in header fields, read from their end.
//!
//! Each proxy appends to the list what it knows. So what trusted proxies say is at the end, and before it is what
//! the client has sent. The client's part may be of any length and form; it is not read at all, and an open quote
//! in it swallows nothing.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The elements of all fields of this name, the last one first. Empty ones do not count (RFC 9110 section 5.6.1).
pub(super) fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    lines.flat_map(|line| Elements { rest: Some(line) }).filter(|element| !element.is_empty())
}

/// The elements of one line, the last one first, without the blanks around them.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut is_quoted = false;
        let mut place = rest.len();
        while place > 0 {
            place -= 1;
            match rest[place] {
                b'"' if !is_quoted || !is_escaped(&rest[..place]) => is_quoted = !is_quoted,
                b',' if !is_quoted => {
                    self.rest = Some(&rest[..place]);
                    return Some(rest[place + 1..].trim_ascii());
                }
                _ => {}
            }
        }
        Some(rest.trim_ascii())
    }
}

/// Whether the byte behind these is escaped.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::FORWARDED;

    fn read(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        elements(&headers, &FORWARDED).map(|element| String::from_utf8_lossy(element).into_owned()).collect()
    }

    #[test]
    fn elements_come_from_the_end_over_all_lines() {
        assert_eq!(read(&["a, b", "c ,\td"]), ["d", "c", "b", "a"]);
        assert_eq!(read(&[",, a ,,", "", " , "]), ["a"]);
        assert_eq!(read(&[]), Vec::<String>::new());
    }

    #[test]
    fn quotes_hide_commas_and_escaped_quotes() {
        assert_eq!(read(&[r#"a="1,2", b="x\",y", c="\\""#]), [r#"c="\\""#, r#"b="x\",y""#, r#"a="1,2""#]);
    }

    /// Otherwise a client could make its proxy's part unreadable.
    #[test]
    fn an_open_quote_of_the_client_does_not_reach_into_the_part_of_the_proxy() {
        for client in [r#"for=""#, r#"for="\"#, r#"for="\\\"#, r#"""""#, r#"for="a, b"#] {
            let elements = read(&[&format!("{client}, for=192.0.2.1")]);
            assert_eq!(elements[0], "for=192.0.2.1", "{client}");
        }
        assert_eq!(read(&[r#"for="x"#, r#"for="[::1]""#])[0], r#"for="[::1]""#);
    }
}
