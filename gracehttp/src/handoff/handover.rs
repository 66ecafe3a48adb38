//! What the predecessor does after the commit: live connections go over, and permits with them.
//!
//! Until standby ends it keeps a duplicate of every connection that it gave away, to take back those that
//! are idle if the successor dies.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::conn::{Context, Leaving, Resting, settle};
use crate::handoff::batch::Batch;
use crate::handoff::channel::{Incoming, has_hung_up};
use crate::handoff::standby::{Due, Standby};
use crate::handoff::wire::{MAX_BATCH, ServerCount, ToPredecessor, ToSuccessor, Version};
use crate::handoff::{Channel, Successor};
use crate::lifecycle::{ConnectionEnd, until_time};

/// How long a successor without room for more connections is left alone: at first, and at the most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long released permits are gathered before they are reported, and how long to wait after the channel was full.
const REPORT_AFTER: Duration = Duration::from_millis(1);
const REPORT_AGAIN: Duration = Duration::from_millis(100);

/// How long a successor may take to be gone: after it has hung up, and after it was killed.
const LAST_WORDS: Duration = Duration::from_millis(500);
const DYING: Duration = Duration::from_secs(5);

/// The hand-over of live connections to one successor.
pub(crate) struct Handover {
    channel: Channel,
    version: Version,
    pid: Pid,
    leaving: UnboundedReceiver<Leaving>,
    contexts: Vec<Arc<Context>>,
    released: Arc<Notify>,
    standby_until: Instant,
    line: Arc<StandbyLine>,
    /// Present while this process can take over from a dead successor.
    standby: Option<Standby>,
    has_succeeded: bool,
    /// The counts in the last report to the successor, by server.
    reported: Vec<Count>,
    reports: u32,
    report_at: Option<Instant>,
    batches: u32,
    /// Sent, and not confirmed yet.
    on_the_way: Option<Batch>,
    /// The number of a batch that was withdrawn, until the successor has found out.
    withdrawn: Option<u32>,
    /// Did not fit into the last message.
    left_over: Option<Leaving>,
    /// The successor has no room: when it is asked again.
    ask_at: Option<Instant>,
    back_off: Duration,
    /// How many connections were sent so far: each is known by its place in their order.
    sent: u32,
    /// The successor ends of its own will, though it may still confirm what it has.
    is_exiting: bool,
}

/// What the process and the hand-over tell each other about the standby.
#[derive(Debug, Default)]
pub(crate) struct StandbyLine {
    /// It is over: the successor lives and serves.
    pub(crate) over: Notify,
    /// The process has to stop: it does not stand by any more.
    pub(crate) called_off: Notify,
}

/// How a hand-over ended, with the connections that are ours again.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The successor is gone without a is_exiting.
    pub(crate) died: bool,
    /// It was killed, since it gave no sign of life.
    pub(crate) mute: bool,
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

/// The permits of a server, as the successor hears of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    held: u64,
    asked: u64,
}

impl Count {
    fn of(context: &Arc<Context>) -> Self {
        let (permits, permit_requests) = (&context.permits, context.permits.permit_requests());
        let held = permits.held() + permits.foreign() + permit_requests.reserved();
        Self { held: held as u64, asked: permit_requests.asked() as u64 }
    }
}

/// How many permits each server holds: for our own connections, for its open questions, and for those of an older
/// generation that still drains.
pub(crate) fn held_of(contexts: &[Arc<Context>]) -> Vec<ServerCount> {
    let counts = contexts.iter().map(Count::of);
    named(contexts, counts.map(|count| count.held)).collect()
}

fn named(contexts: &[Arc<Context>], counts: impl Iterator<Item = u64>) -> impl Iterator<Item = ServerCount> {
    let names = contexts.iter().map(|context| context.options.name.clone());
    names.zip(counts).map(|(server, count)| ServerCount { server, count })
}

