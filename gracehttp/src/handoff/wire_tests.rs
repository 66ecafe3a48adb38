//! The bytes of every message. All releases share them: a test that fails here means that this release and an older
//! one would not understand each other.

#[path = "wire_values.rs"]
mod values;

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::*;
use crate::handoff::session::{Alpn, CutMessage, Direction, Secret, Session};
use values::Values;

fn bytes<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_allocvec(message).unwrap()
}

/// Checks that the message becomes these bytes, and they the message.
fn golden<M: Serialize + DeserializeOwned + PartialEq + Debug>(message: &M, expected: &[u8]) {
    assert_eq!(bytes(message), expected, "{message:?}");
    assert_eq!(postcard::from_bytes::<M>(expected).as_ref(), Ok(message));
}

fn count(server: &str, count: u64) -> ServerCount {
    ServerCount { server: server.to_owned(), count }
}

fn connection(server: &str, family: Family, stage: Stage, ahead: &[u8]) -> ConnectionV1 {
    ConnectionV1 { server: server.to_owned(), family, stage, ahead: ahead.to_vec() }
}

/// A kind of message for each direction. A new variant does not compile until it has a number here, and the tests below
/// fail until it has golden bytes and is among the random values.
trait Numbered {
    const COUNT: u8;

    fn number(&self) -> u8;
}

impl Numbered for ToSuccessor {
    const COUNT: u8 = 15;

    fn number(&self) -> u8 {
        match self {
            Self::TicketKeys { .. } => 0,
            Self::Listeners { .. } => 1,
            Self::Commit { .. } => 2,
            Self::Connections { .. } => 3,
            Self::Held { .. } => 4,
            Self::StandbyOver => 5,
            Self::Done => 6,
            Self::Offers { .. } => 7,
            Self::Batch { .. } => 8,
            Self::Ping { .. } => 9,
            Self::Counts { .. } => 10,
            Self::BatchV3 { .. } => 11,
            Self::Parcel { .. } => 12,
            Self::BatchV7 { .. } => 13,
            Self::BatchV8 { .. } => 14,
        }
    }
}

impl Numbered for ToPredecessor {
    const COUNT: u8 = 12;

    fn number(&self) -> u8 {
        match self {
            Self::Ready { .. } => 0,
            Self::Failed { .. } => 1,
            Self::Taken { .. } => 2,
            Self::Busy { .. } => 3,
            Self::Idle { .. } => 4,
            Self::HasSuccessor => 5,
            Self::Exiting => 6,
            Self::TakenOf { .. } => 7,
            Self::Pong { .. } => 8,
            Self::Granted { .. } => 9,
            Self::Parcel { .. } => 10,
            Self::ReadyV8 { .. } => 11,
        }
    }
}

/// Checks that there is a message of each kind.
fn assert_complete<M: Numbered>(messages: impl IntoIterator<Item = M>) {
    let numbers: BTreeSet<u8> = messages.into_iter().map(|message| message.number()).collect();
    assert!(numbers.iter().copied().eq(0..M::COUNT), "only these have values: {numbers:?}");
}

