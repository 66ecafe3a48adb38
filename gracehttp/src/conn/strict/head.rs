//! One request head, read line by line. It reads no byte twice, however many pieces the head comes in.

use crate::conn::answer::Refusal;
use crate::conn::strict::Bounds;
use crate::conn::strict::bytes::{TOKEN, is, next_unprintable, run, trim};
use crate::conn::strict::rules::{
    BARE_CR, BARE_LF, CODING_OF_HTTP_1_0, CONTENT_LENGTH, CONTROL_CHARACTER, FIELD_NAME, FOLDED_LINE, HOST,
    LARGE_BODY, LENGTH_AND_CODING, LONG_HEAD, LONG_REQUEST_LINE, MANY_FIELDS, NO_HOST, NOT_CHUNKED_LAST,
    REQUEST_LINE, SECOND_CODING, SECOND_HOST, SECOND_LENGTH, UNKNOWN_CODING, VERSION,
};
use crate::conn::strict::target;

/// The longest field name that `http` takes.
const LONGEST_NAME: usize = u16::MAX as usize - 1;

/// A head that has not ended.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the unfinished line begins.
    line: usize,
    /// The length of the method or field name at its beginning, as far as that has come.
    token: usize,
    /// Up to where that line has been searched for its end.
    searched: usize,
    /// Known once the request line has ended.
    request: Option<RequestLine>,
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

impl Head {
    /// Reads on. `bytes` begin with the head, and include those of earlier calls.
    pub(super) fn read(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<Whole>, Refusal> {
        loop {
            // No line ends within a token.
            self.token += run(&bytes[self.line + self.token..], TOKEN);
            self.searched = self.searched.max(self.line + self.token);
            let Some(end) = self.line_end(bytes)? else {
                self.check_length(bytes.len(), bounds)?;
                let is_request = bytes.first().is_none_or(|&first| is(first, TOKEN));
                return if is_request { Ok(None) } else { Err(REQUEST_LINE) };
            };
            let line = bytes[self.line..end].split_at(self.token);
            let next = end + 2;
            self.check_length(next, bounds)?;
            match self.request {
                None => self.request = Some(request_line(line, bounds)?),
                Some(request) if end == self.line => return self.whole(request, next, bounds).map(Some),
                Some(request) => self.field(line, request, bounds)?,
            }
            (self.line, self.token, self.searched) = (next, 0, next);
        }
    }

    /// Where the unfinished line ends.
    fn line_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(at) = next_unprintable(bytes, self.searched) {
            match &bytes[at..] {
                [b'\r', b'\n', ..] => return Ok(Some(at)),
                // Allowed in a value; elsewhere the checks of the line find them.
                [b'\t' | 0x80.., ..] => self.searched = at + 1,
                [b'\r'] => {
                    self.searched = at;
                    return Ok(None);
                }
                [b'\r', ..] => return Err(BARE_CR),
                [b'\n', ..] => return Err(BARE_LF),
                _ => return Err(CONTROL_CHARACTER),
            }
        }
        self.searched = bytes.len();
        Ok(None)
    }

    fn check_length(&self, length: usize, bounds: &Bounds) -> Result<(), Refusal> {
        match self.request {
            _ if length <= bounds.max_header_size => Ok(()),
            None => Err(LONG_REQUEST_LINE),
            Some(_) => Err(LONG_HEAD),
        }
    }

    fn field(
        &mut self,
        (name, rest): (&[u8], &[u8]),
        request: RequestLine,
        bounds: &Bounds,
    ) -> Result<(), Refusal> {
        let value = match rest {
            [b':', value @ ..] => value,
            [b' ' | b'\t', ..] if name.is_empty() => return Err(FOLDED_LINE),
            _ => return Err(FIELD_NAME),
        };
        self.fields += 1;
        if self.fields > bounds.max_headers {
            return Err(MANY_FIELDS);
        }
        let &[first, ..] = name else { return Err(FIELD_NAME) };
        // By length and first letter before all others: few other names share them with one of these.
        match (name.len(), first | 0x20) {
            (4, b'h') if name.eq_ignore_ascii_case(b"host") => self.host(trim(value)),
            (7, b'u') if name.eq_ignore_ascii_case(b"upgrade") => {
                self.has_upgrade = true;
                Ok(())
            }
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => self.content_length(trim(value)),
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(trim(value), request)
            }
            (length, _) if length > LONGEST_NAME => Err(LONG_HEAD),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.has_host, true) {
            return Err(SECOND_HOST);
        }
        if target::is_host(value) { Ok(()) } else { Err(HOST) }
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

/// `method SP target SP version`, with exactly one space between them (RFC 9112 section 3).
fn request_line((method, rest): (&[u8], &[u8]), bounds: &Bounds) -> Result<RequestLine, Refusal> {
    let [b' ', rest @ ..] = rest else { return Err(REQUEST_LINE) };
    if method.is_empty() {
        return Err(REQUEST_LINE);
    }
    let Some((target, version)) = rest.split_last_chunk::<9>() else { return Err(VERSION) };
    let is_http_1_1 = match version {
        b" HTTP/1.1" => true,
        b" HTTP/1.0" => false,
        _ => return Err(VERSION),
    };
    target::judge(method, target, bounds.is_secure)?;
    Ok(RequestLine { is_http_1_1, is_connect: method == b"CONNECT" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::answer::Reason;

    const BOUNDS: Bounds = Bounds { max_header_size: 1000, max_headers: 5, max_body: 100, is_secure: false };

    /// Reads it in one piece and byte by byte, and checks that the outcome is the same.
    fn read(head: &str) -> Result<Option<Whole>, Refusal> {
        let bytes = head.as_bytes();
        let at_once = Head::default().read(bytes, &BOUNDS);
        let mut dripped = Head::default();
        let mut outcome = Ok(None);
        for end in 1..=bytes.len() {
            outcome = dripped.read(&bytes[..end], &BOUNDS);
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
        assert_eq!(Head::default().read(bytes, &BOUNDS).unwrap().unwrap().len, 27);
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
            assert!(Head::default().read(bytes.as_bytes(), &BOUNDS).is_err(), "{bytes:?}");
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
