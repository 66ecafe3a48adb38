//! The bytes of every message. All releases share them: a test that fails here means that this release and an older
//! one would not understand each other.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::*;

fn bytes<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_allocvec(message).unwrap()
}

/// Checks that the message becomes these bytes, and they the message.
fn golden<M: Serialize + DeserializeOwned + PartialEq + Debug>(message: &M, expected: &[&[u8]]) {
    let expected = expected.concat();
    assert_eq!(bytes(message), expected, "{message:?}");
    assert_eq!(postcard::from_bytes::<M>(&expected).as_ref(), Ok(message));
}

fn count(server: &str, count: u64) -> ServerCount {
    ServerCount { server: server.to_owned(), count }
}

fn moving(server: &str, family: Family, stage: Stage, ahead: &[u8]) -> Moving {
    Moving { server: server.to_owned(), family, stage, ahead: ahead.to_vec() }
}

#[test]
fn versions_agree_on_the_newest_that_both_speak() {
    let ours = Hello::new(1);
    assert_eq!(ours.agree(), Ok(Version::Two));
    let newer = Hello { newest: 9, ..ours.clone() };
    assert_eq!(newer.agree(), Ok(Version::Two));
    let first_release = Hello { newest: 1, ..ours };
    assert_eq!(first_release.agree(), Ok(Version::One));
}

#[test]
fn strangers_are_refused_with_a_reason() {
    let ours = Hello::new(1);
    let too_new = Hello { oldest: 8, newest: 9, ..ours.clone() };
    assert!(too_new.agree().unwrap_err().contains("versions 8 to 9"));
    let too_old = Hello { oldest: 0, newest: 0, ..ours.clone() };
    assert!(too_old.agree().is_err());
    let stranger = Hello { magic: *b"GET / HT", ..ours };
    assert!(stranger.agree().is_err());
}

#[test]
fn d18_the_hello_is_frozen() {
    let hello = Hello { generation: 300, pid: 7, ..Hello::new(0) };
    golden(&hello, &[b"gracehdf", &[1, 2, 0xac, 2, 14]]);
}

#[test]
fn d18_messages_of_a_predecessor_in_version_1_have_the_bytes_of_the_first_release() {
    let key = Key { name: [7; 16], secret: [9; 32], born: 300 };
    golden(&ToSuccessor::TicketKeys { keys: vec![key] }, &[&[0, 1], &[7; 16], &[9; 32], &[0xac, 2]]);
    let name = ListenerName { server: "web".to_owned(), endpoint: ":80".to_owned() };
    golden(
        &ToSuccessor::Listeners { names: vec![name], last: true },
        &[&[1, 1, 3], b"web", &[3], b":80", &[1]],
    );
    golden(&ToSuccessor::Commit { held: vec![count("web", 300)] }, &[&[2, 1, 3], b"web", &[0xac, 2]]);
    let one = moving("web", Family::Tcp, Stage::Fresh, b"");
    let two = moving("api", Family::Unix, Stage::Idle, b"GET");
    golden(
        &ToSuccessor::Connections { moving: vec![one, two] },
        &[&[3, 2, 3], b"web", &[0, 0, 0], &[3], b"api", &[1, 1, 3], b"GET"],
    );
    golden(&ToSuccessor::Held { held: vec![count("web", 0)] }, &[&[4, 1, 3], b"web", &[0]]);
    golden(&ToSuccessor::StandbyOver, &[&[5]]);
    golden(&ToSuccessor::Done, &[&[6]]);
}

#[test]
fn d18_messages_of_a_successor_in_version_1_have_the_bytes_of_the_first_release() {
    let servers = vec!["web".to_owned()];
    golden(&ToPredecessor::Ready { servers, claimed: vec![0, 300] }, &[&[0, 1, 3], b"web", &[2, 0, 0xac, 2]]);
    golden(&ToPredecessor::Failed { reason: "no".to_owned() }, &[&[1, 2], b"no"]);
    golden(&ToPredecessor::Taken { count: 300 }, &[&[2, 0xac, 2]]);
    golden(&ToPredecessor::Busy { id: 1 }, &[&[3, 1]]);
    golden(&ToPredecessor::Idle { id: 300 }, &[&[4, 0xac, 2]]);
    golden(&ToPredecessor::Succeeded, &[&[5]]);
    golden(&ToPredecessor::Exiting, &[&[6]]);
}

