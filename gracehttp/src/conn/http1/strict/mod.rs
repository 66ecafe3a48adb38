//! A strict reader of HTTP/1 (RFC 9112) in front of hyper: it refuses invalid heads and invalid framing of bodies.
//!
//! It does no I/O: it gets the bytes of a connection in pieces of any size, and says how many of them may be passed
//! on. It reads the bytes of heads and of chunk framing once each, and skips the content of bodies.

#[cfg(test)]
mod agreement;
mod chunks;
mod head;
mod known_fields;
mod rules;
mod target;

use crate::conn::cause::Refusal;
use crate::conn::http1::strict::chunks::Chunks;
use crate::conn::http1::strict::head::{Body, Head, Whole};
use crate::conn::http1::strict::known_fields::KnownFields;
use crate::conn::http1::strict::rules::{BARE_CR, BARE_LF};
use crate::server::ServerOptions;

/// What a server allows.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    max_header_size: usize,
    max_headers: usize,
    max_body: u64,
    /// Its scheme is `https`.
    is_secure: bool,
}

impl Bounds {
    pub(crate) fn new(options: &ServerOptions, is_secure: bool) -> Self {
        let &ServerOptions { max_header_size, max_headers, max_body, .. } = options;
        Self { max_header_size, max_headers, max_body, is_secure }
    }
}

/// Reads the requests of one connection.
#[derive(Debug)]
pub(crate) struct Reader {
    bounds: Bounds,
    place: Place,
    known: KnownFields,
    /// How many heads have passed.
    heads: u64,
    /// How many bytes of the last request's body have passed, without its framing.
    body: u64,
    /// The last request asks to leave HTTP, and its answer is not known yet.
    asks_to_leave: bool,
}

/// What the next byte is part of.
#[derive(Debug)]
enum Place {
    /// Between two requests: empty lines are ignored (RFC 9112 section 2.2).
    Between,
    /// After a CR that was kept: its LF is still to come.
    EmptyLine,
    Head(Head),
    /// A body of which so many bytes are still to come.
    Length(u64),
    Chunks(Chunks),
    /// The answer to the last request decides: the next request, or another protocol.
    Undecided,
    /// Another protocol.
    Beyond,
    Refused {
        refusal: Refusal,
        in_body: bool,
    },
}

/// What to do with the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// How many may be passed on.
    pub(crate) passes: usize,
    /// From here on, keep them, and read them again with those that follow. Ignore the bytes between the two.
    pub(crate) keep_from: usize,
}

