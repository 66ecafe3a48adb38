//! One request head, read line by line. In however many pieces a line comes, it is not searched for its end from its
//! beginning again.

use crate::conn::cause::Refusal;
use crate::conn::grammar::bytes::{TOKEN, is, printable, run, trim};
use crate::conn::grammar::is_host;
use crate::conn::http1::strict::known_fields::KnownFields;
use crate::conn::http1::strict::rules::{
    BARE_CR, BARE_LF, CODING_OF_HTTP_1_0, CONTENT_LENGTH, CONTROL_CHARACTER, FIELD_NAME, FOLDED_LINE, HOST,
    LARGE_BODY, LENGTH_AND_CODING, LONG_HEAD, LONG_REQUEST_LINE, MANY_FIELDS, NO_HOST, NOT_CHUNKED_LAST,
    REQUEST_LINE, SECOND_CODING, SECOND_HOST, SECOND_LENGTH, UNKNOWN_CODING, VERSION,
};
use crate::conn::http1::strict::{Bounds, target};

/// The longest field name that `http` takes.
const LONGEST_NAME: usize = u16::MAX as usize - 1;

/// A head that has not ended.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the unfinished line begins.
    line: usize,
    /// Up to where that line has been searched for its end.
    searched: usize,
    /// Known once the request line has ended.
    request: Option<RequestLine>,
    /// Where the first field begins.
    fields_at: usize,
    fields: usize,
    has_host: bool,
    length: Option<u64>,
    is_chunked: bool,
    has_upgrade: bool,
}

#[derive(Clone, Copy, Debug)]
struct RequestLine {
    is_http_1_1: bool,
    is_connect: bool,
}

impl RequestLine {
    /// What [`KnownFields`] say holds for it.
    fn may_be_plain(self) -> bool {
        self.is_http_1_1 && !self.is_connect
    }
}

/// A head that is whole and valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) len: usize,
    pub(super) body: Body,
    /// Its answer may end HTTP on the connection: it is a CONNECT, or has Upgrade (RFC 9110 sections 9.3.6, 7.8).
    pub(super) asks_to_leave: bool,
}

/// How a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
}

/// The lines of the part of a head that has come.
struct Lines<'a> {
    /// From the beginning of the next line on.
    rest: &'a [u8],
    /// Up to where that line has been searched for its end.
    searched: usize,
}

/// A line without its end.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// The method or field name at its beginning; perhaps empty.
    token: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The next line, once all of it has come.
    #[inline(always)]
    fn next(&mut self) -> Result<Option<Line<'a>>, Refusal> {
        if self.searched == 0
            && let Some((line, next)) = plain_line(self.rest)
        {
            self.rest = next;
            return Ok(Some(line));
        }
        let (line, next, searched) = any_line(self.rest, self.searched)?;
        (self.rest, self.searched) = (next, searched);
        Ok(line)
    }
}

/// The line at the beginning, and what follows it, if it has come and is printable ASCII, as almost all lines are.
#[inline(always)]
fn plain_line(bytes: &[u8]) -> Option<(Line<'_>, &[u8])> {
    // No line ends within a token.
    let (token, rest) = bytes.split_at_checked(run(bytes, TOKEN))?;
    let (rest, end) = rest.split_at_checked(printable(rest))?;
    let (end, next) = end.split_first_chunk()?;
    (end == b"\r\n").then_some((Line { token, rest }, next))
}

/// The line at the beginning if it has come, the beginning of the next one, and up to where that has been searched.
fn any_line(bytes: &[u8], searched: usize) -> Result<(Option<Line<'_>>, &[u8], usize), Refusal> {
    let mut at = searched;
    loop {
        at += printable(&bytes[at..]);
        match &bytes[at..] {
            [b'\r', b'\n', next @ ..] => {
                let (token, rest) = bytes[..at].split_at(run(&bytes[..at], TOKEN));
                return Ok((Some(Line { token, rest }), next, 0));
            }
            [] | [b'\r'] => return Ok((None, bytes, at)),
            // Allowed in a value; elsewhere the checks of the line find them.
            [b'\t' | 0x80.., ..] => at += 1,
            [b'\r', ..] => return Err(BARE_CR),
            [b'\n', ..] => return Err(BARE_LF),
            _ => return Err(CONTROL_CHARACTER),
        }
    }
}