/// Messages to the successor and their bytes.
fn golden_to_successor() -> Vec<(ToSuccessor, Vec<u8>)> {
    let key = Key { name: [7; 16], secret: [9; 32], made_at: 300 };
    let v1 = ListenerV1 { server: "web".to_owned(), endpoint: ":80".to_owned() };
    let v2 = ListenerV2 { server: "web".to_owned(), endpoint: ":80".to_owned(), secure: true };
    let web = connection("web", Family::Tcp, Stage::Fresh, b"");
    let api = connection("api", Family::Unix, Stage::Idle, b"GET");
    let known = ConnectionV2 {
        listener: NonZeroU16::new(300),
        connection: connection("web", Family::Tcp, Stage::Idle, b"G"),
    };
    let unknown =
        ConnectionV2 { listener: None, connection: connection("a", Family::Unix, Stage::Fresh, b"") };
    let secure = ConnectionV2 {
        listener: NonZeroU16::new(1),
        connection: connection("web", Family::Tcp, Stage::Idle, b"G"),
    };
    let plain = ConnectionV2 { listener: None, connection: connection("a", Family::Unix, Stage::Fresh, b"") };
    let session = Session {
        suite: 0x1301,
        client: Direction { secret: Secret(vec![7; 32]), sequence: 300 },
        server: Direction { secret: Secret(vec![9; 48]), sequence: 2 },
        owes_key_update: true,
        without_data: 3,
        warnings: 4,
        refused_renegotiation: false,
        message: CutMessage { header: vec![24, 0], missing: 300 },
        sni: Some("a.test".to_owned()),
        alpn: Some(Alpn::Http11),
        cut: vec![23, 3, 3],
    };
    let bare = ConnectionV2 { listener: None, connection: connection("a", Family::Unix, Stage::Fresh, b"") };
    let with_header = |proxy_header| {
        let bare = connection("a", Family::Unix, Stage::Fresh, b"");
        ConnectionV7 { connection: bare.into(), proxy_header }
    };
    let with_chain = |client_chain| ConnectionV8 { connection: with_header(ProxyHeader::None), client_chain };
    let empty = || Direction { secret: Secret(Vec::new()), sequence: 0 };
    let bare_session = Session {
        suite: 0,
        client: empty(),
        server: empty(),
        owes_key_update: false,
        without_data: 0,
        warnings: 0,
        refused_renegotiation: false,
        message: CutMessage { header: Vec::new(), missing: 0 },
        sni: None,
        alpn: None,
        cut: Vec::new(),
    };
    [
        // Version 1: the bytes of the first release.
        (ToSuccessor::TicketKeys { keys: vec![key] }, &[&[0, 1][..], &[7; 16], &[9; 32], &[0xac, 2]][..]),
        (
            ToSuccessor::Listeners { listeners: vec![v1], last: true },
            &[&[1, 1, 3], b"web", &[3], b":80", &[1]],
        ),
        (ToSuccessor::Commit { held: vec![count("web", 300)] }, &[&[2, 1, 3], b"web", &[0xac, 2]]),
        (
            ToSuccessor::Connections { connections: vec![web, api] },
            &[&[3, 2, 3], b"web", &[0, 0, 0], &[3], b"api", &[1, 1, 3], b"GET"],
        ),
        (ToSuccessor::Held { held: vec![count("web", 0)] }, &[&[4, 1, 3], b"web", &[0]]),
        (ToSuccessor::StandbyOver, &[&[5]]),
        (ToSuccessor::Done, &[&[6]]),
        // Version 2.
        (
            ToSuccessor::Offers { listeners: vec![v2], last: false },
            &[&[7, 1, 3], b"web", &[3], b":80", &[1, 0]],
        ),
        (
            ToSuccessor::Batch { number: 5, connections: vec![known, unknown] },
            &[&[8, 5, 2, 1, 0xac, 2, 3], b"web", &[0, 1, 1], b"G", &[0, 1], b"a", &[1, 0, 0]],
        ),
        (ToSuccessor::Ping { number: 300 }, &[&[9, 0xac, 2]]),
        (
            ToSuccessor::Counts { number: 2, held: vec![count("a", 1)], asked: vec![count("b", 300)] },
            &[&[10, 2, 1, 1], b"a", &[1, 1, 1], b"b", &[0xac, 2]],
        ),
        // Version 3.
        (
            ToSuccessor::BatchV3 {
                number: 5,
                connections: vec![
                    ConnectionV3 { connection: secure, session: Some(session) },
                    plain.into(),
                    ConnectionV3 { session: Some(bare_session), ..bare.into() },
                ],
            },
            &[
                // The connection.
                &[11, 5, 3, 1, 1, 3],
                b"web",
                &[0, 1, 1],
                b"G",
                // Its session: the suite, both directions, the counters, what the client asked for, the cut record.
                &[1, 0x81, 0x26, 32],
                &[7; 32],
                &[0xac, 2, 48],
                &[9; 48],
                &[2, 1, 3, 4, 0, 2, 24, 0, 0xac, 2, 1, 6],
                b"a.test",
                &[1, 0, 3, 23, 3, 3],
                // No session.
                &[0, 1],
                b"a",
                &[1, 0, 0, 0],
                // A session without anything optional.
                &[0, 1],
                b"a",
                &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ],
        ),
        // Version 4.
        (
            ToSuccessor::Parcel { name: "status".to_owned(), data: vec![7; 300] },
            &[&[12, 6], b"status", &[0xac, 2], &[7; 300]],
        ),
        // Version 7.
        (
            ToSuccessor::BatchV7 {
                number: 300,
                connections: vec![
                    with_header(ProxyHeader::None),
                    with_header(ProxyHeader::Owed),
                    with_header(ProxyHeader::Read(b"PROXY".to_vec())),
                ],
            },
            &[
                &[13, 0xac, 2, 3],
                &[0, 1],
                b"a",
                &[1, 0, 0, 0, 0],
                &[0, 1],
                b"a",
                &[1, 0, 0, 0, 1],
                &[0, 1],
                b"a",
                &[1, 0, 0, 0, 2, 5],
                b"PROXY",
            ],
        ),
        // Version 8.
        (
            ToSuccessor::BatchV8 {
                number: 300,
                connections: vec![with_chain(Vec::new()), with_chain(vec![b"leaf".to_vec(), b"ca".to_vec()])],
            },
            &[
                &[14, 0xac, 2, 2],
                &[0, 1],
                b"a",
                &[1, 0, 0, 0, 0, 0],
                &[0, 1],
                b"a",
                &[1, 0, 0, 0, 0, 2, 4],
                b"leaf",
                &[2],
                b"ca",
            ],
        ),
    ]
    .map(|(message, bytes)| (message, bytes.concat()))
    .into()
}