impl Reader {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            place: Place::Between,
            known: KnownFields::default(),
            heads: 0,
            body: 0,
            asks_to_leave: false,
        }
    }

    /// Reads on: `bytes` are the kept ones, followed by new ones.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Read {
        let (mut at, mut passes) = (0, 0);
        loop {
            match &mut self.place {
                Place::Between | Place::EmptyLine => match next_line(&bytes[at..]) {
                    Ok(NextLine::Ignored(len)) => {
                        at += len;
                        self.place = if at < bytes.len() { Place::EmptyLine } else { Place::Between };
                        return Read { passes, keep_from: at };
                    }
                    Ok(NextLine::Begins(len)) => {
                        at += len;
                        // Most heads are whole: only an unfinished one is stored.
                        let mut head = Head::default();
                        match head.read(&bytes[at..], &self.bounds, &mut self.known) {
                            Ok(None) => {
                                self.place = Place::Head(head);
                                return Read { passes, keep_from: at };
                            }
                            Ok(Some(whole)) => {
                                at += whole.len;
                                passes = at;
                                self.enter_body(&whole);
                            }
                            Err(refusal) => self.refuse(refusal, false),
                        }
                    }
                    Err(refusal) => self.refuse(refusal, false),
                },
                Place::Head(head) => match head.read(&bytes[at..], &self.bounds, &mut self.known) {
                    Ok(None) => return Read { passes, keep_from: at },
                    Ok(Some(whole)) => {
                        at += whole.len;
                        passes = at;
                        self.enter_body(&whole);
                    }
                    Err(refusal) => self.refuse(refusal, false),
                },
                Place::Length(left) => {
                    let rest = (bytes.len() - at) as u64;
                    let taken = rest.min(*left);
                    at += taken as usize;
                    passes = at;
                    *left -= taken;
                    self.body += taken;
                    if *left > 0 {
                        return Read { passes, keep_from: at };
                    }
                    self.leave_body();
                }
                Place::Chunks(chunks) => match chunks.read(&bytes[at..]) {
                    Ok(progress) => {
                        at += progress.len;
                        passes = at;
                        self.body = chunks.received();
                        if !progress.is_complete {
                            return Read { passes, keep_from: at };
                        }
                        self.leave_body();
                    }
                    Err(refusal) => self.refuse(refusal, true),
                },
                Place::Undecided => return Read { passes, keep_from: at },
                Place::Beyond => return Read { passes: bytes.len(), keep_from: bytes.len() },
                // The following bytes may be something else than a request.
                Place::Refused { .. } => return Read { passes, keep_from: bytes.len() },
            }
        }
    }

    fn enter_body(&mut self, head: &Whole) {
        self.heads += 1;
        self.body = 0;
        self.asks_to_leave = head.asks_to_leave;
        match head.body {
            Body::Length(0) => self.leave_body(),
            Body::Length(length) => self.place = Place::Length(length),
            Body::Chunked => self.place = Place::Chunks(Chunks::new(self.bounds.max_headers)),
        }
    }

    fn leave_body(&mut self) {
        self.place = if self.asks_to_leave { Place::Undecided } else { Place::Between };
    }

    fn refuse(&mut self, refusal: Refusal, in_body: bool) {
        self.place = Place::Refused { refusal, in_body };
    }

    /// How many heads have passed.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// How many bytes of the last request's body have passed, without its framing.
    pub(crate) fn body(&self) -> u64 {
        self.body
    }

    /// The last head asks to leave HTTP: the bytes after its request are kept until its answer is known.
    pub(crate) fn asks_to_leave(&self) -> bool {
        self.asks_to_leave
    }

    /// The answer is known, and HTTP goes on.
    pub(crate) fn stay(&mut self) {
        self.asks_to_leave = false;
        if matches!(self.place, Place::Undecided) {
            self.place = Place::Between;
        }
    }

    /// The answer is known, and ends HTTP: all further bytes pass.
    pub(crate) fn leave(&mut self) {
        self.asks_to_leave = false;
        self.place = Place::Beyond;
    }

    /// A head has begun and not ended, or an empty line before it.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(self.place, Place::Head(_) | Place::EmptyLine)
    }

    /// A body has begun and not ended.
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.place, Place::Length(_) | Place::Chunks(_))
    }

    /// Why it reads no further.
    pub(crate) fn refusal(&self) -> Option<Refused> {
        match self.place {
            Place::Refused { refusal, in_body: false } => Some(Refused::Head(refusal)),
            Place::Refused { refusal, in_body: true } => Some(Refused::Body(refusal)),
            _ => None,
        }
    }
}

/// What was refused: the next request, or the body of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Head(Refusal),
    Body(Refusal),
}

/// Reads these bytes so many times and returns how many heads pass, for the benchmark `heads`.
#[cfg(feature = "test-kit")]
pub(crate) fn read_heads(bytes: &[u8], times: u64) -> u64 {
    let mut reader = Reader::new(Bounds::new(&ServerOptions::new("heads"), false));
    for _ in 0..times {
        reader.read(std::hint::black_box(bytes));
    }
    reader.heads()
}

enum NextLine {
    /// So many bytes are empty lines. Keep the rest: nothing, or a CR whose LF has not come yet.
    Ignored(usize),
    /// A request begins after so many bytes.
    Begins(usize),
}

