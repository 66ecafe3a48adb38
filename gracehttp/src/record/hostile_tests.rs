//! Records that no honest client sends. A session and a rustls server with the same keys get the same bytes, and have
//! to do the same.

use crate::record::forger::{Forger, SUITES};
use crate::record::header::content_type::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEARTBEAT,
};
use crate::record::peer::{providers, suites_of};
use crate::record::suite::Version;
use crate::record::twins::{End, Outcome, ours, theirs, twins};
use crate::record::{Opened, Suite};

const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const NO_RENEGOTIATION: u8 = 100;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// What both make of the same bytes.
fn both(suite: Suite, bytes: impl FnOnce(&mut Forger) -> Vec<u8>) -> (Outcome, Option<u8>, Outcome) {
    let (mut session, mut server, mut client) = twins(&providers()[0], suite);
    let bytes = bytes(&mut client);
    let theirs = theirs(&mut server, &bytes);
    let (ours, alert, _) = ours(&mut session, &bytes);
    (ours, alert, theirs)
}

/// Both do the same, byte for byte, and end like this.
fn same(name: &str, suite: Suite, end: End, alert: Option<u8>, bytes: impl FnOnce(&mut Forger) -> Vec<u8>) {
    let (ours, sent, theirs) = both(suite, bytes);
    assert_eq!(ours, theirs, "{name}, {suite:?}");
    assert_eq!((ours.end, sent), (end, alert), "{name}, {suite:?}");
}

/// Both refuse it with this alert.
fn refused(name: &str, suite: Suite, alert: u8, bytes: impl FnOnce(&mut Forger) -> Vec<u8>) {
    same(name, suite, End::Fault, Some(alert), bytes);
}

/// Both refuse it; rustls says nothing, a session sends this alert.
fn refused_silently_by_rustls(
    name: &str,
    suite: Suite,
    alert: u8,
    bytes: impl FnOnce(&mut Forger) -> Vec<u8>,
) {
    let (ours, sent, theirs) = both(suite, bytes);
    assert_eq!((ours.end, sent, theirs.end), (End::Fault, Some(alert), End::Fault), "{name}, {suite:?}");
    assert!(!ours.sent.is_empty() && theirs.sent.is_empty(), "{name}, {suite:?}: rustls sends an alert");
    assert_eq!(ours.text, theirs.text, "{name}, {suite:?}");
}

/// Where a MUST of an RFC names an alert, and rustls sends another.
fn refused_as_the_rfc_says(name: &str, suite: Suite, alert: u8, bytes: impl FnOnce(&mut Forger) -> Vec<u8>) {
    let (ours, sent, theirs) = both(suite, bytes);
    assert_eq!((ours.end, sent, theirs.end), (End::Fault, Some(alert), End::Fault), "{name}, {suite:?}");
    assert!(ours.sent != theirs.sent, "{name}, {suite:?}: there is no difference");
}

/// Where a MUST of an RFC ends the session with this alert, and rustls goes on.
fn refused_though_rustls_bears_it(
    name: &str,
    suite: Suite,
    alert: u8,
    bytes: impl FnOnce(&mut Forger) -> Vec<u8>,
) {
    let (ours, sent, theirs) = both(suite, bytes);
    assert_eq!((ours.end, sent, theirs.end), (End::Fault, Some(alert), End::Open), "{name}, {suite:?}");
}

/// A message of the handshake.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (body.len() as u32).to_be_bytes();
    [&[kind][..], &length, body].concat()
}

