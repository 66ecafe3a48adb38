//! The framing of a chunked body (RFC 9112 section 7.1).

use crate::conn::cause::Refusal;
use crate::conn::grammar::bytes::{TOKEN, is};
use crate::conn::http1::strict::rules::{
    CHUNK_END, CHUNK_EXTENSION, CHUNK_SIZE, LONG_EXTENSIONS, LONG_TRAILERS, TRAILER,
};

/// How many digits a size may have: so many fit in 64 bits.
const MOST_DIGITS: u8 = 16;

/// How many bytes the extensions of one body may have. hyper's limit is twice as large.
const MOST_EXTENSION_BYTES: u16 = 8 << 10;

/// How many bytes the trailers may have. hyper's limit is twice as large.
const MOST_TRAILER_BYTES: u16 = 8 << 10;

/// A chunked body that has not ended.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Of the current chunk: while its size is read, the digits so far; then the bytes of its data that have not come.
    left: u64,
    /// How much data has come, of all chunks.
    data: u64,
    digits: u8,
    extension_bytes: u16,
    trailer_bytes: u16,
    trailers: u16,
    max_trailers: u16,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    /// White space after a size or an extension: only another extension may follow.
    BeforeSemicolon,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    /// After a backslash in a quoted value.
    Escaped,
    AfterQuoted,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line of the trailer section.
    TrailerLine,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

/// How far a read got.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) len: usize,
    pub(super) is_complete: bool,
}

impl Chunks {
    pub(super) fn new(max_headers: usize) -> Self {
        Self {
            place: Place::Size,
            left: 0,
            data: 0,
            digits: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailers: 0,
            max_trailers: u16::try_from(max_headers).unwrap_or(u16::MAX),
        }
    }

    /// Reads on from where the last read ended, up to the end of the body or of `bytes`.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if self.place == Place::Data {
                let rest = (bytes.len() - at) as u64;
                let taken = rest.min(self.left);
                self.left -= taken;
                self.data += taken;
                at += taken as usize;
                if self.left == 0 {
                    self.place = Place::DataCr;
                }
                continue;
            }
            let is_last = self.place == Place::LastLf;
            self.place = self.step(bytes[at])?;
            at += 1;
            if is_last {
                return Ok(Progress { len: at, is_complete: true });
            }
        }
        Ok(Progress { len: at, is_complete: false })
    }

    /// How many bytes of the body have come, without its framing.
    pub(super) fn received(&self) -> u64 {
        self.data
    }

    fn step(&mut self, byte: u8) -> Result<Place, Refusal> {
        match self.place {
            Place::Size => self.size(byte),
            Place::SizeLf if byte == b'\n' => Ok(self.data()),
            Place::SizeLf => Err(CHUNK_SIZE),
            // `read` takes its bytes all at once.
            Place::Data => Ok(Place::Data),
            Place::DataCr if byte == b'\r' => Ok(Place::DataLf),
            Place::DataLf if byte == b'\n' => Ok(Place::Size),
            Place::DataCr | Place::DataLf => Err(CHUNK_END),
            Place::TrailerLine
            | Place::TrailerName
            | Place::TrailerValue
            | Place::TrailerLf
            | Place::LastLf => self.trailer(byte),
            _ => self.extension(byte),
        }
    }

    fn size(&mut self, byte: u8) -> Result<Place, Refusal> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.digits == MOST_DIGITS {
                return Err(CHUNK_SIZE);
            }
            self.digits += 1;
            self.left = self.left << 4 | u64::from(digit);
            return Ok(Place::Size);
        }
        match byte {
            _ if self.digits == 0 => Err(CHUNK_SIZE),
            b'\r' => Ok(Place::SizeLf),
            b';' => Ok(Place::BeforeName),
            b' ' | b'\t' => Ok(Place::BeforeSemicolon),
            _ => Err(CHUNK_SIZE),
        }
    }

    /// The size line has ended.
    fn data(&mut self) -> Place {
        self.digits = 0;
        if self.left == 0 { Place::TrailerLine } else { Place::Data }
    }

    /// RFC 9112 section 7.1.1, with the bad white space that a recipient has to accept.
    fn extension(&mut self, byte: u8) -> Result<Place, Refusal> {
        self.extension_bytes += 1;
        if self.extension_bytes > MOST_EXTENSION_BYTES {
            return Err(LONG_EXTENSIONS);
        }
        let is_space = matches!(byte, b' ' | b'\t');
        match (self.place, byte) {
            (Place::BeforeSemicolon | Place::BeforeName | Place::AfterName | Place::BeforeValue, _)
                if is_space =>
            {
                Ok(self.place)
            }
            (Place::BeforeSemicolon | Place::AfterName | Place::AfterQuoted, b';') => Ok(Place::BeforeName),
            (Place::Name | Place::Value, b';') => Ok(Place::BeforeName),
            (Place::Name | Place::AfterName, b'=') => Ok(Place::BeforeValue),
            (Place::Name | Place::Value | Place::AfterQuoted, b'\r') => Ok(Place::SizeLf),
            (Place::Name, _) if is_space => Ok(Place::AfterName),
            (Place::Value | Place::AfterQuoted, _) if is_space => Ok(Place::BeforeSemicolon),
            (Place::BeforeName | Place::Name, _) if is(byte, TOKEN) => Ok(Place::Name),
            (Place::BeforeValue | Place::Value, _) if is(byte, TOKEN) => Ok(Place::Value),
            (Place::BeforeValue, b'"') => Ok(Place::Quoted),
            (Place::Quoted, b'"') => Ok(Place::AfterQuoted),
            (Place::Quoted, b'\\') => Ok(Place::Escaped),
            (Place::Quoted | Place::Escaped, _) if is_text(byte) => Ok(Place::Quoted),
            _ => Err(CHUNK_EXTENSION),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<Place, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MOST_TRAILER_BYTES {
            return Err(LONG_TRAILERS);
        }
        match (self.place, byte) {
            (Place::TrailerLine, b'\r') => Ok(Place::LastLf),
            (Place::TrailerLine, _) if is(byte, TOKEN) => {
                self.trailers += 1;
                if self.trailers > self.max_trailers { Err(LONG_TRAILERS) } else { Ok(Place::TrailerName) }
            }
            (Place::TrailerName, b':') => Ok(Place::TrailerValue),
            (Place::TrailerName, _) if is(byte, TOKEN) => Ok(Place::TrailerName),
            (Place::TrailerValue, b'\r') => Ok(Place::TrailerLf),
            (Place::TrailerValue, _) if is_text(byte) => Ok(Place::TrailerValue),
            (Place::TrailerLf | Place::LastLf, b'\n') => Ok(Place::TrailerLine),
            _ => Err(TRAILER),
        }
    }
}

