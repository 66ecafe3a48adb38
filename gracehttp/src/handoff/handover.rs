//! What the predecessor does after the commit: live connections go over, and permits with them.
//!
//! Until standby ends it keeps a duplicate of every connection that it gave away, to take back those that
//! are idle if the successor dies.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::conn::{Context, Departure, Leaving, MOVES_WITH, Socket, settle};
use crate::handoff::Channel;
use crate::handoff::channel::{Incoming, has_hung_up};
use crate::handoff::message::{Bequest, MAX_MESSAGE, Moving, Reply, ServerCount};
use crate::handoff::vigil::Vigil;
use crate::parking::Stage;
use crate::sys::MAX_FDS;

/// How much of a message the connections' own bytes may fill; the rest is for their description.
const MAX_AHEAD: usize = MOVES_WITH;
const _: () = assert!(MAX_AHEAD <= MAX_MESSAGE / 2);

/// How long a successor without room for more connections is left alone: at first, and at the most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long released permits are gathered before they are reported.
const REPORT_AFTER: Duration = Duration::from_millis(1);

/// How long a successor that has hung up may take to be gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The hand-over of live connections to one successor.
pub(crate) struct Handover {
    channel: Channel,
    leaving: UnboundedReceiver<Leaving>,
    contexts: Vec<Arc<Context>>,
    released: Arc<Notify>,
    standby_until: Option<Instant>,
    /// Told when the successor has a successor of its own.
    succeeded: Arc<Notify>,
    has_succeeded: bool,
    /// What the successor was last told of the permits.
    reported: Vec<ServerCount>,
    report_at: Option<Instant>,
    /// Sent, and not confirmed yet.
    on_the_way: VecDeque<Leaving>,
    /// Did not fit into the last message.
    left_over: Option<Leaving>,
    /// The successor has no room: when it is asked again.
    ask_at: Option<Instant>,
    back_off: Duration,
    kept: HashMap<u32, Kept>,
    /// Begun with the hand-over, kept until standby ends.
    vigil: Option<Vigil>,
    /// How many connections were sent so far: each is known by its place in their order.
    sent: u32,
    /// The successor ends of its own will, though it may still confirm what it has.
    farewell: bool,
}

/// How a hand-over ended, with the connections that are ours again.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The successor is gone without a farewell.
    pub(crate) died: bool,
    /// It had a successor of its own.
    pub(crate) succeeded: bool,
    pub(crate) back: Vec<Leaving>,
}

impl Outcome {
    /// Whether nobody serves in the place of the one that died.
    pub(crate) fn is_needed(&self) -> bool {
        self.died && !self.succeeded
    }
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
        count: held_by(context),
    };
    contexts.iter().map(count).collect()
}

