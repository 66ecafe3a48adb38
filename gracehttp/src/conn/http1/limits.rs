//! The time limits of a connection: every phase of its life is bounded.

use std::time::Duration;

use tokio::time::Instant;

use crate::conn::http1::activity::Activity;
use crate::conn::limits::{Patience, STALLED};
use crate::lifecycle::CutWhile;
use crate::server::ServerOptions;
use crate::socket::{Stage, Untaken};

/// How often to look at a client that does not take a response at once.
const LOOK_AT_TAKING: Duration = Duration::from_secs(2);

/// How often to look at a client while hyper would not notice that it leaves.
const LOOK_AT_PRESENCE: Duration = Duration::from_millis(250);

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
    /// The handler, to begin its response; the client has closed its side.
    Answer,
    /// The handler, to go on with its response; the client has closed its side.
    RestOfAnswer,
    /// The client, to take the response.
    Write,
}

impl Waiting {
    /// The name of this in a receipt.
    pub(crate) fn when_cut(self, is_answering: bool) -> CutWhile {
        match self {
            Self::Request => CutWhile::Idle,
            Self::Head => CutWhile::Head,
            Self::Body => CutWhile::Body,
            Self::Handler | Self::Answer if !is_answering => CutWhile::Handler,
            Self::Handler | Self::Answer | Self::RestOfAnswer | Self::Write => CutWhile::Response,
        }
    }
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
    /// How many bytes were written when the last request ended: any more are the response's.
    written_before: u64,
    /// Requests came and went since the clock was last read. The next look sets `since`.
    outdated: bool,
    /// No request has come yet: silence is bounded like a head, not like the pause between requests.
    stage: Stage,
    /// With the body of the request that began last.
    patience: Patience,
    /// With the response: bytes count once the client has acknowledged them.
    download: Patience,
    /// When the client was last looked at.
    looked: Instant,
    /// The last look found that the client has closed its side.
    found_half_closed: bool,
    /// What the client had not taken yet when so many bytes were written.
    untaken: (Untaken, u64),
}

