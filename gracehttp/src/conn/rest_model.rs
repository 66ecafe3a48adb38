//! Whatever the order in which connections come to rest and the process changes its phase: each connection is parked, in
//! the queue to the successor, or awake, and never stays where no one looks.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use shuttle::{future, thread};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::conn::context::Resting;
use crate::conn::rest::settle;
use crate::conn::{Capabilities, Context, Leaving, empty_lot};
use crate::lifecycle::Phase;
use crate::server::Turn;
use crate::socket::{Family, ProxyHeader, Socket, Stage, Untaken};
use crate::sync::model::check;

const CONNECTIONS: usize = 2;

/// A server, and the runtime of its tasks, which never get a turn.
struct Server {
    context: Arc<Context>,
    clients: Vec<UnixStream>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let context = {
            let _entered = runtime.enter();
            Arc::new(Context::without_handlers("web", false))
        };
        Self { context, clients: Vec::new(), runtime }
    }

    /// Connections that have just answered, each with a permit.
    fn connections(&mut self) -> Vec<Resting> {
        let connections = (0..CONNECTIONS).map(|_| {
            let (ours, client) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            self.clients.push(client);
            Resting {
                socket: Socket {
                    fd: ours.into(),
                    family: Family::Unix,
                    origin: None,
                    listener: None,
                    session: None,
                    proxy_header: ProxyHeader::AsListed,
                    untaken: Untaken::NOTHING,
                },
                stage: Stage::Idle,
                ahead: Default::default(),
                permit: self.context.permits.try_acquire(Turn::Usual).unwrap(),
                has_answered: false,
                left_at: None,
            }
        });
        connections.collect()
    }

    /// The commit: from now on connections go to the successor.
    fn hands_over(context: &Context) -> UnboundedReceiver<Leaving> {
        let (to_successor, leaving) = unbounded_channel();
        context.set_successor(to_successor, Capabilities { ahead: 0, ..Capabilities::ALL });
        context.drain.enter(Phase::HandingOver);
        leaving
    }

    fn rest_all(&mut self) -> Vec<thread::JoinHandle<()>> {
        let rests = self.connections().into_iter().map(|resting| {
            let context = self.context.clone();
            thread::spawn(move || settle(&context, resting))
        });
        rests.collect()
    }
}

/// The successor gets each of them, though none of their clients says a word.
#[test]
fn no_connection_that_rests_as_the_restart_begins_stays_behind() {
    check(|| {
        let mut server = Server::new();
        let emptying = future::spawn(empty_lot(server.context.clone()));
        let resting = server.rest_all();
        let mut leaving = Server::hands_over(&server.context);
        for _ in 0..CONNECTIONS {
            let (context, moved) = future::block_on(leaving.recv()).unwrap();
            context.note_unqueued();
            drop(moved);
        }
        resting.into_iter().for_each(|thread| thread.join().unwrap());
        emptying.abort();
        assert!(server.context.lot.is_empty());
        assert_eq!(server.context.permits.held(), 0);
        assert_eq!(server.runtime.metrics().num_alive_tasks(), 0);
    });
}

/// The successor has no room for a while, and dies: what it has not got is here, parked or awake.
#[test]
fn every_connection_is_here_once_the_successor_is_gone() {
    check(|| {
        let mut server = Server::new();
        let context = server.context.clone();
        let emptying = future::spawn(empty_lot(context.clone()));
        let resting = server.rest_all();
        let mut leaving = Server::hands_over(&context);
        context.hold_back();
        context.let_go();
        // Dead: as `Transfer::end` does.
        context.hold_back();
        leaving.close();
        while let Some((context, back)) = future::block_on(leaving.recv()) {
            context.note_unqueued();
            settle(&context, back);
        }
        context.clear_successor();
        context.drain.enter(Phase::Serving);
        resting.into_iter().for_each(|thread| thread.join().unwrap());
        let here = || context.lot.len() + server.runtime.metrics().num_alive_tasks();
        // The last ones may be on their way from the lot into the lot.
        while here() < CONNECTIONS {
            thread::yield_now();
        }
        emptying.abort();
        assert_eq!((here(), context.permits.held()), (CONNECTIONS, CONNECTIONS));
        assert!(context.has_short_queue());
    });
}

/// The process stops instead: what is idle is closed.
#[test]
fn no_connection_that_rests_as_the_process_stops_stays_open() {
    check(|| {
        let mut server = Server::new();
        let emptying = future::spawn(empty_lot(server.context.clone()));
        let resting = server.rest_all();
        server.context.drain.enter(Phase::Stopping);
        server.context.drain.enter(Phase::ClosingIdle);
        resting.into_iter().for_each(|thread| thread.join().unwrap());
        // The lot is emptied without a byte of a client.
        while server.context.permits.held() > 0 {
            thread::yield_now();
        }
        emptying.abort();
        assert!(server.context.lot.is_empty());
    });
}
