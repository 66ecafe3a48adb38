//! A request as metrics and the access log see it, from its head to the end of its response.

use std::cell::RefCell;
use std::time::Duration;

use http::{Request, StatusCode, Version};
use tracing::span::Entered;

use crate::access_log::{self, AccessLog, Entry, Outcome, Sender, Times};
use crate::conn::cause::Cause;
use crate::conn::exchange::traced::Traced;
use crate::conn::info::ConnectionInfo;
use crate::conn::request_id::RequestId;
use crate::lifecycle::{KnownMethod, clock};
use crate::metrics::{ActiveRequest, RequestLabels, UrlScheme};
use crate::server::NotedWork;

/// Of how many requests that have ended a thread keeps the memory.
const MOST_KEPT: usize = 64;

/// One request, counted when it is dropped; nothing if its server has neither metrics, an access log, ids nor spans. It is
/// boxed because it moves several times, which would cost each request of a server that has none of them.
#[derive(Debug)]
pub(super) struct Measured(Option<Box<Running>>);

#[derive(Debug, Default)]
struct Running {
    counted: Option<Counted>,
    /// Of a server with an access log, until the line is written.
    is_logged: bool,
    entry: Entry,
    traced: Option<Box<Traced>>,
    /// The head of the response goes to the client while the body may still wait: a stream of HTTP/2.
    is_stream: bool,
    clock: Clock,
    /// When its head had come, on that clock.
    since: u64,
    /// When it ended, if the clock was read for that.
    ended: Option<u64>,
    route: &'static str,
    status: Option<StatusCode>,
}

/// The clock that a request reads.
#[derive(Clone, Copy, Debug, Default)]
enum Clock {
    /// Where durations are counted or logged.
    #[default]
    Precise,
    /// Where only the date is logged.
    Coarse,
}

impl Clock {
    fn now(self) -> u64 {
        match self {
            Self::Precise => clock::precise(),
            Self::Coarse => clock::coarse(),
        }
    }
}

