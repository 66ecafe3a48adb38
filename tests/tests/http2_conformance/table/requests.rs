//! Requests that are malformed or too large.

use tests::frames::Frame;

use super::*;
use crate::case::Expect::{Reset, Status};
use crate::case::Then::Open;

/// Malformed requests (section 8.1.1) and requests over a limit: the fault belongs to one stream, not to the
/// connection.
pub(super) fn requests() -> Vec<Case> {
    let reset = |name, section, fields: &[(&str, &str)]| {
        row(name, section, asks(fields), Reset(1, PROTOCOL_ERROR), Open)
    };
    let status = |name, section, status, fields: &[(&str, &str)]| {
        row(name, section, asks(fields), Status(1, status), Open)
    };
    let one_more = |field: (&'static str, &'static str)| [&GET[..], &[field]].concat();
    let long = |length: usize| -> &'static str { Box::leak("v".repeat(length).into_boxed_str()) };
    let many: Vec<_> = (0..21).map(|_| ("x", "y")).collect();
    let in_frames = |fields: &[(&str, &str)]| Frame::head_in_frames(1, fields);
    vec![
        status("Host beside another :authority", "8.3.1", 400, &but(&[("host", "evil.example")])),
        status("two Hosts", "8.3.1", 400, &but(&[("host", "localhost"), ("host", "localhost")])),
        status("an empty Host", "8.3.1", 400, &but(&[("host", "")])),
        status("a user in :authority", "8.3.1", 400, &but(&[(":authority", "user@localhost")])),
        status("neither :authority nor Host", "RFC 9110 7.2", 400, &without(":authority")),
        reset("an empty :authority", "8.3.1", &but(&[(":authority", "")])),
        reset("no :method", "8.3.1", &without(":method")),
        reset("no :scheme", "8.3.1", &without(":scheme")),
        reset("no :path", "8.3.1", &without(":path")),
        reset("an empty :path", "8.3.1", &but(&[(":path", "")])),
        reset("two :path", "8.3.1", &one_more((":path", "/"))),
        reset(":status in a request", "8.3", &but(&[(":status", "200")])),
        reset(
            ":protocol without extended CONNECT",
            "RFC 8441 4",
            &but(&[(":method", "CONNECT"), (":protocol", "websocket")]),
        ),
        reset(
            "a pseudo-header field after others",
            "8.3",
            &[&without(":path")[..], &[("x", "y"), (":path", "/")]].concat(),
        ),
        row(
            "trailers without the end of the stream",
            "8.1",
            posts(&[], &[data(0, b"a"), Frame::head(4, 1, &[("x", "y")])]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        reset("Connection", "8.2.2", &but(&[("connection", "keep-alive")])),
        reset("Keep-Alive", "8.2.2", &but(&[("keep-alive", "timeout=5")])),
        reset("Proxy-Connection", "8.2.2", &but(&[("proxy-connection", "close")])),
        reset("Transfer-Encoding", "8.2.2", &but(&[("transfer-encoding", "chunked")])),
        reset("Upgrade", "8.2.2", &but(&[("upgrade", "h2c")])),
        reset("TE other than trailers", "8.2.2", &but(&[("te", "gzip")])),
        status("white space before a value", "8.2.1", 400, &but(&[("x", " y")])),
        status("white space behind a value", "8.2.1", 400, &but(&[("x", "y\t")])),
        status("`*` without OPTIONS", "8.3.1", 400, &but(&[(":path", "*")])),
        reset("a :path without its slash", "8.3.1", &but(&[(":path", "ping")])),
        reset("white space in :path", "8.3.1", &but(&[(":path", "/a b")])),
        status("bytes in :path that are no ASCII", "8.3.1", 400, &but(&[(":path", "/café")])),
        status("another scheme", "RFC 9110 7.4", 421, &but(&[(":scheme", "ftp")])),
        reset("CONNECT with :path", "8.5", &[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]),
        reset(
            "CONNECT with :scheme",
            "8.5",
            &[(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "https")],
        ),
        status("CONNECT without :authority", "8.5", 400, &[(":method", "CONNECT")]),
        row(
            "more than Content-Length",
            "8.1.1",
            posts(&[("content-length", "1")], &[data(1, b"ab")]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        row(
            "less than Content-Length",
            "8.1.1",
            posts(&[("content-length", "3")], &[data(1, b"ab")]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        reset("Content-Length without a body", "8.1.1", &but(&[("content-length", "3")])),
        reset("Content-Length that is no number", "8.1.1", &but(&[("content-length", "+0")])),
        row(
            "two Content-Lengths",
            "8.1.1",
            posts(&[("content-length", "1"), ("content-length", "2")], &[]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        row(
            "Content-Length over max_body",
            "RFC 9110 15.5.14",
            posts(&[("content-length", "1001")], &[]),
            Status(1, 413),
            Open,
        ),
        status("more fields than max_headers", "RFC 6585 5", 431, &[&GET[..], &many].concat()),
        row(
            "a field over max_header_size",
            "RFC 6585 5",
            in_frames(&but(&[("x", long(66_000))])),
            Status(1, 431),
            Open,
        ),
        row(
            "a head far over max_header_size",
            "10.5.1",
            in_frames(&but(&[("x", long(150_000))])),
            Status(1, 431),
            Open,
        ),
        row(
            "a request after a malformed one",
            "8.1.1",
            [&asks(&without(":method"))[..], &[Frame::get(3, "/ping")]].concat(),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
    ]
}
