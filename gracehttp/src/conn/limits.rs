//! The time limits of a connection: every phase of its life is bounded.

use std::time::Duration;

use tokio::time::Instant;

use crate::conn::activity::Activity;
use crate::parking::Stage;
use crate::server::ServerOptions;

/// How long a request body or a response may stand still.
pub(super) const STALLED: Duration = Duration::from_secs(30);

/// How many bytes of its body a client has to send each second, on average, once it has used up [`STALLED`].
///
/// Kestrel draws the same line: it is that of a modem of 2400 baud, which no client of today is behind.
const LEAST_RATE: u64 = 240;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The next request.
    Request,
    /// The rest of a request head.
    Head,
    /// The rest of a request body.
    Body,
    /// The handler.
    Handler,
    /// The client, to take the response.
    Write,
}

/// Which phase a connection is in, and since when nothing has moved in it.
#[derive(Debug)]
pub(crate) struct Limits {
    waiting: Waiting,
    since: Instant,
    /// The bytes moved when the phase began, or when they last moved.
    mark: u64,
    /// The requests begun so far. Most are begun and answered between two looks.
    begun: u64,
    /// The bytes written when the last request ended: more than these are the response.
    written_before: u64,
    /// Requests came and went since the clock was last read: `since` is to be set at the next look.
    outdated: bool,
    /// No request has come yet: silence is bounded like a head, not like the pause between requests.
    stage: Stage,
    /// With the body of the request that began last.
    patience: Patience,
}

impl Limits {
    /// The limits of a connection whose first byte came at this time, if one did.
    pub(crate) fn new(stage: Stage, began: Option<Instant>) -> Self {
        let now = Instant::now();
        Self {
            waiting: Waiting::Request,
            since: began.unwrap_or(now),
            mark: 0,
            begun: 0,
            written_before: 0,
            outdated: false,
            stage,
            patience: Patience::new(0, now),
        }
    }

    /// Whether whole requests came and went since the last turn, and nothing else: the connection waits as it
    /// did. That is most turns of a busy connection, and they need no clock.
    pub(crate) fn only_answered(&mut self, activity: &Activity) -> bool {
        let only_answered =
            self.waiting == Waiting::Request && activity.begun() != self.begun && activity.is_idle();
        let only_answered = only_answered && !activity.inbound().is_in_head();
        if only_answered {
            self.begun = activity.begun();
            self.enter_pause(activity);
            self.outdated = true;
        }
        only_answered
    }

    /// Takes note of what the connection is doing.
    pub(crate) fn observe(&mut self, activity: &Activity, now: Instant) {
        let waiting = self.classify(activity);
        let mark = match waiting {
            // A head has one limit for all of it: a byte a second is no progress.
            Waiting::Request | Waiting::Head | Waiting::Handler => 0,
            Waiting::Body => activity.bytes_in(),
            Waiting::Write => activity.bytes_out(),
        };
        let begun = activity.begun();
        match (self.waiting, waiting) {
            _ if begun != self.begun => self.patience = Patience::new(activity.bytes_in(), now),
            (Waiting::Body, _) => self.patience.note(activity.bytes_in(), now),
            // Its handler was what took the time.
            (_, Waiting::Body) => self.patience.resume(activity.bytes_in(), now),
            _ => {}
        }
        if self.outdated || (waiting, mark, begun) != (self.waiting, self.mark, self.begun) {
            // A head may have begun before the answer to the request before it was out.
            let since = activity.inbound().head_since().filter(|_| waiting == Waiting::Head).unwrap_or(now);
            (self.waiting, self.mark, self.begun, self.since) = (waiting, mark, begun, since);
            self.outdated = false;
        }
    }

    fn enter_pause(&mut self, activity: &Activity) {
        self.written_before = activity.bytes_out();
        self.stage = Stage::Idle;
    }

