//! The certificates of clients on their way with their connections.

use std::io::Read as _;
use std::sync::Arc;

use tokio::time::sleep;

use crate::conn::MOVES_WITH;
use crate::handoff::transit_tests::stage::{Stage, session_of};
use crate::handoff::transit_tests::{LATE, SOON};
use crate::handoff::version::Version;
use crate::handoff::wire::{ToPredecessor, ToSuccessor};
use crate::record::ClientChain;
use crate::socket::{self, ProxyHeader};

fn chain(certificates: &[&[u8]]) -> Arc<ClientChain> {
    let certificates = certificates.iter().map(|&certificate| certificate.to_vec().into()).collect();
    Arc::new(ClientChain::new(certificates).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_chain_travels_beside_its_session() {
    let mut stage = Stage::begin_with(Version::Eight).await;
    for number in 0..10_u8 {
        let client = (number % 2 == 0).then(|| chain(&[&[number], b"intermediate"]));
        stage.leave_with(Some(session_of(client, number.into(), b"")), b"");
    }
    let (batch, _fds) = stage.batch().await;
    let ToSuccessor::BatchV8 { connections, .. } = &batch else { panic!("{batch:?}") };
    for connection in connections {
        let session = connection.connection.connection.session.as_ref().unwrap();
        let number: u8 = session.sni.as_ref().unwrap().parse().unwrap();
        let expected = match number % 2 {
            0 => vec![vec![number], b"intermediate".to_vec()],
            _ => Vec::new(),
        };
        assert_eq!(connection.client_chain, expected);
    }
    assert_eq!(connections.len(), 10);
}

/// It would take the client for one that has shown no certificate.
#[tokio::test(start_paused = true)]
async fn no_chain_goes_to_a_successor_of_version_7() {
    let mut stage = Stage::begin_with(Version::Seven).await;
    stage.leave_with(Some(session_of(Some(chain(&[b"alice"])), 1, b"")), b"");
    stage.leave_with(Some(session_of(None, 2, b"")), b"");
    let (batch, fds) = stage.batch().await;
    let ToSuccessor::BatchV7 { connections, .. } = &batch else { panic!("{batch:?}") };
    assert_eq!((connections.len(), fds.len()), (1, 2));
    assert_eq!(connections[0].connection.session.as_ref().unwrap().sni.as_deref(), Some("2"));
    stage.end().await;
}

/// A successor whose server asks for no certificates has no one to vouch for the client.
#[tokio::test(start_paused = true)]
async fn a_client_is_forgotten_where_no_certificates_are_asked_for() {
    let mut stage = Stage::begin_with(Version::Eight).await;
    stage.leave_with(Some(session_of(Some(chain(&[b"alice"])), 1, b"")), b"");
    let (batch, fds) = stage.batch().await;
    stage.deliver(&batch, &fds).await;
    let confirmation = stage.confirmation().await;
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
    let parked = stage.successor.parked();
    assert_eq!(parked.len(), 1);
    assert!(!parked[0].has_client_cert());
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_chain_is_too_long_is_closed() {
    let mut stage = Stage::begin_with(Version::Eight).await;
    stage.leave_with(Some(session_of(Some(chain(&[b"alice"])), 1, b"")), b"");
    let (mut batch, fds) = stage.batch().await;
    let ToSuccessor::BatchV8 { connections, .. } = &mut batch else { panic!("{batch:?}") };
    connections[0].client_chain = vec![vec![0; 17 << 10]];
    stage.deliver(&batch, &fds).await;
    let confirmation = stage.confirmation().await;
    stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
    sleep(SOON).await;
    drop(fds);
    assert!(stage.successor.parked().is_empty());
    assert_eq!(stage.successor.secure.permits.held(), 0);
    assert_eq!(stage.clients.remove(0).read(&mut [0; 9]).unwrap(), 0);
}

/// A request head, a cut record, a PROXY header and a chain of the largest sizes.
#[tokio::test(start_paused = true)]
async fn the_largest_connection_with_a_chain_has_room_in_a_message() {
    let mut stage = Stage::begin_with(Version::Eight).await;
    let (head, cut) = (vec![b'a'; MOVES_WITH], vec![23; 5 + (16 << 10) + 2048 - 1]);
    let longest = chain(&[&vec![7; (16 << 10) - 2 * 32], b""]);
    assert!(longest.can_rest());
    let header = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\x20\0"[..], &[7; 8 << 10]].concat();
    let header = ProxyHeader::received(&header).unwrap();
    let session = session_of(Some(longest), 1, &cut);
    stage.leave_behind_proxy(Some(session), &head, socket::Stage::Idle, header);
    let (batch, fds) = tokio::time::timeout(LATE / 2, stage.batch()).await.unwrap();
    let ToSuccessor::BatchV8 { connections, number } = &batch else { panic!("{batch:?}") };
    assert_eq!((connections.len(), fds.len()), (1, 2));
    stage.to_predecessor.send(&ToPredecessor::TakenOf { number: *number, count: 1 }, &[]).await.unwrap();
    sleep(SOON).await;
    assert_eq!(stage.predecessor.moved(), 1);
}
