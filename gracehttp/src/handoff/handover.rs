//! What the predecessor does after the commit: live connections go over, and permits with them.
//!
//! Until standby ends it keeps a duplicate of every plain connection that it gave away, to take back those that are idle
//! if the successor dies. It keeps no TLS connection, since only the successor may use the keys.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::conn::{Context, Leaving, Resting};
use crate::handoff::batch::{Remains, Taken};
use crate::handoff::channel::{Channel, Incoming, is_closed_by_peer};
use crate::handoff::parcel::{Parcel, ParcelHandlers};
use crate::handoff::permit_reports::PermitReports;
use crate::handoff::standby::{Due, Standby, left_with};
use crate::handoff::successor::Successor;
use crate::handoff::transfer::{Confirmed, Transfer};
use crate::handoff::version::Version;
use crate::handoff::wire::{ToPredecessor, ToSuccessor};
use crate::ledger::{Ledger, Mark};
use crate::lifecycle::{ConnectionEnd, until_time};

/// After a successor has closed its end, its messages are still read for this long.
const READ_AFTER_CLOSE: Duration = Duration::from_millis(500);

/// After a successor was killed, its messages are still read for this long.
const READ_AFTER_KILL: Duration = Duration::from_secs(5);

/// The hand-over of live connections to one successor.
pub(crate) struct Handover {
    channel: Channel,
    version: Version,
    pid: Pid,
    released: Arc<Notify>,
    parcels: ParcelHandlers,
    /// Until the standby begins.
    ledger: Option<Ledger>,
    transfer: Transfer,
    permit_reports: PermitReports,
    standby_until: Instant,
    signals: Arc<StandbySignals>,
    /// Present while this process can take over from a dead successor.
    standby: Option<Standby>,
    has_own_successor: bool,
    /// The successor has announced its exit, though it may still confirm what it has.
    is_exiting: bool,
}

/// The successor, as the hand-over knows it.
pub(super) struct Peer {
    pub(super) channel: Channel,
    pub(super) version: Version,
    pub(super) pid: Pid,
    /// What to do with its parcels.
    pub(super) parcels: ParcelHandlers,
    /// Where it marks its connections.
    pub(super) ledger: Option<Ledger>,
}

/// What the process and the hand-over tell each other: signals about the standby, and how connections have moved.
#[derive(Debug, Default)]
pub(crate) struct StandbySignals {
    /// From the hand-over: the standby is over, the successor lives and serves.
    pub(crate) over: Notify,
    /// From the process, which has to stop: it does not stand by any more.
    pub(crate) cancelled: Notify,
    /// From the hand-over, for the receipt.
    pub(crate) moves: Moves,
}

/// How connections have moved.
#[derive(Debug, Default)]
pub(crate) struct Moves(Mutex<Option<Move>>);

#[derive(Clone, Copy, Debug)]
struct Move {
    at: Instant,
    longest_pause: Duration,
}

impl Moves {
    /// Connections have moved. `pause` is the longest time for which one of them was in neither process.
    fn note(&self, at: Instant, pause: Duration) {
        let mut last = self.0.lock();
        let longest_pause = last.map_or(pause, |last| last.longest_pause.max(pause));
        *last = Some(Move { at, longest_pause });
    }

    /// When the last connection has moved.
    pub(crate) fn last_at(&self) -> Option<Instant> {
        self.0.lock().map(|last| last.at)
    }

    /// The longest time in which one of them was in neither process.
    pub(crate) fn longest_pause(&self) -> Option<Duration> {
        self.0.lock().map(|last| last.longest_pause)
    }
}

/// How a hand-over ended.
#[derive(Debug, Default)]
pub(crate) struct HandoverEnd {
    /// The successor is gone and has not announced its exit.
    pub(crate) died: bool,
    /// It did not respond and was killed.
    pub(crate) was_unresponsive: bool,
    /// It had a successor of its own, which serves.
    pub(crate) has_own_successor: bool,
    /// What was on its way.
    remains: Remains,
    /// The connections that it had, as long as they could come back.
    standby: Option<Box<Standby>>,
}

/// What became of the connections that a successor had, or was about to get.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The connections that are ours again.
    pub(crate) back: Vec<Leaving>,
    /// How many TLS connections ended with the successor.
    pub(crate) lost: usize,
    /// How many plain connections ended with it because it may have handled a request of theirs.
    pub(crate) busy: usize,
}

impl HandoverEnd {
    /// The end of a hand-over that has panicked. The connections are the successor's, or closed.
    pub(crate) fn panicked() -> Self {
        Self { died: true, ..Self::default() }
    }

    /// Whether no process serves any more.
    pub(crate) fn leaves_no_server(&self) -> bool {
        self.died && !self.has_own_successor
    }