impl Head {
    /// Reads on. `bytes` begin with the head, and include those of earlier calls.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
        known: &mut KnownFields,
    ) -> Result<Option<Whole>, Refusal> {
        let allowed = &bytes[..bytes.len().min(bounds.max_header_size)];
        let mut lines = Lines { rest: &allowed[self.line..], searched: self.searched };
        if self.request.is_none()
            && let Some(line) = lines.next()?
        {
            let request = request_line(line, bounds)?;
            let len = allowed.len() - lines.rest.len();
            if request.may_be_plain() {
                let known = known.begin(lines.rest);
                if known > 0 {
                    return Ok(Some(Whole { len: len + known, body: Body::Length(0), asks_to_leave: false }));
                }
            }
            (self.request, self.fields_at) = (Some(request), len);
        }
        if let Some(request) = self.request {
            while let Some(line) = lines.next()? {
                let [b':', value @ ..] = line.rest else {
                    let len = allowed.len() - lines.rest.len();
                    if !line.is_empty() {
                        return Err(line.no_field());
                    }
                    let whole = self.whole(request, len, bounds)?;
                    if request.may_be_plain() && whole.body == Body::Length(0) && !whole.asks_to_leave {
                        known.learn(&bytes[self.fields_at..len]);
                    }
                    return Ok(Some(whole));
                };
                self.fields += 1;
                if self.fields > bounds.max_headers {
                    return Err(MANY_FIELDS);
                }
                if matters(line.token) {
                    self.notable_field(line.token, value, request)?;
                }
            }
        }
        (self.line, self.searched) = (allowed.len() - lines.rest.len(), lines.searched);
        if bytes.len() > allowed.len() {
            return Err(if self.request.is_none() { LONG_REQUEST_LINE } else { LONG_HEAD });
        }
        let is_request = bytes.first().is_none_or(|&first| is(first, TOKEN));
        if is_request { Ok(None) } else { Err(REQUEST_LINE) }
    }

    /// Not inlined: most fields pass by.
    #[inline(never)]
    fn notable_field(&mut self, name: &[u8], value: &[u8], request: RequestLine) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(trim(value)),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.has_upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(trim(value)),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(trim(value), request)
            }
            0 => Err(FIELD_NAME),
            length if length > LONGEST_NAME => Err(LONG_HEAD),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.has_host, true) {
            return Err(SECOND_HOST);
        }
        if is_host(value) { Ok(()) } else { Err(HOST) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(SECOND_LENGTH);
        }
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse::<u64>().ok());
        match number.filter(|&number| is_number && number < 1 << 63) {
            Some(number) => {
                self.length = Some(number);
                Ok(())
            }
            None => Err(CONTENT_LENGTH),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8], request: RequestLine) -> Result<(), Refusal> {
        if !request.is_http_1_1 {
            return Err(CODING_OF_HTTP_1_0);
        }
        let is_chunked = |coding: &[u8]| trim(coding).eq_ignore_ascii_case(b"chunked");
        let mut codings = value.rsplit(|&byte| byte == b',');
        if !codings.next().is_some_and(is_chunked) {
            return Err(NOT_CHUNKED_LAST);
        }
        if codings.clone().any(is_chunked) || std::mem::replace(&mut self.is_chunked, true) {
            return Err(SECOND_CODING);
        }
        if codings.next().is_some() { Err(UNKNOWN_CODING) } else { Ok(()) }
    }

    fn whole(&self, request: RequestLine, len: usize, bounds: &Bounds) -> Result<Whole, Refusal> {
        let RequestLine { is_http_1_1, is_connect } = request;
        if is_http_1_1 && !self.has_host {
            return Err(NO_HOST);
        }
        let body = match (self.length, self.is_chunked) {
            (Some(_), true) => return Err(LENGTH_AND_CODING),
            (Some(length), false) if length > bounds.max_body => return Err(LARGE_BODY),
            (length, false) => Body::Length(length.unwrap_or(0)),
            (None, true) => Body::Chunked,
        };
        Ok(Whole { len, body, asks_to_leave: is_connect || (self.has_upgrade && is_http_1_1) })
    }
}

/// Whether a field name is empty, or may be one that the reader has to know. The length and the first letter decide:
/// few other names share both.
fn matters(name: &[u8]) -> bool {
    const FIRST_OF_LENGTH: [u8; 18] = *b"\0\0\0\0h\0\0u\0\0\0\0\0\0c\0\0t";
    match (name, FIRST_OF_LENGTH.get(name.len())) {
        ([], _) => true,
        ([first, ..], Some(letter)) => first | 0x20 == *letter,
        (name, None) => name.len() > LONGEST_NAME,
    }
}

impl Line<'_> {
    fn is_empty(self) -> bool {
        self.token.is_empty() && self.rest.is_empty()
    }

    /// Why it is no field.
    fn no_field(self) -> Refusal {
        let is_folded = self.token.is_empty() && matches!(self.rest, [b' ' | b'\t', ..]);
        if is_folded { FOLDED_LINE } else { FIELD_NAME }
    }
}

