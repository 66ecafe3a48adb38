//! What any client can do to a session. The input of the fuzz target is a script: valid records, changed ones, other
//! bytes, rests and moves in between.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::record::at_rest::{DirectionParts, Facts, SessionAtRest, SessionParts};
use crate::record::forger::{Forger, SUITES};
use crate::record::header::{HEADER_LENGTH, MAX_PLAIN_LENGTH, MAX_SEALED_LENGTH, content_type};
use crate::record::keys::{Secret, secret_length};
use crate::record::open::{Content, Opened};
use crate::record::session::Session;
use crate::record::suite::{Suite, Version};

/// How many records a key may seal: so few that scripts reach the limit.
const LIMIT: u64 = 6;

/// Plays a script, and panics if the session breaks a rule. Each value of `keys` makes other keys.
pub(crate) fn open_records(script: &[u8], keys: u64) {
    let mut script = Script(script);
    let suite = SUITES[usize::from(script.byte()) % SUITES.len()];
    let mut stage = Stage::new(suite, keys);
    while !script.0.is_empty() {
        match stage.act(&mut script) {
            Some(next) => stage = next,
            None => return,
        }
    }
}

/// What is left of a script. A script that is too short ends with zeros.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Up to 2^16 bytes, which the script need not contain.
    pub(super) fn number(&mut self) -> usize {
        u16::from_be_bytes([self.byte(), self.byte()]).into()
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = self.byte();
        let (bytes, rest) = self.0.split_at(self.0.len().min(length.into()));
        self.0 = rest;
        bytes
    }
}

/// A session, its client, and what is between them.
struct Stage {
    session: Session,
    client: Forger,
    /// Opens what the session seals.
    mirror: Session,
    /// What the client has sent and the session has not opened.
    wire: Vec<u8>,
    /// The data that the client has sealed, as far as nothing on the wire was changed.
    honest: VecDeque<Vec<u8>>,
    is_honest: bool,
}

impl Stage {
    fn new(suite: Suite, keys: u64) -> Self {
        let session = woken(SessionAtRest::new(Box::new(parts(suite, keys))));
        let mut mirrored = parts(suite, keys);
        std::mem::swap(&mut mirrored.client, &mut mirrored.server);
        Self {
            client: Forger::new(&session.parts),
            session,
            mirror: Session::of(Box::new(mirrored)),
            wire: Vec::new(),
            honest: VecDeque::new(),
            is_honest: true,
        }
    }

    /// The next action of the script. None if the session has ended.
    fn act(mut self, script: &mut Script<'_>) -> Option<Self> {
        let action = script.byte();
        match action % 8 {
            0 => {
                let bytes = script.bytes();
                self.is_honest &= bytes.is_empty();
                self.wire.extend_from_slice(bytes);
            }
            1 | 2 => {
                let (kind, content) = (script.byte(), script.bytes());
                self.client_seals(kind, content);
            }
            3 => {
                let length = script.number().min(MAX_PLAIN_LENGTH + 300);
                self.client_seals(content_type::APPLICATION_DATA, &vec![1; length]);
            }
            4 => {
                let start = self.wire.len();
                self.client_seals(script.byte(), &[1, 0]);
                let place = start + script.number() % (self.wire.len() - start);
                let mask = script.byte();
                self.wire[place] ^= mask;
                self.is_honest &= mask == 0;
            }
            5 => {
                let record = self.client.key_update(script.byte());
                self.wire.extend(record);
            }
            6 => self = self.rest_and_wake(script.byte()),
            _ => return self.seal(script.number()),
        }
        // Some bytes wait for others.
        if action & 0x80 == 0 { self.open() } else { Some(self) }
    }

    fn client_seals(&mut self, kind: u8, content: &[u8]) {
        let record = self.client.record(kind, content);
        self.wire.extend(record);
        if let Some(data) = data(self.session.suite().version(), kind, content).filter(|_| self.is_honest) {
            self.honest.push_back(data.to_vec());
        }
    }