impl Handover {
    pub(crate) fn new(
        successor: &Successor,
        leaving: UnboundedReceiver<Leaving>,
        contexts: Vec<Arc<Context>>,
        released: Arc<Notify>,
        standby_until: Instant,
        line: Arc<StandbyLine>,
    ) -> Self {
        Self {
            channel: successor.channel().clone(),
            version: successor.version(),
            pid: successor.pid(),
            leaving,
            contexts,
            released,
            standby_until,
            line,
            standby: None,
            has_succeeded: false,
            reported: Vec::new(),
            reports: 0,
            report_at: None,
            batches: 0,
            on_the_way: None,
            withdrawn: None,
            left_over: None,
            ask_at: None,
            back_off: BACK_OFF.0,
            sent: 0,
            is_exiting: false,
        }
    }

    /// Hands over until the successor is gone.
    pub(crate) async fn run(mut self) -> Outcome {
        self.standby = Some(Standby::begin(self.standby_until, self.version));
        if self.version >= Version::Two {
            self.contexts.iter().for_each(|context| context.permits.permit_requests().share());
        }
        loop {
            match self.turn().await {
                // The batch on its way is the successor's if it still says so.
                Ok(Talk::Ended) => return self.end(false).await,
                Ok(Talk::GoesOn) if self.is_exiting && self.on_the_way.is_none() => {
                    return self.end(false).await;
                }
                Ok(Talk::GoesOn) => {}
                Ok(Talk::Mute) => {
                    // Killed first, so that it can't touch the connections that come back. It is our own child and
                    // not reaped: the pid is still its own.
                    let _ = kill(self.pid, Signal::SIGKILL);
                    self.hear_last_words(DYING).await;
                    return self.end(true).await;
                }
                Err(error) if has_hung_up(&error) => {
                    self.hear_last_words(LAST_WORDS).await;
                    return self.end(false).await;
                }
                Err(error) => {
                    crate::log::error(format_args!("the hand-over of connections broke: {error}"));
                    return self.end(false).await;
                }
            }
        }
    }

    /// Does the next thing that there is to do.
    async fn turn(&mut self) -> io::Result<Talk> {
        let (channel, released, line) = (self.channel.clone(), self.released.clone(), self.line.clone());
        // Made before the counts are read, so that no release between the two is missed.
        let released = released.notified();
        if self.report_at.is_none() && !self.is_reported() {
            self.report_at = Some(Instant::now() + REPORT_AFTER);
        }
        let may_send = self.on_the_way.is_none() && !self.is_exiting;
        let withdraw_at = self.on_the_way.as_ref().and_then(Batch::withdraw_at);
        tokio::select! {
            biased;
            reply = channel.receive::<ToPredecessor>() => match reply? {
                Incoming::Message(reply, _) => self.hear(&reply).await,
                Incoming::Closed => return Ok(Talk::Ended),
            },
            () = until_time(self.standby.as_ref().map(Standby::due_at)) => return Ok(self.stand_by().await),
            () = line.called_off.notified() => self.end_standby().await,
            () = until_time(withdraw_at) => self.withdraw(),
            () = until_time(self.ask_at) => {
                self.ask_at = None;
                self.contexts.iter().for_each(|context| context.let_go());
            }
            () = until_time(self.report_at) => self.report(),
            () = released, if self.report_at.is_none() => {}
            Some(first) = next(&mut self.left_over, &mut self.leaving), if may_send => {
                if self.is_held_back() {
                    // It was sent here before that became known.
                    settle(&first.0, first.1);
                } else {
                    self.send(first).await?;
                }
            }
        }
        Ok(Talk::GoesOn)
    }

    /// Whether the successor takes no connections at the moment.
    fn is_held_back(&self) -> bool {
        self.ask_at.is_some() || self.withdrawn.is_some()
    }

    /// Does what is due in the standby.
    async fn stand_by(&mut self) -> Talk {
        match self.standby.as_mut().map_or(Due::Nothing, |standby| standby.due(Instant::now())) {
            Due::Nothing => {}
            Due::Ask(number) => {
                if !self.channel.try_send(&ToSuccessor::Ping { number })
                    && let Some(standby) = &mut self.standby
                {
                    standby.unsent(Instant::now());
                }
            }
            Due::Over => self.end_standby().await,
            Due::Unresponsive => return Talk::Mute,
        }
        Talk::GoesOn
    }

