//! Where an idle connection goes: into the parking lot, to the successor, or out.

use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;

use crate::conn::close::{Linger, close, end_parked};
use crate::conn::context::{Context, Resting};
use crate::conn::{Ahead, Pace, serve_http1, serve_plain};
use crate::lifecycle::{ConnectionEnd, CutReason, Phase, aside};
use crate::parking::{self, Parked, ParkedCount, Wakened, Woken};
use crate::server::Permit;
use crate::socket::{Socket, Stage, Stream, Unread};
use crate::sys::{self, Descriptor};

/// How many parked connections leave before others get a turn.
const BATCH: usize = 64;

/// Puts an idle connection where the phase of the process says.
pub(crate) async fn rest(
    context: Arc<Context>,
    stream: Stream,
    ahead: Bytes,
    stage: Stage,
    mut permit: Permit,
    has_answered: bool,
) {
    // A TLS session that has ended meanwhile, or whose last bytes found no room in the socket, can't rest.
    let phase = context.drain.phase();
    if phase >= Phase::ClosingIdle || !stream.can_rest() {
        permit.note_end(match phase >= Phase::ClosingIdle {
            true => ConnectionEnd::Cut(CutReason::Idle),
            false => ConnectionEnd::Finished,
        });
        return close(&context, stream, Linger::BRIEF).await;
    }
    let is_quiet = phase == Phase::Serving && ahead.is_empty();
    let standing = if is_quiet { stream.rest_standing() } else { Err(stream) };
    let stream = match standing {
        Ok(socket) => return park_again(&context, socket, stage, permit),
        Err(stream) => stream,
    };
    let Ok((socket, opened)) = stream.rest() else {
        return permit.ends_as(ConnectionEnd::Cut(CutReason::Failed));
    };
    let ahead = match opened.is_empty() {
        true => ahead,
        false => [ahead, opened].concat().into(),
    };
    if ahead.is_empty() {
        context.moved.idle(socket.origin, stage);
    }
    settle(&context, Resting { socket, stage, ahead, permit, has_answered, left_at: None });
}

/// Settles a connection at rest: it departs in a restart; otherwise it is parked, or goes on awake where its next request
/// has begun to come.
pub(crate) fn settle(context: &Arc<Context>, resting: Resting) {
    let refused = if context.drain.phase() != Phase::HandingOver {
        Err(resting)
    } else if !context.takes_facts(&resting) {
        // What is known of its client would be lost, or does not suffice there. It waits awake until its task closes it.
        return stay(context, resting, Pace::Awake);
    } else if context.can_move_with(&resting.ahead) {
        context.send_to_successor(resting)
    } else {
        // It can't move. It stays awake, so that its task can close it.
        return stay(context, resting, Pace::Busy);
    };
    match refused {
        Ok(()) => {}
        Err(resting) if resting.has_begun() => stay(context, resting, Pace::Busy),
        Err(resting) => park(context, resting),
    }
}

fn park(context: &Arc<Context>, resting: Resting) {
    let Resting { socket, stage, permit, has_answered, .. } = resting;
    match context.lot.park(Parked { socket, stage }) {
        Ok(()) => note_parked(context, permit),
        // The kernel watches no more descriptors for us (`fs.epoll.max_user_watches`).
        Err(Parked { socket, stage }) => {
            let ahead = Bytes::new();
            let resting = Resting { socket, stage, ahead, permit, has_answered, left_at: None };
            stay(context, resting, Pace::Awake);
        }
    }
}

/// Parks a connection whose registration with the lot stands, unless its next request has come.
fn park_again(context: &Arc<Context>, socket: Socket<Descriptor>, stage: Stage, permit: Permit) {
    context.moved.idle(socket.origin, stage);
    match context.lot.park_again(socket, stage) {
        Ok(()) => note_parked(context, permit),
        Err(socket) => serve_awake(context, socket, stage, Bytes::new(), Pace::Rare, permit),
    }
}

fn note_parked(context: &Arc<Context>, permit: Permit) {
    permit.into_count();
    // The phase may have changed before the connection was parked. The lot is cleared again then, or the connection
    // would lie here until its next byte.
    if context.drain.phase() > Phase::Serving {
        context.parked_late.notify_one();
    }
}

/// Gives a resting connection a task again, on the runtime that serves.
fn stay(context: &Arc<Context>, resting: Resting, pace: Pace) {
    let Resting { socket, stage, ahead, permit, .. } = resting;
    serve_awake(context, socket.map_fd(Descriptor::new), stage, ahead, pace, permit);
}

