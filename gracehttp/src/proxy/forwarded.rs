//! The field `Forwarded` (RFC 7239).

use std::borrow::Cow;

use http::HeaderMap;
use http::header::FORWARDED;

use crate::proxy::backwards::elements;
use crate::proxy::{Networks, Node, Said, Scheme, first_untrusted};

/// What one proxy says about the request that it got.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element<'a> {
    r#for: Option<Cow<'a, str>>,
    proto: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
}

/// What the outermost trusted proxy says. If one of them can't be understood, they say nothing.
pub(super) fn read<'a>(headers: &'a HeaderMap, trusted: &Networks) -> Said<'a> {
    let mut said = None;
    let nodes = elements(headers, &FORWARDED).map(|element| {
        let element = Element::read(element)?;
        let node = element.node();
        said = Some(element);
        node
    });
    let Some((_, client)) = first_untrusted(nodes, trusted) else { return Said::default() };
    let Some(Element { proto, host, .. }) = said else { return Said::default() };
    Said { client: Some(client), scheme: proto.and_then(|proto| Scheme::read(&proto)), host }
}

impl<'a> Element<'a> {
    /// `for="[2001:db8::1]:4711";proto=https;host=example.com`.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = std::str::from_utf8(bytes).ok()?;
        let mut element = Self::default();
        while !rest.is_empty() {
            let (name, value, behind) = pair(rest)?;
            let place = match () {
                () if name.eq_ignore_ascii_case("for") => Some(&mut element.r#for),
                () if name.eq_ignore_ascii_case("proto") => Some(&mut element.proto),
                () if name.eq_ignore_ascii_case("host") => Some(&mut element.host),
                () => None,
            };
            // Each may occur once.
            if let Some(place) = place
                && place.replace(value).is_some()
            {
                return None;
            }
            rest = behind;
        }
        Some(element)
    }

    /// The client of this proxy. A proxy need not name it.
    fn node(&self) -> Option<Node> {
        self.r#for.as_ref().map_or(Some(Node::Hidden), |node| Node::read(node))
    }
}

/// The first `name=value`, and what is behind its semicolon.
fn pair(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (name, rest) = text.split_once('=')?;
    let (value, behind) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
            let (value, behind) = rest.split_at(end);
            (Some(Cow::Borrowed(value)).filter(|value| !value.is_empty())?, behind)
        }
    };
    if name.is_empty() || !name.chars().all(is_token) {
        return None;
    }
    let behind = behind.trim_start_matches([' ', '\t']);
    let next = if behind.is_empty() { behind } else { behind.strip_prefix(';')? };
    Some((name, value, next.trim_start_matches([' ', '\t'])))
}

/// A quoted string whose opening quote was read, and what is behind it.
fn unquote(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let plain = quoted.find(['"', '\\'])?;
    if quoted.as_bytes()[plain] == b'"' {
        return Some((Cow::Borrowed(&quoted[..plain]), &quoted[plain + 1..]));
    }
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    loop {
        match chars.next()? {
            (place, '"') => return Some((Cow::Owned(value), &quoted[place + 1..])),
            (_, '\\') => value.push(chars.next()?.1),
            (_, c) => value.push(c),
        }
    }
}

/// RFC 9110 section 5.6.2. Many proxies write `host=example.com:8080` without quotes, though the colon needs them.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn said(lines: &[&str], trusted: &[&str]) -> (Option<String>, Option<Scheme>, Option<String>) {
        let trusted =
            trusted.iter().map(|network| network.parse::<crate::proxy::networks::Network>().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let Said { client, scheme, host } = read(&headers, &trusted.collect());
        let client = client.map(|client| match client {
            Node::Hidden | Node::Unix => "hidden".to_owned(),
            Node::Address { ip, port: None } => ip.to_string(),
            Node::Address { ip, port: Some(port) } => format!("{ip} {port}"),
        });
        (client, scheme, host.map(Cow::into_owned))
    }

    fn client(lines: &[&str]) -> Option<String> {
        said(lines, &["10.0.0.0/8"]).0
    }

    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        let is =
            |line: &str, expected: &str| assert_eq!(client(&[line]).as_deref(), Some(expected), "{line}");
        is(r#"for="_gazonk""#, "hidden");
        is(r#"For="[2001:db8:cafe::17]:4711""#, "2001:db8:cafe::17 4711");
        is("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60");
        is("for=192.0.2.43, for=198.51.100.17", "198.51.100.17");
        is(r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#, "hidden");
        is(r#"for=_hidden, for=_SEVKISEK"#, "hidden");
    }

    #[test]
    fn the_element_of_the_first_untrusted_client_says_scheme_and_host() {
        let lines = [
            r#"for=6.6.6.6;proto=http;host=evil, for=192.0.2.1;proto=HTTPS;host="example.com:8443""#,
            "for=10.0.0.1;proto=http;host=internal, for=10.0.0.2",
        ];
        let expected = (Some("192.0.2.1".into()), Some(Scheme::Https), Some("example.com:8443".into()));
        assert_eq!(said(&lines, &["10.0.0.0/8"]), expected);
        assert_eq!(client(&["for=10.0.0.3, for=10.0.0.2"]).as_deref(), Some("10.0.0.3"));
        assert_eq!(client(&[]), None);
    }

    #[test]
    fn what_a_trusted_proxy_can_not_have_meant_says_nothing() {
        for line in [
            "for",
            "for=",
            "=x",
            "for==192.0.2.1",
            r#"for="192.0.2.1"#,
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1 x",
            "for=[::1]",
            r#"for="::1""#,
            "for = 192.0.2.1",
            "for=192.0.2.1;;",
            ";for=192.0.2.1",
            "192.0.2.1",
            r#"for="192.0.2.1"x"#,
            "for=localhost",
            "for=192.0.2.1;ä=b",
            r#"for="192.0.2.1\"#,
        ] {
            assert_eq!(said(&[line], &[]), (None, None, None), "{line}");
            let behind = format!("{line}, for=10.0.0.1");
            assert_eq!(client(&[&behind]), None, "{behind}");
            let before = format!("{line}, for=192.0.2.9");
            assert_eq!(client(&[&before]).as_deref(), Some("192.0.2.9"), "{before}");
        }
    }

    #[test]
    fn an_element_without_a_client_hides_it() {
        assert_eq!(said(&["proto=https"], &[]), (Some("hidden".into()), Some(Scheme::Https), None));
        assert_eq!(client(&["for=192.0.2.1, proto=https"]).as_deref(), Some("hidden"));
    }

    #[test]
    fn escapes_and_unknown_parameters() {
        assert_eq!(client(&[r#"secret="a;b\"c,";for="192.0.2\.1";by=x"#]).as_deref(), Some("192.0.2.1"));
        assert_eq!(said(&["for=192.0.2.1;proto=gopher;host=a"], &[]).1, None);
        assert_eq!(said(&["for=192.0.2.1; proto=wss ;host=a:1"], &[]).1, Some(Scheme::Https));
    }

    /// A chain of trusted proxies has an end.
    #[test]
    fn a_chain_that_is_too_long_says_nothing() {
        let chain = |len: usize| vec!["for=10.0.0.1"; len].join(",");
        assert_eq!(client(&[&chain(32)]).as_deref(), Some("10.0.0.1"));
        assert_eq!(client(&[&chain(33)]), None);
        assert_eq!(client(&[&format!("{}, for=192.0.2.1", chain(5000))]).as_deref(), Some("192.0.2.1"));
    }
}
