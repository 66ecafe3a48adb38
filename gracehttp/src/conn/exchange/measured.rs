//! A request as metrics see it, from its head to the end of its response.

use std::time::Instant;

use http::{Method, StatusCode};

use crate::metrics::{KnownMethod, RequestLabels, ServerMetrics};
use crate::server::note_route;

/// One request, counted when it is dropped; nothing if its server has no metrics.
#[derive(Debug)]
pub(super) struct Measured(Option<Running>);

#[derive(Debug)]
struct Running {
    metrics: &'static ServerMetrics,
    since: Instant,
    method: KnownMethod,
    route: &'static str,
    status: Option<StatusCode>,
}

impl Measured {
    /// The head of a request has come.
    pub(super) fn begin(metrics: Option<&'static ServerMetrics>, method: &Method) -> Self {
        Self(metrics.map(|metrics| {
            metrics.note_begun();
            let (since, method) = (Instant::now(), KnownMethod::of(method));
            Running { metrics, since, method, route: "", status: None }
        }))
    }

    /// Does some of the work on the response, and notes by which route.
    pub(super) fn by_route<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let Some(running) = &mut self.0 else { return work() };
        let (done, route) = note_route(work);
        if let Some(route) = route {
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
        let Self { metrics, since, method, route, status } = *self;
        metrics.note_ended();
        match status {
            Some(status) => {
                let labels = RequestLabels { route, method, status: status.as_u16() };
                metrics.note_answered(labels, since.elapsed());
            }
            None => metrics.note_failed("unanswered"),
        }
    }
}