/// A byte of a value: no control character but the tab (RFC 9110 section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads it in one piece and byte by byte, and checks that the outcome is the same.
    fn read(body: &str) -> Result<Progress, Refusal> {
        let bytes = body.as_bytes();
        let at_once = Chunks::new(5).read(bytes);
        let mut dripped = Chunks::new(5);
        let mut outcome = Ok(Progress { len: 0, is_complete: false });
        for (at, byte) in bytes.iter().enumerate() {
            outcome =
                dripped.read(std::slice::from_ref(byte)).map(|step| Progress { len: at + step.len, ..step });
            if outcome.as_ref().is_ok_and(|step| !step.is_complete) {
                continue;
            }
            break;
        }
        assert_eq!(outcome, at_once, "{body:?}");
        at_once
    }

    fn ends(body: &str) {
        let expected = Progress { len: body.len(), is_complete: true };
        assert_eq!(read(body), Ok(expected), "{body:?}");
        let followed = format!("{body}GET /");
        let expected = Progress { len: body.len(), is_complete: true };
        assert_eq!(read(&followed), Ok(expected), "{followed:?}");
    }

    fn chunk(line: &str) -> String {
        format!("{line}\r\nhello\r\n0\r\n\r\n")
    }

    #[test]
    fn valid_bodies() {
        ends("0\r\n\r\n");
        ends(&chunk("5"));
        ends(&chunk("0000000000000005"));
        ends("A\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n");
        ends("0\r\nX: 1\r\ny:\tb \r\n\r\n");
        for extension in
            [";a", ";a=b", ";a=\"b;\\\" \u{e9}\"", " ; a = b ; c", ";a;b", "\t;a=\"\"", ";a ;b", ";a=b ;c"]
        {
            ends(&chunk(&format!("5{extension}")));
        }
    }

    #[test]
    fn a_body_goes_on() {
        let open = |len| Ok(Progress { len, is_complete: false });
        assert_eq!(read("5\r\nhel"), open(6));
        assert_eq!(read("0\r\n"), open(3));
        assert_eq!(read("ffffffffffffffff\r\nhel"), open(21));
    }

    #[test]
    fn sizes() {
        for line in ["", "0x5", "-5", "+5", " 5", "fffffffffffffffff", "00000000000000005", "5\r", "5\n", "g"]
        {
            assert_eq!(read(&format!("{line}\r\nhello\r\n")), Err(CHUNK_SIZE), "{line:?}");
        }
        assert_eq!(read("5\nhello\r\n"), Err(CHUNK_SIZE));
        for end in ["", "!\r\n", "\n", "\r\r\n"] {
            assert_eq!(read(&format!("5\r\nhello{end}0\r\n\r\n")), Err(CHUNK_END), "{end:?}");
        }
    }

    #[test]
    fn extensions() {
        for extension in [
            " ",
            ";",
            "; ",
            ";;a",
            ";a=",
            ";a=\"b",
            ";a\u{1}",
            ";a=b\0",
            ";=b",
            ";a b",
            ";a=\"b\"c",
            ";a\n",
            ";a ",
        ] {
            assert_eq!(read(&chunk(&format!("5{extension}"))), Err(CHUNK_EXTENSION), "{extension:?}");
        }
        let long = ";a".repeat(usize::from(MOST_EXTENSION_BYTES));
        assert_eq!(read(&chunk(&format!("5{long}"))), Err(LONG_EXTENSIONS));
    }

    #[test]
    fn trailers() {
        for section in [
            "\n",
            "X\r\n",
            "X : 1\r\n",
            " X: 1\r\n",
            "X: 1\n",
            "X: 1\r\n\n",
            "X: a\0b\r\n",
            "\r\r\n",
            ": 1\r\n",
        ] {
            assert_eq!(read(&format!("0\r\n{section}\r\n")), Err(TRAILER), "{section:?}");
        }
        assert_eq!(read(&format!("0\r\n{}\r\n", "X: 1\r\n".repeat(6))), Err(LONG_TRAILERS));
        assert_eq!(read(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(9000))), Err(LONG_TRAILERS));
    }
}