/// Messages to the predecessor and their bytes.
fn golden_to_predecessor() -> Vec<(ToPredecessor, Vec<u8>)> {
    [
        // Version 1: the bytes of the first release.
        (
            ToPredecessor::Ready { servers: vec!["web".to_owned()], claimed: vec![0, 300] },
            &[&[0, 1, 3][..], b"web", &[2, 0, 0xac, 2]][..],
        ),
        (ToPredecessor::Failed { reason: "no".to_owned() }, &[&[1, 2], b"no"]),
        (ToPredecessor::Taken { count: 300 }, &[&[2, 0xac, 2]]),
        (ToPredecessor::Busy { id: 1 }, &[&[3, 1]]),
        (ToPredecessor::Idle { id: 300 }, &[&[4, 0xac, 2]]),
        (ToPredecessor::HasSuccessor, &[&[5]]),
        (ToPredecessor::Exiting, &[&[6]]),
        // Version 2.
        (ToPredecessor::TakenOf { number: 5, count: 64 }, &[&[7, 5, 64]]),
        (ToPredecessor::Pong { number: 300 }, &[&[8, 0xac, 2]]),
        (ToPredecessor::Granted { number: 2, granted: count("a", 3) }, &[&[9, 2, 1], b"a", &[3]]),
        // Version 4.
        (
            ToPredecessor::Parcel { name: "status".to_owned(), data: vec![7, 0] },
            &[&[10, 6], b"status", &[2, 7, 0]],
        ),
        // Version 8.
        (
            ToPredecessor::ReadyV8 {
                servers: vec!["web".to_owned(), "a".to_owned()],
                claimed: vec![0, 300],
                with_client_certs: vec!["a".to_owned()],
            },
            &[&[11, 2, 3], b"web", &[1], b"a", &[2, 0, 0xac, 2, 1, 1], b"a"],
        ),
    ]
    .map(|(message, bytes)| (message, bytes.concat()))
    .into()
}

#[test]
fn versions_agree_on_the_newest_that_both_speak() {
    let ours = Hello::new(1);
    for (newest, agreed) in [
        (1, Version::One),
        (2, Version::Two),
        (3, Version::Three),
        (4, Version::Four),
        (5, Version::Five),
        (6, Version::Six),
        (7, Version::Seven),
        (8, Version::Eight),
        // A later release.
        (9, Version::Eight),
        (u16::MAX, Version::Eight),
    ] {
        assert_eq!(Hello { newest, ..ours.clone() }.agree(), Ok(agreed));
    }
    assert_eq!(ours.agree(), Ok(Version::NEWEST));
}

#[test]
fn strangers_are_refused_with_a_reason() {
    let ours = Hello::new(1);
    let too_new = Hello { oldest: 9, newest: 10, ..ours.clone() };
    assert!(too_new.agree().unwrap_err().contains("versions 9 to 10"));
    let too_old = Hello { oldest: 0, newest: 0, ..ours.clone() };
    assert!(too_old.agree().is_err());
    let stranger = Hello { magic: *b"GET / HT", ..ours };
    assert!(stranger.agree().is_err());
}

#[test]
fn d18_the_hello_is_frozen() {
    let hello = Hello { generation: 300, pid: 7, ..Hello::new(0) };
    golden(&hello, &[&b"gracehdf"[..], &[1, 8, 0xac, 2, 14]].concat());
}

#[test]
fn d18_every_message_to_the_successor_keeps_its_bytes() {
    for (message, bytes) in golden_to_successor() {
        golden(&message, &bytes);
        assert_eq!(bytes[0], message.number(), "the place of a variant is its number");
    }
    assert_complete(golden_to_successor().into_iter().map(|(message, _)| message));
}

