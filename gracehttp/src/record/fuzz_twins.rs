//! A session of ours and a rustls server with the same keys get the same bytes of any client. Both have to read the same
//! text, and to end with the same alert.

use tokio_rustls::rustls::crypto::CryptoProvider;

use crate::record::Session;
use crate::record::forger::{Forger, SUITES};
use crate::record::fuzz::Script;
use crate::record::header::{MAX_PLAIN_LENGTH, content_type};
use crate::record::suite::Version;
use crate::record::twins::{End, Outcome, ours, theirs, twins};

const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const DECODE_ERROR: u8 = 50;

/// The length of a record of TLS 1.3 with a KeyUpdate: the message, its type and the tag. An alert is shorter.
const KEY_UPDATE_LENGTH: u8 = 5 + 1 + 16;

/// Plays a script, and panics if the two differ where no RFC says so.
pub(crate) fn open_as_rustls(provider: &CryptoProvider, script: &[u8]) {
    let mut script = Script(script);
    let suite = SUITES[usize::from(script.byte()) % SUITES.len()];
    let (session, mut server, mut client) = twins(provider, suite);
    let place = script.number();
    let sent = records(&mut client, &mut script);
    let place = place % (sent.bytes.len() + 1);

    let theirs = theirs(&mut server, &sent.bytes);
    let (ours, alert) = ours_in_two_parts(session, &sent.bytes, place);
    // RFC 8446 section 5.2 authenticates the header as it stands. rustls does not.
    let header_may_differ = sent.is_altered && suite.version() == Version::Tls13;
    let goes_on = theirs.end != End::Fault || theirs.text.len() > ours.text.len();
    if ours.end == End::Fault && goes_on {
        assert!(theirs.text.starts_with(&ours.text), "{suite:?}");
        match alert {
            Some(BAD_RECORD_MAC) => assert!(header_may_differ),
            // RFC 8446 section 5.2 limits the length of a record. rustls has one limit for all versions.
            Some(RECORD_OVERFLOW) => {}
            // A session goes by the header of a message, and refuses an empty one (RFC 8446 section 5.4). rustls waits
            // for the whole message.
            Some(UNEXPECTED_MESSAGE | DECODE_ERROR) => assert!(sent.may_hold_message, "{suite:?}, {alert:?}"),
            _ => panic!("{suite:?}: a session refuses with {alert:?} what rustls does not"),
        }
        return;
    }
    // Both refuse a renegotiation. A session does not read the ClientHello that asks for one; rustls may find it
    // malformed.
    let refused_renegotiation = records_in(&ours.sent) > usize::from(alert.is_some());
    if suite.version() == Version::Tls12 && theirs.end == End::Fault && refused_renegotiation {
        assert!(sent.may_hold_message && ours.text.starts_with(&theirs.text), "{suite:?}, {alert:?}");
        return;
    }
    assert_eq!(ours.end, theirs.end, "{suite:?}, {alert:?}");
    assert_eq!(ours.text, theirs.text, "{suite:?}");
    if ours.sent != theirs.sent {
        assert_differs_by_rfc(alert, header_may_differ, &ours, &theirs);
    }
}

/// What the client of a script sends.
struct Sent {
    bytes: Vec<u8>,
    /// Some of the bytes are not as they were sealed.
    is_altered: bool,
    /// A message of the handshake may be among them.
    may_hold_message: bool,
}

/// The records of the script, and other bytes between them.
fn records(client: &mut Forger, script: &mut Script<'_>) -> Sent {
    let mut records: Vec<Vec<u8>> = Vec::new();
    let (mut is_altered, mut may_hold_message) = (false, false);
    while !script.0.is_empty() {
        match script.byte() % 8 {
            0 => {
                records.push(script.bytes().to_vec());
                is_altered = true;
            }
            1 | 2 => {
                let (kind, content) = (script.byte(), script.bytes());
                records.push(client.record(kind, content));
                // A type of zero is padding, and what stands before it is the type.
                may_hold_message |=
                    kind == content_type::HANDSHAKE || content.contains(&content_type::HANDSHAKE);
            }
            3 => {
                let length = script.number().min(MAX_PLAIN_LENGTH + 300);
                records.push(client.record(content_type::APPLICATION_DATA, &vec![1; length]));
            }
            4 => {
                let kind = script.byte();
                may_hold_message |= kind == content_type::HANDSHAKE;
                let mut record = client.record(kind, &[1, 0]);
                let place = script.number() % record.len();
                record[place] ^= script.byte();
                records.push(record);
                is_altered = true;
            }
            5 => {
                records.push(client.key_update(script.byte()));
                may_hold_message = true;
            }
            // The last ones change places.
            6 if records.len() > 1 => {
                let last = records.len() - 1;
                records.swap(last - 1, last);
            }
            // The last one comes twice, or never.
            _ => {
                if let (Some(last), 0) = (records.pop(), script.byte() % 2) {
                    records.extend([last.clone(), last]);
                }
            }
        }
    }
    Sent { bytes: records.concat(), is_altered, may_hold_message }
}

/// Between the two parts, the session rests and travels.
fn ours_in_two_parts(mut session: Session, bytes: &[u8], place: usize) -> (Outcome, Option<u8>) {
    let (first, alert, cut) = ours(&mut session, &bytes[..place]);
    if first.end != End::Open {
        return (first, alert);
    }
    let (mut session, cut) = session.rest(&cut).wake();
    let (second, alert, _) = ours(&mut session, &[&cut, &bytes[place..]].concat());
    let [text, sent] = [[first.text, second.text].concat(), [first.sent, second.sent].concat()];
    (Outcome { text, sent, end: second.end }, alert)
}

fn records_in(mut sent: &[u8]) -> usize {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = sent {
        sent = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
        count += 1;
    }
    count
}

/// Both end, with other last words.
fn assert_differs_by_rfc(alert: Option<u8>, header_may_differ: bool, ours: &Outcome, theirs: &Outcome) {
    assert_eq!(ours.end, End::Fault, "{ours:?} {theirs:?}");
    // Where the rustls server says nothing, or where a MUST of RFC 8446 names another alert.
    let is_silent = ours.sent.starts_with(&theirs.sent);
    let has_reason = match alert {
        Some(BAD_RECORD_MAC) => header_may_differ,
        _ => matches!(alert, Some(RECORD_OVERFLOW | UNEXPECTED_MESSAGE)),
    };
    // rustls answers a KeyUpdate before its alert, which therefore is under another key. A session answers it before
    // data, as RFC 8446 section 4.6.3 says, and never sends any after this.
    let key_was_renewed =
        theirs.sent.starts_with(&[content_type::APPLICATION_DATA, 3, 3, 0, KEY_UPDATE_LENGTH]);
    assert!(is_silent || has_reason || key_was_renewed, "{alert:?}: {ours:?} {theirs:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::peer::providers;

    /// A few of the scripts that the fuzz target plays for minutes.
    #[test]
    fn a_session_does_what_rustls_does() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..500 {
            let script: Vec<u8> = (0..60)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    if random & 1 == 0 { (random >> 8) as u8 } else { (random >> 8) as u8 % 26 }
                })
                .collect();
            open_as_rustls(&providers()[0], &script);
        }
    }
}
