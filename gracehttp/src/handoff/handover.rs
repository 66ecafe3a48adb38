//! What the predecessor does after the commit: live connections go over, and permits with them.
//!
//! Until standby ends it keeps a duplicate of every connection that it gave away, to take back those that
//! are idle if the successor dies.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::conn::{Context, Departure, Leaving, MOVES_WITH, Socket, settle};
use crate::handoff::Channel;
use crate::handoff::channel::Incoming;
use crate::handoff::message::{Bequest, MAX_MESSAGE, Moving, Reply, ServerCount};
use crate::parking::Stage;
use crate::sys::MAX_FDS;

/// How much of a message the connections' own bytes may fill; the rest is for their description.
const MAX_AHEAD: usize = MOVES_WITH;
const _: () = assert!(MAX_AHEAD <= MAX_MESSAGE / 2);

/// How long a successor without room for more connections is left alone.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long released permits are gathered before they are reported.
const REPORT_AFTER: Duration = Duration::from_millis(1);

/// The hand-over of live connections to one successor.
pub(crate) struct Handover {
    channel: Channel,
    leaving: UnboundedReceiver<Leaving>,
    contexts: Vec<Arc<Context>>,
    released: Arc<Notify>,
    standby_until: Option<Instant>,
    /// Told when the successor has a successor of its own.
    succeeded: Arc<Notify>,
    /// What the successor was last told of the permits.
    reported: Vec<ServerCount>,
    report_at: Option<Instant>,
    /// Sent, and not confirmed yet.
    on_the_way: VecDeque<Leaving>,
    /// Did not fit into the last message.
    left_over: Option<Leaving>,
    /// When the next batch may be sent.
    not_before: Option<Instant>,
    kept: HashMap<u64, Kept>,
    /// The number of the next connection, in the order of all that were sent.
    next_id: u64,
}

/// How a hand-over ended, with the connections that are ours again.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The successor is gone without a farewell.
    pub(crate) died: bool,
    pub(crate) back: Vec<Leaving>,
}

/// A connection that the successor has, and of which we keep a duplicate.
#[derive(Debug)]
struct Kept {
    context: Arc<Context>,
    socket: Socket,
    stage: Stage,
    ahead: Bytes,
    /// The successor handles a request of it.
    busy: bool,
}

/// What each server holds: our own connections, and those of a generation before us that still drains.
pub(crate) fn held_of(contexts: &[Arc<Context>]) -> Vec<ServerCount> {
    let count = |context: &Arc<Context>| ServerCount {
        server: context.options.name.clone(),
        count: (context.permits.held() + context.permits.foreign()) as u64,
    };
    contexts.iter().map(count).collect()
}

impl Handover {
    pub(crate) fn new(
        channel: Channel,
        leaving: UnboundedReceiver<Leaving>,
        contexts: Vec<Arc<Context>>,
        released: Arc<Notify>,
        standby_until: Instant,
        succeeded: Arc<Notify>,
    ) -> Self {
        Self {
            channel,
            leaving,
            contexts,
            released,
            standby_until: Some(standby_until),
            succeeded,
            reported: Vec::new(),
            report_at: None,
            on_the_way: VecDeque::new(),
            left_over: None,
            not_before: None,
            kept: HashMap::new(),
            next_id: 0,
        }
    }

    /// Hands over until the successor is gone.
    pub(crate) async fn run(mut self) -> Outcome {
        let channel = self.channel.clone();
        let released = self.released.clone();
        loop {
            let may_send = self.on_the_way.is_empty() && self.not_before.is_none();
            let outcome = tokio::select! {
                biased;
                reply = channel.receive::<Reply>() => match reply {
                    Ok(Incoming::Message(Reply::Farewell, _)) => return self.end(false),
                    Ok(Incoming::Message(Reply::Succeeded, _)) => self.succeed().await,
                    Ok(Incoming::Message(reply, _)) => {
                        self.hear(&reply);
                        Ok(())
                    }
                    Ok(Incoming::Closed) => return self.end(true),
                    Err(error) => Err(error),
                },
                () = until(self.standby_until) => self.end_standby().await,
                () = until(self.not_before) => {
                    self.not_before = None;
                    self.contexts.iter().for_each(|context| context.set_successor_is_full(false));
                    Ok(())
                }
                () = until(self.report_at) => self.report().await,
                () = released.notified(), if self.report_at.is_none() => {
                    self.report_at = Some(Instant::now() + REPORT_AFTER);
                    Ok(())
                }
                Some(first) = next(&mut self.left_over, &mut self.leaving), if may_send => {
                    self.send(first).await
                }
            };
            if let Err(error) = outcome {
                crate::log::error(format_args!("the hand-over of connections broke: {error}"));
                return self.end(true);
            }
        }
    }