fn next_line(bytes: &[u8]) -> Result<NextLine, Refusal> {
    let mut rest = bytes;
    while let [b'\r', b'\n', next @ ..] = rest {
        rest = next;
    }
    let empty = bytes.len() - rest.len();
    match rest {
        [] | [b'\r'] => Ok(NextLine::Ignored(empty)),
        [b'\r', ..] => Err(BARE_CR),
        [b'\n', ..] => Err(BARE_LF),
        _ => Ok(NextLine::Begins(empty)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        Reader::new(Bounds { max_header_size: 1000, max_headers: 10, max_body: 100, is_secure: false })
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn post(body: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Reads these bytes in pieces of this size: returns what passes, and how many are kept in the end.
    fn passed(reader: &mut Reader, bytes: &[u8], piece: usize) -> (String, usize) {
        let (mut passed, mut kept) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            kept.extend_from_slice(piece);
            let read = reader.read(&kept);
            passed.extend_from_slice(&kept[..read.passes]);
            kept.drain(..read.keep_from);
        }
        (String::from_utf8(passed).unwrap(), kept.len())
    }

    fn all_pieces(bytes: &str, mut check: impl FnMut(&mut Reader, (String, usize))) {
        for piece in 1..=bytes.len() {
            let mut reader = reader();
            let outcome = passed(&mut reader, bytes.as_bytes(), piece);
            check(&mut reader, outcome);
        }
    }

    #[test]
    fn whole_requests_pass_and_part_of_a_head_is_kept() {
        let bytes = format!("{GET}{}{GET}GET /x", post("hello"));
        all_pieces(&bytes, |reader, (passed, kept)| {
            assert_eq!(passed, bytes.strip_suffix("GET /x").unwrap());
            assert_eq!((kept, reader.heads()), (6, 3));
            assert!(reader.is_in_head() && !reader.is_in_body());
        });
    }

    #[test]
    fn a_body_passes_as_it_comes() {
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
        let counted = post("hello");
        for bytes in [chunked, &counted[..counted.len() - 2]] {
            all_pieces(bytes, |reader, outcome| {
                assert_eq!(outcome, (bytes.to_owned(), 0));
                assert!(reader.is_in_body());
            });
        }
    }

    #[test]
    fn a16_empty_lines_between_requests_are_ignored() {
        let bytes = format!("{}\r\n\r\n", post("hello"));
        all_pieces(&bytes, |reader, (passed, kept)| {
            assert_eq!((passed.trim_end(), kept), (bytes.trim_end(), 0));
            assert!(!reader.is_in_head());
        });
        let bytes = format!("\r\n{GET}\r\n\r\n{GET}\r");
        all_pieces(&bytes, |reader, (passed, kept)| {
            assert_eq!((passed.matches("GET").count(), kept), (2, 1));
            assert!(reader.is_in_head());
        });
    }

    #[test]
    fn a14_a_valid_request_passes_and_invalid_bytes_after_it_are_refused() {
        for bad in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0", "\n", "\rx", "GET / HTTP/1.1\r\n\r\n"] {
            let bytes = format!("{GET}{bad}{GET}");
            all_pieces(&bytes, |reader, (passed, kept)| {
                assert_eq!((passed.as_str(), kept), (GET, 0), "{bad:?}");
                assert!(matches!(reader.refusal(), Some(Refused::Head(_))), "{bad:?}");
            });
        }
    }

    #[test]
    fn a_body_that_is_malformed_is_refused_as_such() {
        let bytes =
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\nGET /x HTTP/1.1\r\n\r\n";
        all_pieces(bytes, |reader, (passed, _)| {
            assert!(!passed.contains("GET"), "{passed:?}");
            assert!(matches!(reader.refusal(), Some(Refused::Body(_))));
        });
    }

    #[test]
    fn a1_nothing_passes_beyond_a_request_that_asks_to_leave_until_it_is_answered() {
        let asks = "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi";
        let bytes = format!("{asks}{GET}");
        all_pieces(&bytes, |reader, (passed, kept)| {
            assert_eq!((passed.as_str(), kept), (asks, GET.len()));
            assert!(reader.asks_to_leave());
            reader.stay();
            assert_eq!(reader.read(GET.as_bytes()).passes, GET.len());
        });
        let bytes = format!("{asks}\0\n");
        all_pieces(&bytes, |reader, (passed, kept)| {
            assert_eq!((passed.as_str(), kept), (asks, 2));
            reader.leave();
            assert_eq!(reader.read(b"\0\n").passes, 2, "another protocol");
        });
    }

    #[test]
    fn an_answer_may_come_before_the_end_of_the_body() {
        let mut reader = reader();
        let asks = "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nh";
        passed(&mut reader, asks.as_bytes(), asks.len());
        reader.stay();
        let rest = format!("i{GET}");
        assert_eq!(reader.read(rest.as_bytes()).passes, rest.len());
    }
}
