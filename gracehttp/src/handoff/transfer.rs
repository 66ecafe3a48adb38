//! Sends live connections to the successor, one batch after the other.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::conn::{Context, Leaving, settle};
use crate::handoff::batch::{Batch, Remains, Size, Taken};
use crate::handoff::channel::Channel;
use crate::handoff::version::Version;

/// How long to wait before a successor that was full is asked again: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The connections that move to the successor.
pub(super) struct Transfer {
    channel: Channel,
    version: Version,
    contexts: Vec<Arc<Context>>,
    leaving: UnboundedReceiver<Leaving>,
    /// A connection that did not fit into the last batch: it opens the next one.
    deferred: Option<Leaving>,
    /// The number of the last batch.
    batch_number: u32,
    /// Sent, and not confirmed yet, in their order.
    unconfirmed: VecDeque<Batch>,
    /// The numbers of batches that were withdrawn, until the successor confirms them: then it reads its messages again.
    withdrawn: Vec<u32>,
    /// The successor has no room: when the next batch is sent.
    retry_at: Option<Instant>,
    back_off: Duration,
    /// How many connections were sent so far. The number of a connection is its place in their order.
    sent: u32,
}

/// A connection that the successor has now.
pub(super) struct Confirmed {
    /// Its number, by which the successor reports about it.
    pub(super) number: u32,
    pub(super) taken: Taken,
    /// The successor may have reported it as busy before it confirmed it.
    pub(super) may_be_busy: bool,
}

impl Transfer {
    pub(super) fn new(
        channel: Channel,
        version: Version,
        contexts: Vec<Arc<Context>>,
        leaving: UnboundedReceiver<Leaving>,
    ) -> Self {
        Self {
            channel,
            version,
            contexts,
            leaving,
            deferred: None,
            batch_number: 0,
            unconfirmed: VecDeque::new(),
            withdrawn: Vec::new(),
            retry_at: None,
            back_off: BACK_OFF.0,
            sent: 0,
        }
    }

    /// Whether a batch waits for its confirmation.
    pub(super) fn is_unconfirmed(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// Whether one more batch can be sent before others are confirmed.
    pub(super) fn may_send(&self) -> bool {
        self.unconfirmed.len() < self.version.max_unconfirmed()
    }

    /// When the time to confirm a batch is over.
    pub(super) fn withdraw_at(&self) -> Option<Instant> {
        self.unconfirmed.iter().find_map(Batch::withdraw_at)
    }

    /// When to try again to send to a successor that had no room.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The next connection that leaves. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Leaving> {
        match self.deferred.take() {
            Some(first) => Some(first),
            None => self.leaving.recv().await.inspect(note_unqueued),
        }
    }

    /// Sends a batch that begins with this connection, unless the successor takes none at the moment.
    pub(super) async fn send(&mut self, first: Leaving) -> io::Result<()> {
        if self.is_paused() {
            // It left before its server knew of the pause.
            settle(&first.0, first.1);
            return Ok(());
        }
        let connections = self.gather(first);
        for (context, resting) in &connections {
            // If our own predecessor is in standby, it can't take the connection back once we have sent it on.
            context.moved.busy(resting.socket.origin).await;
        }
        self.batch_number = self.batch_number.wrapping_add(1);
        let (batch, message) = match Batch::new(self.batch_number, self.sent + 1, connections, self.version) {
            Ok(made) => made,
            Err((connections, _)) => {
                self.keep_for_now(connections);
                return Ok(());
            }
        };
        match self.channel.send_in_time(&message, &batch.descriptors()).await {
            Ok(false) => self.keep_for_now(batch.not_sent()),
            // After an error, too: whether the successor has the message or not, the token says whose the batch is.
            sent => {
                self.sent += batch.len() as u32;
                self.unconfirmed.push_back(batch);
                sent?;
            }
        }
        Ok(())
    }

    /// Lets connections leave again for a successor that had no room.
    pub(super) fn retry(&mut self) {
        self.retry_at = None;
        self.resume();
    }

    /// Lets connections leave again, unless there is another reason to wait.
    fn resume(&self) {
        if !self.is_paused() {
            self.contexts.iter().for_each(|context| context.let_go());
        }
    }