    /// Sends a batch that begins with this connection.
    async fn send(&mut self, first: Leaving) -> io::Result<()> {
        let mut batch = VecDeque::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some((context, departure)) = next {
            if bytes + departure.ahead.len() > MAX_AHEAD {
                self.left_over = Some((context, departure));
                break;
            }
            bytes += departure.ahead.len();
            batch.push_back((context, departure));
            next = if batch.len() < MAX_FDS { self.leaving.try_recv().ok() } else { None };
        }
        for (context, departure) in &batch {
            // Our own predecessor, if it is in standby, can't have it back once it is on its way.
            context.moved.busy(departure.socket.fd.as_raw_fd()).await;
        }
        let moving = batch.iter().map(|(context, departure)| Moving {
            server: context.options.name.clone(),
            family: departure.socket.family,
            stage: departure.stage,
            ahead: departure.ahead.to_vec(),
        });
        let message = Bequest::Connections { moving: moving.collect() };
        let fds: Vec<BorrowedFd<'_>> =
            batch.iter().map(|(_, departure)| departure.socket.fd.as_fd()).collect();
        let sent = self.channel.send(&message, &fds).await;
        drop(fds);
        self.on_the_way = batch;
        sent
    }

    fn hear(&mut self, reply: &Reply) {
        match *reply {
            Reply::Taken { count } => self.confirm(count as usize),
            Reply::Busy { id } => self.mark(id, true),
            Reply::Idle { id } => self.mark(id, false),
            // Nothing that could be meant at this point.
            Reply::Ready { .. } | Reply::Failed { .. } | Reply::Succeeded | Reply::Farewell => {}
        }
    }

    /// The connections that we gave away may be a third process's by now.
    async fn succeed(&mut self) -> io::Result<()> {
        self.succeeded.notify_one();
        self.end_standby().await
    }

    /// The successor has the first `count` connections of the last batch.
    fn confirm(&mut self, count: usize) {
        let mut no_room = Vec::new();
        for (place, (context, departure)) in std::mem::take(&mut self.on_the_way).into_iter().enumerate() {
            let id = self.next_id;
            self.next_id += 1;
            if place >= count {
                no_room.push((context, departure));
                continue;
            }
            let Departure { socket, stage, ahead, permit } = departure;
            drop(permit);
            if self.standby_until.is_some() {
                self.kept.insert(id, Kept { context, socket, stage, ahead, busy: false });
            }
        }
        if !no_room.is_empty() {
            self.keep_for_now(no_room);
        }
    }

    /// The successor has no descriptor free. These connections and all that wait behind them are still ours, and
    /// are served here until they try again.
    fn keep_for_now(&mut self, no_room: Vec<Leaving>) {
        self.not_before = Some(Instant::now() + BACK_OFF);
        self.contexts.iter().for_each(|context| context.set_successor_is_full(true));
        let waiting = std::iter::from_fn(|| self.leaving.try_recv().ok());
        for (context, departure) in no_room.into_iter().chain(self.left_over.take()).chain(waiting) {
            settle(&context, departure);
        }
    }

    fn mark(&mut self, id: u64, busy: bool) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.busy = busy;
            // What it had read ahead, the successor has consumed.
            kept.ahead = Bytes::new();
            kept.stage = Stage::Idle;
        }
    }

    /// Lets go of the duplicates. Closing one is no close of the connection, which the successor holds.
    async fn end_standby(&mut self) -> io::Result<()> {
        self.standby_until = None;
        self.kept = HashMap::new();
        self.channel.send(&Bequest::StandbyOver, &[]).await
    }

    /// Tells the successor which permits came free.
    async fn report(&mut self) -> io::Result<()> {
        self.report_at = None;
        let held = held_of(&self.contexts);
        if held == self.reported {
            return Ok(());
        }
        self.reported.clone_from(&held);
        self.channel.send(&Bequest::Held { held }, &[]).await
    }

    fn end(mut self, died: bool) -> Outcome {
        self.leaving.close();
        let mut back: Vec<Leaving> = self.on_the_way.into_iter().chain(self.left_over).collect();
        while let Ok(leaving) = self.leaving.try_recv() {
            back.push(leaving);
        }
        // After a farewell the successor has closed what it had.
        let idle = self.kept.into_values().filter(|kept| died && !kept.busy);
        back.extend(idle.map(|Kept { context, socket, stage, ahead, .. }| {
            let permit = context.permits.adopt();
            (context, Departure { socket, stage, ahead, permit })
        }));
        Outcome { died, back }
    }
}

async fn next(left_over: &mut Option<Leaving>, leaving: &mut UnboundedReceiver<Leaving>) -> Option<Leaving> {
    match left_over.take() {
        Some(first) => Some(first),
        None => leaving.recv().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
