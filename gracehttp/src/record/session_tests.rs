//! A session talks to rustls' client, and rests, wakes, travels and renews its keys meanwhile.

use std::io::IoSlice;

use tokio_rustls::rustls::ExtractedSecrets;

use crate::record::at_rest::{SessionAtRest, SessionParts};
use crate::record::established::{Established, NotEstablished, TrafficSecrets};
use crate::record::forger::SUITES;
use crate::record::header::content_type;
use crate::record::keys::Secret;
use crate::record::peer::{connect, establish, open_all, providers, read_by, seal_all, sent_by, suites_of};
use crate::record::suite::Version;
use crate::record::twins::{handshake, twins, written};
use crate::record::{Alpn, CutMessage, Facts, Opened, SentSession, Session, Suite, WornOut, WrongSecret};

/// Rests and wakes.
fn rested(session: Session) -> Session {
    session.rest(&[]).wake().0
}

/// Rests in other memory, and wakes.
fn packed(session: Session) -> Session {
    session.rest(&[]).pack(|_| {}).take().wake().0
}

/// Goes to another process.
fn moved(session: Session) -> Session {
    let (sent, parts) = session.rest(&[]).send();
    drop(sent);
    SessionAtRest::received(parts).unwrap().wake().0
}

/// Is sent to another process, which does not take it.
fn refused(session: Session) -> Session {
    let (sent, parts) = session.rest(&[]).send();
    drop(parts);
    sent.not_taken().wake().0
}

#[test]
fn both_directions_work_with_rustls_in_every_suite() {
    let long: Vec<u8> = (0..100_000).map(|n: u32| n as u8).collect();
    for provider in providers() {
        for suite in SUITES {
            let (mut session, mut client) = connect(&provider, suite);
            for text in [&b"a"[..], b"GET / HTTP/1.1\r\n\r\n", &long] {
                let sent = sent_by(&mut client, text);
                assert!(open_all(&mut session, &sent).unwrap() == (text.to_vec(), vec![]), "{suite:?}");
                let sealed = seal_all(&mut session, text);
                assert!(read_by(&mut client, &sealed) == text, "{suite:?}");
            }
        }
    }
}

#[test]
fn a_session_that_rests_or_moves_after_every_record_loses_nothing() {
    for provider in providers() {
        for suite in SUITES {
            let (mut session, mut client) = connect(&provider, suite);
            for round in 0..50_u8 {
                for between in [rested, packed, moved, refused] {
                    let text = vec![round; 1 + usize::from(round) * 100];
                    let sent = sent_by(&mut client, &text);
                    session = between(session);
                    assert_eq!(open_all(&mut session, &sent).unwrap(), (text.clone(), vec![]));
                    session = between(session);
                    let sealed = seal_all(&mut session, &text);
                    assert_eq!(read_by(&mut client, &sealed), text);
                }
            }
        }
    }
}

#[test]
fn keys_of_both_sides_are_renewed_over_moves() {
    for provider in providers() {
        for suite in suites_of(Version::Tls13) {
            let (mut session, mut client) = connect(&provider, suite);
            for between in [rested, packed, moved, refused].into_iter().cycle().take(30) {
                client.refresh_traffic_keys().unwrap();
                let mut sent = written(&mut client);
                sent.extend(sent_by(&mut client, b"ping"));
                session = between(session);
                assert_eq!(open_all(&mut session, &sent).unwrap(), (b"ping".to_vec(), vec![]));
                assert!(session.parts.owes_key_update);
                session = between(session);
                assert!(session.parts.owes_key_update, "the debt travels");
                let sealed = seal_all(&mut session, b"pong");
                assert_eq!(read_by(&mut client, &sealed), b"pong");
                assert_eq!(session.parts.server.sequence, 1, "data is the first record under the next key");
                assert!(!session.parts.owes_key_update, "it is paid once");
            }
        }
    }
}