    /// The successor has received the batch with this number, and had room for the first `count` of its connections.
    /// Returns these.
    pub(super) fn confirm_batch(&mut self, number: u32, count: usize) -> Vec<Confirmed> {
        if let Some(place) = self.withdrawn.iter().position(|withdrawn| *withdrawn == number) {
            self.withdrawn.swap_remove(place);
            self.resume();
            return Vec::new();
        }
        let place = self.unconfirmed.iter().position(|batch| batch.number == number);
        place.map_or_else(Vec::new, |place| self.confirm_at(place, count))
    }

    /// The successor has taken so many connections of the oldest batch. One of version 1 has no more than one, and does not say
    /// its number.
    pub(super) fn confirm(&mut self, count: usize) -> Vec<Confirmed> {
        self.confirm_at(0, count)
    }

    fn confirm_at(&mut self, place: usize, count: usize) -> Vec<Confirmed> {
        let Some(batch) = self.unconfirmed.remove(place) else { return Vec::new() };
        let (may_be_busy, first) = (batch.is_late(), batch.first);
        let (taken, no_room) = batch.confirm(count);
        if no_room.is_empty() {
            self.back_off = BACK_OFF.0;
        } else {
            self.keep_for_now(no_room);
        }
        (first..).zip(taken).map(|(number, taken)| Confirmed { number, taken, may_be_busy }).collect()
    }

    /// Takes back the oldest batch that the successor has not confirmed in time, unless it has just accepted it.
    pub(super) fn withdraw(&mut self) {
        let due = self.unconfirmed.iter().position(|batch| batch.withdraw_at().is_some());
        let Some((place, batch)) = due.and_then(|place| Some((place, self.unconfirmed.remove(place)?)))
        else {
            return;
        };
        let number = batch.number;
        match batch.withdraw() {
            Ok(connections) => {
                self.withdrawn.push(number);
                self.serve_here(connections);
            }
            Err(batch) => self.unconfirmed.insert(place, batch),
        }
    }

    /// Ends the transfer to a successor that is gone.
    pub(super) async fn end(mut self) -> Remains {
        // From now on, connections that come to rest stay here.
        self.pause();
        self.leaving.close();
        let mut remains = Remains::default();
        for batch in self.unconfirmed {
            let Remains { back, claimed, lost } = batch.end();
            remains.back.extend(back);
            remains.claimed.extend(claimed);
            remains.lost += lost;
        }
        remains.back.extend(self.deferred);
        // Not `try_recv`, which misses a connection that is just being sent.
        while let Some(leaving) = self.leaving.recv().await {
            note_unqueued(&leaving);
            remains.back.push(leaving);
        }
        remains
    }

    /// As many connections as fit into one batch with this one.
    fn gather(&mut self, first: Leaving) -> VecDeque<Leaving> {
        let mut batch = VecDeque::new();
        let mut size = Size::new(self.version);
        let mut next = Some(first);
        while let Some(leaving) = next {
            if !size.add(&leaving) {
                self.deferred = Some(leaving);
                break;
            }
            batch.push_back(leaving);
            next = if size.is_full() { None } else { self.leaving.try_recv().ok().inspect(note_unqueued) };
        }
        batch
    }

    /// The successor has no descriptor free. These connections and all that wait behind them are served here until the
    /// next attempt.
    fn keep_for_now(&mut self, no_room: VecDeque<Leaving>) {
        // Once for all that were sent at the same time.
        if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + self.back_off);
            self.back_off = (self.back_off * 2).min(BACK_OFF.1);
        }
        self.serve_here(no_room);
    }

    fn serve_here(&mut self, connections: VecDeque<Leaving>) {
        self.pause();
        for (context, resting) in connections.into_iter().chain(self.deferred.take()) {
            settle(&context, resting);
        }
    }

    /// Whether the successor takes no connections at the moment.
    fn is_paused(&self) -> bool {
        self.retry_at.is_some() || !self.withdrawn.is_empty()
    }

    fn pause(&self) {
        self.contexts.iter().for_each(|context| context.hold_back());
    }
}

fn note_unqueued((context, _): &Leaving) {
    context.note_unqueued();
}