    /// Sends a batch that begins with this connection.
    async fn send(&mut self, first: Leaving) -> io::Result<()> {
        let connections = self.gather(first);
        for (context, resting) in &connections {
            // If our own predecessor is in standby, it can't take the connection back once it is on its way.
            context.moved.busy(resting.socket.origin).await;
        }
        self.batches = self.batches.wrapping_add(1);
        let batch = match Batch::new(self.batches, connections, self.version) {
            Ok(batch) => batch,
            Err((connections, _)) => {
                self.keep_for_now(connections);
                return Ok(());
            }
        };
        match self.channel.offer(&batch.message(), &batch.descriptors()).await {
            Ok(false) => self.keep_for_now(batch.connections),
            sent => {
                self.on_the_way = Some(batch);
                sent?;
            }
        }
        Ok(())
    }

    /// As many connections as go with this one.
    fn gather(&mut self, first: Leaving) -> VecDeque<Leaving> {
        let mut batch = VecDeque::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some((context, resting)) = next {
            if bytes + resting.ahead.len() > self.version.max_ahead() {
                self.left_over = Some((context, resting));
                break;
            }
            bytes += resting.ahead.len();
            batch.push_back((context, resting));
            next = if batch.len() < MAX_BATCH { self.leaving.try_recv().ok() } else { None };
        }
        batch
    }

    async fn hear(&mut self, reply: &ToPredecessor) {
        let now = Instant::now();
        if let Some(standby) = &mut self.standby {
            standby.heard(now);
        }
        match reply {
            ToPredecessor::Granted { number, granted } => {
                // Permits granted for an earlier question are granted again for the last one.
                if *number == self.reports {
                    self.grant(granted);
                }
            }
            ToPredecessor::Taken { count } if self.version == Version::One => self.confirm(*count as usize),
            ToPredecessor::TakenOf { number, count } => self.confirm_batch(*number, *count as usize),
            ToPredecessor::Busy { id } => self.mark(*id, true),
            ToPredecessor::Idle { id } => self.mark(*id, false),
            ToPredecessor::Pong { number } => {
                if self.standby.as_mut().is_some_and(|standby| standby.answered(*number, now)) {
                    self.end_standby().await;
                }
            }
            ToPredecessor::Exiting => self.is_exiting = true,
            // The connections that we gave away may be a third process's by now.
            ToPredecessor::Succeeded => {
                self.has_succeeded = true;
                self.end_standby().await;
            }
            // These mean nothing at this point.
            ToPredecessor::Taken { .. } | ToPredecessor::Ready { .. } | ToPredecessor::Failed { .. } => {}
        }
    }

    /// Reads what a successor has sent before it hung up: it may have said is_exiting.
    async fn hear_last_words(&mut self, limit: Duration) {
        let channel = self.channel.clone();
        while let Ok(Ok(Incoming::Message(reply, _))) =
            tokio::time::timeout(limit, channel.receive::<ToPredecessor>()).await
        {
            // It reads no answers any more.
            self.hear(&reply).await;
        }
    }

    /// The successor has received a batch, and had room for the first `count` of its connections.
    fn confirm_batch(&mut self, number: u32, count: usize) {
        if self.withdrawn == Some(number) {
            // The successor listens again.
            self.withdrawn = None;
            self.contexts.iter().for_each(|context| context.let_go());
        } else if self.on_the_way.as_ref().is_some_and(|batch| batch.number == number) {
            self.confirm(count);
        }
    }

    /// The successor has the first `count` connections of the last batch.
    fn confirm(&mut self, count: usize) {
        let Some(batch) = self.on_the_way.take() else { return };
        let is_late = batch.is_late();
        let mut no_room = VecDeque::new();
        for (place, (context, resting)) in batch.connections.into_iter().enumerate() {
            self.sent += 1;
            if place >= count {
                no_room.push_back((context, resting));
                continue;
            }
            let Resting { socket, stage, ahead, permit, has_answered } = resting;
            context.permits.give(permit);
            context.ends.note(match has_answered {
                true => ConnectionEnd::AnsweredAndMoved,
                false => ConnectionEnd::Moved,
            });
            if let Some(standby) = &mut self.standby {
                standby.keep(self.sent, context, socket, stage, ahead);
                if is_late {
                    standby.mark(self.sent, true);
                }
            }
        }
        if no_room.is_empty() {
            self.back_off = BACK_OFF.0;
        } else {
            self.keep_for_now(no_room);
        }
    }

