//! PROXY headers on their way with their connections.

use std::io::Read as _;
use std::os::fd::OwnedFd;

use tokio::time::sleep;

use crate::conn::MOVES_WITH;
use crate::handoff::transit_tests::stage::{Stage, session};
use crate::handoff::transit_tests::{LATE, SOON};
use crate::handoff::version::Version;
use crate::handoff::wire::{self, ToPredecessor, ToSuccessor};
use crate::socket::{self, ProxyHeader, Socket};

/// A header of this length, as one of a proxy that speaks for itself may have.
fn bytes(length: u16) -> Vec<u8> {
    let rest = length - 16;
    [&b"\r\n\r\n\0\r\nQUIT\n\x20\0"[..], &rest.to_be_bytes(), &vec![7; rest.into()]].concat()
}

fn header(bytes: &[u8]) -> ProxyHeader {
    ProxyHeader::received(bytes).unwrap()
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n";

/// The length of the largest header.
const LARGEST: u16 = 16 + (8 << 10);

async fn confirm(stage: &Stage, batch: &ToSuccessor, fds: &[OwnedFd]) {
    stage.deliver(batch, fds).await;
    let confirmation = stage.confirmation().await;
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
}

fn source(socket: &Socket) -> Option<String> {
    Some(socket.proxy_header.read()?.addresses?.source.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_header_travels_with_its_connection_and_stays_in_the_duplicate() {
    let mut stage = Stage::begin_with(Version::Seven).await;
    for (session, state) in [(None, socket::Stage::Fresh), (Some(session(1, b"")), socket::Stage::Idle)] {
        stage.leave_behind_proxy(session, b"", state, header(V1));
    }
    let (batch, fds) = stage.batch().await;
    confirm(&stage, &batch, &fds).await;
    let parked = stage.successor.parked();
    assert_eq!(parked.iter().filter(|socket| socket.session.is_some()).count(), 1);
    let sources: Vec<_> = parked.iter().filter_map(source).collect();
    assert_eq!(sources, ["192.0.2.1:4711"; 2]);
    let back = stage.recover().await.back;
    let plain: Vec<_> = back.iter().map(|(_, resting)| source(&resting.socket)).collect();
    assert_eq!(plain, [Some("192.0.2.1:4711".to_owned())], "a TLS connection does not come back");
}

/// Never is the proxy taken for the client.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_header_makes_no_sense_is_closed() {
    for wrong in [&b"PROXY TCP4 192.0.2.1"[..], b"GET / HTTP/1.1", b"", &[V1, b"G"].concat()] {
        let mut stage = Stage::begin_with(Version::Seven).await;
        for session in [None, Some(session(1, b""))] {
            stage.leave_behind_proxy(session, b"", socket::Stage::Idle, header(V1));
        }
        let (mut batch, fds) = stage.batch().await;
        let ToSuccessor::BatchV7 { connections, .. } = &mut batch else { panic!("{batch:?}") };
        for connection in connections {
            connection.proxy_header = wire::ProxyHeader::Read(wrong.to_vec());
        }
        confirm(&stage, &batch, &fds).await;
        assert!(stage.successor.parked().is_empty());
        assert_eq!(stage.successor.plain.permits.held() + stage.successor.secure.permits.held(), 0);
        for mut client in stage.clients.drain(..) {
            assert_eq!(client.read(&mut [0; 9]).unwrap(), 0, "closed, although there are duplicates");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_header_goes_to_a_successor_of_version_6() {
    let mut stage = Stage::begin_with(Version::Six).await;
    stage.leave_behind_proxy(None, b"", socket::Stage::Idle, header(V1));
    stage.leave_behind_proxy(None, b"", socket::Stage::Fresh, ProxyHeader::Owed);
    stage.leave_with(None, b"");
    let (batch, fds) = stage.batch().await;
    let ToSuccessor::BatchV3 { connections, .. } = &batch else { panic!("{batch:?}") };
    assert_eq!((connections.len(), fds.len()), (1, 2));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn large_headers_are_spread_over_messages() {
    let mut stage = Stage::begin_with(Version::Seven).await;
    let largest = bytes(LARGEST);
    (0..40).for_each(|_| stage.leave_behind_proxy(None, b"", socket::Stage::Idle, header(&largest)));
    let mut counts = Vec::new();
    while counts.iter().sum::<u32>() < 40 {
        let (batch, fds) = tokio::time::timeout(LATE / 2, stage.batch()).await.unwrap();
        counts.push(fds.len() as u32 - 1);
        confirm(&stage, &batch, &fds).await;
    }
    assert_eq!(counts, [15, 15, 10]);
    let parked = stage.successor.parked();
    assert!(parked.iter().all(|socket| socket.proxy_header.read().unwrap().bytes() == largest));
    assert_eq!(parked.len(), 40);
}

/// A request head, a cut record and a header of the largest sizes.
#[tokio::test(start_paused = true)]
async fn the_largest_connection_with_a_header_has_room_in_a_message() {
    let mut stage = Stage::begin_with(Version::Seven).await;
    let (head, cut) = (vec![b'a'; MOVES_WITH], vec![23; 5 + (16 << 10) + 2048 - 1]);
    stage.leave_behind_proxy(Some(session(1, &cut)), &head, socket::Stage::Idle, header(&bytes(LARGEST)));
    let (batch, fds) = tokio::time::timeout(LATE / 2, stage.batch()).await.unwrap();
    let ToSuccessor::BatchV7 { connections, number } = &batch else { panic!("{batch:?}") };
    assert_eq!((connections.len(), fds.len()), (1, 2));
    stage.to_predecessor.send(&ToPredecessor::TakenOf { number: *number, count: 1 }, &[]).await.unwrap();
    sleep(SOON).await;
    assert_eq!(stage.predecessor.moved(), 1);
}
