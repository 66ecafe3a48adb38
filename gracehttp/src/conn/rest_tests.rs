//! Connections at rest that have nowhere to go, or whose clients leave.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::conn::context::Resting;
use crate::conn::moved::Report;
use crate::conn::rest::{settle, wake_parked};
use crate::conn::{Capabilities, Context};
use crate::lifecycle::{ConnectionEnd, Phase};
use crate::socket::{Family, Origin, ProxyHeader, Socket, Stage, Untaken};

/// A server, and how often one of its connections has got a task.
fn server() -> (Arc<Context>, Arc<AtomicUsize>) {
    let context = Arc::new(Context::without_handlers("plain", false));
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = woken.clone();
    // A predecessor hears each time that a connection gets one.
    context.moved.watch(None, move |report| {
        counted.fetch_add(usize::from(matches!(report, Report::Busy(_))), Ordering::Relaxed);
        true
    });
    (context, woken)
}

/// A connection from the predecessor, and its client.
fn connection() -> (Socket, UnixStream) {
    let (ours, client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let socket = Socket {
        fd: ours.into(),
        family: Family::Unix,
        origin: Origin::new(7),
        listener: None,
        session: None,
        proxy_header: ProxyHeader::AsListed,
        untaken: Untaken::NOTHING,
    };
    (socket, client)
}

fn resting(context: &Context, socket: Socket) -> Resting {
    let permit = context.permits.adopt();
    let (stage, ahead) = (Stage::Idle, Bytes::new());
    Resting { socket, stage, ahead, permit, has_answered: false, left_at: None }
}

/// Its permit is free again.
async fn none_is_left(context: &Context) {
    let freed = async {
        while context.permits.held() > 0 {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), freed).await.expect("its permit is free");
}

/// With the successor gone, and a kernel that watches no more descriptors, it waits for the next phase instead of being
/// sent, refused and woken again without end.
#[tokio::test]
async fn one_that_can_neither_move_nor_park_does_not_spin() {
    let (context, woken) = server();
    let (socket, _client) = connection();
    context.lot.occupy(socket.fd.as_fd());
    let (to_successor, leaving) = unbounded_channel();
    context.set_successor(to_successor, Capabilities { ahead: 0, ..Capabilities::ALL });
    context.drain.enter(Phase::HandingOver);
    drop(leaving);
    settle(&context, resting(&context, socket));
    for _ in 0..1000 {
        yield_now().await;
    }
    assert_eq!(woken.load(Ordering::Relaxed), 1, "how often it was woken");

    // The process stops: it is closed.
    context.clear_successor();
    context.drain.enter(Phase::ClosingIdle);
    none_is_left(&context).await;
}

#[tokio::test]
async fn one_whose_client_leaves_ends_without_a_task() {
    let (context, woken) = server();
    let lot = tokio::spawn(wake_parked(context.clone()));
    let (socket, client) = connection();
    settle(&context, resting(&context, socket));
    drop(client);
    none_is_left(&context).await;
    assert_eq!(woken.load(Ordering::Relaxed), 0, "how often it was woken");
    let counts = context.ends().counts();
    assert_eq!(counts.ends().collect::<Vec<_>>(), [(ConnectionEnd::Finished, 1)]);

    // One that leaves a request behind gets a task.
    let (socket, mut client) = connection();
    settle(&context, resting(&context, socket));
    client.write_all(b"GET /").unwrap();
    drop(client);
    none_is_left(&context).await;
    assert_eq!(woken.load(Ordering::Relaxed), 1, "how often it was woken");
    lot.abort();
}