/// A ClientHello that rustls can read: TLS 1.2, one suite, no compression, no extensions.
fn client_hello() -> Vec<u8> {
    message(1, &[&[3, 3][..], &[9; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat())
}

#[test]
fn every_byte_of_a_record_is_authenticated() {
    for suite in SUITES {
        let length = twins(&providers()[0], suite).2.record(APPLICATION_DATA, b"GET /").len();
        for place in 0..length {
            for mask in [1, 0x80] {
                let (ours, alert, theirs) = both(suite, |client| {
                    let mut record = client.record(APPLICATION_DATA, b"GET /");
                    record[place] ^= mask;
                    // More input, for a record that is longer now.
                    record.extend(client.record(APPLICATION_DATA, &vec![0; 8000]));
                    record
                });
                let what = format!("byte {place} with {mask:#x}, {suite:?}");
                assert!(ours.text.is_empty(), "{what}");
                // RFC 8446 section 5.2 authenticates type and version as they stand, which rustls does not.
                if suite.version() == Version::Tls13 && theirs.end == End::Open {
                    assert!((place, mask) == (0, 1) || place == 2, "{what}");
                    assert_eq!((ours.end, alert), (End::Fault, Some(BAD_RECORD_MAC)), "{what}");
                // A length that RFC 8446 section 5.2 forbids.
                } else if alert == Some(RECORD_OVERFLOW) {
                    assert_eq!((place, mask), (3, 0x80), "{what}");
                } else {
                    assert_eq!(ours, theirs, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_record_counts_once_and_in_its_order() {
    for suite in SUITES {
        refused("a replay", suite, BAD_RECORD_MAC, |client| client.record(APPLICATION_DATA, b"a").repeat(2));
        refused("another order", suite, BAD_RECORD_MAC, |client| {
            let first = client.record(APPLICATION_DATA, b"a");
            [client.record(APPLICATION_DATA, b"b"), first].concat()
        });
        refused("a record is missing", suite, BAD_RECORD_MAC, |client| {
            client.record(APPLICATION_DATA, b"a");
            client.record(APPLICATION_DATA, b"b")
        });
    }
}

#[test]
fn bytes_that_are_no_tls_are_refused_at_once() {
    for suite in SUITES {
        for bytes in [&b"G"[..], b"GET /", b"\0\0\0\0\0", b"\x17\x02\x03\xff\xff", b"\x19\x03\x03\xff\xff"] {
            refused("no TLS", suite, DECODE_ERROR, |_| bytes.to_vec());
        }
        for kind in [ALERT, HANDSHAKE, CHANGE_CIPHER_SPEC, HEARTBEAT] {
            refused("an empty record", suite, DECODE_ERROR, |_| vec![kind, 3, 3, 0, 0]);
        }
        refused("no tag", suite, BAD_RECORD_MAC, |_| vec![APPLICATION_DATA, 3, 3, 0, 0]);
        for length in 1..=24_u8 {
            refused("shorter than its tag", suite, BAD_RECORD_MAC, |_| {
                [&[APPLICATION_DATA, 3, 3, 0, length][..], &vec![1; length.into()]].concat()
            });
        }
    }
}

#[test]
fn records_longer_than_allowed_are_refused_by_their_header() {
    let header = |length: u16| [&[APPLICATION_DATA, 3, 3][..], &length.to_be_bytes()].concat();
    for suite in SUITES {
        let longest = if suite.version() == Version::Tls13 { 16_384 + 256 } else { 16_384 + 2048 };
        refused_as_the_rfc_says("too long", suite, RECORD_OVERFLOW, |_| header(u16::MAX));
        let (mut session, ..) = twins(&providers()[0], suite);
        let opened = session.open(&mut header(longest), &mut Vec::new()).unwrap();
        assert_eq!(opened, Opened::Incomplete { needed: usize::from(longest) + 5 });
        let fault = session.open(&mut header(longest + 1), &mut Vec::new()).unwrap_err();
        assert_eq!(fault.alert, Some(RECORD_OVERFLOW));
    }
}

#[test]
fn content_longer_than_allowed_is_refused() {
    for suite in SUITES {
        let longest = vec![7; 16_384];
        same("the longest", suite, End::Open, None, |client| client.record(APPLICATION_DATA, &longest));
        refused("one byte more", suite, RECORD_OVERFLOW, |client| {
            client.record(APPLICATION_DATA, &[&longest[..], &[7]].concat())
        });
    }
    for suite in suites_of(Version::Tls12) {
        refused("as much as rustls reads", suite, RECORD_OVERFLOW, |client| {
            client.record(APPLICATION_DATA, &vec![7; 16_384 + 2047 - 24])
        });
    }
    for suite in suites_of(Version::Tls13) {
        let padded = |length: usize| {
            let mut inner = vec![0; length];
            inner[..2].copy_from_slice(&[b'a', APPLICATION_DATA]);
            inner
        };
        same("the most padding", suite, End::Open, None, |client| client.inner(&padded(16_385)));
        refused("more padding", suite, RECORD_OVERFLOW, |client| client.inner(&padded(16_386)));
    }
}

#[test]
fn padding_is_removed_and_must_not_be_all() {
    for suite in suites_of(Version::Tls13) {
        same("padded data", suite, End::Open, None, |client| {
            client.inner(&[b'a', 0, 0, APPLICATION_DATA, 0, 0, 0])
        });
        same("padded close_notify", suite, End::Closed, None, |client| client.inner(&[WARNING, 0, ALERT, 0]));
        for inner in [&[0; 300][..], &[]] {
            refused_silently_by_rustls("no type", suite, UNEXPECTED_MESSAGE, |client| client.inner(inner));
        }
    }
}

/// Only data may be empty (RFC 8446 section 5.4), with padding or without.
#[test]
fn an_alert_or_a_message_must_not_be_empty() {
    for suite in suites_of(Version::Tls13) {
        for padding in [0, 1, 300] {
            let inner = |kind: u8| [&[kind][..], &vec![0; padding]].concat();
            same("empty data", suite, End::Open, None, |client| client.inner(&inner(APPLICATION_DATA)));
            refused_as_the_rfc_says("an empty alert", suite, UNEXPECTED_MESSAGE, |client| {
                client.inner(&inner(ALERT))
            });
            refused_though_rustls_bears_it("an empty message", suite, UNEXPECTED_MESSAGE, |client| {
                client.inner(&inner(HANDSHAKE))
            });
            refused_though_rustls_bears_it("an empty part", suite, UNEXPECTED_MESSAGE, |client| {
                [client.record(HANDSHAKE, &[24, 0]), client.inner(&inner(HANDSHAKE))].concat()
            });
        }
    }
    for suite in suites_of(Version::Tls12) {
        same("an empty message", suite, End::Open, None, |client| client.record(HANDSHAKE, &[]));
        refused("an empty alert", suite, DECODE_ERROR, |client| client.record(ALERT, &[]));
    }
}

#[test]
fn content_of_unknown_type_is_refused() {
    for suite in suites_of(Version::Tls13) {
        for kind in [HEARTBEAT, 25, 255] {
            refused("unknown", suite, DECODE_ERROR, |client| client.inner(&[1, kind]));
        }
    }
    for suite in suites_of(Version::Tls12) {
        refused("a heartbeat", suite, DECODE_ERROR, |client| client.record(HEARTBEAT, &[1]));
    }
}

#[test]
fn a_change_cipher_spec_is_unexpected() {
    for suite in SUITES {
        refused("as middleboxes like it", suite, UNEXPECTED_MESSAGE, |_| {
            vec![CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]
        });
        refused_as_the_rfc_says("another value", suite, UNEXPECTED_MESSAGE, |_| {
            vec![CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 2]
        });
    }
    for suite in suites_of(Version::Tls13) {
        refused("sealed", suite, UNEXPECTED_MESSAGE, |client| client.record(CHANGE_CIPHER_SPEC, &[1]));
    }
}

#[test]
fn what_is_not_sealed_is_refused() {
    for suite in SUITES {
        refused("close_notify", suite, BAD_RECORD_MAC, |_| vec![ALERT, 3, 3, 0, 2, WARNING, 0]);
        refused("a fatal alert", suite, BAD_RECORD_MAC, |_| vec![ALERT, 3, 3, 0, 2, FATAL, 80]);
        refused("a KeyUpdate", suite, BAD_RECORD_MAC, |_| vec![HANDSHAKE, 3, 3, 0, 5, 24, 0, 0, 1, 0]);
        refused("data", suite, BAD_RECORD_MAC, |_| {
            [&[APPLICATION_DATA, 3, 3, 0, 30][..], &[b'a'; 30]].concat()
        });
    }
}

#[test]
fn alerts_are_understood() {
    for suite in SUITES {
        same("close_notify", suite, End::Closed, None, |client| {
            [client.record(APPLICATION_DATA, b"a"), client.record(ALERT, &[WARNING, 0]), vec![1; 99]].concat()
        });
        same("fatal close_notify", suite, End::Closed, None, |client| client.record(ALERT, &[FATAL, 0]));
        same("a fatal alert has no answer", suite, End::Fault, None, |client| {
            client.record(ALERT, &[FATAL, 80])
        });
        refused("an unknown level", suite, ILLEGAL_PARAMETER, |client| client.record(ALERT, &[3, 80]));
        for alert in [&[WARNING][..], &[WARNING, 0, 0]] {
            refused("not two bytes", suite, DECODE_ERROR, |client| client.record(ALERT, alert));
        }
        let warnings = |count: usize| {
            move |client: &mut Forger| {
                let sent: Vec<_> = (0..count)
                    .flat_map(|_| {
                        [client.record(ALERT, &[WARNING, 90]), client.record(APPLICATION_DATA, b"a")].concat()
                    })
                    .collect();
                sent
            }
        };
        same("four times user_canceled", suite, End::Open, None, warnings(4));
        refused_silently_by_rustls("five times", suite, UNEXPECTED_MESSAGE, warnings(5));
    }
    for suite in suites_of(Version::Tls13) {
        refused("a warning", suite, DECODE_ERROR, |client| client.record(ALERT, &[WARNING, 80]));
    }
    for suite in suites_of(Version::Tls12) {
        same("a warning", suite, End::Open, None, |client| client.record(ALERT, &[WARNING, 80]));
    }
}

#[test]
fn a_key_update_is_followed() {
    for suite in suites_of(Version::Tls13) {
        same("nothing requested", suite, End::Open, None, |client| {
            [client.key_update(0), client.record(APPLICATION_DATA, b"a")].concat()
        });
        refused("data under the old key", suite, BAD_RECORD_MAC, |client| {
            let update = client.record(HANDSHAKE, &[24, 0, 0, 1, 0]);
            [update, client.record(APPLICATION_DATA, b"a")].concat()
        });
        refused("an unknown value", suite, ILLEGAL_PARAMETER, |client| client.key_update(2));
        for body in [&[][..], &[0, 0], &[0; 300]] {
            refused("an impossible length", suite, DECODE_ERROR, |client| {
                client.record(HANDSHAKE, &message(24, body))
            });
        }
    }
}

#[test]
fn a_key_update_is_the_end_of_its_record() {
    for suite in suites_of(Version::Tls13) {
        let update = message(24, &[0]);
        for rest in [&update[..], &update[..1]] {
            refused("something follows", suite, UNEXPECTED_MESSAGE, |client| {
                client.record(HANDSHAKE, &[&update[..], rest].concat())
            });
        }
    }
}

#[test]
fn a_message_may_be_spread_over_records_and_nothing_may_come_between() {
    for suite in suites_of(Version::Tls13) {
        for cut in 1..5 {
            let update = message(24, &[0]);
            let spread = |client: &mut Forger, between: Option<u8>| {
                let mut sent = client.record(HANDSHAKE, &update[..cut]);
                if let Some(kind) = between {
                    sent.extend(client.record(kind, &[1, 0]));
                }
                sent.extend(client.record(HANDSHAKE, &update[cut..]));
                client.renew();
                sent.extend(client.record(APPLICATION_DATA, b"a"));
                sent
            };
            same("two parts", suite, End::Open, None, |client| spread(client, None));
            for between in [APPLICATION_DATA, ALERT] {
                refused_silently_by_rustls("between", suite, UNEXPECTED_MESSAGE, |client| {
                    spread(client, Some(between))
                });
            }
        }
    }
}

#[test]
fn other_messages_of_the_handshake_are_unexpected() {
    for suite in suites_of(Version::Tls13) {
        for unexpected in [client_hello(), message(20, &[7; 32]), message(0, &[]), message(99, &[1])] {
            refused("after the handshake", suite, UNEXPECTED_MESSAGE, |client| {
                client.record(HANDSHAKE, &unexpected)
            });
        }
    }
    for suite in suites_of(Version::Tls12) {
        for unexpected in [message(20, &[7; 12]), message(0, &[]), message(24, &[0]), message(99, &[1])] {
            refused("after the handshake", suite, UNEXPECTED_MESSAGE, |client| {
                client.record(HANDSHAKE, &unexpected)
            });
        }
    }
}

#[test]
fn a_renegotiation_is_refused_once_and_the_second_ends_the_session() {
    for suite in suites_of(Version::Tls12) {
        let asks = |client: &mut Forger| client.record(HANDSHAKE, &client_hello());
        same("once", suite, End::Open, None, |client| {
            [asks(client), client.record(APPLICATION_DATA, b"a")].concat()
        });
        same("spread over records", suite, End::Open, None, |client| {
            let mut sent: Vec<_> =
                client_hello().chunks(7).flat_map(|part| client.record(HANDSHAKE, part)).collect();
            sent.extend(client.record(APPLICATION_DATA, b"a"));
            sent
        });
        let (ours, alert, theirs) = both(suite, |client| [asks(client), asks(client)].concat());
        assert_eq!((ours.end, alert, theirs.end), (End::Fault, Some(NO_RENEGOTIATION), End::Fault));
        assert!(ours.sent.starts_with(&theirs.sent) && !theirs.sent.is_empty(), "the warning is the same");
        refused_silently_by_rustls("data between its parts", suite, UNEXPECTED_MESSAGE, |client| {
            let hello = client_hello();
            let first = client.record(HANDSHAKE, &hello[..20]);
            [first, client.record(APPLICATION_DATA, b"a"), client.record(HANDSHAKE, &hello[20..])].concat()
        });
        refused_silently_by_rustls("a ClientHello of 64 KiB", suite, DECODE_ERROR, |client| {
            client.record(HANDSHAKE, &[1, 1, 0, 0, 3])
        });
        refused("an empty ClientHello", suite, DECODE_ERROR, |client| {
            client.record(HANDSHAKE, &message(1, &[]))
        });
    }
}

#[test]
fn thirty_two_records_without_data_may_come_in_a_row() {
    for suite in SUITES {
        let empty = |count: usize| {
            move |client: &mut Forger| {
                let run = |client: &mut Forger, count| {
                    let sent: Vec<_> =
                        (0..count).flat_map(|_| client.record(APPLICATION_DATA, b"")).collect();
                    sent
                };
                [run(client, 32), client.record(APPLICATION_DATA, b"a"), run(client, count)].concat()
            }
        };
        same("empty records", suite, End::Open, None, empty(32));
        refused_silently_by_rustls("one more", suite, UNEXPECTED_MESSAGE, empty(33));
    }
    for suite in suites_of(Version::Tls13) {
        let updates = |count: usize| {
            move |client: &mut Forger| {
                let run = |client: &mut Forger, count| {
                    let sent: Vec<_> = (0..count).flat_map(|_| client.key_update(0)).collect();
                    sent
                };
                [run(client, 32), client.record(APPLICATION_DATA, b"a"), run(client, count)].concat()
            }
        };
        same("KeyUpdates", suite, End::Open, None, updates(32));
        refused_silently_by_rustls("one more", suite, UNEXPECTED_MESSAGE, updates(33));
    }
}

/// A client could otherwise begin anew with each move.
#[test]
fn counts_of_useless_records_go_on_when_a_session_wakes() {
    for suite in SUITES {
        let (mut session, _, mut client) = twins(&providers()[0], suite);
        let mut faults = Vec::new();
        for _ in 0..33 {
            let mut record = client.record(APPLICATION_DATA, b"");
            faults.extend(session.open(&mut record, &mut Vec::new()).err());
            session = session.rest(&[]).wake().0;
        }
        let alerts: Vec<_> = faults.iter().map(|fault| fault.alert).collect();
        assert_eq!(alerts, [Some(UNEXPECTED_MESSAGE)], "{suite:?}");
    }
}

/// rustls reads a message whole before it refuses it; a session goes by the header.
#[test]
fn nothing_is_kept_of_a_message_that_will_be_refused() {
    for suite in SUITES {
        let (mut session, _, mut client) = twins(&providers()[0], suite);
        let mut record = client.record(HANDSHAKE, &[11, 0, 0xff, 0xff]);
        let fault = session.open(&mut record, &mut Vec::new()).unwrap_err();
        assert_eq!(fault.alert, Some(UNEXPECTED_MESSAGE), "{suite:?}");
    }
}