#[test]
fn d18_every_message_to_the_predecessor_keeps_its_bytes() {
    for (message, bytes) in golden_to_predecessor() {
        golden(&message, &bytes);
        assert_eq!(bytes[0], message.number(), "the place of a variant is its number");
    }
    assert_complete(golden_to_predecessor().into_iter().map(|(message, _)| message));
}

/// A mistake in a conversion would change the meaning of the bytes.
#[test]
fn d18_values_of_other_rooms_keep_their_place_on_the_wire() {
    use crate::socket;
    for (ours, wire, byte) in [(socket::Family::Tcp, Family::Tcp, 0), (socket::Family::Unix, Family::Unix, 1)]
    {
        assert_eq!((Family::from(ours), socket::Family::from(wire)), (wire, ours));
        assert_eq!(bytes(&wire), [byte]);
    }
    for (ours, wire, byte) in [(socket::Stage::Fresh, Stage::Fresh, 0), (socket::Stage::Idle, Stage::Idle, 1)]
    {
        assert_eq!((Stage::from(ours), socket::Stage::from(wire)), (wire, ours));
        assert_eq!(bytes(&wire), [byte]);
    }
    let key = TicketKey { name: [1; 16], secret: [2; 32], made_at: 3 };
    assert_eq!(Key::from(&key), Key { name: [1; 16], secret: [2; 32], made_at: 3 });
    assert_eq!(TicketKey::from(&Key::from(&key)), key);
    let origin = socket::Origin::new(9).unwrap();
    assert_eq!(ToPredecessor::from(Report::Busy(origin)), ToPredecessor::Busy { id: 9 });
    assert_eq!(ToPredecessor::from(Report::Idle(origin)), ToPredecessor::Idle { id: 9 });
}

#[test]
fn d18_every_message_comes_back_as_it_was_sent() {
    fn round_trip<M: Serialize + DeserializeOwned + PartialEq + Debug>(messages: &[M]) {
        for message in messages {
            assert_eq!(postcard::from_bytes::<M>(&bytes(message)).as_ref(), Ok(message));
        }
    }
    let mut values = Values(0x9E37_79B9_7F4A_7C15);
    let hellos: Vec<Hello> = (0..2_000).map(|_| values.hello()).collect();
    let to_successor: Vec<ToSuccessor> = (0..20_000).map(|_| values.message_to_successor()).collect();
    let to_predecessor: Vec<ToPredecessor> = (0..20_000).map(|_| values.message_to_predecessor()).collect();
    round_trip(&hellos);
    round_trip(&to_successor);
    round_trip(&to_predecessor);
    assert_complete(to_successor);
    assert_complete(to_predecessor);
}

#[test]
fn d18_a_message_that_is_cut_off_is_an_error() {
    fn assert_whole<M: Serialize + DeserializeOwned + Debug>(message: &M) {
        let whole = bytes(message);
        for length in 0..whole.len() {
            assert!(postcard::from_bytes::<M>(&whole[..length]).is_err(), "{length} bytes of {message:?}");
        }
    }
    let mut values = Values(42);
    for _ in 0..2_000 {
        assert_whole(&values.message_to_successor());
        assert_whole(&values.message_to_predecessor());
        assert_whole(&values.hello());
    }
}

/// A message with secrets may end up in a log: that it could not be understood, or was not expected.
#[test]
fn no_secret_is_printed() {
    let secret = |byte: u8| Direction { secret: Secret(vec![byte; 48]), sequence: 1 };
    let key = Key { name: [7; 16], secret: [201; 32], made_at: 300 };
    let session = Session { client: secret(202), server: secret(203), ..Values(7).session() };
    let web = connection("web", Family::Tcp, Stage::Idle, b"Cookie: crumbs");
    let connections = vec![ConnectionV3 { session: Some(session), ..web.into() }];
    let batch = ToSuccessor::BatchV3 { number: 1, connections };
    let printed = format!("{:?} {batch:?} {batch:#?}", ToSuccessor::TicketKeys { keys: vec![key] });
    for secret in ["201", "202", "203", "crumbs", &format!("{:?}", b"crumbs".as_slice())] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    assert!(printed.contains("web"), "{printed}");
}

#[test]
fn secrets_that_were_received_lie_in_a_buffer_that_has_not_grown() {
    let secret = Secret(vec![5; 48]);
    let received: Secret = postcard::from_bytes(&bytes(&secret)).unwrap();
    assert_eq!((received.0.len(), received.0.capacity()), (48, 48));
}
