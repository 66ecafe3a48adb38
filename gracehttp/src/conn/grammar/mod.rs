//! The grammar that HTTP/1 and HTTP/2 share: hosts, paths and queries.

pub(super) mod bytes;

use std::net::Ipv6Addr;

use crate::conn::grammar::bytes::{HOST_NAME, PATH, QUERY, run};

/// Whether a target has origin form (RFC 9112 section 3.2.1).
#[cfg(feature = "http2")]
pub(super) fn is_origin_form(target: &[u8]) -> bool {
    target.starts_with(b"/") && is_path_and_query(target)
}

/// A path, which may be empty, and perhaps a query.
pub(super) fn is_path_and_query(target: &[u8]) -> bool {
    match &target[run(target, PATH)..] {
        [] => true,
        [b'?', query @ ..] => run(query, QUERY) == query.len(),
        _ => false,
    }
}

/// A host, perhaps with a port (RFC 9110 section 7.2): a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(host: &[u8]) -> bool {
    let port = match host {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let address =
                std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
            if address.is_none() {
                return false;
            }
            &rest[end + 1..]
        }
        _ => {
            let name = run(host, HOST_NAME);
            if name == 0 {
                return false;
            }
            &host[name..]
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    }
}

/// A port may be empty (RFC 3986 section 3.2.3).
fn is_port(digits: &[u8]) -> bool {
    let value = |value: u32, digit: &u8| (value * 10).saturating_add(u32::from(digit - b'0')).min(1 << 16);
    digits.iter().all(u8::is_ascii_digit) && digits.iter().fold(0, value) < 1 << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for host in ["a", "a_name", "localhost:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "a:", "a.b-c.d:0"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
            assert!(host.parse::<http::uri::Authority>().is_ok(), "{host}, as http sees it");
        }
        let invalid =
            ["", ":80", "a b", "user@a", "a:b", "a:80:80", "a:65536", "[::1", "[::g]", "[]", "[::1]x"];
        for host in
            invalid.into_iter().chain(["a/b", "a?b", "a#b", "a%20b", "[fe80::1%25eth0]", "ä", "a,b c"])
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