fn serve_awake(
    context: &Arc<Context>,
    socket: Socket<Descriptor>,
    stage: Stage,
    ahead: Bytes,
    pace: Pace,
    permit: Permit,
) {
    let context = context.clone();
    let workers = context.workers.clone();
    // Boxed, since the runtime moves a task many times before its first turn and when it ends.
    workers.spawn(Box::pin(async move {
        context.moved.busy(socket.origin).await;
        let stream = socket.wake();
        let pace = if stage == Stage::Fresh && pace == Pace::Busy { Pace::Rare } else { pace };
        match stage {
            // Over TLS the handshake has chosen HTTP/1 already.
            Stage::Fresh if !stream.is_secure() => serve_plain(context, stream, ahead, pace, permit).await,
            Stage::Fresh | Stage::Idle => {
                serve_http1(context, stream, Ahead::now(ahead), stage, pace, permit).await;
            }
        }
    }));
}

/// Attends the parking lot of a server for as long as the process lives: wakes the connections that have bytes, and ends
/// those that rested too long. Runs where connections are served.
pub(crate) async fn wake_parked(context: Arc<Context>) {
    let mut attendant = context.lot.attendant();
    loop {
        let woken = attendant.wait().await;
        let may_be_more = woken.len() == parking::BATCH;
        for woken in woken {
            leave_lot(&context, woken);
        }
        // These are answered before others wake: those that are awake together need memory together.
        if may_be_more {
            tokio::task::yield_now().await;
        }
    }
}

/// Empties the parking lot of a server when the process leaves. Runs on the control runtime: even if handlers block
/// every serving thread, a resting connection moves to the successor or is closed.
pub(crate) async fn empty_lot(context: Arc<Context>) {
    loop {
        let changed = context.drain.changed();
        match context.drain.phase() {
            Phase::Serving | Phase::SuccessorFull | Phase::Stopping => {}
            Phase::HandingOver => hand_over_all(&context).await,
            Phase::ClosingIdle | Phase::Cutting => close_all(&context).await,
        }
        tokio::select! {
            biased;
            () = changed => {}
            () = context.parked_late.notified() => {}
        }
    }
}

/// Gives memory back to the system whenever many connections have parked.
pub(crate) async fn give_memory_back(parked: Arc<ParkedCount>) {
    // Aside, since a large heap takes longer. It fails if there is no thread; the memory then stays until next time.
    let give_back = || aside("memory", "giving memory back", sys::trim_heap);
    // Other C libraries have no such call.
    if cfg!(target_env = "gnu") {
        parked.attend(give_back).await;
    }
}

fn leave_lot(context: &Arc<Context>, woken: Woken) {
    match woken {
        Woken::Ready(Wakened { socket, stage, seems_closed: true, .. })
            if has_only_closed(context, &socket, stage) =>
        {
            let socket = socket.map_fd(Descriptor::into_fd);
            end_parked(context, Parked { socket, stage }, ConnectionEnd::Finished);
        }
        Woken::Ready(Wakened { socket, stage, is_rare, .. }) => {
            let pace = if is_rare { Pace::Rare } else { Pace::Busy };
            serve_awake(context, socket, stage, Bytes::new(), pace, Permit::from_count(&context.permits));
        }
        Woken::Expired(parked) => end_unless_asked(context, parked, CutReason::TimedOut),
    }
}

/// Whether the client of a connection has closed its side, and nothing is left to send or to log. Then the connection needs no
/// task to end. One that owes a PROXY header logs that none has come, and one over TLS sends its last record.
fn has_only_closed(context: &Context, socket: &Socket<Descriptor>, stage: Stage) -> bool {
    let owes_nothing = stage == Stage::Idle || context.options.proxy_protocol.is_empty();
    socket.session.is_none() && owes_nothing && Unread::of(socket.fd.as_fd()) == Unread::End
}

/// Ends a parked connection for this reason. One whose next request has already come is answered first: nothing may have
/// looked at it since then, if the process was stopped for a while.
fn end_unless_asked(context: &Arc<Context>, parked: Parked, reason: CutReason) {
    match Unread::of(parked.socket.fd.as_fd()) {
        Unread::Bytes => leave_lot(context, Woken::Ready(parked.into())),
        Unread::Nothing | Unread::End => end_parked(context, parked, ConnectionEnd::Cut(reason)),
    }
}

async fn hand_over_all(context: &Arc<Context>) {
    loop {
        let changed = context.drain.changed();
        if !context.has_successor() || context.drain.phase() != Phase::HandingOver {
            return;
        }
        if !context.has_short_queue() {
            tokio::select! {
                biased;
                () = changed => {}
                () = context.queue_is_short() => {}
            }
            continue;
        }
        let batch = context.lot.take(BATCH);
        if batch.is_empty() {
            return;
        }
        for Parked { socket, stage } in batch {
            let permit = Permit::from_count(&context.permits);
            // If the successor dies meanwhile, what it did not get stays parked.
            settle(context, Resting::quiet(socket, stage, permit));
        }
        tokio::task::yield_now().await;
    }
}

async fn close_all(context: &Arc<Context>) {
    loop {
        let batch = context.lot.take(BATCH);
        if batch.is_empty() {
            return;
        }
        for parked in batch {
            end_unless_asked(context, parked, CutReason::Idle);
        }
        tokio::task::yield_now().await;
    }
}
