//! A request as metrics see it, from its head to the end of its response.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::conn::exchange::clock;
use crate::metrics::{ActiveRequest, KnownMethod, RequestLabels, ServerMetrics};
use crate::server::NotedWork;

/// One request, counted when it is dropped; nothing if its server has no metrics.
#[derive(Debug)]
pub(super) struct Measured(Option<Running>);

#[derive(Debug)]
struct Running {
    active: ActiveRequest,
    /// In nanoseconds.
    since: u64,
    method: KnownMethod,
    route: &'static str,
    status: Option<StatusCode>,
}

impl Measured {
    /// The head of a request has come.
    pub(super) fn begin(metrics: Option<&'static ServerMetrics>, method: &Method) -> Self {
        Self(metrics.map(|metrics| {
            let (since, method) = (clock::precise(), KnownMethod::of(method));
            Running { active: metrics.begin(), since, method, route: "", status: None }
        }))
    }

    /// When the head came, if that is known.
    pub(super) fn since(&self) -> Option<u64> {
        self.0.as_ref().map(|running| running.since)
    }

    /// Some of the work on the response begins.
    pub(super) fn begin_work(&self) -> Option<NotedWork> {
        self.0.as_ref().map(|_| NotedWork::begin())
    }

    /// It ends. Notes by which route it was done.
    pub(super) fn end_work(&mut self, work: Option<NotedWork>) {
        if let Some(running) = &mut self.0
            && let Some(route) = work.and_then(NotedWork::end)
        {
            running.route = route;
        }
    }

    /// The head of the response is settled.
    pub(super) fn note_status(&mut self, status: StatusCode) {
        if let Some(running) = &mut self.0 {
            running.status = Some(status);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self.status {
            Some(status) => {
                let labels =
                    RequestLabels { route: self.route, method: self.method, status: status.as_u16() };
                let nanos = clock::precise().saturating_sub(self.since);
                self.active.note_answered(labels, Duration::from_nanos(nanos));
            }
            None => self.active.note_unanswered(),
        }
    }
}
