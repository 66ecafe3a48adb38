//! What all connections of one server share.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hyper::server::conn::http1;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::conn::MOVES_WITH;
use crate::conn::cause::Tally;
use crate::conn::moved::Moved;
use crate::conn::recycling::{Recycling, Spread};
use crate::conn::upgraded::Upgraded;
use crate::lifecycle::{ConnectionEnds, Drain, Phase};
use crate::metrics::ServerMetrics;
use crate::parking::{Lot, ParkedCount};
use crate::server::{Dispatch, Permit, Permits, ServerOptions};
use crate::socket::{Socket, Stage};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Notify, Ordering};
use crate::tls::TlsAcceptor;

/// How many connections in the queue to the successor are enough: the largest batch, and some of the next one.
const SHORT_QUEUE: usize = 320;

/// The least that hyper reads at once.
const HYPER_READ: usize = 8 << 10;

/// The largest buffer of hyper by default.
const HYPER_MAX_BUFFER: usize = HYPER_READ + (400 << 10);

/// The number of header fields that hyper allows by default.
const HYPER_MAX_HEADERS: usize = 100;

/// One running server, as its connections see it.
pub(crate) struct Context {
    pub(crate) options: ServerOptions,
    /// Present if the server's connections speak TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) dispatch: Arc<dyn Dispatch>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) drain: Drain,
    pub(crate) lot: Lot,
    pub(crate) http1: http1::Builder,
    pub(crate) moved: Arc<Moved>,
    pub(crate) recycling: Recycling,
    /// Those that handlers have taken over for another protocol.
    pub(super) upgraded: Upgraded,
    /// For the connections that stay behind in a restart.
    pub(crate) spread: Spread,
    /// Counts the responses that it gave.
    pub(crate) answers: Tally,
    /// Counts for Prometheus; none if metrics are off.
    pub(crate) metrics: Option<&'static ServerMetrics>,
    /// Has a line for each request; none if the server keeps no such log.
    pub(crate) access_log: Option<AccessLog>,
    /// Whether the log has a notice of a peer without a PROXY header.
    pub(super) has_told_of_header: AtomicBool,
    /// The runtime that serves.
    pub(crate) workers: Handle,
    /// Notified when a connection was parked after the drain began: the lot may have been cleared before.
    pub(crate) parked_late: Notify,
    to_successor: Mutex<Option<UnboundedSender<Leaving>>>,
    /// How many connections stand in the queue to the successor.
    queued: AtomicUsize,
    /// Notified when the queue has become [short](Self::has_short_queue).
    shortened: Notify,
    /// How many bytes of its next request a connection may take along to the successor.
    moves_with: AtomicUsize,
    /// Whether the successor can take over TLS sessions.
    takes_sessions: AtomicBool,
    /// Whether the successor learns the PROXY headers of connections.
    takes_proxy_headers: AtomicBool,
    /// Whether the successor learns the certificates that clients have shown.
    takes_client_certs: AtomicBool,
    /// Whether the successor takes only those connections over TLS whose clients have shown a certificate.
    needs_client_certs: AtomicBool,
}

/// A connection that moves to the successor, and its server in this process.
pub(crate) type Leaving = (Arc<Context>, Resting);

/// A connection between two requests, ready to move to the successor.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) socket: Socket,
    pub(crate) stage: Stage,
    /// The bytes of its next request that were already read.
    pub(crate) ahead: Bytes,
    /// Given back once the successor has the connection.
    pub(crate) permit: Permit,
    /// It had a request in flight when the restart came, and has answered it.
    pub(crate) has_answered: bool,
    /// When it was sent to the successor.
    pub(crate) left_at: Option<Instant>,
}

impl Resting {
    /// A connection of which nothing was read ahead, and that was not in a request when a restart came.
    pub(crate) fn quiet(socket: Socket, stage: Stage, permit: Permit) -> Self {
        Self { socket, stage, ahead: Bytes::new(), permit, has_answered: false, left_at: None }
    }

    /// Whether its next request has begun to come.
    pub(crate) fn has_begun(&self) -> bool {
        !self.ahead.is_empty() || self.socket.is_in_record()
    }

    /// Whether its client has shown a certificate.
    pub(crate) fn has_client_cert(&self) -> bool {
        self.socket.has_client_cert()
    }
}

/// Which connections a successor can take over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities {
    /// How many bytes of its next request a connection may have.
    pub(crate) ahead: usize,
    /// Whether it may have a TLS session.
    pub(crate) sessions: bool,
    /// Whether it may have a PROXY header, or owe one.
    pub(crate) proxy_headers: bool,
    /// Whether its client may have shown a certificate.
    pub(crate) client_certs: bool,
    /// Whether its client has to have shown one, if it has a TLS session.
    pub(crate) needs_client_certs: bool,
}