#[test]
fn d18_messages_that_version_2_adds_have_their_bytes_too() {
    let offer = Offer { server: "web".to_owned(), endpoint: ":80".to_owned(), secure: true };
    golden(
        &ToSuccessor::Offers { offers: vec![offer], last: false },
        &[&[7, 1, 3], b"web", &[3], b":80", &[1, 0]],
    );
    let known =
        Mover { listener: ListenerNumber::new(300), moving: moving("web", Family::Tcp, Stage::Idle, b"G") };
    let unknown = Mover { listener: None, moving: moving("a", Family::Unix, Stage::Fresh, b"") };
    golden(
        &ToSuccessor::Batch { number: 5, moving: vec![known, unknown] },
        &[&[8, 5, 2, 1, 0xac, 2, 3], b"web", &[0, 1, 1], b"G", &[0, 1], b"a", &[1, 0, 0]],
    );
    golden(&ToSuccessor::Ping { number: 300 }, &[&[9, 0xac, 2]]);
    golden(
        &ToSuccessor::Counts { number: 2, held: vec![count("a", 1)], asked: vec![count("b", 300)] },
        &[&[10, 2, 1, 1], b"a", &[1, 1, 1], b"b", &[0xac, 2]],
    );
    golden(&ToPredecessor::TakenOf { number: 5, count: 64 }, &[&[7, 5, 64]]);
    golden(&ToPredecessor::Pong { number: 300 }, &[&[8, 0xac, 2]]);
    golden(&ToPredecessor::Granted { number: 2, granted: count("a", 3) }, &[&[9, 2, 1], b"a", &[3]]);
}

/// Pseudo-random values, the same in each run (xorshift64).
struct Values(u64);

impl Values {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Small numbers as often as large ones, since their encodings differ.
        self.0 >> (self.0 % 64)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn text(&mut self) -> String {
        let letters = ['a', '-', ':', '9', 'é', '🦀'];
        (0..self.below(9)).map(|_| letters[self.below(6) as usize]).collect()
    }

    fn several<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(5)).map(|_| one(self)).collect()
    }

    fn count(&mut self) -> ServerCount {
        ServerCount { server: self.text(), count: self.next() }
    }

    fn moving(&mut self) -> Moving {
        let family = if self.flag() { Family::Tcp } else { Family::Unix };
        let stage = if self.flag() { Stage::Fresh } else { Stage::Idle };
        let ahead = self.several(|values| values.next() as u8);
        Moving { server: self.text(), family, stage, ahead }
    }

    fn bequest(&mut self) -> ToSuccessor {
        let (number, last) = (self.next() as u32, self.flag());
        match self.below(11) {
            0 => ToSuccessor::TicketKeys {
                keys: self.several(|values| Key {
                    name: [values.next() as u8; 16],
                    secret: [values.next() as u8; 32],
                    born: values.next(),
                }),
            },
            1 => ToSuccessor::Listeners {
                names: self.several(|values| ListenerName { server: values.text(), endpoint: values.text() }),
                last,
            },
            2 => ToSuccessor::Commit { held: self.several(Self::count) },
            3 => ToSuccessor::Connections { moving: self.several(Self::moving) },
            4 => ToSuccessor::Held { held: self.several(Self::count) },
            5 => ToSuccessor::StandbyOver,
            6 => ToSuccessor::Done,
            7 => ToSuccessor::Offers {
                offers: self.several(|values| Offer {
                    server: values.text(),
                    endpoint: values.text(),
                    secure: values.flag(),
                }),
                last,
            },
            8 => ToSuccessor::Batch {
                number,
                moving: self.several(|values| Mover {
                    listener: ListenerNumber::new(values.next() as u16),
                    moving: values.moving(),
                }),
            },
            9 => ToSuccessor::Ping { number },
            _ => ToSuccessor::Counts {
                number,
                held: self.several(Self::count),
                asked: self.several(Self::count),
            },
        }
    }

    fn reply(&mut self) -> ToPredecessor {
        let number = self.next() as u32;
        match self.below(10) {
            0 => ToPredecessor::Ready {
                servers: self.several(Self::text),
                claimed: self.several(|values| values.next() as u32),
            },
            1 => ToPredecessor::Failed { reason: self.text() },
            2 => ToPredecessor::Taken { count: number },
            3 => ToPredecessor::Busy { id: number },
            4 => ToPredecessor::Idle { id: number },
            5 => ToPredecessor::Succeeded,
            6 => ToPredecessor::Exiting,
            7 => ToPredecessor::TakenOf { number, count: self.next() as u32 },
            8 => ToPredecessor::Pong { number },
            _ => ToPredecessor::Granted { number, granted: self.count() },
        }
    }
}

#[test]
fn d18_every_message_comes_back_as_it_was_sent() {
    let mut values = Values(0x9E37_79B9_7F4A_7C15);
    for _ in 0..20_000 {
        let (bequest, reply) = (values.bequest(), values.reply());
        assert_eq!(postcard::from_bytes::<ToSuccessor>(&bytes(&bequest)), Ok(bequest));
        assert_eq!(postcard::from_bytes::<ToPredecessor>(&bytes(&reply)), Ok(reply));
    }
}

#[test]
fn d18_a_message_that_is_cut_off_is_an_error() {
    let mut values = Values(42);
    for _ in 0..2_000 {
        let whole = bytes(&values.bequest());
        for length in 0..whole.len() {
            assert!(postcard::from_bytes::<ToSuccessor>(&whole[..length]).is_err());
        }
    }
}