    /// The connections that are ours again. A successor that still lives may read from any that it has, so it keeps them.
    pub(crate) fn recover(self, successor: &mut Successor) -> Recovered {
        self.recover_from(successor.is_dead())
    }

    /// The connections that are ours again, from a successor that is dead or not.
    pub(super) fn recover_from(self, is_dead: bool) -> Recovered {
        let Self { remains: Remains { mut back, claimed, mut lost }, standby, died, .. } = self;
        // One that ends by its own decision reads nothing any more.
        let still_reads = died && !is_dead;
        for (number, (context, mut resting)) in claimed {
            let mark = match &standby {
                _ if still_reads => Mark::Busy,
                Some(standby) => standby.mark(number, Mark::Untouched),
                None => Mark::Untouched,
            };
            match left_with(mark, resting.stage, std::mem::take(&mut resting.ahead)) {
                Some((stage, ahead)) => back.push((context, Resting { stage, ahead, ..resting })),
                None => resting.permit.ends_as(ConnectionEnd::Lost),
            }
        }
        // A successor that has announced its exit has closed its connections.
        let Some(standby) = standby.filter(|_| died) else { return Recovered { back, lost, busy: 0 } };
        lost += standby.sessions();
        let (idle, busy) = if is_dead { standby.take_back() } else { (Vec::new(), standby.kept()) };
        back.extend(idle);
        Recovered { back, lost, busy }
    }
}

/// Whether the hand-over goes on.
enum Step {
    Continue,
    /// The channel is closed.
    Closed,
    /// The successor gives no sign of life.
    Unresponsive,
}

impl Handover {
    pub(crate) fn new(
        successor: &mut Successor,
        leaving: UnboundedReceiver<Leaving>,
        contexts: Vec<Arc<Context>>,
        released: Arc<Notify>,
        standby_until: Instant,
        signals: Arc<StandbySignals>,
        parcels: ParcelHandlers,
    ) -> Self {
        let (channel, version) = (successor.channel().clone(), successor.version());
        let peer = Peer { channel, version, pid: successor.pid(), parcels, ledger: successor.take_ledger() };
        Self::with(peer, leaving, contexts, released, standby_until, signals)
    }

    pub(super) fn with(
        peer: Peer,
        leaving: UnboundedReceiver<Leaving>,
        contexts: Vec<Arc<Context>>,
        released: Arc<Notify>,
        standby_until: Instant,
        signals: Arc<StandbySignals>,
    ) -> Self {
        let Peer { channel, version, pid, parcels, ledger } = peer;
        Self {
            transfer: Transfer::new(channel.clone(), version, contexts.clone(), leaving),
            permit_reports: PermitReports::new(version, contexts),
            channel,
            version,
            pid,
            released,
            parcels,
            ledger,
            standby_until,
            signals,
            standby: None,
            has_own_successor: false,
            is_exiting: false,
        }
    }

    /// Hands over until the successor is gone.
    pub(crate) async fn run(mut self) -> HandoverEnd {
        self.standby = Some(Standby::begin(self.standby_until, self.version, self.ledger.take()));
        self.permit_reports.begin();
        loop {
            match self.step().await {
                Ok(Step::Closed) => return self.end(false).await,
                // A successor that exits still confirms what it has.
                Ok(Step::Continue) if self.is_exiting && !self.transfer.is_unconfirmed() => {
                    return self.end(false).await;
                }
                Ok(Step::Continue) => {}
                Ok(Step::Unresponsive) => {
                    // Killed first, so that it can't touch the connections that come back. It is our own child and
                    // not reaped: the pid is still its own.
                    let _ = kill(self.pid, Signal::SIGKILL);
                    self.read_remaining(READ_AFTER_KILL).await;
                    return self.end(true).await;
                }
                Err(error) if is_closed_by_peer(&error) => {
                    self.read_remaining(READ_AFTER_CLOSE).await;
                    return self.end(false).await;
                }
                Err(error) => {
                    crate::log::error(format_args!(
                        "the handoff of connections to the successor, pid {}, failed: {error}",
                        self.pid
                    ));
                    return self.end(false).await;
                }
            }
        }
    }

    /// Does the next thing that there is to do.
    async fn step(&mut self) -> io::Result<Step> {
        let (channel, released, signals) =
            (self.channel.clone(), self.released.clone(), self.signals.clone());
        // Made before the counts are read, so that no release between the two is missed.
        let released = released.notified();
        self.permit_reports.schedule();
        let may_send = self.transfer.may_send() && !self.is_exiting;
        let report_at = self.permit_reports.due_at();
        let withdraw_at = self.transfer.withdraw_at();
        let retry_at = self.transfer.retry_at();
        tokio::select! {
            biased;
            message = channel.receive::<ToPredecessor>() => match message? {
                Incoming::Message(message, fds) => self.handle(message, fds).await,
                Incoming::Closed => return Ok(Step::Closed),
            },
            () = until_time(self.standby.as_ref().map(Standby::due_at)) => return Ok(self.stand_by().await),
            () = signals.cancelled.notified() => self.end_standby().await,
            () = until_time(withdraw_at) => self.transfer.withdraw(),
            () = until_time(retry_at) => self.transfer.retry(),
            () = until_time(report_at) => self.permit_reports.send(&self.channel),
            () = released, if report_at.is_none() => {}
            Some(first) = self.transfer.next(), if may_send => self.transfer.send(first).await?,
        }
        Ok(Step::Continue)
    }