impl Capabilities {
    /// Those of a successor of this release with the same servers.
    pub(crate) const ALL: Self = Self {
        ahead: MOVES_WITH,
        sessions: true,
        proxy_headers: true,
        client_certs: true,
        needs_client_certs: false,
    };
}

impl Context {
    /// Has to be called within the runtime that serves.
    pub(crate) fn new(
        options: ServerOptions,
        tls: Option<TlsAcceptor>,
        dispatch: Arc<dyn Dispatch>,
        permits: Arc<Permits>,
        moved: Arc<Moved>,
        parked: Arc<ParkedCount>,
    ) -> io::Result<Self> {
        Ok(Self {
            lot: Lot::new(options.header_read_timeout, options.idle_timeout, parked)?,
            http1: http1_builder(&options),
            options,
            tls,
            dispatch,
            permits,
            drain: Drain::new(),
            moved,
            recycling: Recycling::new(),
            upgraded: Upgraded::default(),
            spread: Spread::default(),
            answers: Tally::new(),
            metrics: None,
            access_log: None,
            has_told_of_header: AtomicBool::new(false),
            workers: Handle::current(),
            parked_late: Notify::new(),
            to_successor: Mutex::new(None),
            queued: AtomicUsize::new(0),
            shortened: Notify::new(),
            moves_with: AtomicUsize::new(MOVES_WITH),
            takes_sessions: AtomicBool::new(true),
            takes_proxy_headers: AtomicBool::new(true),
            takes_client_certs: AtomicBool::new(true),
            needs_client_certs: AtomicBool::new(false),
        })
    }

    /// This server, with metrics.
    pub(crate) fn measured_by(self, metrics: Option<&'static ServerMetrics>) -> Self {
        Self { metrics, ..self }
    }

    /// This server, with an access log.
    pub(crate) fn logged_by(self, access_log: Option<AccessLog>) -> Self {
        Self { access_log, ..self }
    }

    /// How its connections have ended.
    pub(crate) fn ends(&self) -> &ConnectionEnds {
        self.permits.ends()
    }

    /// Whether the server has connections over TLS, or without it.
    pub(crate) fn serves(&self, is_secure: bool) -> bool {
        if is_secure { self.is_secure() } else { self.options.has_plain() }
    }

    /// Whether the server has TLS. Connections of its plain endpoints speak plain text all the same.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// From now on, connections move to the successor if it can take them over.
    pub(crate) fn set_successor(&self, to_successor: UnboundedSender<Leaving>, capabilities: Capabilities) {
        self.set_capabilities(capabilities);
        *self.to_successor() = Some(to_successor);
    }

    fn set_capabilities(&self, capabilities: Capabilities) {
        let Capabilities { ahead, sessions, proxy_headers, client_certs, needs_client_certs } = capabilities;
        self.moves_with.store(ahead, Ordering::Relaxed);
        self.takes_sessions.store(sessions, Ordering::Relaxed);
        self.takes_proxy_headers.store(proxy_headers, Ordering::Relaxed);
        self.takes_client_certs.store(client_certs, Ordering::Relaxed);
        self.needs_client_certs.store(needs_client_certs, Ordering::Relaxed);
    }

    /// Whether a connection can be handed over with these bytes of its next request.
    pub(crate) fn can_move_with(&self, ahead: &[u8]) -> bool {
        ahead.len() <= self.moves_with.load(Ordering::Relaxed) && !self.stays_behind()
    }

    /// Whether no connection can be handed over, because all of them speak TLS and the successor takes no sessions.
    pub(crate) fn stays_behind(&self) -> bool {
        self.is_secure() && !self.takes_sessions.load(Ordering::Relaxed)
    }

    /// Whether a connection can be handed over although its PROXY header was read, or has to come.
    pub(crate) fn takes_proxy_headers(&self) -> bool {
        self.takes_proxy_headers.load(Ordering::Relaxed)
    }

    /// Whether a connection can be handed over whose client has shown a certificate, or has shown none.
    pub(crate) fn takes_client(&self, is_secure: bool, has_cert: bool) -> bool {
        match has_cert {
            true => self.takes_client_certs.load(Ordering::Relaxed),
            false => !(is_secure && self.needs_client_certs.load(Ordering::Relaxed)),
        }
    }

    /// Whether a resting connection can be handed over with all that is known of its client.
    pub(crate) fn takes_facts(&self, resting: &Resting) -> bool {
        self.takes_client(resting.socket.session.is_some(), resting.has_client_cert())
            && (self.takes_proxy_headers() || !self.has_or_owes_header(resting))
    }

