//! The line of a request that has ended.

use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use crate::access_log::entry::{NO_FIELDS, Sender, put_text};
use crate::access_log::{AccessLog, Entry, Form, date, number};
use crate::lifecycle::{clock, generation};

/// The most bytes of a line that a route takes. The application chose it.
const LONGEST_ROUTE: usize = 256;

const NANOS_PER_MICRO: u64 = 1_000;

/// What stands for the address of a client that is not known.
pub(crate) const UNKNOWN: &str = "unknown";

/// In the Common Log Format, the status of a request that got no response: the one that nginx writes.
const UNANSWERED: u16 = 499;

/// What all lines of a connection have in common, made once.
#[derive(Debug)]
pub(crate) struct Client {
    /// In JSON, the fields between the time and those of the request; in the other forms, the address.
    pub(super) constant: Box<[u8]>,
    /// Where the client's address stands in it.
    address: Range<usize>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// None if no response has begun.
    pub(crate) status: Option<u16>,
    /// The bytes of the response's body.
    pub(crate) bytes: u64,
    /// None if the head of the request never came whole.
    pub(crate) times: Option<Times>,
    /// The template of the route that has answered; empty if none has.
    pub(crate) route: &'static str,
    /// Why the response is not that of a handler, or what cut it.
    pub(crate) cause: Option<&'static str>,
}

/// The moments of a request, on the [clock](clock::precise) that requests read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When the head of the request had come.
    pub(crate) begun: u64,
    /// When the head of the response went to the client; none if it did not.
    pub(crate) first_byte: Option<u64>,
    pub(crate) ended: u64,
}

impl Times {
    /// In microseconds.
    fn since_begun(&self, time: u64) -> u64 {
        time.saturating_sub(self.begun) / NANOS_PER_MICRO
    }
}

impl Outcome {
    /// That of a request of which nothing could be read.
    pub(crate) fn unread(status: Option<u16>, cause: &'static str) -> Self {
        Self { status, bytes: 0, times: None, route: "", cause: Some(cause) }
    }

    /// When the request began, or the present time if that is not known.
    fn begun(&self) -> u64 {
        self.times.as_ref().map_or_else(clock::precise, |times| times.begun)
    }
}

impl AccessLog {
    /// The client of a connection, by its address or by what stands in its place, and the version of its TLS.
    pub(crate) fn client(&self, address: &str, tls: Option<&'static str>) -> Client {
        let mut constant = Vec::with_capacity(96 + self.server.len());
        if self.form == Form::Json {
            put_text(&mut constant, b",\"server\":\"", self.server.as_bytes(), usize::MAX);
            constant.extend_from_slice(b",\"client\":\"");
        }
        let begin = constant.len();
        constant.extend_from_slice(address.as_bytes());
        let address = begin..constant.len();
        if self.form == Form::Json {
            constant.push(b'"');
            if let Some(tls) = tls {
                put_text(&mut constant, b",\"tls\":\"", tls.as_bytes(), usize::MAX);
            }
            constant.extend_from_slice(b",\"generation\":");
            number::put(&mut constant, generation());
        }
        Client { constant: constant.into(), address }
    }

    /// Logs a request; without an entry, one whose head could not be read.
    pub(crate) fn write(&self, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        self.target.queue.push(|line| self.put(line, client, entry, outcome));
    }

    /// Logs a request that ends with the process, by method and path. It is taken after the log was closed for all others.
    pub(crate) fn write_last(&self, client: &str, request: &str, lasted: Duration) {
        let (client, entry) = (self.client(client, None), self.note_line(request));
        let ended = clock::precise();
        let begun = ended.saturating_sub(lasted.as_nanos() as u64);
        let times = Some(Times { begun, first_byte: None, ended });
        let outcome = Outcome { times, ..Outcome::unread(None, "exit") };
        self.target.queue.push_last(|line| self.put(line, &client, Some(&entry), &outcome));
    }

    fn put(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        match self.form {
            Form::Json => self.put_json(line, client, entry, outcome),
            Form::Common | Form::Combined => self.put_common(line, client, entry, outcome),
        }
    }

    fn put_json(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        date::begin_json(line, outcome.begun());
        client.put(line, sender_of(entry));
        if let Some(entry) = entry {
            line.extend_from_slice(&entry.texts);
        }
        if !outcome.route.is_empty() {
            put_text(line, b",\"route\":\"", outcome.route.as_bytes(), LONGEST_ROUTE);
        }
        match outcome.status {
            Some(status) => {
                let mut text = *b",\"status\":000,\"bytes\":";
                text[10..13].copy_from_slice(&number::three_digits(status));
                line.extend_from_slice(&text);
            }
            None => line.extend_from_slice(b",\"status\":null,\"bytes\":"),
        }
        number::put(line, outcome.bytes);
        if let Some(times) = &outcome.times {
            if let Some(first_byte) = times.first_byte {
                line.extend_from_slice(b",\"first_byte_us\":");
                number::put(line, times.since_begun(first_byte));
            }
            line.extend_from_slice(b",\"total_us\":");
            number::put(line, times.since_begun(times.ended));
        }
        if let Some(cause) = outcome.cause {
            put_text(line, b",\"cause\":\"", cause.as_bytes(), usize::MAX);
        }
        line.extend_from_slice(b"}\n");
    }

    fn put_common(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        client.put(line, sender_of(entry));
        self.end_common(line, entry, outcome);
    }

    /// The rest of a line of the Common Log Format, behind the client.
    pub(super) fn end_common(&self, line: &mut Vec<u8>, entry: Option<&Entry>, outcome: &Outcome) {
        date::put_common(line, outcome.begun());
        let (request, rest) = match entry {
            Some(entry) => entry.texts.split_at(entry.split),
            None if self.form == Form::Combined => (&b"-"[..], NO_FIELDS),
            None => (&b"-"[..], &b""[..]),
        };
        line.extend_from_slice(request);
        line.extend_from_slice(b"\" ");
        number::put(line, outcome.status.unwrap_or(UNANSWERED).into());
        line.push(b' ');
        number::put(line, outcome.bytes);
        line.extend_from_slice(rest);
        line.push(b'\n');
    }
}

impl Client {
    fn put(&self, line: &mut Vec<u8>, sender: Sender) {
        match sender {
            Sender::Connection => line.extend_from_slice(&self.constant),
            Sender::Behind(ip) => self.put_behind(line, ip),
        }
    }

    /// The same with the address of another client.
    #[cold]
    fn put_behind(&self, line: &mut Vec<u8>, ip: Option<IpAddr>) {
        line.extend_from_slice(&self.constant[..self.address.start]);
        match ip {
            // Writing to memory does not fail.
            Some(ip) => _ = write!(line, "{ip}"),
            None => line.extend_from_slice(UNKNOWN.as_bytes()),
        }
        line.extend_from_slice(&self.constant[self.address.end..]);
    }
}

fn sender_of(entry: Option<&Entry>) -> Sender {
    entry.map_or(Sender::Connection, |entry| entry.sender)
}
