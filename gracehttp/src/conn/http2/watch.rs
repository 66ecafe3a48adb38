//! The time limits of an HTTP/2 connection as a whole. [`Streams::look`] has those of its streams.

use tokio::time::{Duration, Instant};

use crate::conn::close::LITTLE;
use crate::conn::http2::streams::{Found, Streams};
use crate::conn::limits::{Patience, STALLED};
use crate::conn::recycling::Doing;
use crate::conn::traffic::Traffic;
use crate::server::ServerOptions;
use crate::sys::Probe;

/// How often to look at an HTTP/2 connection: its limits are long, and its streams have tasks of their own.
pub(super) const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stay,
    /// It had no stream for too long.
    Leave,
    /// The client takes nothing of what waits for it, or does not finish a head.
    Cut,
    /// All is answered, and the client does not answer our GOAWAY.
    Unheard,
}

/// What one look at the connection remembers for the next.
#[derive(Debug)]
pub(super) struct Watch {
    opened_at: Instant,
    idle_since: Option<Instant>,
    head_since: Option<Instant>,
    /// Looks at the connection's socket.
    probe: Probe,
    /// With the whole connection, while it is held up.
    patience: Patience,
    /// The progress that counts for `patience`.
    progress: u64,
    /// At the last look: the bytes of responses sent, and the bytes of all kinds that the client had acknowledged.
    sent: u64,
    acknowledged: u64,
    /// At the last look: the bytes that lay in the kernel for the client.
    untaken: u64,
    /// When the client last acknowledged something, or had nothing left to acknowledge.
    acknowledged_at: Instant,
    /// The requests begun so far.
    begun: u64,
    /// When GOAWAY was sent, and how many bytes had been read by then.
    left: Option<(Instant, u64)>,
}

impl Watch {
    pub(super) fn new(traffic: &Traffic, probe: Probe) -> Self {
        let now = Instant::now();
        Self {
            opened_at: now,
            idle_since: Some(now),
            head_since: None,
            probe,
            patience: Patience::new(0, now),
            progress: 0,
            sent: 0,
            acknowledged: 0,
            untaken: 0,
            acknowledged_at: now,
            begun: traffic.begun(),
            left: None,
        }
    }

    pub(super) fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// What the connection does: whether it could make room for others depends on it.
    pub(super) fn doing(&self, streams: &Streams) -> Doing {
        let traffic = streams.traffic();
        match (self.head_since, self.idle_since) {
            _ if traffic.open() > 0 || streams.count() > 0 => Doing::Multiplexed(self.opened_at),
            (Some(since), _) => Doing::New(since),
            _ if traffic.begun() == 0 => Doing::New(self.opened_at),
            (_, since) => Doing::Idle(since.unwrap_or_else(Instant::now)),
        }
    }

    /// The second GOAWAY is sent.
    pub(super) fn leaves(&mut self, streams: &Streams) {
        self.left = Some((Instant::now(), streams.traffic().bytes_in()));
    }

    pub(super) fn look(&mut self, streams: &Streams, options: &ServerOptions) -> Verdict {
        let (now, traffic) = (Instant::now(), streams.traffic());
        let is_held_up = traffic.is_unflushed() || streams.is_window_shut();
        let found = streams.look(now, is_held_up);
        if found.is_stuck || self.takes_nothing(streams, found, is_held_up, now) {
            return Verdict::Cut;
        }
        let head_since = streams.is_inside_head().then(|| *self.head_since.get_or_insert(now));
        self.head_since = head_since;
        if head_since.is_some_and(|since| now - since >= options.header_read_timeout) {
            return Verdict::Cut;
        }
        // GOAWAY comes with a PING, which a live client answers within a round trip, unless a response lies before it.
        let unheard = self.left.is_some_and(|(at, read)| {
            now - at >= LOOK && traffic.bytes_in() == read && traffic.open() == 0 && !self.still_takes()
        });
        if unheard { Verdict::Unheard } else { self.look_idle(streams, options, now) }
    }

    /// Whether the client has taken nothing for too long, or too little for each stream.
    fn takes_nothing(&mut self, streams: &Streams, found: Found, is_held_up: bool, now: Instant) -> bool {
        let traffic = streams.traffic();
        let (sent, acknowledged) = (self.sent, self.acknowledged);
        self.sent = streams.taken();
        self.untaken = self.probe.unacknowledged();
        self.acknowledged = traffic.bytes_out().saturating_sub(self.untaken).max(acknowledged);
        if self.untaken == 0 || self.acknowledged > acknowledged {
            self.acknowledged_at = now;
        }
        // It acknowledges nothing, not even a PING.
        if now - self.acknowledged_at >= STALLED {
            return true;
        }
        self.progress += if traffic.is_unflushed() || self.still_takes() {
            // Nothing moves into the kernel, but the client may be taking the megabytes that lie there.
            self.acknowledged - acknowledged
        } else if is_held_up && found.unsent > 0 {
            (self.sent - sent) / found.unsent as u64
        } else {
            self.patience = Patience::new(self.progress, now);
            return false;
        };
        self.patience.note(self.progress, now);
        now >= self.patience.end()
    }

    /// Whether much of what was written still lies in the kernel.
    fn still_takes(&self) -> bool {
        self.untaken > LITTLE
    }

    fn look_idle(&mut self, streams: &Streams, options: &ServerOptions, now: Instant) -> Verdict {
        let traffic = streams.traffic();
        let has_begun = traffic.begun() != std::mem::replace(&mut self.begun, traffic.begun());
        if has_begun || traffic.open() > 0 || streams.count() > 0 {
            self.idle_since = None;
            return Verdict::Stay;
        }
        // A client that has never sent a request has as long as for a request head.
        let limit = if traffic.begun() == 0 { options.header_read_timeout } else { options.idle_timeout };
        let since = *self.idle_since.get_or_insert(now);
        if now - since >= limit { Verdict::Leave } else { Verdict::Stay }
    }
}
