//! How many connections wait for a successor that takes none. In the queue a connection is served by neither process.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::conn::{Capabilities, Context, empty_lot};
use crate::lifecycle::Phase;
use crate::parking::{Parked, Woken};
use crate::server::Permit;
use crate::socket::{Family, ProxyHeader, Socket, Stage, Untaken};

const PARKED: usize = 500;

/// The largest batch, some of the next one, and one turn of the task that empties the lot.
const MOST_QUEUED: usize = 320 + 64;

/// Lets all tasks do what they can do now.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test]
async fn parked_connections_queue_only_as_fast_as_the_successor_takes_them() {
    let context = Arc::new(Context::without_handlers("plain", false));
    let mut clients = Vec::new();
    for _ in 0..PARKED {
        let (ours, client) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let socket = Socket {
            fd: ours.into(),
            family: Family::Unix,
            origin: None,
            listener: None,
            session: None,
            proxy_header: ProxyHeader::AsListed,
            untaken: Untaken::NOTHING,
        };
        context.permits.adopt().into_count();
        context.lot.park(Parked { socket, stage: Stage::Idle }).unwrap();
        // One client is enough: nobody watches the lot for the ends of the others.
        clients.truncate(0);
        clients.push(client);
    }
    let (to_successor, mut queue) = unbounded_channel();
    context.set_successor(to_successor, Capabilities { ahead: 0, ..Capabilities::ALL });
    let emptying = tokio::spawn(empty_lot(context.clone()));
    context.drain.enter(Phase::HandingOver);
    settle().await;
    let left = context.lot.len();
    assert!((PARKED - MOST_QUEUED..PARKED).contains(&left), "{left} of {PARKED} are still parked");
    settle().await;
    assert_eq!(context.lot.len(), left, "the successor takes nothing");

    // The one that parked last is still there, and a byte wakes it.
    clients[0].write_all(b"G").unwrap();
    let woken = timeout(Duration::from_secs(10), context.lot.attendant().wait()).await.unwrap();
    assert!(woken.iter().any(|woken| matches!(woken, Woken::Ready(_))));
    let awake = woken.len();
    drop(Permit::from_count(&context.permits));

    let mut taken = 0;
    while taken + awake < PARKED {
        let (context, _resting) = timeout(Duration::from_secs(10), queue.recv()).await.unwrap().unwrap();
        context.note_unqueued();
        taken += 1;
    }
    assert!(context.lot.is_empty() && queue.is_empty());
    emptying.abort();
}
