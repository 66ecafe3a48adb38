//! The line of a request that has ended.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::access_log::entry::Sender;
use crate::access_log::escape::{Style, put};
use crate::access_log::{AccessLog, Entry, Form, clock};
use crate::lifecycle::generation;

/// The most bytes of a line that a route takes. The application chose it.
const LONGEST_ROUTE: usize = 256;

/// In the Common Log Format, the status of a request that got no response, as nginx has it.
const UNANSWERED: u16 = 499;

/// The client as lines show it, made once a connection.
#[derive(Debug)]
pub(crate) struct Client {
    address: Box<str>,
    /// `TLSv1.3`.
    tls: Option<&'static str>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// None if no response has begun.
    pub(crate) status: Option<u16>,
    /// The bytes of the response's body.
    pub(crate) bytes: u64,
    /// From the head of the request to that of the response.
    pub(crate) first_byte: Option<Duration>,
    /// From the head of the request to the end of the response; none if the head never came whole.
    pub(crate) total: Option<Duration>,
    /// The template of the route that has answered; empty if none has.
    pub(crate) route: &'static str,
    /// Why the response is not that of a handler, or what cut it.
    pub(crate) cause: Option<&'static str>,
}

impl Outcome {
    /// That of a request of which nothing could be read.
    pub(crate) fn unread(status: Option<u16>, cause: &'static str) -> Self {
        Self { status, bytes: 0, first_byte: None, total: None, route: "", cause: Some(cause) }
    }
}

impl Client {
    pub(crate) fn new(peer: Option<SocketAddr>, tls: Option<&'static str>) -> Self {
        Self { address: peer.map_or_else(|| "unix".into(), |peer| peer.ip().to_string().into()), tls }
    }

    #[cfg(feature = "tls")]
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl AccessLog {
    /// Logs a request; without an entry, one whose head could not be read.
    pub(crate) fn write(&self, client: &Client, entry: Option<Box<Entry>>, outcome: &Outcome) {
        let read = entry.as_deref();
        self.target.queue.push(|line| match self.form {
            Form::Json => self.put_json(line, client, read, outcome),
            Form::Common | Form::Combined => self.put_common(line, client, read, outcome),
        });
        if let Some(entry) = entry {
            entry.recycle();
        }
    }

    fn put_json(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        self.begin_json(line, outcome.total.unwrap_or_default());
        put_sender(line, client, entry);
        line.push(b'"');
        if let Some(entry) = entry {
            line.push(b',');
            line.extend_from_slice(&entry.texts);
        }
        if let Some(tls) = client.tls {
            line.extend_from_slice(br#","tls":""#);
            line.extend_from_slice(tls.as_bytes());
            line.push(b'"');
        }
        if !outcome.route.is_empty() {
            line.extend_from_slice(br#","route":""#);
            put(line, Style::Json, outcome.route.as_bytes(), LONGEST_ROUTE);
            line.push(b'"');
        }
        match outcome.status {
            Some(status) => put_field(line, br#","status":"#, status.into()),
            None => line.extend_from_slice(br#","status":null"#),
        }
        put_field(line, br#","bytes":"#, outcome.bytes);
        if let Some(first_byte) = outcome.first_byte {
            put_field(line, br#","first_byte_us":"#, micros(first_byte));
        }
        if let Some(total) = outcome.total {
            put_field(line, br#","total_us":"#, micros(total));
        }
        put_field(line, br#","generation":"#, generation());
        if let Some(cause) = outcome.cause {
            line.extend_from_slice(br#","cause":""#);
            line.extend_from_slice(cause.as_bytes());
            line.push(b'"');
        }
        line.extend_from_slice(b"}\n");
    }

    fn put_common(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        put_sender(line, client, entry);
        self.end_common(line, entry, outcome);
    }

    /// A line of JSON up to the client, about what began so long ago.
    pub(super) fn begin_json(&self, line: &mut Vec<u8>, lasted: Duration) {
        line.extend_from_slice(br#"{"time":""#);
        clock::put_rfc3339(line, clock::began(lasted));
        line.extend_from_slice(br#"","server":""#);
        line.extend_from_slice(&self.server);
        line.extend_from_slice(br#"","client":""#);
    }

    /// A line of the Common Log Format behind the client.
    pub(super) fn end_common(&self, line: &mut Vec<u8>, entry: Option<&Entry>, outcome: &Outcome) {
        line.extend_from_slice(b" - - [");
        clock::put_common(line, clock::began(outcome.total.unwrap_or_default()));
        line.extend_from_slice(b"] \"");
        let (request, rest) = match entry {
            Some(entry) => entry.texts.split_at(entry.split),
            None if self.form == Form::Combined => (&b"-"[..], &br#" "-" "-""#[..]),
            None => (&b"-"[..], &b""[..]),
        };
        line.extend_from_slice(request);
        put_field(line, b"\" ", outcome.status.unwrap_or(UNANSWERED).into());
        put_field(line, b" ", outcome.bytes);
        line.extend_from_slice(rest);
        line.push(b'\n');
    }
}

fn put_sender(line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>) {
    match entry.map_or(Sender::Connection, |entry| entry.sender) {
        Sender::Connection => line.extend_from_slice(client.address.as_bytes()),
        // Writing to memory does not fail.
        Sender::Behind(Some(ip)) => _ = write!(line, "{ip}"),
        Sender::Behind(None) => line.extend_from_slice(b"unknown"),
    }
}

pub(super) fn put_field(line: &mut Vec<u8>, name: &[u8], number: u64) {
    line.extend_from_slice(name);
    let mut digits = [0; 20];
    let mut begin = digits.len();
    let mut rest = number;
    loop {
        begin -= 1;
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[begin..]);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