    /// Whether a resting connection has to begin with a PROXY header that was not read yet.
    pub(crate) fn is_owed_header(&self, resting: &Resting) -> bool {
        let socket = &resting.socket;
        let is_new = resting.stage == Stage::Fresh && socket.session.is_none();
        is_new && socket.proxy_header.is_owed(&self.options.proxy_protocol, || socket.peer())
    }

    /// Whether a PROXY header of a resting connection was read, or has to come.
    pub(crate) fn has_or_owes_header(&self, resting: &Resting) -> bool {
        resting.socket.proxy_header.read().is_some() || self.is_owed_header(resting)
    }

    /// Keeps connections here while the successor has no room for more, or is gone.
    pub(crate) fn hold_back(&self) {
        self.drain.enter_from(Phase::HandingOver, Phase::SuccessorFull);
    }

    /// The successor has room again: connections move to it.
    pub(crate) fn let_go(&self) {
        self.drain.enter_from(Phase::SuccessorFull, Phase::HandingOver);
    }

    /// From now on, no connection moves to the successor.
    pub(crate) fn clear_successor(&self) {
        *self.to_successor() = None;
        // The next one may take more.
        self.set_capabilities(Capabilities::ALL);
    }

    /// Whether there is a successor to which connections can go.
    pub(crate) fn has_successor(&self) -> bool {
        self.to_successor().as_ref().is_some_and(|to_successor| !to_successor.is_closed())
    }

    /// Sends a connection to the successor, or returns it if there is no successor.
    pub(crate) fn send_to_successor(self: &Arc<Self>, resting: Resting) -> Result<(), Resting> {
        let resting = Resting { left_at: Some(Instant::now()), ..resting };
        let to_successor = self.to_successor();
        let Some(to_successor) = &*to_successor else { return Err(resting) };
        // Before it can leave the queue.
        self.queued.fetch_add(1, Ordering::AcqRel);
        to_successor.send((self.clone(), resting)).map_err(|refused| {
            self.note_unqueued();
            refused.0.1
        })
    }

    /// A connection has left the queue to the successor.
    pub(crate) fn note_unqueued(&self) {
        if self.queued.fetch_sub(1, Ordering::AcqRel) == SHORT_QUEUE {
            self.shortened.notify_one();
        }
    }

    /// Whether parked connections should queue now. In the queue a connection is served by no process, so they follow
    /// only as fast as the successor takes them.
    pub(super) fn has_short_queue(&self) -> bool {
        self.queued.load(Ordering::Acquire) < SHORT_QUEUE
    }

    /// Waits until the queue to the successor has become short.
    pub(super) async fn queue_is_short(&self) {
        self.shortened.notified().await;
    }

    fn to_successor(&self) -> MutexGuard<'_, Option<UnboundedSender<Leaving>>> {
        self.to_successor.lock()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("server", &self.options.name).finish_non_exhaustive()
    }
}

fn http1_builder(options: &ServerOptions) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The task of the connection keeps the time itself: one lazy timer for all its phases instead of one that is set
    // again for every head.
    builder.header_read_timeout(None);
    // hyper gets whole heads only, and none over the server's limits. Its own limits have to be larger, or it would
    // answer by itself. Its limit of a head's size is its buffer, which otherwise takes at most a quarter of
    // `max_conn_memory`.
    let largest = options.max_header_size.saturating_add(HYPER_READ);
    let buffer = (options.max_conn_memory / 4).min(HYPER_MAX_BUFFER).max(largest);
    if buffer != HYPER_MAX_BUFFER {
        builder.max_buf_size(buffer);
    }
    // Asked for any number, hyper parses into the heap; its default of 100 fits on the stack.
    if options.max_headers != HYPER_MAX_HEADERS {
        builder.max_headers(options.max_headers);
    }
    builder
}

#[cfg(feature = "self-signed")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Request, ResponseFuture, Surroundings, Tls};
    use crate::tls::KeyRing;

    struct NoHandler;

    impl Dispatch for NoHandler {
        fn call(&self, _: Request, _: Surroundings<'_>) -> ResponseFuture {
            Box::pin(std::future::pending())
        }
    }

    impl Context {
        /// For tests of other rooms: a server that answers nothing.
        pub(crate) fn without_handlers(name: &str, is_secure: bool) -> Self {
            let tls = is_secure.then(Tls::self_signed);
            let options = ServerOptions { tls, ..ServerOptions::new(name) };
            let acceptor = TlsAcceptor::of(&options, &KeyRing::default()).unwrap();
            let permits = Arc::new(Permits::new(1000, Arc::default()));
            Self::new(options, acceptor, Arc::new(NoHandler), permits, Arc::default(), Arc::default())
                .unwrap()
        }
    }
}