#[test]
fn many_requests_for_our_key_are_answered_by_one_key_update() {
    for suite in suites_of(Version::Tls13) {
        let (mut session, mut client) = connect(&providers()[0], suite);
        let mut sent = Vec::new();
        for _ in 0..32 {
            client.refresh_traffic_keys().unwrap();
            sent.extend(written(&mut client));
        }
        assert_eq!(
            open_all(&mut session, &sent).unwrap(),
            (vec![], vec![]),
            "nothing is sent before our data"
        );
        let mut secret = session.parts.server.secret.copied();
        let sealed = seal_all(&mut session, b"pong");
        secret.advance(suite);
        assert_eq!(session.parts.server.secret.bytes(), secret.bytes(), "it is renewed once");
        assert_eq!(read_by(&mut client, &sealed), b"pong");
    }
}

#[test]
fn a_key_update_that_requests_nothing_pays_no_debt() {
    for suite in suites_of(Version::Tls13) {
        let (mut session, _, mut client) = twins(&providers()[0], suite);
        let sent = [client.key_update(1), client.key_update(0)].concat();
        assert_eq!(open_all(&mut session, &sent).unwrap(), (vec![], vec![]));
        assert!(session.parts.owes_key_update);
    }
}

/// A limit of 8 records in place of 2^24. It is no part of a session, so it has to be lowered each time one wakes.
fn lowered(mut session: Session) -> Session {
    session.limit = 8;
    session
}

#[test]
fn our_key_is_renewed_at_its_limit_over_moves() {
    for suite in suites_of(Version::Tls13) {
        let (session, mut client) = connect(&providers()[0], suite);
        let (mut session, mut renewals) = (lowered(session), 0);
        for between in [rested, packed, moved, refused].into_iter().cycle().take(100) {
            let before = session.parts.server.sequence;
            let sealed = seal_all(&mut session, b"pong");
            assert_eq!(read_by(&mut client, &sealed), b"pong");
            assert!(
                session.parts.server.sequence <= 7,
                "the last number under a key belongs to the KeyUpdate"
            );
            renewals += u32::from(session.parts.server.sequence < before);
            session = lowered(between(session));
        }
        assert_eq!(renewals, 14, "each key seals 7 records of data and a KeyUpdate");
        let sent = sent_by(&mut client, b"ping");
        assert_eq!(open_all(&mut session, &sent).unwrap(), (b"ping".to_vec(), vec![]));
    }
}

