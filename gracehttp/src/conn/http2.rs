//! An HTTP/2 connection. It is never parked and never moves: it ends as the protocol provides.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::conn::activity::Activity;
use crate::conn::close::close;
use crate::conn::context::Context;
use crate::conn::drain::Phase;
use crate::conn::drive::poll_contained;
use crate::conn::exchange::ConnectionService;
use crate::conn::http1::Wire;
use crate::conn::info::ConnectionInfo;
use crate::conn::lent::lend;
use crate::conn::limits::{Patience, STALLED};
use crate::conn::transport::{Inspector, Transport};
use crate::server::{Permit, ServerOptions};

/// How often an HTTP/2 connection is looked at: its limits are long, and its streams run elsewhere.
const LOOK: Duration = Duration::from_secs(1);

/// How many bytes a client may send while it has no stream open: what it was sending when its last stream ended, of
/// which hyper's window lets a mebibyte through, and frames that ask for nothing.
const IDLE_BYTES: u64 = 2 << 20;

/// How long a client has, from when it hears of the end, to send what it had begun by then.
const ROOM: Duration = Duration::from_millis(500);

/// Serves a connection until it ends. In a drain it says GOAWAY in two steps (RFC 9113 section 6.8): that it is
/// going, and, later, which stream was the last; every stream up to it is answered.
///
/// hyper's own first step brings a PING, whose answer begins the second one. Its own client, for one, answers
/// before it sends the requests that it has already taken, and these would be refused. So the first step is
/// taken some time before hyper's.
pub(super) async fn serve<T: Wire>(context: Arc<Context>, stream: T, ahead: Bytes, permit: Permit) {
    let activity = Arc::new(Activity::default());
    let info = Arc::new(ConnectionInfo { peer: stream.peer(), context: context.clone() });
    let (transport, back) = lend(Transport::new(stream, Inspector::Http2(ahead), activity.clone(), permit));
    let service = ConnectionService::new(activity.clone(), info, false);
    let connection = context.http2.serve_connection(TokioIo::new(transport), service);
    let mut connection = Box::pin(connection);

    let mut announced = false;
    let mut room = pin!(tokio::time::sleep(ROOM));
    let mut watch = Watch::new(&activity);
    let mut look = tokio::time::interval(LOOK);
    let mut seen = None;
    let mut changed = pin!(context.drain.changed());
    poll_fn(|cx| {
        loop {
            if poll_contained(&context, || connection.as_mut().poll(cx)).is_ready() {
                return Poll::Ready(());
            }
            let phase = context.drain.poll_phase(changed.as_mut(), &mut seen, cx);
            let looked = look.poll_tick(cx).is_ready();
            let verdict = if looked { watch.look(&activity, &context.options) } else { Verdict::Stay };
            if phase == Phase::Cutting || verdict == Verdict::Cut {
                return Poll::Ready(());
            }
            let leaves = phase.is_draining() || verdict == Verdict::Leave;
            if leaves && !announced {
                announced = true;
                activity.announce_end();
                room.as_mut().reset(Instant::now() + ROOM);
                continue;
            }
            let had_room = announced && (phase >= Phase::ClosingIdle || room.as_mut().poll(cx).is_ready());
            if had_room && watch.leave(&activity) {
                connection.as_mut().graceful_shutdown();
            } else if !looked {
                return Poll::Pending;
            }
        }
    })
    .await;
    drop(connection);
    // A client that reads still sends, if only WINDOW_UPDATE: a reset in answer to that would destroy what it has
    // not read yet.
    if let Ok(transport) = back.await {
        let (stream, _, _permit) = transport.into_parts();
        close(stream).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stay,
    /// It had no stream for too long.
    Leave,
    /// The client takes nothing or sends nothing of what is waited for, or only what nobody asked for, or does not
    /// even answer our GOAWAY.
    Cut,
}

/// What a look at the connection remembers of the last one.
#[derive(Debug)]
struct Watch {
    idle_since: Option<Instant>,
    written: u64,
    written_at: Instant,
    /// With the bodies that wait for the client.
    patience: Patience,
    /// The requests begun so far.
    begun: u64,
    /// The bytes read when there was a stream the last time.
    read_with_stream: u64,
    /// When GOAWAY was said, and how many bytes had been read by then.
    left: Option<(Instant, u64)>,
}

impl Watch {
    fn new(activity: &Activity) -> Self {
        let now = Instant::now();
        Self {
            idle_since: Some(now),
            written: activity.bytes_out(),
            written_at: now,
            patience: Patience::new(activity.body_bytes(), now),
            begun: activity.begun(),
            read_with_stream: activity.bytes_in(),
            left: None,
        }
    }

    /// Notes that the connection is to end; true the first time.
    fn leave(&mut self, activity: &Activity) -> bool {
        let first = self.left.is_none();
        self.left.get_or_insert_with(|| (Instant::now(), activity.bytes_in()));
        first
    }

    fn look(&mut self, activity: &Activity, options: &ServerOptions) -> Verdict {
        let now = Instant::now();
        let awaits_client = activity.awaits_client();
        let has_stream = activity.open() > 0 || awaits_client;
        let has_begun = activity.begun() != std::mem::replace(&mut self.begun, activity.begun());
        if has_stream {
            self.idle_since = None;
        } else {
            self.idle_since.get_or_insert(now);
        }
        if has_stream || has_begun {
            self.read_with_stream = activity.bytes_in();
        }
        // Who asks for more is there. One body that stands still ends all the others with it, but they stand still,
        // too.
        if !awaits_client || has_begun {
            self.patience = Patience::new(activity.body_bytes(), now);
        } else {
            self.patience.note(activity.body_bytes(), now);
        }
        if !activity.is_unflushed() || activity.bytes_out() != self.written {
            (self.written, self.written_at) = (activity.bytes_out(), now);
        }
        // GOAWAY comes with a PING: a client that is there has answered within a round trip.
        let unheard = self.left.is_some_and(|(at, read)| {
            now - at >= LOOK && activity.bytes_in() == read && activity.open() == 0
        });
        // Who has never sent a request is waited for as long as for a request's head.
        let idle_timeout =
            if activity.begun() == 0 { options.header_read_timeout } else { options.idle_timeout };
        let floods = activity.bytes_in() - self.read_with_stream > IDLE_BYTES;
        if unheard || floods || now - self.written_at >= STALLED || now >= self.patience.end() {
            Verdict::Cut
        } else if self.idle_since.is_some_and(|since| now - since >= idle_timeout) {
            Verdict::Leave
        } else {
            Verdict::Stay
        }
    }
}
