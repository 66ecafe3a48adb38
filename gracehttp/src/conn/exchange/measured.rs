//! A request as metrics see it, from its head to the end of its response.

use std::time::Instant;

use http::{Method, StatusCode};

use crate::metrics::{ActiveRequest, KnownMethod, RequestLabels, ServerMetrics};
use crate::server::NotedWork;

/// One request, counted when it is dropped; nothing if its server has no metrics.
#[derive(Debug)]
pub(super) struct Measured(Option<Running>);

#[derive(Debug)]
struct Running {
    active: ActiveRequest,
    since: Instant,
    method: KnownMethod,
    route: &'static str,
    status: Option<StatusCode>,
}

impl Measured {
    /// The head of a request has come.
    pub(super) fn begin(metrics: Option<&'static ServerMetrics>, method: &Method) -> Self {
        Self(metrics.map(|metrics| {
            let (since, method) = (Instant::now(), KnownMethod::of(method));
            Running { active: metrics.begin(), since, method, route: "", status: None }
        }))
    }

    /// Does some of the work on the response, and notes by which route.
    pub(super) fn by_route<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let Some(running) = &mut self.0 else { return work() };
        let noted = NotedWork::begin();
        // The result is large. It is made where the caller wants it, and is not copied on the way.
        let done = work();
        if let Some(route) = noted.end() {
            running.route = route;
        }
        done
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
                self.active.note_answered(labels, self.since.elapsed());
            }
            None => self.active.note_unanswered(),
        }
    }
}
