//! A running server: its connections' context and its listeners.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::conn::{Context, empty_lot, wake_parked};
use crate::lifecycle::{Phase, start, start_on};
use crate::listen::accept::{AcceptState, accept_loop};
use crate::listen::listen_options::ListenOptions;
use crate::listen::listener::Listener;
use crate::listen::socket_file::unlink_if_ours;
use crate::server::SocketAccess;

/// One server from its first accept to its last.
pub(crate) struct Running {
    pub(crate) context: Arc<Context>,
    pub(crate) acceptors: Vec<Acceptor>,
    /// The task that wakes parked connections, and the one that empties the parking lot.
    lot_tasks: [JoinHandle<()>; 2],
}

/// One listener with its accept loop.
pub(crate) struct Acceptor {
    pub(crate) listener: Arc<Listener>,
    /// The successor has the listener, too.
    pub(crate) claimed: bool,
    /// The access of its socket file before a successor could change it.
    pub(crate) former_access: SocketAccess,
    state: watch::Sender<AcceptState>,
    accepting: JoinHandle<()>,
}

impl Running {
    /// Starts the tasks of a server on the runtime that serves. Tasks that no handler may block run on the caller's
    /// runtime. Nothing is accepted before [`open`](Self::open).
    pub(crate) fn start(workers: &Handle, context: &Arc<Context>, listeners: Vec<Listener>) -> Self {
        let acceptors = listeners.into_iter().map(|listener| {
            let listener = Arc::new(listener);
            let (state, changes) = watch::channel(AcceptState::Paused);
            let accepting = start_on(workers, accept_loop(context.clone(), listener.clone(), changes));
            Acceptor { listener, claimed: false, former_access: SocketAccess::default(), state, accepting }
        });
        Self {
            context: context.clone(),
            acceptors: acceptors.collect(),
            lot_tasks: [start_on(workers, wake_parked(context.clone())), start(empty_lot(context.clone()))],
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.context.options.name
    }

    /// The phase that it is in.
    pub(crate) fn phase(&self) -> Phase {
        self.context.drain.phase()
    }

    /// Enters a phase of its life.
    pub(crate) fn enter(&self, phase: Phase) {
        self.context.drain.enter(phase);
    }

    /// Applies the options of this generation to listeners that another one has used.
    pub(crate) fn update_options(&self, is_used: impl Fn(&Acceptor) -> bool) {
        let options = ListenOptions::of(&self.context.options);
        for acceptor in self.acceptors.iter().filter(|acceptor| is_used(acceptor)) {
            acceptor.listener.update_options(self.name(), &options);
        }
    }

    /// Begins to accept.
    pub(crate) fn open(&self) {
        self.acceptors.iter().for_each(|acceptor| acceptor.set(AcceptState::Accepting));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lot_tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Acceptor {
    /// Whether the predecessor had the listener.
    pub(crate) fn is_adopted(&self) -> bool {
        self.listener.offer_index.is_some()
    }

    /// Changes whether connections are accepted.
    pub(crate) fn set(&self, state: AcceptState) {
        self.state.send_replace(state);
    }

    /// Closes the listener and removes its socket file. The returned future accepts the clients in the kernel's queue.
    pub(crate) fn close(self) -> impl Future<Output = ()> + use<> {
        if let Some(file) = &self.listener.socket_file {
            unlink_if_ours(file);
        }
        self.empty()
    }

    /// [Closes](Self::close) the listener, but leaves the socket file to another process that has the listener, too.
    pub(crate) fn empty(self) -> impl Future<Output = ()> + use<> {
        let Self { listener, state, accepting, .. } = self;
        // The loop has the last reference, and closes the listener as soon as it finds the queue empty. A client that
        // comes between the two is reset.
        drop(listener);
        state.send_replace(AcceptState::EmptyingQueue);
        async move {
            // The loop ends by itself; one that panicked has ended, too.
            let _ = accepting.await;
            // Not before: the loop ends when its state is dropped.
            drop(state);
        }
    }

    /// Closes a listener here that the successor has.
    pub(crate) fn leave(self) {
        self.accepting.abort();
    }
}