thread_local! {
    /// Those of earlier requests of this thread: most requests allocate nothing.
    #[expect(clippy::vec_box, reason = "what is kept is the allocation")]
    static KEPT: RefCell<Vec<Box<Running>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Counted {
    active: ActiveRequest,
    scheme: UrlScheme,
    method: KnownMethod,
}

impl Measured {
    /// The head of a request has come.
    pub(super) fn begin<B>(info: &ConnectionInfo, request: &Request<B>) -> Self {
        let context = &info.context;
        let is_traced = Traced::is_wanted(info);
        if context.metrics.is_none() && context.access_log.is_none() && !is_traced {
            return Self(None);
        }
        let traced = is_traced.then(|| Traced::begin(info, request));
        let id = traced.as_ref().and_then(|traced| traced.id.as_ref());
        let counted = context.metrics.map(|metrics| {
            let (scheme, method) = (UrlScheme::of(info.is_secure()), KnownMethod::of(request.method()));
            Counted { active: metrics.begin(scheme), scheme, method }
        });
        let mut running = Running::of_earlier_request();
        if let Some(log) = &context.access_log {
            log.note(
                &mut running.entry,
                access_log::Request {
                    method: request.method(),
                    uri: request.uri(),
                    version: request.version(),
                    headers: request.headers(),
                    sender: match info.is_from_trusted_proxy() {
                        true => Sender::Behind(info.client_of(request.headers()).map(|client| client.ip)),
                        false => Sender::Connection,
                    },
                    id: id.map(RequestId::as_str),
                },
            );
        }
        running.is_logged = context.access_log.is_some();
        running.counted = counted;
        running.traced = traced;
        running.is_stream = request.version() == Version::HTTP_2;
        let has_durations =
            running.counted.is_some() || context.access_log.as_ref().is_some_and(AccessLog::has_durations);
        running.clock = if has_durations { Clock::Precise } else { Clock::Coarse };
        running.since = running.clock.now();
        Self(Some(running))
    }

    /// When the head came, if that is known.
    pub(super) fn since(&self) -> Option<u64> {
        self.0.as_ref().map(|running| running.since)
    }

    /// Some of the work on the response begins.
    pub(super) fn begin_work(&self) -> Option<NotedWork> {
        self.0.as_ref().map(|_| NotedWork::begin())
    }

    /// As long as the result is there, the events of this thread belong to the request.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        self.traced()?.enter()
    }

    /// The request's id, if its server gives it one.
    pub(super) fn id(&self) -> Option<&RequestId> {
        self.traced()?.id.as_ref()
    }

    fn traced(&self) -> Option<&Traced> {
        self.0.as_ref()?.traced.as_deref()
    }

    /// This work ends. Notes the route that it was for.
    pub(super) fn end_work(&mut self, work: Option<NotedWork>) {
        if let Some(running) = &mut self.0
            && let Some(route) = work.and_then(NotedWork::end)
        {
            running.route = route;
        }
    }

    /// The head of the response is settled.
    pub(super) fn note_head(&mut self, status: StatusCode, cause: Cause) {
        if let Some(running) = &mut self.0 {
            running.status = Some(status);
            if let Some(traced) = &running.traced {
                traced.note_head(status, running.route);
                traced.name(running.route);
            }
            running.entry.cause = (cause != Cause::Handler).then(|| cause.name());
            if running.is_stream {
                running.note_first_byte();
            }
        }
    }

    /// A piece of the response's body goes to the client, and with the first one the head. If the response ends with it,
    /// the clock need not be read twice.
    pub(super) fn note_piece(&mut self, bytes: usize, is_last: impl FnOnce() -> bool) {
        if let Some(running) = self.0.as_deref_mut().filter(|running| running.is_logged) {
            running.entry.bytes += bytes as u64;
            if !is_last() {
                running.note_first_byte();
            }
        }
    }

    /// The head of the response goes to the client without waiting for the next piece of the body.
    pub(super) fn note_waiting(&mut self) {
        if let Some(running) = &mut self.0 {
            running.note_first_byte();
        }
    }

    /// Logs the request at its end. `cut` says why its response is missing or not whole.
    fn log(&mut self, info: &ConnectionInfo, has_begun: bool, cut: Option<&'static str>) {
        let Some(running) = self.0.as_deref_mut().filter(|running| running.is_logged) else { return };
        running.is_logged = false;
        let Some((log, client)) = info.log() else { return };
        let ended = *running.ended.insert(running.clock.now());
        let entry = &running.entry;
        let first_byte = has_begun.then(|| entry.first_byte.unwrap_or(ended));
        let outcome = Outcome {
            status: running.status.map(|status| status.as_u16()),
            bytes: entry.bytes,
            times: Some(Times { begun: running.since, first_byte, ended }),
            route: running.route,
            cause: cut.or(entry.cause),
        };
        log.write(client, Some(entry), &outcome);
    }

    /// Logs a request that ends before its response has begun.
    pub(super) fn log_unanswered(&mut self, info: &ConnectionInfo, is_given_up: bool) {
        let Some(Running { status, traced, .. }) = self.0.as_deref_mut() else { return };
        let (answer, cause) = info.cut();
        let cause = if is_given_up { GIVEN_UP } else { cause };
        if let Some(traced) = traced {
            traced.note_cut(cause);
        }
        // Metrics count it as unanswered all the same.
        let before = std::mem::replace(status, answer);
        self.log(info, false, Some(cause));
        if let Some(running) = &mut self.0 {
            running.status = before;
        }
    }

    /// Logs a request whose response has begun.
    pub(super) fn log_answered(&mut self, info: &ConnectionInfo, end: ResponseEnd) {
        let Some(Running { traced, .. }) = self.0.as_deref() else { return };
        let cut = match end {
            ResponseEnd::Whole => None,
            ResponseEnd::Broken => Some("broken_off"),
            ResponseEnd::GivenUp => Some(GIVEN_UP),
            ResponseEnd::Cut => Some(info.cut().1),
        };
        if let Some((traced, cut)) = traced.as_ref().zip(cut) {
            traced.note_cut(cut);
        }
        self.log(info, true, cut);
    }
}

/// The cause of a request whose client was too slow.
const GIVEN_UP: &str = "timed_out";

/// How the body of a response ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResponseEnd {
    Whole,
    /// The body itself has failed.
    Broken,
    /// The client took too little of it for too long.
    GivenUp,
    Cut,
}

impl Running {
    /// With the memory of an earlier one, if there is one.
    fn of_earlier_request() -> Box<Self> {
        KEPT.try_with(|kept| kept.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    /// Empties it for another request, and keeps its memory.
    fn clear(&mut self) {
        let Self { counted, entry, traced, ended, route, status, .. } = self;
        entry.clear();
        if traced.is_some() {
            *traced = None;
        }
        (*counted, *ended, *route, *status) = (None, None, "", None);
    }

    fn note_first_byte(&mut self) {
        if self.is_logged && self.entry.first_byte.is_none() {
            self.entry.first_byte = Some(self.clock.now());
        }
    }

    fn count(&self) {
        let Some(Counted { active, scheme, method }) = &self.counted else { return };
        match self.status {
            Some(status) => {
                let (scheme, method, status) = (*scheme, *method, status.as_u16());
                let labels = RequestLabels { route: self.route, scheme, method, status };
                let nanos = self.ended.unwrap_or_else(|| self.clock.now()).saturating_sub(self.since);
                active.note_answered(labels, Duration::from_nanos(nanos));
            }
            None => active.note_unanswered(),
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Some(mut running) = self.0.take() else { return };
        running.count();
        running.clear();
        // A thread that ends keeps nothing any more.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < MOST_KEPT {
                kept.push(running);
            }
        });
    }
}
