//! No sequence number is used twice under one key, however a session rests, moves, comes back and renews its keys. The
//! recorder watches all tests of this room; here it has the most to do.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio_rustls::rustls::ClientConnection;

use crate::record::forger::SUITES;
use crate::record::peer::{connect, providers, read_by, sent_by};
use crate::record::suite::Version;
use crate::record::twins::{twins, written};
use crate::record::{Content, Opened, SentSession, Session, SessionAtRest, SessionParts};

/// Where a session can be.
enum Place {
    Awake(Session),
    AtRest(SessionAtRest),
    /// Sent, and not known to be taken. The parts are in the other process.
    OnTheWay(SentSession, SessionParts),
}

/// A connection of which one end goes a random way.
struct Walk {
    client: ClientConnection,
    /// What the client has sent and the session has not opened.
    wire: VecDeque<u8>,
    sent: Vec<u8>,
    opened: Vec<u8>,
    random: u64,
    renewals: u32,
    moves: u32,
}

impl Walk {
    /// xorshift64: the same way for the same seed.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn step(&mut self, place: Place) -> Place {
        if self.random(3) == 0 {
            self.client_speaks();
        }
        match (place, self.random(10)) {
            (Place::Awake(mut session), chance) if chance < 8 => {
                if chance < 4 {
                    self.open_some(&mut session);
                } else {
                    self.seal_one(&mut session);
                }
                Place::Awake(session)
            }
            (Place::Awake(session), _) => Place::AtRest(session.rest(&[])),
            (Place::AtRest(at_rest), chance) if chance < 5 => Place::Awake(woken(at_rest)),
            (Place::AtRest(at_rest), _) => {
                let (sent, parts) = at_rest.send();
                Place::OnTheWay(sent, parts)
            }
            (Place::OnTheWay(sent, parts), chance) => {
                self.moves += 1;
                if chance < 5 {
                    drop(sent);
                    Place::AtRest(SessionAtRest::received(parts).unwrap())
                } else {
                    drop(parts);
                    Place::AtRest(sent.not_taken())
                }
            }
        }
    }

    fn client_speaks(&mut self) {
        let tls13 = self.client.protocol_version() == Some(tokio_rustls::rustls::ProtocolVersion::TLSv1_3);
        if tls13 && self.random(4) == 0 {
            self.client.refresh_traffic_keys().unwrap();
            self.wire.extend(written(&mut self.client));
        }
        let text = vec![self.random(256) as u8; 1 + self.random(300) as usize];
        self.wire.extend(sent_by(&mut self.client, &text));
        self.sent.extend(text);
    }

    fn seal_one(&mut self, session: &mut Session) {
        let before = session.parts.server.sequence;
        let text = vec![7; 1 + self.random(300) as usize];
        let mut output = Vec::new();
        assert_eq!(session.seal(&[IoSlice::new(&text)], &mut output), Ok(text.len()));
        self.renewals += u32::from(session.parts.server.sequence <= before);
        assert_eq!(read_by(&mut self.client, &output), text);
    }

    /// Opens what has come, up to a random byte. A cut record rests on the wire.
    fn open_some(&mut self, session: &mut Session) {
        let come = self.random(self.wire.len() as u64 + 1) as usize;
        let mut input: Vec<u8> = self.wire.iter().copied().take(come).collect();
        let (mut place, mut answer) = (0, Vec::new());
        while let Opened::Record { length, content } = session.open(&mut input[place..], &mut answer).unwrap()
        {
            if let Content::Data(text) = content {
                self.opened.extend_from_slice(&input[place..][text]);
            }
            place += length;
        }
        self.wire.drain(..place);
        assert!(answer.is_empty());
    }
}

/// With a lowered limit, so that our key is renewed again and again.
fn woken(at_rest: SessionAtRest) -> Session {
    let (mut session, _) = at_rest.wake();
    if session.suite().version() == Version::Tls13 {
        session.limit = 5;
    }
    session
}

#[test]
fn no_walk_of_a_session_uses_a_sequence_number_twice() {
    for suite in SUITES {
        for seed in 1..=20_u64 {
            let (session, client) = connect(&providers()[0], suite);
            let mut walk = Walk {
                client,
                wire: VecDeque::new(),
                sent: Vec::new(),
                opened: Vec::new(),
                random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                renewals: 0,
                moves: 0,
            };
            let mut place = Place::AtRest(session.rest(&[]));
            for _ in 0..500 {
                place = walk.step(place);
            }
            assert!(walk.sent.starts_with(&walk.opened), "{suite:?}, seed {seed}");
            assert!(walk.moves > 20 && walk.opened.len() > 1000, "{suite:?}, seed {seed}");
            assert_eq!(walk.renewals > 20, suite.version() == Version::Tls13, "{suite:?}, seed {seed}");
        }
    }
}

/// The recorder would be worth nothing if it did not find this.
#[test]
fn two_copies_of_a_session_are_found_out_by_their_first_record() {
    for suite in SUITES {
        let (session, ..) = twins(&providers()[0], suite);
        let (sent, parts) = session.rest(&[]).send();
        let mut taken = SessionAtRest::received(parts).unwrap().wake().0;
        let mut taken_back = sent.not_taken().wake().0;
        taken.seal(&[IoSlice::new(b"a")], &mut Vec::new()).unwrap();
        let again =
            catch_unwind(AssertUnwindSafe(|| taken_back.seal(&[IoSlice::new(b"b")], &mut Vec::new())));
        let words = again.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(*words, "a sequence number is used twice under one key");
        taken_back.seal(&[IoSlice::new(b"b")], &mut Vec::new()).unwrap();
    }
}