    /// Does what is due in the standby.
    async fn stand_by(&mut self) -> Step {
        match self.standby.as_mut().map_or(Due::Nothing, |standby| standby.due(Instant::now())) {
            Due::Nothing => {}
            Due::Ping(number) => {
                if !self.channel.try_send(&ToSuccessor::Ping { number })
                    && let Some(standby) = &mut self.standby
                {
                    standby.note_unsent(Instant::now());
                }
            }
            Due::Over => self.end_standby().await,
            Due::Unresponsive => return Step::Unresponsive,
        }
        Step::Continue
    }

    async fn handle(&mut self, message: ToPredecessor, fds: Vec<OwnedFd>) {
        let now = Instant::now();
        if let Some(standby) = &mut self.standby {
            standby.note_message(now);
        }
        match message {
            ToPredecessor::Granted { number, granted } => self.permit_reports.grant(number, &granted),
            ToPredecessor::Taken { count } if !self.version.withdraws_batches() => {
                let confirmed = self.transfer.confirm(count as usize);
                self.give_away(confirmed);
            }
            ToPredecessor::TakenOf { number, count } => {
                let confirmed = self.transfer.confirm_batch(number, count as usize);
                self.give_away(confirmed);
            }
            ToPredecessor::Busy { id } => self.note_report(id, Mark::Busy),
            ToPredecessor::Idle { id } => self.note_report(id, Mark::Idle),
            ToPredecessor::Pong { number } => {
                if self.standby.as_mut().is_some_and(|standby| standby.note_pong(number, now)) {
                    self.end_standby().await;
                }
            }
            ToPredecessor::Exiting => self.is_exiting = true,
            // The connections that we gave away may be a third process's by now.
            ToPredecessor::HasSuccessor => {
                self.has_own_successor = true;
                self.end_standby().await;
            }
            ToPredecessor::Parcel { name, data } => self.parcels.handle(Parcel { name, data, fds }),
            // These mean nothing at this point.
            ToPredecessor::Taken { .. }
            | ToPredecessor::Ready { .. }
            | ToPredecessor::ReadyV8 { .. }
            | ToPredecessor::Failed { .. } => {}
        }
    }

    /// Reads what the successor sent before it closed its end: it may have announced its exit.
    async fn read_remaining(&mut self, limit: Duration) {
        let channel = self.channel.clone();
        while let Ok(Ok(Incoming::Message(message, fds))) =
            tokio::time::timeout(limit, channel.receive::<ToPredecessor>()).await
        {
            self.handle(message, fds).await;
        }
    }

    /// These connections are the successor's now. In standby we keep a duplicate of each that can come back.
    fn give_away(&mut self, connections: Vec<Confirmed>) {
        let now = Instant::now();
        let pause = |confirmed: &Confirmed| {
            confirmed.taken.left_at.map_or(Duration::ZERO, |left_at| now.saturating_duration_since(left_at))
        };
        if let Some(longest_pause) = connections.iter().map(pause).max() {
            self.signals.moves.note(now, longest_pause);
        }
        for Confirmed { number, taken, may_be_busy } in connections {
            let Taken { context, has_answered, duplicate, .. } = taken;
            let Some(standby) = &mut self.standby else { continue };
            match duplicate {
                Some(duplicate) => standby.keep(number, context, has_answered, duplicate, may_be_busy),
                None => standby.note_session(),
            }
        }
    }

    fn note_report(&mut self, number: u32, mark: Mark) {
        if let Some(standby) = &mut self.standby {
            standby.note_report(number, mark);
        }
    }

    /// Drops the duplicates. The connections stay open: the successor has them.
    async fn end_standby(&mut self) {
        if self.standby.take().is_some() {
            self.signals.over.notify_one();
            self.channel.send_best_effort(&ToSuccessor::StandbyOver).await;
        }
    }

    async fn end(self, was_unresponsive: bool) -> HandoverEnd {
        let remains = self.transfer.end().await;
        // What a successor's own successor holds is not free.
        if !self.has_own_successor {
            self.permit_reports.end();
        }
        HandoverEnd {
            died: !self.is_exiting,
            was_unresponsive,
            has_own_successor: self.has_own_successor,
            remains,
            standby: self.standby.map(Box::new),
        }
    }
}
