//! A request as log messages name it.

use std::fmt;

use http::{Method, Request, Version};
use hyper::upgrade::OnUpgrade;

/// The log shows at most so many bytes of a path: the client chooses it, and it may be as long as a request head.
const SHOWN: usize = 200;

/// What the log and the limits need of a request after the handler has taken it.
///
/// Each request makes one. It copies the bytes that it needs, because hyper reuses the buffer of a request only if
/// nothing else holds it.
#[derive(Debug)]
pub(crate) struct Asked {
    line: Line,
    purpose: Purpose,
    pub(crate) version: Version,
    /// The request asks to leave HTTP for another protocol or a tunnel.
    pub(crate) asks_upgrade: bool,
}

/// Method and path, without the query, which may hold secrets. CONNECT has no path.
#[derive(Debug)]
pub(crate) enum Line {
    /// Most lines are that short, and need no allocation.
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    Long(Box<str>),
    Unread,
}

/// The words of a short line.
const WORDS: usize = 4;

/// The longest of them.
const SHORT: usize = 8 * WORDS;

/// The methods with special responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Head,
    Connect,
    Other,
}

impl Asked {
    /// A request that could not be read.
    pub(crate) const UNREAD: Self =
        Self { line: Line::Unread, purpose: Purpose::Other, version: Version::HTTP_11, asks_upgrade: false };

    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let purpose = match *request.method() {
            Method::HEAD => Purpose::Head,
            Method::CONNECT => Purpose::Connect,
            _ => Purpose::Other,
        };
        Self {
            line: Line::of(request.method().as_str(), request.uri().path()),
            purpose,
            version: request.version(),
            asks_upgrade: request.extensions().get::<OnUpgrade>().is_some(),
        }
    }

    /// Method and path.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    pub(crate) fn is_head(&self) -> bool {
        self.purpose == Purpose::Head
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.purpose == Purpose::Connect
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.version == Version::HTTP_2
    }
}

impl Line {
    fn of(method: &str, path: &str) -> Self {
        let len = method.len() + 1 + path.len();
        if len > SHORT || path.is_empty() {
            return Self::Long(long(method, path));
        }
        let mut bytes = [b' '; SHORT];
        bytes[..method.len()].copy_from_slice(method.as_bytes());
        bytes[method.len() + 1..len].copy_from_slice(path.as_bytes());
        Self::Short { len: len as u8, bytes }
    }

    fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// A short line as words, filled up with other bytes, and its length.
    pub(crate) fn short(&self) -> Option<([u64; WORDS], usize)> {
        let Self::Short { len, bytes } = self else { return None };
        let (words, _) = bytes.as_chunks();
        Some((std::array::from_fn(|word| u64::from_le_bytes(words[word])), usize::from(*len)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(line) => line.as_bytes(),
            Self::Unread => b"a request",
        }
    }
}

fn long(method: &str, path: &str) -> Box<str> {
    let gap = if path.is_empty() { "" } else { " " };
    let (shown, rest) = path.split_at(path.floor_char_boundary(SHOWN));
    let dots = if rest.is_empty() { "" } else { "…" };
    [method, gap, shown, dots].concat().into()
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uri: &str) -> String {
        Asked::of(&Request::get(uri).body(()).unwrap()).to_string()
    }

    #[test]
    fn a_path_is_shown_shortened_and_without_its_query() {
        assert_eq!(shown("/users/7?token=secret"), "GET /users/7");
        assert_eq!(shown("http://example/a"), "GET /a");
        assert_eq!(shown("http://example"), "GET /");
        for len in SHORT - 6..SHORT {
            let path = format!("/{}", "x".repeat(len));
            assert_eq!(shown(&path), format!("GET {path}"));
        }
        assert_eq!(shown(&format!("/{}", "ä".repeat(500))), format!("GET /{}…", "ä".repeat(SHOWN / 2 - 1)));
        assert_eq!(Asked::UNREAD.to_string(), "a request");
    }

    #[test]
    fn a_connect_is_shown_without_a_path() {
        let request = Request::connect("example:443").body(()).unwrap();
        assert_eq!(Asked::of(&request).to_string(), "CONNECT");
    }
}
