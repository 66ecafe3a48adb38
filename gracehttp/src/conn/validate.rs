//! What RFC 9112 forbids and hyper lets pass.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version};
use http_body::Body;

use crate::conn::answer::{Reason, Refusal};

/// Why a request is refused before any handler sees it.
pub(crate) fn refuse<B: Body>(request: &Request<B>, max_body: u64) -> Option<Refusal> {
    let is_http1 = request.version() <= Version::HTTP_11;
    if is_http1 && request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Some(Refusal::malformed("only OPTIONS asks for `*` (RFC 9112 section 3.2.4)"));
    }
    if is_http1 && !has_valid_host(request) {
        return Some(Refusal::malformed("one valid Host is required (RFC 9112 section 3.2)"));
    }
    // Most requests have no body, and so neither a framing nor a length to look for.
    if request.body().is_end_stream() {
        return None;
    }
    let headers = request.headers();
    if is_http1 && !has_valid_framing(headers, request.version()) {
        return Some(Refusal::malformed(
            "`chunked` is the only transfer coding, once (RFC 9112 section 6.1)",
        ));
    }
    let is_too_large = declared_length(headers).is_some_and(|length| length > max_body);
    is_too_large.then_some(Refusal::new(Reason::BodyTooLarge, "Content-Length is over max_body"))
}

/// RFC 9112 section 3.2: exactly one valid Host, which HTTP/1.0 may leave out.
fn has_valid_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => is_plain_host(host.as_bytes()) || host.to_str().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    }
}

/// A name or an IPv4 address, perhaps with a port: the host of almost every request, known without the
/// parser and the copy that it makes.
fn is_plain_host(host: &[u8]) -> bool {
    let end = host.iter().position(|&byte| !IN_NAMES[usize::from(byte)]).unwrap_or(host.len());
    let (name, rest) = host.split_at(end);
    !name.is_empty() && rest.strip_prefix(b":").unwrap_or(rest).iter().all(u8::is_ascii_digit)
}

/// Whether a byte is one of names and IPv4 addresses; a table, since every request asks.
const IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'.' | b'-');
        byte += 1;
    }
    table
};

fn is_host(host: &str) -> bool {
    !host.contains('@') && host.parse::<Authority>().is_ok()
}

/// RFC 9112 section 6.1: a request body is framed by one Content-Length or by `chunked` alone. hyper
/// takes the last coding for the whole list, which is how requests are smuggled.
///
/// Where both are given, hyper does what the same section allows: it goes by `chunked`, takes the length out before
/// anybody sees it, and closes the connection after the response.
fn has_valid_framing(headers: &HeaderMap, version: Version) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            version == Version::HTTP_11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        (Some(_), Some(_)) => false,
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    fn verdict(headers: &[(&str, &str)]) -> Option<Reason> {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refuse(&request.body(Full::<bytes::Bytes>::from("a body")).unwrap(), 100)
            .map(|refusal| refusal.reason)
    }

    #[test]
    fn one_valid_host_is_required() {
        assert_eq!(verdict(&[("host", "localhost:80")]), None);
        assert_eq!(verdict(&[("host", "[::1]:80")]), None);
        assert_eq!(verdict(&[("host", "a_name")]), None);
        let bad = Some(Reason::Malformed);
        assert_eq!(verdict(&[]), bad);
        assert_eq!(verdict(&[("host", "")]), bad);
        assert_eq!(verdict(&[("host", "a"), ("host", "b")]), bad);
        assert_eq!(verdict(&[("host", "a b")]), bad);
        assert_eq!(verdict(&[("host", "user@a")]), bad);
    }

    #[test]
    fn chunked_stands_alone() {
        let with = |fields: &[(&'static str, &'static str)]| {
            let mut all = vec![("host", "a")];
            all.extend_from_slice(fields);
            verdict(&all)
        };
        assert_eq!(with(&[("transfer-encoding", "chunked")]), None);
        assert_eq!(with(&[("transfer-encoding", "Chunked")]), None);
        let bad = Some(Reason::Malformed);
        assert_eq!(with(&[("transfer-encoding", "gzip, chunked")]), bad);
        assert_eq!(with(&[("transfer-encoding", "chunked, chunked")]), bad);
        assert_eq!(with(&[("transfer-encoding", "identity")]), bad);
        assert_eq!(with(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]), bad);
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused_at_once() {
        assert_eq!(verdict(&[("host", "a"), ("content-length", "100")]), None);
        assert_eq!(verdict(&[("host", "a"), ("content-length", "101")]), Some(Reason::BodyTooLarge));
    }
}