    fn classify(&mut self, activity: &Activity) -> Waiting {
        // One that has closed its side may be gone altogether: only the progress of its response tells.
        if activity.is_unflushed() || activity.is_half_closed() {
            return Waiting::Write;
        }
        if activity.is_between_requests() {
            // Entering a pause: a request was under way at the last look, or came and went since.
            let was_waiting = matches!(self.waiting, Waiting::Request | Waiting::Head);
            if !was_waiting || self.begun != activity.begun() {
                self.enter_pause(activity);
            }
            return if activity.inbound().is_in_head() { Waiting::Head } else { Waiting::Request };
        }
        // A body is late only if hyper looked for it and found nothing; otherwise its handler is.
        let is_due = activity.inbound().is_in_body() && activity.has_unread_body();
        if is_due && activity.is_read_blocked() { Waiting::Body } else { Waiting::Handler }
    }

    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Whether a request has come yet.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the client has got anything since its last request was answered: what is said now would land
    /// in the middle of a response.
    pub(crate) fn is_answering(&self, activity: &Activity) -> bool {
        activity.bytes_out() > self.written_before
    }

    /// Since when the connection has been waiting.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// When the connection will have waited too long; none while a handler runs, whose limit is its own.
    pub(crate) fn deadline(&self, options: &ServerOptions) -> Option<Instant> {
        let limit = match self.waiting {
            Waiting::Request if self.stage == Stage::Idle => options.idle_timeout,
            Waiting::Request | Waiting::Head => options.header_read_timeout,
            Waiting::Body => return Some(self.patience.end()),
            Waiting::Write => STALLED,
            Waiting::Handler => return None,
        };
        self.since.checked_add(limit)
    }
}

/// How long a client that is to send or take a body is still waited for: waiting uses it up, and each byte brings
/// some of it back.
#[derive(Debug)]
pub(crate) struct Patience {
    left: Duration,
    at: Instant,
    /// The bytes moved by then.
    moved: u64,
}

impl Patience {
    pub(crate) fn new(moved: u64, now: Instant) -> Self {
        Self { left: STALLED, at: now, moved }
    }

    /// The client was waited for until now, and this is what has moved.
    pub(crate) fn note(&mut self, moved: u64, now: Instant) {
        self.spend(now - self.at, moved, now);
    }

    /// The client is waited for from now on.
    pub(crate) fn resume(&mut self, moved: u64, now: Instant) {
        self.spend(Duration::ZERO, moved, now);
    }

    fn spend(&mut self, spent: Duration, moved: u64, now: Instant) {
        let earned = Duration::from_millis((moved - self.moved).saturating_mul(1000) / LEAST_RATE);
        self.left = self.left.saturating_add(earned).saturating_sub(spent).min(STALLED);
        (self.at, self.moved) = (now, moved);
    }

    /// When it comes to its end, if nothing moves any more.
    pub(crate) fn end(&self) -> Instant {
        self.at + self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn patience_ends_after_thirty_seconds_of_nothing() {
        let start = Instant::now();
        let mut patience = Patience::new(5, start);
        patience.note(1_000_005, start + 29 * SECOND);
        assert_eq!(patience.end(), start + 59 * SECOND, "much at once is not saved up");
    }

    #[test]
    fn patience_ends_with_a_body_that_drips() {
        let start = Instant::now();
        let mut patience = Patience::new(0, start);
        for second in 1..=60 {
            patience.note(u64::from(second) * LEAST_RATE, start + second * SECOND);
        }
        assert_eq!(patience.end(), start + 90 * SECOND, "just fast enough");
        for second in 61..=90 {
            patience.note(60 * LEAST_RATE + second, start + second as u32 * SECOND);
        }
        assert!(patience.end() <= start + 91 * SECOND, "a byte a second is as good as nothing");
    }

    #[test]
    fn patience_is_not_used_up_by_others() {
        let start = Instant::now();
        let mut patience = Patience::new(0, start);
        patience.note(0, start + 10 * SECOND);
        patience.resume(0, start + 60 * SECOND);
        assert_eq!(patience.end(), start + 80 * SECOND);
    }
}