impl Limits {
    /// The limits of a connection whose first byte came at this time, if one did.
    pub(crate) fn new(stage: Stage, began: Option<Instant>, untaken: Untaken) -> Self {
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
            download: Patience::new(0, now),
            looked: now,
            found_half_closed: false,
            untaken: (untaken, 0),
        }
    }

    /// Whether whole requests came and went since the last turn, and nothing else: the connection waits as it
    /// did. That is most turns of a busy connection, and they need no clock.
    pub(crate) fn only_answered(&mut self, activity: &Activity) -> bool {
        let only_answered = self.waiting == Waiting::Request
            && activity.traffic().begun() != self.begun
            && activity.is_idle();
        let only_answered = only_answered && !activity.inbound().is_in_head();
        if only_answered {
            self.begun = activity.traffic().begun();
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
            Waiting::Request | Waiting::Head | Waiting::Handler | Waiting::Answer | Waiting::Write => 0,
            Waiting::Body => activity.traffic().bytes_in(),
            Waiting::RestOfAnswer => activity.traffic().bytes_out(),
        };
        let begun = activity.traffic().begun();
        match (self.waiting, waiting) {
            _ if begun != self.begun => self.patience = Patience::new(activity.traffic().bytes_in(), now),
            (Waiting::Body, _) => self.patience.note(activity.traffic().bytes_in(), now),
            // Until now the handler took the time, not the client.
            (_, Waiting::Body) => self.patience.resume(activity.traffic().bytes_in(), now),
            _ => {}
        }
        let taken = self.download.moved();
        match (self.waiting, waiting) {
            _ if begun != self.begun => self.download = Patience::new(taken, now),
            (Waiting::Write, Waiting::Write) => {}
            (Waiting::Write, _) => self.download.note(taken, now),
            (_, Waiting::Write) => self.download.resume(taken, now),
            _ => {}
        }
        if waiting != self.waiting {
            self.looked = now;
        }
        if self.outdated || (waiting, mark, begun) != (self.waiting, self.mark, self.begun) {
            // A head may have begun before the last answer was out.
            let since = activity.inbound().head_since().filter(|_| waiting == Waiting::Head).unwrap_or(now);
            (self.waiting, self.mark, self.begun, self.since) = (waiting, mark, begun, since);
            self.outdated = false;
        }
    }

    fn enter_pause(&mut self, activity: &Activity) {
        self.written_before = activity.traffic().bytes_out();
        self.stage = Stage::Idle;
    }

    fn classify(&mut self, activity: &Activity) -> Waiting {
        if activity.traffic().is_unflushed() {
            return Waiting::Write;
        }
        if activity.is_between_requests() {
            // Entering a pause: a request was under way at the last look, or came and went since.
            let was_waiting = matches!(self.waiting, Waiting::Request | Waiting::Head);
            if !was_waiting || self.begun != activity.traffic().begun() {
                self.enter_pause(activity);
            }
            return if activity.inbound().is_in_head() { Waiting::Head } else { Waiting::Request };
        }
        if activity.is_half_closed() || self.found_half_closed {
            return if activity.is_answering() { Waiting::RestOfAnswer } else { Waiting::Answer };
        }
        // A body is late only if hyper looked for it and found nothing; otherwise its handler is.
        let is_due = activity.inbound().is_in_body() && activity.has_unread_body();
        if is_due && activity.traffic().is_read_blocked() { Waiting::Body } else { Waiting::Handler }
    }

    /// When to look at the client next, if at all.
    pub(crate) fn next_look(&self, activity: &Activity) -> Option<Instant> {
        match self.waiting {
            Waiting::Write => Some(self.download.end().min(self.looked + LOOK_AT_TAKING)),
            Waiting::Answer | Waiting::RestOfAnswer => Some(self.looked + LOOK_AT_PRESENCE),
            Waiting::Handler if activity.misses_end() => Some(self.looked + LOOK_AT_PRESENCE),
            Waiting::Request | Waiting::Head | Waiting::Body | Waiting::Handler => None,
        }
    }

    /// A look has found how many of the written bytes the client has yet to take. Notes how far it has come.
    pub(crate) fn note_download(&mut self, untaken: u64, activity: &Activity, now: Instant) {
        self.looked = now;
        let taken = activity.traffic().bytes_out().saturating_sub(untaken);
        self.download.note(taken.max(self.download.moved()), now);
    }

    /// A bound of what the client has yet to take, without a look.
    pub(crate) fn untaken(&self, activity: &Activity) -> Untaken {
        let (untaken, written) = self.untaken;
        untaken.and(activity.traffic().bytes_out().saturating_sub(written))
    }

    /// The kernel has counted what the client has not taken yet.
    pub(crate) fn note_counted(&mut self, bytes: u64, activity: &Activity) {
        self.untaken = (Untaken::counted(bytes), activity.traffic().bytes_out());
    }

    /// A look has found whether the client has closed its side.
    pub(crate) fn note_half_closed(&mut self, half_closed: bool, now: Instant) {
        self.looked = now;
        self.found_half_closed = half_closed;
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
        activity.traffic().bytes_out() > self.written_before
    }

    /// Since when the connection has been waiting.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Since when the connection has been waiting with no reason to stay awake.
    pub(crate) fn idle_since(&self) -> Instant {
        self.since.max(self.looked)
    }

    /// A look has found a reason for the connection to stay awake for now.
    pub(crate) fn put_off_rest(&mut self, now: Instant) {
        self.looked = now;
    }

    /// When the connection will have waited too long; none while a handler runs, whose limit is its own.
    pub(crate) fn deadline(&self, options: &ServerOptions) -> Option<Instant> {
        let limit = match self.waiting {
            Waiting::Request if self.stage == Stage::Idle => options.idle_timeout,
            Waiting::Request | Waiting::Head => options.header_read_timeout,
            Waiting::Body => return Some(self.patience.end()),
            Waiting::Write => return Some(self.download.end()),
            Waiting::Answer => options.half_close_timeout,
            // The client may be gone: only sending the response could show that.
            Waiting::RestOfAnswer => options.half_close_timeout.max(STALLED),
            Waiting::Handler => return None,
        };
        self.since.checked_add(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::traffic::CountedBy;

    const SECOND: Duration = Duration::from_secs(1);

    /// Writes a response into a kernel buffer of `room` bytes, for a client that takes `burst` bytes at once and then
    /// `rate` a second. Returns after how many seconds it is cut, if within the hour.
    fn cut_at(room: u64, burst: u64, rate: u64) -> Option<u64> {
        let options = ServerOptions::new("test");
        let activity = Activity::default();
        let mut limits = Limits::new(Stage::Fresh, None, Untaken::NOTHING);
        activity.traffic().begin(CountedBy::OneTask);
        activity.traffic().note_unflushed(true);
        let start = Instant::now();
        limits.observe(&activity, start);
        loop {
            let now = limits.next_look(&activity).expect("it is looked at");
            let taken = burst + (now - start).as_secs() * rate;
            activity.traffic().note_written((taken + room - activity.traffic().bytes_out()) as usize);
            limits.observe(&activity, now);
            limits.note_download(activity.traffic().bytes_out() - taken, &activity, now);
            if limits.deadline(&options).is_some_and(|deadline| now >= deadline) {
                return Some((now - start).as_secs());
            }
            if now - start > 3600 * SECOND {
                return None;
            }
        }
    }

    #[test]
    fn a_response_may_be_taken_slowly_but_not_in_drips() {
        assert_eq!(cut_at(4_000_000, 200_000, 20 << 10), None, "nothing fits into the kernel for a minute");
        assert_eq!(cut_at(4_000_000, 200_000, 241), None);
        for (burst, rate) in [(0, 0), (200_000, 0), (200_000, 10), (0, 100)] {
            let cut = cut_at(4_000_000, burst, rate).expect("it is cut");
            assert!((30..=60).contains(&cut), "{burst} bytes, then {rate} B/s: cut after {cut} s");
        }
    }

    #[test]
    fn bytes_count_as_untaken_until_the_kernel_is_asked() {
        let activity = Activity::default();
        let mut limits = Limits::new(Stage::Idle, None, Untaken::counted(300));
        activity.traffic().note_written(100);
        assert_eq!(limits.untaken(&activity), Untaken::counted(400));
        limits.note_counted(40, &activity);
        activity.traffic().note_written(2);
        assert_eq!(limits.untaken(&activity), Untaken::counted(42));
        // What another process has written is not known.
        let limits = Limits::new(Stage::Idle, None, Untaken::UNKNOWN);
        assert_eq!(limits.untaken(&activity), Untaken::UNKNOWN);
    }

    #[test]
    fn the_handler_of_a_client_that_has_closed_its_side_has_to_begin_its_response() {
        let options = ServerOptions::new("test");
        let activity = Activity::default();
        let mut limits = Limits::new(Stage::Fresh, None, Untaken::NOTHING);
        activity.traffic().begin(CountedBy::OneTask);
        activity.traffic().note_read_blocked();
        let start = Instant::now();
        limits.observe(&activity, start);
        assert_eq!((limits.deadline(&options), limits.next_look(&activity)), (None, None));
        activity.note_half_closed();
        limits.observe(&activity, start + SECOND);
        assert_eq!(limits.waiting(), Waiting::Answer);
        assert_eq!(limits.deadline(&options), Some(start + 2 * SECOND));
        assert!(limits.next_look(&activity).is_some(), "hyper hears no more of it");
        activity.note_answering(true);
        limits.observe(&activity, start + SECOND);
        assert_eq!(limits.deadline(&options), Some(start + 31 * SECOND));
        activity.traffic().note_written(100);
        limits.observe(&activity, start + 20 * SECOND);
        assert_eq!(limits.deadline(&options), Some(start + 50 * SECOND));
    }
}
