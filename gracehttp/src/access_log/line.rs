//! The line of a request that has ended.

use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use crate::access_log::entry::{NO_FIELDS, Sender};
use crate::access_log::escape::{Style, put};
use crate::access_log::{AccessLog, Entry, Form, clock};
use crate::lifecycle::generation;

/// The most bytes of a line that a route takes. The application chose it.
const LONGEST_ROUTE: usize = 256;

/// The numbers below 100 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// What stands for the address of a client that is not known.
pub(crate) const UNKNOWN: &str = "unknown";

/// In the Common Log Format, the status of a request that got no response: the one that nginx writes.
const UNANSWERED: u16 = 499;

/// What all lines of a connection have in common, made once.
#[derive(Debug)]
pub(crate) struct Client {
    /// In JSON, what stands between the time and the request; in the other forms, the address.
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

impl AccessLog {
    /// The client of a connection, by its address or by what stands in its place, and the version of its TLS.
    pub(crate) fn client(&self, address: &str, tls: Option<&'static str>) -> Client {
        let mut constant = Vec::with_capacity(96 + self.server.len());
        if self.form == Form::Json {
            constant.extend_from_slice(br#"","server":""#);
            constant.extend_from_slice(&self.server);
            constant.extend_from_slice(br#"","client":""#);
        }
        let begin = constant.len();
        constant.extend_from_slice(address.as_bytes());
        let address = begin..constant.len();
        if self.form == Form::Json {
            constant.push(b'"');
            if let Some(tls) = tls {
                constant.extend_from_slice(br#","tls":""#);
                constant.extend_from_slice(tls.as_bytes());
                constant.push(b'"');
            }
            put_field(&mut constant, br#","generation":"#, generation());
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
        let outcome = Outcome { total: Some(lasted), ..Outcome::unread(None, "exit") };
        self.target.queue.push_last(|line| self.put(line, &client, Some(&entry), &outcome));
    }

    fn put(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        match self.form {
            Form::Json => self.put_json(line, client, entry, outcome),
            Form::Common | Form::Combined => self.put_common(line, client, entry, outcome),
        }
    }

    fn put_json(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        self.begin_json(line, outcome.total.unwrap_or_default());
        client.put(line, sender_of(entry));
        if let Some(entry) = entry {
            line.extend_from_slice(&entry.texts);
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
        if let Some(cause) = outcome.cause {
            line.extend_from_slice(br#","cause":""#);
            line.extend_from_slice(cause.as_bytes());
            line.push(b'"');
        }
        line.extend_from_slice(b"}\n");
    }

    fn put_common(&self, line: &mut Vec<u8>, client: &Client, entry: Option<&Entry>, outcome: &Outcome) {
        client.put(line, sender_of(entry));
        self.end_common(line, entry, outcome);
    }

    /// The beginning of a line of JSON, with the time at which its request began: `lasted` ago.
    pub(super) fn begin_json(&self, line: &mut Vec<u8>, lasted: Duration) {
        line.extend_from_slice(br#"{"time":""#);
        clock::put_rfc3339(line, clock::began(lasted));
    }

    /// The rest of a line of the Common Log Format, behind the client.
    pub(super) fn end_common(&self, line: &mut Vec<u8>, entry: Option<&Entry>, outcome: &Outcome) {
        line.extend_from_slice(b" - - [");
        clock::put_common(line, clock::began(outcome.total.unwrap_or_default()));
        line.extend_from_slice(b"] \"");
        let (request, rest) = match entry {
            Some(entry) => entry.texts.split_at(entry.split),
            None if self.form == Form::Combined => (&b"-"[..], NO_FIELDS),
            None => (&b"-"[..], &b""[..]),
        };
        line.extend_from_slice(request);
        put_field(line, b"\" ", outcome.status.unwrap_or(UNANSWERED).into());
        put_field(line, b" ", outcome.bytes);
        line.extend_from_slice(rest);
        line.push(b'\n');
    }
}

impl Client {
    fn put(&self, line: &mut Vec<u8>, sender: Sender) {
        let (before, behind) = (&self.constant[..self.address.start], &self.constant[self.address.end..]);
        match sender {
            Sender::Connection => line.extend_from_slice(&self.constant),
            Sender::Behind(ip) => {
                line.extend_from_slice(before);
                match ip {
                    // Writing to memory does not fail.
                    Some(ip) => _ = write!(line, "{ip}"),
                    None => line.extend_from_slice(UNKNOWN.as_bytes()),
                }
                line.extend_from_slice(behind);
            }
        }
    }
}

fn sender_of(entry: Option<&Entry>) -> Sender {
    entry.map_or(Sender::Connection, |entry| entry.sender)
}

pub(super) fn put_field(line: &mut Vec<u8>, name: &[u8], number: u64) {
    line.extend_from_slice(name);
    let mut digits = [0; 20];
    let mut begin = digits.len();
    let mut rest = number;
    // Two at a time: half as many divisions.
    while rest >= 10 {
        begin -= 2;
        digits[begin..begin + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest > 0 || number == 0 {
        begin -= 1;
        digits[begin] = b'0' + rest as u8;
    }
    line.extend_from_slice(&digits[begin..]);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_all_their_digits_and_no_others() {
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        let near = powers.flat_map(|power| [power - 1, power, power + 1, power.saturating_mul(9)]);
        for number in near.chain(0..=1000).chain([u64::MAX]) {
            let mut line = Vec::new();
            put_field(&mut line, b"n=", number);
            assert_eq!(line, format!("n={number}").into_bytes());
        }
    }
}
