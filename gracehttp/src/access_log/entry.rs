//! What the log keeps of a request until its end: its texts, escaped, as they stand in the line.

use std::net::IpAddr;

use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, Method, Uri, Version};

use crate::access_log::escape::{CUT, Style, put};
use crate::access_log::{AccessLog, Form};

/// The most bytes of a line that a path takes. Together with the other texts it fits into one write to a pipe.
const LONGEST_PATH: usize = 1536;

/// The same for each of the client's other texts.
pub(super) const LONGEST: usize = 512;

/// The same for a method.
const LONGEST_METHOD: usize = 32;

/// What a line of the combined form has in place of referer and user agent.
pub(super) const NO_FIELDS: &[u8] = br#" "-" "-""#;

/// The most memory that an entry keeps for the next request.
const LARGEST_KEPT: usize = 4 << 10;

/// The head of a request.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    /// Who has sent it.
    pub(crate) sender: Sender,
    /// Its id, if its server gives it one.
    pub(crate) id: Option<&'a str>,
}

/// Who has sent a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Sender {
    /// The client of the connection.
    #[default]
    Connection,
    /// Another client, for whom a trusted proxy speaks. It may hide the address.
    Behind(Option<IpAddr>),
}

/// The texts of one request in one buffer, and what is counted until its end.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(super) texts: Vec<u8>,
    /// Where in `texts` the part begins that stands behind the status in the line.
    pub(super) split: usize,
    pub(super) sender: Sender,
    /// The bytes of the response's body so far.
    pub(crate) bytes: u64,
    /// When the response began, on the caller's clock; none if it ended at the same moment.
    pub(crate) first_byte: Option<u64>,
    /// Why the response is not that of a handler.
    pub(crate) cause: Option<&'static str>,
}

impl Entry {
    /// Empties it for another request, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.texts.clear();
        self.texts.shrink_to(LARGEST_KEPT);
        self.sender = Sender::Connection;
        (self.bytes, self.first_byte, self.cause) = (0, None, None);
    }
}

impl AccessLog {
    /// Notes the head of a request, while it is there, in an entry that has nothing yet.
    pub(crate) fn note(&self, entry: &mut Entry, request: Request<'_>) {
        // An empty entry has the connection as its sender, as most requests do: only another one is copied.
        if let Sender::Behind(ip) = request.sender {
            entry.sender = Sender::Behind(ip);
        }
        let style = self.form.style();
        match self.form {
            Form::Common | Form::Combined => {
                self.put_request_line(&mut entry.texts, style, request);
                entry.split = entry.texts.len();
                if self.form == Form::Combined {
                    let (referer, user_agent) = self.texts(request.headers);
                    for text in [referer, user_agent] {
                        entry.texts.extend_from_slice(b" \"");
                        put(&mut entry.texts, style, text.unwrap_or(b"-"), LONGEST);
                        entry.texts.push(b'"');
                    }
                }
            }
            Form::Json => {
                let texts = &mut entry.texts;
                if request.method == Method::GET {
                    // Most requests: one copy in place of three.
                    texts.extend_from_slice(br#","method":"GET","path":""#);
                } else {
                    texts.extend_from_slice(br#","method":""#);
                    put_method(texts, request.method);
                    texts.extend_from_slice(br#"","path":""#);
                }
                self.put_target(texts, style, request.uri);
                texts.extend_from_slice(br#"","protocol":""#);
                texts.extend_from_slice(protocol(request.version));
                texts.push(b'"');
                let (referer, user_agent) = self.texts(request.headers);
                for (name, text) in
                    [(&br#","user_agent":""#[..], user_agent), (&br#","referer":""#[..], referer)]
                {
                    if let Some(text) = text {
                        put_text(texts, name, text, LONGEST);
                    }
                }
                if let Some(id) = request.id {
                    put_text(texts, br#","request_id":""#, id.as_bytes(), LONGEST);
                }
                entry.split = texts.len();
            }
        }
    }

    /// The entry of a request of which only method and path are known.
    pub(super) fn note_line(&self, line: &str) -> Entry {
        let mut entry = Entry::default();
        let (texts, style) = (&mut entry.texts, self.form.style());
        let (method, path) = line.split_once(' ').unwrap_or((line, ""));
        match self.form {
            Form::Json => {
                put_text(texts, br#","method":""#, method.as_bytes(), LONGEST_METHOD);
                put_text(texts, br#","path":""#, path.as_bytes(), LONGEST_PATH);
            }
            Form::Common | Form::Combined => put(texts, style, line.as_bytes(), LONGEST_PATH),
        }
        entry.split = entry.texts.len();
        if self.form == Form::Combined {
            entry.texts.extend_from_slice(NO_FIELDS);
        }
        entry
    }

    fn put_request_line(&self, texts: &mut Vec<u8>, style: Style, request: Request<'_>) {
        put_method(texts, request.method);
        texts.push(b' ');
        self.put_target(texts, style, request.uri);
        texts.push(b' ');
        texts.extend_from_slice(protocol(request.version));
    }

    fn put_target(&self, texts: &mut Vec<u8>, style: Style, uri: &Uri) {
        match (uri.path(), uri.authority()) {
            // That of a CONNECT.
            ("", Some(authority)) => put(texts, style, authority.as_str().as_bytes(), LONGEST_PATH),
            (path, _) => put(texts, style, path.as_bytes(), LONGEST_PATH),
        }
        if self.with_query
            && let Some(query) = uri.query()
        {
            texts.push(b'?');
            put(texts, style, query.as_bytes(), LONGEST);
        }
    }

    /// Referer and user agent. Comparing the names of a few fields costs less than looking up two.
    fn texts<'a>(&self, headers: &'a HeaderMap) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        let (mut referer, mut user_agent) = (None, None);
        for (name, value) in headers {
            if user_agent.is_none() && name == USER_AGENT {
                user_agent = Some(value.as_bytes());
            } else if referer.is_none() && name == REFERER {
                // It has the query of another page.
                let value = value.as_bytes();
                let end = value.iter().position(|byte| matches!(byte, b'?' | b'#') && !self.with_query);
                referer = Some(&value[..end.unwrap_or(value.len())]);
            }
        }
        (referer, user_agent)
    }
}

/// A method is a token (RFC 9110 section 9.1), of which no byte has to be escaped.
fn put_method(texts: &mut Vec<u8>, method: &Method) {
    let method = method.as_str().as_bytes();
    texts.extend_from_slice(&method[..method.len().min(LONGEST_METHOD)]);
    if method.len() > LONGEST_METHOD {
        texts.extend_from_slice(CUT);
    }
}

/// Appends a field of a line of JSON. `name` is all that comes before the text, such as `,"method":"`.
pub(super) fn put_text(texts: &mut Vec<u8>, name: &[u8], text: &[u8], most: usize) {
    texts.extend_from_slice(name);
    put(texts, Style::Json, text, most);
    texts.push(b'"');
}

fn protocol(version: Version) -> &'static [u8; 8] {
    match version {
        Version::HTTP_09 => b"HTTP/0.9",
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        Version::HTTP_3 => b"HTTP/3.0",
        _ => b"HTTP/1.1",
    }
}
