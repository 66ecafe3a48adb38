//! The time limits of a connection: every phase of its life is bounded.

use std::time::Duration;

use tokio::time::Instant;

use crate::conn::activity::Activity;
use crate::parking::Stage;
use crate::server::ServerOptions;

/// How long a request body or a response may stand still.
const STALLED: Duration = Duration::from_secs(30);

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
    /// The bytes read when the last request ended: more than these are the next request's head.
    read_before: u64,
    /// The bytes written by then: more than these are the response.
    written_before: u64,
    /// The connection began with bytes of a head.
    began_inside_head: bool,
    /// Requests came and went since the clock was last read: `since` is to be set at the next look.
    outdated: bool,
    /// No request has come yet: silence is bounded like a head, not like the pause between requests.
    stage: Stage,
}

impl Limits {
    pub(crate) fn new(stage: Stage, began_inside_head: bool) -> Self {
        Self {
            waiting: Waiting::Request,
            since: Instant::now(),
            mark: 0,
            begun: 0,
            read_before: 0,
            written_before: 0,
            began_inside_head,
            outdated: false,
            stage,
        }
    }

    /// Whether whole requests came and went since the last turn, and nothing else: the connection waits as it
    /// did. That is most turns of a busy connection, and they need no clock.
    pub(crate) fn only_answered(&mut self, activity: &Activity) -> bool {
        let only_answered =
            self.waiting == Waiting::Request && activity.begun() != self.begun && activity.is_idle();
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
        if self.outdated || (waiting, mark, begun) != (self.waiting, self.mark, self.begun) {
            (self.waiting, self.mark, self.begun, self.since) = (waiting, mark, begun, now);
            self.outdated = false;
        }
    }

    fn enter_pause(&mut self, activity: &Activity) {
        self.read_before = activity.bytes_in();
        self.written_before = activity.bytes_out();
        self.began_inside_head = false;
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
            let inside_head = self.began_inside_head || activity.bytes_in() > self.read_before;
            return if inside_head { Waiting::Head } else { Waiting::Request };
        }
        // A body is late only if hyper looked for it and found nothing; otherwise its handler is.
        if activity.has_unread_body() && activity.is_read_blocked() {
            Waiting::Body
        } else {
            Waiting::Handler
        }
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
            Waiting::Body | Waiting::Write => STALLED,
            Waiting::Handler => return None,
        };
        self.since.checked_add(limit)
    }
}