/// `method SP target SP version`, with exactly one space between them (RFC 9112 section 3).
#[inline(never)]
fn request_line(line: Line<'_>, bounds: &Bounds) -> Result<RequestLine, Refusal> {
    let Line { token: method @ [_, ..], rest: [b' ', rest @ ..] } = line else { return Err(REQUEST_LINE) };
    let Some((target, version)) = rest.split_last_chunk() else { return Err(VERSION) };
    let is_http_1_1 = version == b" HTTP/1.1";
    if !is_http_1_1 && version != b" HTTP/1.0" {
        return Err(VERSION);
    }
    target::judge(method, target, bounds.is_secure)?;
    Ok(RequestLine { is_http_1_1, is_connect: method == b"CONNECT" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::cause::Reason;

    const BOUNDS: Bounds = Bounds { max_header_size: 1000, max_headers: 5, max_body: 100, is_secure: false };

    /// Reads it in one piece and byte by byte, and checks that the outcome is the same.
    fn read(head: &str) -> Result<Option<Whole>, Refusal> {
        let bytes = head.as_bytes();
        let at_once = Head::default().read(bytes, &BOUNDS, &mut KnownFields::default());
        let mut dripped = Head::default();
        let mut outcome = Ok(None);
        for end in 1..=bytes.len() {
            outcome = dripped.read(&bytes[..end], &BOUNDS, &mut KnownFields::default());
            if outcome != Ok(None) {
                break;
            }
        }
        assert_eq!(outcome, at_once, "{head:?}");
        at_once
    }

    fn get(fields: &str) -> Result<Option<Whole>, Refusal> {
        read(&format!("GET / HTTP/1.1\r\n{fields}\r\n"))
    }

    fn whole(fields: &str) -> Whole {
        get(fields).expect("it is valid").expect("it is whole")
    }

    #[test]
    fn a_head_says_where_it_ends_and_how_its_body_does() {
        let plain = Whole { len: 27, body: Body::Length(0), asks_to_leave: false };
        assert_eq!(get("Host: a\r\n"), Ok(Some(plain)));
        assert_eq!(whole("Host: a\r\nContent-Length: 5\r\n").body, Body::Length(5));
        assert_eq!(whole("host:a\r\ntransfer-encoding:\tChunked \r\n").body, Body::Chunked);
        assert!(whole("Host: a\r\nUpgrade: h2c\r\n").asks_to_leave);
        assert!(read("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap().asks_to_leave);
        assert!(!read("GET / HTTP/1.0\r\nUpgrade: a\r\n\r\n").unwrap().unwrap().asks_to_leave);
        assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(None));
    }

    #[test]
    fn a_head_does_not_include_what_follows_it() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\0\n";
        assert_eq!(
            Head::default().read(bytes, &BOUNDS, &mut KnownFields::default()).unwrap().unwrap().len,
            27
        );
    }

    #[test]
    fn known_fields_are_whole_heads_without_a_body() {
        let mut known = KnownFields::default();
        let read =
            |head: &str, known: &mut KnownFields| Head::default().read(head.as_bytes(), &BOUNDS, known);
        let plain = |len| Ok(Some(Whole { len, body: Body::Length(0), asks_to_leave: false }));
        for _ in 0..2 {
            assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", &mut known), plain(33));
        }
        assert_eq!(known.bytes, b"Host: a\r\nX: y\r\n\r\n");
        assert_eq!(read("HEAD /b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n\0", &mut known), plain(35));
        assert_eq!(read("GET / HTTP/1.0\r\nHost: a\r\nX: y\r\n\r\n", &mut known), plain(33));
        assert!(
            read("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", &mut known)
                .unwrap()
                .unwrap()
                .asks_to_leave
        );
        assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n", &mut known), Ok(None));
        assert_eq!(
            read("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nHost: a\r\n\r\n", &mut known),
            Err(SECOND_HOST)
        );
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", "x".repeat(970));
        assert_eq!(read(&long, &mut known), Err(LONG_HEAD));
    }

    #[test]
    fn request_lines() {
        let of = |line: &str| read(&format!("{line}\r\nHost: a\r\n\r\n")).map(|whole| whole.is_some());
        assert_eq!(of("GET / HTTP/1.1"), Ok(true));
        assert_eq!(of("brew!#$%&'*+-.^_`|~ / HTTP/1.0"), Ok(true));
        for line in ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET / http/1.1", "GET /", "GET ", "GET / HTTP/1.1 "]
        {
            assert_eq!(of(line), Err(VERSION), "{line}");
        }
        for line in [" GET / HTTP/1.1", "GET\t/ HTTP/1.1", "GET", "(GET) / HTTP/1.1", "G\u{e9}T / HTTP/1.1"] {
            assert_eq!(of(line), Err(REQUEST_LINE), "{line}");
        }
        for line in ["GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / a HTTP/1.1", "GET /\t HTTP/1.1"] {
            assert_eq!(of(line).map_err(|refusal| refusal.reason), Err(Reason::Malformed), "{line}");
        }
    }

    #[test]
    fn bytes_that_can_begin_no_request_are_refused_at_once() {
        for bytes in ["\u{16}\u{3}\u{1}", "\u{e9}", " ", "\0"] {
            assert!(
                Head::default().read(bytes.as_bytes(), &BOUNDS, &mut KnownFields::default()).is_err(),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn line_ends() {
        assert_eq!(get("Host: a\n"), Err(BARE_LF));
        assert_eq!(get("Host: a\rb\r\n"), Err(BARE_CR));
        assert_eq!(get("Host: a\r\r\n"), Err(BARE_CR));
        assert_eq!(get("Host: a\r\nX: a\0b\r\n"), Err(CONTROL_CHARACTER));
        assert_eq!(get("Host: a\r\nX: a\u{7f}b\r\n"), Err(CONTROL_CHARACTER));
        assert_eq!(get("Host: a\r\nX: a\tb \u{e9}\r\n").map(|whole| whole.is_some()), Ok(true));
    }

    #[test]
    fn fields() {
        assert_eq!(get("Host: a\r\n b\r\n"), Err(FOLDED_LINE));
        assert_eq!(get("\tHost: a\r\n"), Err(FOLDED_LINE));
        assert_eq!(get("Host : a\r\n"), Err(FIELD_NAME));
        assert_eq!(get(": a\r\n"), Err(FIELD_NAME));
        assert_eq!(get("Host\r\n"), Err(FIELD_NAME));
        assert_eq!(get("H\u{e9}st: a\r\n"), Err(FIELD_NAME));
        assert_eq!(get("X:\r\n"), Err(NO_HOST));
        assert_eq!(get("Host: a\r\nhost: a\r\n"), Err(SECOND_HOST));
        assert_eq!(get("Host:\r\n"), Err(HOST));
        assert_eq!(read("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), Err(HOST));
        assert!(read("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn sizes_and_counts() {
        assert_eq!(read(&format!("GET /{} HTTP/1.1", "x".repeat(1000))), Err(LONG_REQUEST_LINE));
        assert_eq!(get(&format!("X: {}", "x".repeat(1000))), Err(LONG_HEAD));
        assert_eq!(get(&"X: 1\r\n".repeat(6)), Err(MANY_FIELDS));
        assert_eq!(
            get(&format!("Host: a\r\n{}", "X: 1\r\n".repeat(4))).map(|whole| whole.is_some()),
            Ok(true)
        );
    }

    #[test]
    fn how_a_body_ends() {
        let lengths =
            ["-1", "+5", "0x5", "", "5, 5", "5 5", "9223372036854775808", "99999999999999999999999"];
        for length in lengths {
            let fields = format!("Host: a\r\nContent-Length: {length}\r\n");
            assert_eq!(get(&fields), Err(CONTENT_LENGTH), "{length}");
        }
        assert_eq!(whole("Host: a\r\nContent-Length: 0005\r\n").body, Body::Length(5));
        assert_eq!(get("Host: a\r\nContent-Length: 101\r\n"), Err(LARGE_BODY));
        assert_eq!(get("Content-Length: 5\r\nContent-Length: 5\r\n"), Err(SECOND_LENGTH));
        let both = [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
        ];
        for both in both {
            assert_eq!(get(&format!("Host: a\r\n{both}\r\n")), Err(LENGTH_AND_CODING), "{both}");
        }
        let codings = [
            ("gzip, chunked", UNKNOWN_CODING),
            ("chunked, chunked", SECOND_CODING),
            ("chunked\r\nTransfer-Encoding: chunked", SECOND_CODING),
            ("chunked, gzip", NOT_CHUNKED_LAST),
            ("identity", NOT_CHUNKED_LAST),
            ("xchunked", NOT_CHUNKED_LAST),
            ("chunked;q=1", NOT_CHUNKED_LAST),
            ("", NOT_CHUNKED_LAST),
        ];
        for (coding, refusal) in codings {
            assert_eq!(get(&format!("Host: a\r\nTransfer-Encoding: {coding}\r\n")), Err(refusal), "{coding}");
        }
        let old = read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old, Err(CODING_OF_HTTP_1_0));
    }
}