    /// Opens all records that are whole.
    fn open(mut self) -> Option<Self> {
        let (mut place, mut output) = (0, Vec::new());
        let goes_on = loop {
            let input = &mut self.wire[place..];
            match self.session.open(input, &mut output) {
                Ok(Opened::Incomplete { needed }) => {
                    assert!(needed > input.len() && needed <= HEADER_LENGTH + MAX_SEALED_LENGTH);
                    break true;
                }
                Ok(Opened::Record { length, content: Content::Data(text) }) => {
                    assert!(text.end <= length && text.len() <= MAX_PLAIN_LENGTH);
                    assert_eq!(Some(&input[text]), self.honest.pop_front().as_deref(), "it was not sent");
                    place += length;
                }
                Ok(Opened::Record { length, content: Content::Nothing }) => place += length,
                Ok(Opened::Record { content: Content::Closed, .. }) => break false,
                Err(fault) => {
                    let before = output.len();
                    self.session.seal_alert(&fault, &mut output);
                    assert_eq!(output.len() > before, fault.alert.is_some());
                    break false;
                }
            }
        };
        self.wire.drain(..place);
        self.mirror_opens(output, 0);
        goes_on.then_some(self)
    }

    fn rest_and_wake(mut self, way: u8) -> Self {
        let at_rest = self.session.rest(&self.wire);
        let at_rest = match way % 3 {
            0 => at_rest,
            1 => at_rest.send().0.not_taken(),
            _ => SessionAtRest::received(at_rest.send().1).expect("secrets of the right length"),
        };
        assert_eq!(at_rest.cut(), self.wire);
        self.session = woken(at_rest);
        self
    }

    /// Seals so many bytes, as far as one record has room. None if the key is worn out.
    fn seal(mut self, length: usize) -> Option<Self> {
        let mut output = Vec::new();
        let sealed = self.session.seal(&[IoSlice::new(&vec![2; length])], &mut output);
        match sealed {
            Ok(count) => {
                assert_eq!(count, length.min(MAX_PLAIN_LENGTH));
                self.mirror_opens(output, count);
                Some(self)
            }
            Err(_) => {
                assert!(self.session.suite().version() == Version::Tls12 && output.is_empty());
                self.session.seal_close_notify(&mut output);
                self.mirror_opens(output, 0);
                None
            }
        }
    }

    /// What the session sends can be opened, and holds so much data.
    fn mirror_opens(&mut self, mut output: Vec<u8>, expected: usize) {
        let (mut rest, mut data) = (&mut output[..], 0);
        while !rest.is_empty() {
            let length = match self.mirror.open(rest, &mut Vec::new()) {
                Ok(Opened::Record { length, content }) => {
                    if let Content::Data(text) = content {
                        data += text.len();
                    }
                    length
                }
                Ok(Opened::Incomplete { .. }) => unreachable!("a record was not written whole"),
                // Our alert for the client's fault is the last record.
                Err(fault) => {
                    assert_eq!(fault.alert, None, "{fault:?}");
                    return;
                }
            };
            rest = &mut rest[length..];
        }
        assert_eq!(data, expected);
    }
}

/// With few records to a key.
fn woken(at_rest: SessionAtRest) -> Session {
    let (mut session, _) = at_rest.wake();
    session.limit = LIMIT;
    session
}

fn parts(suite: Suite, keys: u64) -> SessionParts {
    let direction = |number: u8| {
        let mut material = [number; 48];
        material[..8].copy_from_slice(&keys.to_be_bytes());
        let secret = Secret::new(&material[..secret_length(suite)]).expect("at most 48 bytes");
        DirectionParts { secret, sequence: 0 }
    };
    SessionParts::new(suite, direction(1), direction(2), Facts::default())
}

/// The application's data in a record with this content, if there is any.
fn data(version: Version, kind: u8, content: &[u8]) -> Option<&[u8]> {
    // Zeros at the end are padding. The last byte before them is the type (RFC 8446 section 5.4).
    let (kind, content) = match version {
        Version::Tls13 if kind == 0 => {
            let end = content.iter().rposition(|&byte| byte != 0)?;
            (content[end], &content[..end])
        }
        _ => (kind, content),
    };
    (kind == content_type::APPLICATION_DATA && !content.is_empty()).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few of the scripts that the fuzz target plays for minutes.
    #[test]
    fn random_scripts_break_no_rule() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for keys in 0..5000 {
            let script: Vec<u8> = (0..60)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    // Half of the bytes have a meaning in a script.
                    if random & 1 == 0 { (random >> 8) as u8 } else { (random >> 8) as u8 % 26 }
                })
                .collect();
            open_records(&script, keys);
        }
    }
}