    /// Takes back a batch that the successor has not confirmed in time, unless it has just accepted it.
    fn withdraw(&mut self) {
        if let Some(batch) = self.on_the_way.take_if(Batch::withdraw) {
            self.withdrawn = Some(batch.number);
            self.sent += batch.connections.len() as u32;
            self.serve_here(batch.connections);
        }
    }

    /// The successor has no descriptor free. These connections and all that wait behind them are still ours, and
    /// are served here until it is asked again.
    fn keep_for_now(&mut self, no_room: VecDeque<Leaving>) {
        self.ask_at = Some(Instant::now() + self.back_off);
        self.back_off = (self.back_off * 2).min(BACK_OFF.1);
        self.serve_here(no_room);
    }

    fn serve_here(&mut self, connections: VecDeque<Leaving>) {
        self.contexts.iter().for_each(|context| context.hold_back());
        for (context, resting) in connections.into_iter().chain(self.left_over.take()) {
            settle(&context, resting);
        }
    }

    fn mark(&mut self, id: u32, busy: bool) {
        if let Some(standby) = &mut self.standby {
            standby.mark(id, busy);
        }
    }

    /// Lets go of the duplicates. Closing one is no close of the connection, which the successor holds.
    async fn end_standby(&mut self) {
        if self.standby.take().is_some() {
            self.line.over.notify_one();
            self.channel.tell(&ToSuccessor::StandbyOver).await;
        }
    }

    /// Whether the successor knows the counts as they are.
    fn is_reported(&self) -> bool {
        self.contexts.iter().map(Count::of).eq(self.reported.iter().copied())
    }

    /// Tells the successor how many permits are held, and asks for those that are needed.
    fn report(&mut self) {
        let counts: Vec<Count> = self.contexts.iter().map(Count::of).collect();
        let number = self.reports.wrapping_add(1);
        let held = named(&self.contexts, counts.iter().map(|count| count.held)).collect();
        let message = match self.version {
            Version::One => ToSuccessor::Held { held },
            Version::Two => {
                let asked = named(&self.contexts, counts.iter().map(|count| count.asked));
                ToSuccessor::Counts { number, held, asked: asked.filter(|asked| asked.count > 0).collect() }
            }
        };
        if self.channel.try_send(&message) {
            (self.reported, self.reports, self.report_at) = (counts, number, None);
        } else {
            self.report_at = Some(Instant::now() + REPORT_AGAIN);
        }
    }

    /// The successor grants permits that were asked for.
    fn grant(&self, granted: &ServerCount) {
        let context = self.contexts.iter().find(|context| context.options.name == granted.server);
        if let Some(context) = context {
            context.permits.grant(usize::try_from(granted.count).unwrap_or(usize::MAX));
        }
    }

    async fn end(mut self, mute: bool) -> Outcome {
        // Who comes to rest from now on stays here.
        self.contexts.iter().for_each(|context| context.hold_back());
        self.leaving.close();
        let slept = self.standby.as_ref().is_some_and(Standby::has_slept);
        let on_the_way = self.on_the_way.and_then(|batch| batch.unserved(slept));
        let mut back: Vec<Leaving> = on_the_way.into_iter().flatten().chain(self.left_over).collect();
        // Not `try_recv`, which misses a connection that is just being sent.
        while let Some(leaving) = self.leaving.recv().await {
            back.push(leaving);
        }
        // What a successor's own successor holds is not free.
        if !self.has_succeeded {
            self.contexts.iter().for_each(|context| context.permits.stay_alone());
        }
        let died = !self.is_exiting;
        // After a is_exiting the successor has closed what it had.
        back.extend(self.standby.filter(|_| died).into_iter().flat_map(Standby::take_back));
        Outcome { died, mute, succeeded: self.has_succeeded, back }
    }
}

/// How the conversation stands.
enum Talk {
    GoesOn,
    /// The channel is closed.
    Ended,
    /// The successor gives no sign of life.
    Mute,
}

async fn next(left_over: &mut Option<Leaving>, leaving: &mut UnboundedReceiver<Leaving>) -> Option<Leaving> {
    match left_over.take() {
        Some(first) => Some(first),
        None => leaving.recv().await,
    }
}