#[test]
fn a_key_of_tls_1_2_ends_the_session_at_its_limit_over_moves() {
    for suite in suites_of(Version::Tls12) {
        let (session, mut client) = connect(&providers()[0], suite);
        let (mut session, mut output) = (session, Vec::new());
        session.limit = 32;
        // The first record was our Finished.
        for between in [rested, packed, moved, refused].into_iter().cycle().take(31) {
            assert_eq!(session.is_nearly_worn_out(), session.parts.server.sequence >= 30);
            assert_eq!(session.seal(&[IoSlice::new(b"pong")], &mut output), Ok(4));
            session = between(session);
            session.limit = 32;
        }
        assert_eq!(read_by(&mut client, &output), b"pong".repeat(31));
        assert!(session.is_nearly_worn_out());
        output.clear();
        assert_eq!(session.seal(&[IoSlice::new(b"pong")], &mut output), Err(WornOut));
        assert!(output.is_empty());
        session.seal_close_notify(&mut output);
        client.read_tls(&mut output.as_slice()).unwrap();
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn a_cut_record_travels() {
    for suite in SUITES {
        let (mut session, mut client) = connect(&providers()[0], suite);
        let sent = sent_by(&mut client, b"GET / HTTP/1.1\r\n\r\n");
        for come in 1..sent.len() {
            let mut input = sent[..come].to_vec();
            let Opened::Incomplete { needed } = session.open(&mut input, &mut Vec::new()).unwrap() else {
                panic!("{come} bytes are a record");
            };
            assert_eq!(needed, if come < 5 { 5 } else { sent.len() });
            assert_eq!(input, sent[..come], "what is cut stays as it came");
            let (_, parts) = session.rest(&input).send();
            let at_rest = SessionAtRest::received(parts).unwrap();
            assert_eq!(at_rest.cut(), input);
            let (awake, cut) = at_rest.wake();
            assert_eq!(cut, input);
            session = awake;
        }
        assert_eq!(open_all(&mut session, &sent).unwrap().0, b"GET / HTTP/1.1\r\n\r\n");
    }
}

#[test]
fn a_key_update_in_five_records_travels() {
    for suite in suites_of(Version::Tls13) {
        let (mut session, _, mut client) = twins(&providers()[0], suite);
        for byte in [24, 0, 0, 1, 1] {
            let record = client.record(content_type::HANDSHAKE, &[byte]);
            assert_eq!(open_all(&mut session, &record).unwrap(), (vec![], vec![]));
            session = refused(moved(rested(session)));
        }
        client.renew();
        assert!(session.parts.owes_key_update);
        let record = client.record(content_type::APPLICATION_DATA, b"ping");
        assert_eq!(open_all(&mut session, &record).unwrap().0, b"ping");
    }
}

#[test]
fn facts_and_counts_travel() {
    let (session, ..) = twins(&providers()[0], Suite::Tls12EcdsaAes128Gcm);
    let mut at_rest = session.rest(b"cut");
    let facts = Facts { sni: Some("localhost".into()), alpn: Some(Alpn::Http11), client: None };
    let message = CutMessage::new(&[1, 0, 1, 0], 7).unwrap();
    let (_, mut parts) = at_rest.send();
    (parts.facts, parts.message, parts.without_data, parts.warnings) = (facts.clone(), message.clone(), 3, 2);
    (parts.refused_renegotiation, parts.owes_key_update) = (true, true);
    at_rest = SessionAtRest::received(parts).unwrap();
    assert_eq!(at_rest.facts(), &facts);
    let (sent, parts) = at_rest.send();
    let (_, again) = sent.not_taken().send();
    for parts in [parts, again] {
        let SessionParts { suite, client, server, facts: these, message: this, cut, .. } = &parts;
        assert_eq!((suite, &cut[..]), (&Suite::Tls12EcdsaAes128Gcm, &b"cut"[..]));
        assert_eq!((client.sequence, server.sequence), (1, 1));
        assert_eq!((these, this), (&facts, &message));
        assert_eq!((parts.without_data, parts.warnings), (3, 2));
        assert!(parts.refused_renegotiation && parts.owes_key_update);
    }
}

#[test]
fn secrets_of_another_length_are_not_received() {
    for suite in SUITES {
        let (session, ..) = twins(&providers()[0], suite);
        let (_, mut parts) = session.rest(&[]).send();
        parts.client.secret = Secret::new(&[1; 31]).unwrap();
        assert_eq!(SessionAtRest::received(parts).unwrap_err(), WrongSecret);
    }
    assert!(Secret::new(&[0; 49]).is_none());
}

#[test]
fn a_cut_message_that_makes_no_sense_is_not_received() {
    assert_eq!(CutMessage::new(&[], 0), Some(CutMessage::default()));
    assert!(CutMessage::new(&[24, 0, 0], 0).is_some());
    assert!(CutMessage::new(&[24, 0, 0, 1], 1).is_some());
    assert_eq!(CutMessage::new(&[24, 0, 0, 1], 0), None, "it would be whole");
    assert_eq!(CutMessage::new(&[24], 1), None, "its length is not known");
    assert_eq!(CutMessage::new(&[24, 0, 0, 1, 0], 1), None, "that is more than a header");
}

#[test]
fn keys_that_do_not_follow_from_the_secrets_make_no_session() {
    let wrong = |change: fn(TrafficSecrets) -> Option<TrafficSecrets>| {
        let (server, _client, logged) = handshake(&providers()[0], Suite::Tls13Aes128Gcm);
        let suite = server.negotiated_cipher_suite().unwrap();
        let extracted = server.dangerous_extract_secrets().unwrap();
        let secrets = logged.traffic_secrets().and_then(change);
        Established::new(suite, &extracted, secrets, 1, Facts::default()).err()
    };
    assert_eq!(wrong(Some), None);
    assert_eq!(wrong(|_| None), Some(NotEstablished::WrongSecret));
    let swapped = |TrafficSecrets { client, server }| Some(TrafficSecrets { client: server, server: client });
    assert_eq!(wrong(swapped), Some(NotEstablished::WrongSecret));
    let cut = |TrafficSecrets { client, server }: TrafficSecrets| {
        Some(TrafficSecrets { client: Secret::new(&client.bytes()[1..]).unwrap(), server })
    };
    assert_eq!(wrong(cut), Some(NotEstablished::WrongSecret));
}

#[test]
fn a_handshake_that_has_opened_a_record_of_the_application_makes_no_session() {
    for suite in SUITES {
        let (mut server, mut client, logged) = handshake(&providers()[0], suite);
        let sent = sent_by(&mut client, b"GET / HTTP/1.1\r\n\r\n");
        server.read_tls(&mut sent.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let negotiated = server.negotiated_cipher_suite().unwrap();
        let ExtractedSecrets { tx, rx } = server.dangerous_extract_secrets().unwrap();
        let extracted = ExtractedSecrets { tx, rx };
        let made = Established::new(negotiated, &extracted, logged.traffic_secrets(), 1, Facts::default());
        assert_eq!(made.unwrap_err(), NotEstablished::Late, "{suite:?}");
    }
}

#[test]
fn every_suite_of_rustls_is_known() {
    for provider in providers() {
        for theirs in &provider.cipher_suites {
            let suite = Suite::negotiated(*theirs).unwrap_or_else(|| panic!("{theirs:?}"));
            assert_eq!(suite.number(), u16::from(theirs.suite()));
            let name = format!("{:?}", theirs.suite()).replace("TLS13_", "TLS_");
            assert_eq!(suite.name(), name);
            let (tls13, limit) = match theirs.tls13() {
                Some(suite) => (true, suite.common.confidentiality_limit),
                None => (false, u64::MAX),
            };
            assert_eq!(suite.version() == Version::Tls13, tls13);
            if tls13 && limit < u64::MAX {
                assert_eq!(suite.cipher().confidentiality_limit(), limit);
            }
        }
    }
    assert_eq!(Suite::from_number(0x1304), None, "TLS_AES_128_CCM_SHA256");
}

#[test]
fn no_record_is_sealed_without_data() {
    let (mut session, ..) = twins(&providers()[0], Suite::Tls13Aes128Gcm);
    let (sequence, mut output) = (session.parts.server.sequence, Vec::new());
    assert_eq!(session.seal(&[], &mut output), Ok(0));
    assert_eq!(session.seal(&[IoSlice::new(b""), IoSlice::new(b"")], &mut output), Ok(0));
    assert_eq!((output.len(), session.parts.server.sequence), (0, sequence));
}

#[test]
fn a_record_has_at_most_16384_bytes_of_all_slices() {
    for suite in SUITES {
        let (mut session, mut client) = connect(&providers()[0], suite);
        let (data, mut output) = (vec![7; 20_000], Vec::new());
        let taken = session.seal(&[IoSlice::new(&data[..10]), IoSlice::new(&data[10..])], &mut output);
        assert_eq!(taken, Ok(16_384));
        assert_eq!(read_by(&mut client, &output), data[..16_384]);
    }
}

#[test]
fn no_secret_is_printed() {
    let (session, _client) = connect(&providers()[0], Suite::Tls12EcdsaAes128Gcm);
    let key = session.parts.client.secret.bytes()[..16].to_vec();
    let printed = [format!("{session:?}"), format!("{:?}", session.rest(b""))];
    for text in printed {
        assert!(!text.contains(&format!("{key:?}")[1..20]), "{text}");
        assert!(text.contains("Tls12EcdsaAes128Gcm"), "{text}");
    }
}

/// A copy would use sequence numbers again. This does not compile if one of these types becomes `Clone`: then the
/// compiler can't tell which of the two traits is meant.
#[test]
fn sessions_and_secrets_can_not_be_cloned() {
    trait Is<Marker> {
        fn checked() {}
    }
    struct Any;
    struct Cloned;
    impl<T> Is<Any> for T {}
    impl<T: Clone> Is<Cloned> for T {}
    <Session as Is<_>>::checked();
    <SessionAtRest as Is<_>>::checked();
    <SentSession as Is<_>>::checked();
    <SessionParts as Is<_>>::checked();
    <Established as Is<_>>::checked();
    <Secret as Is<_>>::checked();
}

#[test]
fn a_handshake_establishes_its_first_numbers() {
    for suite in SUITES {
        let (server, _client, logged) = handshake(&providers()[0], suite);
        let parts = establish(server, &logged).parts;
        // A record of tickets follows the handshake of TLS 1.3; Finished is the first sealed record of TLS 1.2.
        let expected = if suite.version() == Version::Tls13 { (0, 1) } else { (1, 1) };
        assert_eq!((parts.client.sequence, parts.server.sequence), expected);
    }
}