fn held_by(context: &Context) -> u64 {
    (context.permits.held() + context.permits.foreign()) as u64
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
            has_succeeded: false,
            vigil: None,
            reported: Vec::new(),
            report_at: None,
            on_the_way: VecDeque::new(),
            left_over: None,
            ask_at: None,
            back_off: BACK_OFF.0,
            kept: HashMap::new(),
            sent: 0,
            farewell: false,
        }
    }

    /// Hands over until the successor is gone.
    pub(crate) async fn run(mut self) -> Outcome {
        self.vigil = Some(Vigil::begin());
        loop {
            match self.turn().await {
                // What is on its way is the successor's if it says so, even now.
                Ok(Talk::Ended) => return self.end().await,
                Ok(Talk::GoesOn) if self.farewell && self.on_the_way.is_empty() => return self.end().await,
                Ok(Talk::GoesOn) => {}
                Err(error) if has_hung_up(&error) => {
                    self.hear_last_words().await;
                    return self.end().await;
                }
                Err(error) => {
                    crate::log::error(format_args!("the hand-over of connections broke: {error}"));
                    return self.end().await;
                }
            }
        }
    }

    /// Does the next thing that there is to do.
    async fn turn(&mut self) -> io::Result<Talk> {
        let (channel, released) = (self.channel.clone(), self.released.clone());
        // Made before the counts are read, so that no release between the two is missed.
        let released = released.notified();
        if self.report_at.is_none() && !self.is_reported() {
            self.report_at = Some(Instant::now() + REPORT_AFTER);
        }
        let may_send = self.on_the_way.is_empty() && !self.farewell;
        tokio::select! {
            biased;
            reply = channel.receive::<Reply>() => match reply? {
                Incoming::Message(reply, _) => self.hear(&reply).await?,
                Incoming::Closed => return Ok(Talk::Ended),
            },
            () = until(self.standby_until) => self.end_standby().await?,
            () = until(self.ask_at) => {
                self.ask_at = None;
                self.contexts.iter().for_each(|context| context.let_go());
            }
            () = until(self.report_at) => self.report().await?,
            () = released, if self.report_at.is_none() => {}
            Some(first) = next(&mut self.left_over, &mut self.leaving), if may_send => match self.ask_at {
                None => self.send(first).await?,
                // It had set out when it became known that the successor is full.
                Some(_) => settle(&first.0, first.1),
            },
        }
        Ok(Talk::GoesOn)
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
            context.moved.busy(departure.socket.origin).await;
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

    async fn hear(&mut self, reply: &Reply) -> io::Result<()> {
        match *reply {
            Reply::Taken { count } => self.confirm(count as usize),
            Reply::Busy { id } => self.mark(id, true),
            Reply::Idle { id } => self.mark(id, false),
            Reply::Farewell => self.farewell = true,
            // The connections that we gave away may be a third process's by now.
            Reply::Succeeded => {
                self.has_succeeded = true;
                self.succeeded.notify_one();
                self.end_standby().await?;
            }
            // Nothing that could be meant at this point.
            Reply::Ready { .. } | Reply::Failed { .. } => {}
        }
        Ok(())
    }

    /// Hears what a successor said that does not listen any more: it may have left in peace.
    async fn hear_last_words(&mut self) {
        let channel = self.channel.clone();
        while let Ok(Ok(Incoming::Message(reply, _))) =
            tokio::time::timeout(LAST_WORDS, channel.receive::<Reply>()).await
        {
            // What there would be to say to it, it does not hear.
            let _ = self.hear(&reply).await;
        }
    }

    /// The successor has the first `count` connections of the last batch.
    fn confirm(&mut self, count: usize) {
        let mut no_room = Vec::new();
        for (place, (context, departure)) in std::mem::take(&mut self.on_the_way).into_iter().enumerate() {
            self.sent += 1;
            if place >= count {
                no_room.push((context, departure));
                continue;
            }
            let Departure { socket, stage, ahead, permit } = departure;
            context.permits.give(permit);
            if self.standby_until.is_some() {
                self.kept.insert(self.sent, Kept { context, socket, stage, ahead, busy: false });
            }
        }
        if no_room.is_empty() {
            self.back_off = BACK_OFF.0;
        } else {
            self.keep_for_now(no_room);
        }
    }

    /// The successor has no descriptor free. These connections and all that wait behind them are still ours, and
    /// are served here until it is asked again.
    fn keep_for_now(&mut self, no_room: Vec<Leaving>) {
        self.ask_at = Some(Instant::now() + self.back_off);
        self.back_off = (self.back_off * 2).min(BACK_OFF.1);
        self.contexts.iter().for_each(|context| context.hold_back());
        for (context, departure) in no_room.into_iter().chain(self.left_over.take()) {
            settle(&context, departure);
        }
    }

    fn mark(&mut self, id: u32, busy: bool) {
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
        self.vigil = None;
        self.channel.send(&Bequest::StandbyOver, &[]).await
    }

    /// Tells the successor which permits came free.
    async fn report(&mut self) -> io::Result<()> {
        self.report_at = None;
        let held = held_of(&self.contexts);
        self.reported.clone_from(&held);
        self.channel.send(&Bequest::Held { held }, &[]).await
    }

    /// Whether the successor knows the counts as they are.
    fn is_reported(&self) -> bool {
        self.contexts.iter().map(|context| held_by(context)).eq(self.reported.iter().map(|held| held.count))
    }

    async fn end(mut self) -> Outcome {
        // Who comes to rest from now on stays here.
        self.contexts.iter().for_each(|context| context.hold_back());
        self.leaving.close();
        let mut back: Vec<Leaving> = self.on_the_way.into_iter().chain(self.left_over).collect();
        // Not `try_recv`, which does not see who is just about to leave.
        while let Some(leaving) = self.leaving.recv().await {
            back.push(leaving);
        }
        let died = !self.farewell;
        // After a farewell the successor has closed what it had. And if we slept it may have read of connections
        // without our hearing that they are busy.
        let known = died && !self.vigil.is_some_and(|vigil| vigil.has_slept());
        let idle = self.kept.into_values().filter(|kept| known && !kept.busy);
        back.extend(idle.map(|Kept { context, socket, stage, ahead, .. }| {
            let permit = context.permits.adopt();
            (context, Departure { socket, stage, ahead, permit })
        }));
        Outcome { died, succeeded: self.has_succeeded, back }
    }
}

/// How the conversation stands.
enum Talk {
    GoesOn,
    /// The channel is closed.
    Ended,
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
