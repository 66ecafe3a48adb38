//! A connection that has nowhere to go: the successor is gone, and the kernel watches no more descriptors.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::yield_now;

use crate::conn::context::Resting;
use crate::conn::moved::Report;
use crate::conn::rest::settle;
use crate::conn::{Capabilities, Context};
use crate::lifecycle::Phase;
use crate::socket::{Family, Origin, ProxyHeader, Socket, Stage};

/// It waits for the next phase instead of being sent, refused and woken again without end.
#[tokio::test]
async fn one_that_can_neither_move_nor_park_does_not_spin() {
    let context = Arc::new(Context::without_handlers("plain", false));
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = woken.clone();
    // A predecessor hears each time that the connection gets a task.
    context.moved.watch(None, move |report| {
        counted.fetch_add(usize::from(matches!(report, Report::Busy(_))), Ordering::Relaxed);
        true
    });
    let (ours, _client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    context.lot.occupy(ours.as_fd());
    let socket = Socket {
        fd: ours.into(),
        family: Family::Unix,
        origin: Origin::new(7),
        listener: None,
        session: None,
        proxy_header: ProxyHeader::AsListed,
    };
    let permit = context.permits.adopt();
    let (to_successor, leaving) = unbounded_channel();
    context.set_successor(to_successor, Capabilities { ahead: 0, ..Capabilities::ALL });
    context.drain.enter(Phase::HandingOver);
    drop(leaving);
    let (stage, ahead) = (Stage::Idle, Bytes::new());
    settle(&context, Resting { socket, stage, ahead, permit, has_answered: false, left_at: None });
    for _ in 0..1000 {
        yield_now().await;
    }
    assert_eq!(woken.load(Ordering::Relaxed), 1, "how often it was woken");

    // The process stops: it is closed.
    context.clear_successor();
    context.drain.enter(Phase::ClosingIdle);
    while context.permits.held() > 0 {
        yield_now().await;
    }
}
