//! Connections on their way between two processes, with faults at each step: the real predecessor, the real successor,
//! and a relay through which all of their messages pass.
//!
//! The two never both use a TLS session. At the end of each test every session seals a record, in each process that has
//! it: a number that is used twice under one key fails the test.

mod any_order;
mod client_certs;
mod gone;
mod marks;
mod proxy_headers;
mod stage;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::{sleep, timeout};

use crate::conn::MOVES_WITH;
use crate::handoff::transit_tests::stage::{Found, Name, Stage, session};
use crate::handoff::version::Version;
use crate::handoff::wire::{ConnectionV3, ToPredecessor, ToSuccessor};
use crate::record::{Alpn, Facts, Suite};

/// How long a message may take, in a time that passes only while all tasks wait.
const SOON: Duration = Duration::from_millis(100);

/// After this time a batch that was not confirmed is withdrawn.
const LATE: Duration = Duration::from_millis(600);

fn names(names: impl IntoIterator<Item = Name>) -> BTreeSet<Name> {
    names.into_iter().collect()
}

fn in_successor(all: impl IntoIterator<Item = Name>) -> Found {
    Found { successor: names(all), ..Found::default() }
}

fn in_predecessor(all: impl IntoIterator<Item = Name>) -> Found {
    Found { predecessor: names(all), ..Found::default() }
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_session_is_the_successors_alone() {
    let mut stage = Stage::begin().await;
    stage.leave(1);
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    let confirmation = stage.confirmation().await;
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
    assert_eq!(stage.predecessor.moved(), 1);
    assert_eq!(stage.predecessor.secure.permits.held(), 0);
    let (found, end) = stage.end().await;
    assert_eq!((found, end.lost), (in_successor([1]), 1), "it would die with the successor");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_message_gets_lost_is_withdrawn() {
    let mut stage = Stage::begin().await;
    stage.leave(1);
    let _lost = stage.batch().await;
    sleep(LATE).await;
    let (found, end) = stage.end().await;
    assert_eq!((found, end.lost), (in_predecessor([1]), 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_arrives_after_its_withdrawal_is_not_used() {
    let mut stage = Stage::begin().await;
    stage.leave(1);
    let (batch, fds) = stage.batch().await;
    sleep(LATE).await;
    stage.deliver(&batch, &fds).await;
    let confirmation = stage.confirmation().await;
    assert_eq!(confirmation, ToPredecessor::TakenOf { number: 1, count: 0 });
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
    assert_eq!(stage.end().await.0, in_predecessor([1]));
}

/// The channel closes: with the message unread, with the batch claimed, with the confirmation on its way.
#[tokio::test(start_paused = true)]
async fn a_channel_that_closes_leaves_a_session_to_the_process_that_has_claimed_it() {
    let mut unread = Stage::begin().await;
    unread.leave(1);
    let _message = unread.batch().await;
    let (found, end) = unread.end().await;
    assert_eq!((found, end.lost), (in_predecessor([1]), 0));

    for is_withdrawal_tried in [false, true] {
        let mut claimed = Stage::begin().await;
        claimed.leave(2);
        let (batch, fds) = claimed.batch().await;
        claimed.deliver(&batch, &fds).await;
        let _unsent = claimed.confirmation().await;
        if is_withdrawal_tried {
            sleep(LATE).await;
        }
        let (found, end) = claimed.end().await;
        assert_eq!((found, end.lost), (in_successor([2]), 1), "{is_withdrawal_tried}");
    }

    let mut sent = Stage::begin().await;
    sent.leave(3);
    let (batch, fds) = sent.batch().await;
    sent.deliver(&batch, &fds).await;
    let confirmation = sent.confirmation().await;
    sent.to_predecessor.send(&confirmation, &[]).await.unwrap();
    assert_eq!(sent.end().await.0, in_successor([3]));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_can_not_be_understood_loses_only_what_the_successor_has_claimed() {
    for is_claimed in [false, true] {
        let mut stage = Stage::begin().await;
        stage.leave(1);
        let (batch, fds) = stage.batch().await;
        if is_claimed {
            stage.deliver(&batch, &fds).await;
            let _unsent = stage.confirmation().await;
        }
        stage.to_predecessor.send_bytes(&[0xff; 100]).unwrap();
        sleep(SOON).await;
        let (found, end) = stage.end().await;
        let expected = if is_claimed { in_successor([1]) } else { in_predecessor([1]) };
        assert_eq!((found, end.lost), (expected, usize::from(is_claimed)));
    }
}

/// The successor has no descriptor free for some of them, or for all and the token (MSG_CTRUNC).
#[tokio::test(start_paused = true)]
async fn sessions_whose_descriptors_find_no_room_come_back() {
    for arrived in [0, 1, 2, 3] {
        let mut stage = Stage::begin().await;
        (1..=3).for_each(|name| stage.leave(name));
        let (batch, mut fds) = stage.batch().await;
        // The first is the token.
        fds.truncate(arrived);
        stage.deliver(&batch, &fds).await;
        let confirmation = stage.confirmation().await;
        let count = (arrived as u32).saturating_sub(1);
        assert_eq!(confirmation, ToPredecessor::TakenOf { number: 1, count });
        stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
        sleep(SOON).await;
        let (found, _) = stage.end().await;
        let expected =
            Found { predecessor: names(count + 1..=3), successor: names(1..=count), ..Found::default() };
        assert_eq!(found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_can_not_be_sent_comes_back() {
    for fault in [Errno::ENOBUFS, Errno::EMSGSIZE, Errno::EPIPE] {
        let mut stage = Stage::begin().await;
        stage.predecessor_end.fail(Some(fault));
        stage.leave(1);
        // A send that finds no memory is repeated for a while.
        sleep(Duration::from_secs(2)).await;
        let (found, end) = stage.end().await;
        assert_eq!((found, end.lost), (in_predecessor([1]), 0), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_for_which_the_channel_has_no_room_stays() {
    let mut stage = Stage::begin().await;
    while stage.predecessor_end.try_send(&ToSuccessor::StandbyOver) {}
    stage.leave(1);
    sleep(LATE).await;
    assert_eq!(stage.predecessor.secure.lot.len(), 1);
    assert_eq!(stage.end().await.0, in_predecessor([1]));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_not_used_before_its_confirmation_is_in_the_channel() {
    let mut stage = Stage::begin().await;
    while stage.successor_end.try_send(&ToPredecessor::Pong { number: 0 }) {}
    stage.leave(1);
    stage.leave_with(None, b"");
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    sleep(2 * LATE).await;
    assert_eq!(stage.successor.plain.lot.len(), 1, "a plain connection does not wait");
    assert_eq!(stage.successor.secure.lot.len(), 0);

    let confirmation = stage.confirmation().await;
    sleep(2 * SOON).await;
    assert_eq!(confirmation, ToPredecessor::TakenOf { number: 1, count: 2 });
    assert_eq!(stage.successor.secure.lot.len(), 1);
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    assert_eq!(stage.end().await.0, in_successor([1]));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_its_confirmation_is_used_when_the_predecessor_is_gone() {
    let mut stage = Stage::begin().await;
    while stage.successor_end.try_send(&ToPredecessor::Pong { number: 0 }) {}
    stage.leave(1);
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    sleep(2 * LATE).await;
    assert_eq!(stage.successor.secure.lot.len(), 0);
    let (found, end) = stage.end().await;
    assert_eq!((found, end.lost), (in_successor([1]), 1));
}

/// An alert would be one more record under keys that may be the predecessor's.
#[tokio::test(start_paused = true)]
async fn a_session_that_can_not_be_confirmed_is_closed_without_a_byte() {
    let mut stage = Stage::begin().await;
    stage.successor_end.fail(Some(Errno::EMSGSIZE));
    stage.leave(1);
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    drop(fds);
    sleep(LATE).await;
    stage.to_predecessor.send_bytes(&[0xff]).unwrap();
    sleep(SOON).await;
    let mut client = stage.clients.remove(0);
    assert_eq!(client.read(&mut [0; 100]).unwrap(), 0, "closed, and nothing was said");
    let (found, end) = stage.end().await;
    assert_eq!((found, end.lost), (Found::default(), 1));
}

/// The predecessor sends a batch before the last one is confirmed, and reads nothing.
#[tokio::test(start_paused = true)]
async fn each_batch_is_confirmed_before_its_sessions_are_used() {
    let mut stage = Stage::begin().await;
    while stage.successor_end.try_send(&ToPredecessor::Pong { number: 0 }) {}
    stage.leave(1);
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    stage.deliver(&ToSuccessor::BatchV3 { number: 2, connections: Vec::new() }, &[]).await;
    sleep(2 * LATE).await;
    assert_eq!(stage.successor.secure.lot.len(), 0);
    assert_eq!(stage.confirmation().await, ToPredecessor::TakenOf { number: 1, count: 1 });
    assert_eq!(stage.confirmation().await, ToPredecessor::TakenOf { number: 2, count: 0 });
    sleep(2 * SOON).await;
    let (found, end) = stage.end().await;
    assert_eq!((found, end.lost), (in_successor([1]), 1));
}

#[tokio::test(start_paused = true)]
async fn one_batch_more_is_sent_before_the_last_one_is_confirmed_if_the_successor_knows_that() {
    for (version, is_sent) in [(Version::Five, false), (Version::Six, true)] {
        let mut stage = Stage::begin_with(version).await;
        for names in [0..1, 1..2, 2..3] {
            names.for_each(|name| stage.leave(name));
            sleep(SOON).await;
        }
        stage.batch().await;
        let second = timeout(SOON, stage.next_batch()).await;
        assert_eq!(second.is_ok(), is_sent, "{version:?}");
        assert!(timeout(SOON, stage.next_batch()).await.is_err(), "{version:?}");
        stage.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn everything_about_a_session_arrives() {
    let mut stage = Stage::begin().await;
    stage.leave(7);
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    let confirmation = stage.confirmation().await;
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
    let mut parked = stage.successor.parked();
    let socket = parked.pop().unwrap();
    assert_eq!((socket.origin, socket.listener.map(|number| number.get())), (None, Some(1)));
    let (after, cut) = socket.session.unwrap().wake();
    assert_eq!((after.suite(), cut), (Suite::Tls13Aes128Gcm, vec![]));
    assert_eq!(*after.facts(), Facts { sni: Some("7".into()), alpn: Some(Alpn::Http11), client: None });
    stage.end().await;
}

/// As much as a connection may have: a request head of the largest size, a record that lacks its last byte, a server name
/// of the largest size.
#[tokio::test(start_paused = true)]
async fn the_largest_connection_has_room_in_a_message() {
    let mut stage = Stage::begin().await;
    let (head, cut) = (vec![b'a'; MOVES_WITH], vec![23; 5 + (16 << 10) + 2048 - 1]);
    for name in 1..=3 {
        stage.leave_with(Some(session(name, &cut)), &head);
    }
    for number in 1..=3 {
        let (batch, fds) = timeout(LATE / 2, stage.batch()).await.unwrap();
        let ToSuccessor::BatchV3 { connections, .. } = &batch else { panic!("{batch:?}") };
        assert_eq!((connections.len(), fds.len()), (1, 2), "each fills more than half of a message");
        assert_eq!(connections[0].connection.connection.ahead, head);
        let taken = ToPredecessor::TakenOf { number, count: 1 };
        stage.to_predecessor.send(&taken, &[]).await.unwrap();
    }
    sleep(SOON).await;
    assert_eq!(stage.predecessor.moved(), 3);
    stage.end().await;
}

/// Together they are larger than a message.
#[tokio::test(start_paused = true)]
async fn cut_records_are_spread_over_messages() {
    let mut stage = Stage::begin().await;
    (1..=20).for_each(|name| stage.leave_with(Some(session(name, &[23; 16 << 10])), b""));
    let mut counts = Vec::new();
    for number in 1..=3 {
        let (batch, fds) = timeout(LATE / 2, stage.batch()).await.unwrap();
        let count = fds.len() as u32 - 1;
        counts.push(count);
        stage.deliver(&batch, &fds).await;
        assert_eq!(stage.confirmation().await, ToPredecessor::TakenOf { number, count });
        stage.to_predecessor.send(&ToPredecessor::TakenOf { number, count }, &[]).await.unwrap();
    }
    assert_eq!(counts, [7, 7, 6]);
}

#[tokio::test(start_paused = true)]
async fn many_connections_go_in_as_few_messages_as_they_need() {
    for (version, expected) in [(Version::Four, [64, 64, 64, 64, 44]), (Version::Five, [252, 48, 0, 0, 0])] {
        let mut stage = Stage::begin_with(version).await;
        (0..300).for_each(|name| stage.leave(name));
        let mut counts = [0; 5];
        for (number, count) in (1..).zip(&mut counts).take_while(|(number, _)| expected[number - 1] > 0) {
            let (batch, fds) = stage.batch().await;
            let ToSuccessor::BatchV3 { connections, .. } = batch else { panic!() };
            assert_eq!(fds.len(), connections.len() + 1, "one for the token");
            *count = connections.len();
            let taken = ToPredecessor::TakenOf { number: number as u32, count: *count as u32 };
            stage.to_predecessor.send(&taken, &[]).await.unwrap();
        }
        assert_eq!(counts, expected, "{version:?}");
        stage.end().await;
    }
}

/// The successor would take it for plain text. (Its server does not let it leave at all.)
#[tokio::test(start_paused = true)]
async fn no_session_goes_to_a_successor_of_version_2() {
    let mut stage = Stage::begin_with(Version::Two).await;
    stage.leave(1);
    stage.leave_with(None, b"G");
    let (batch, fds) = stage.batch().await;
    let ToSuccessor::Batch { connections, .. } = batch else { panic!() };
    let servers: Vec<_> =
        connections.iter().map(|connection| connection.connection.server.as_str()).collect();
    assert_eq!((servers, fds.len()), (vec!["plain"], 2));
    stage.end().await;
}

/// Nor one that speaks TLS to a server that does not.
#[tokio::test(start_paused = true)]
async fn a_plain_connection_does_not_reach_a_server_with_tls_whatever_the_predecessor_says() {
    let mut stage = Stage::begin().await;
    stage.leave(1);
    stage.leave_with(None, b"");
    let (ToSuccessor::BatchV3 { number, mut connections }, fds) = stage.batch().await else { panic!() };
    let [secure, plain] = &mut connections[..] else { panic!() };
    std::mem::swap(&mut secure.session, &mut plain.session);
    let plain = &mut connections[0].connection;
    let version_1 = ToSuccessor::Connections {
        connections: vec![crate::handoff::wire::ConnectionV1 {
            server: "secure".to_owned(),
            family: plain.connection.family,
            stage: plain.connection.stage,
            ahead: Vec::new(),
        }],
    };
    stage.to_successor.send(&version_1, &[fds[1].as_fd()]).await.unwrap();
    stage.deliver(&ToSuccessor::BatchV3 { number, connections }, &fds).await;
    assert_eq!(stage.confirmation().await, ToPredecessor::TakenOf { number, count: 2 });
    sleep(SOON).await;
    assert_eq!((stage.successor.secure.lot.len(), stage.successor.plain.lot.len()), (0, 0));
    for mut client in stage.clients.drain(..) {
        assert_eq!(client.read(&mut [0; 100]).unwrap(), 0, "closed, although there are duplicates");
    }
    assert_eq!(stage.successor.secure.permits.held() + stage.successor.plain.permits.held(), 0);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_suite_that_is_not_known_is_closed() {
    let mut stage = Stage::begin().await;
    (1..=3).for_each(|name| stage.leave(name));
    let (ToSuccessor::BatchV3 { number, mut connections }, fds) = stage.batch().await else { panic!() };
    let session =
        |connections: &mut Vec<ConnectionV3>, place: usize| connections[place].session.take().unwrap();
    let (mut unknown, mut short) = (session(&mut connections, 0), session(&mut connections, 2));
    unknown.suite = 0x1399;
    short.client.secret.0.pop();
    (connections[0].session, connections[2].session) = (Some(unknown), Some(short));
    stage.deliver(&ToSuccessor::BatchV3 { number, connections }, &fds).await;
    let confirmation = stage.confirmation().await;
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
    assert_eq!(stage.successor.secure.permits.held(), 1);
    assert_eq!(stage.end().await.0, in_successor([2]));
}

/// A successor that dies in standby: its plain connections come back, and its TLS connections are counted.
#[tokio::test(start_paused = true)]
async fn plain_connections_come_back_from_a_dead_successor_and_sessions_do_not() {
    let mut stage = Stage::begin().await;
    stage.leave(1);
    stage.leave_with(None, b"");
    stage.leave(2);
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    let confirmation = stage.confirmation().await;
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
    let (found, end) = stage.end().await;
    assert_eq!(found, Found { plain_back: 1, ..in_successor([1, 2]) });
    assert_eq!((end.lost, end.busy), (2, 0));
}
