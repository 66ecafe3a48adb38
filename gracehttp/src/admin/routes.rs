//! What is answered at which path.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use crate::admin::events::Feed;
use crate::admin::host::Hosts;
use crate::admin::respond::{self, Answer, Busy, JSON, text, whole};
use crate::health::{Health, Outcome, Stage, Verdict};
use crate::metrics::{self, Format};
use crate::status::Document;

/// The status page: one file, without anything from outside.
const PAGE: &str = include_str!("page.html");

/// The placeholder in the file. Each response has a number of its own in its place, by which the browser knows our script.
const NONCE: &str = "__NONCE__";

/// Worker threads that have not answered for so long will not answer any more: the process does not live.
const LIFELESS_AFTER: Duration = Duration::from_secs(30);

const PATHS: &str = "/           the status page\n\
                     /livez      whether the process lives\n\
                     /readyz     whether it should get requests; /readyz?verbose says why\n\
                     /metrics    for Prometheus\n\
                     /status.json\n\
                     /events     the same, once a second\n";

pub(super) struct Routes {
    health: Arc<Health>,
    document: Arc<Document>,
    feed: Arc<Feed>,
    hosts: Hosts,
    nonces: RandomState,
}

impl Routes {
    pub(super) fn new(health: Arc<Health>, document: Arc<Document>, feed: Arc<Feed>, hosts: Hosts) -> Self {
        Self { health, document, feed, hosts, nonces: RandomState::new() }
    }

    pub(super) async fn answer(&self, request: &Request<Incoming>, is_busy: Arc<AtomicBool>) -> Answer {
        let busy = Busy::begin(is_busy);
        let answer = match self.refusal(request) {
            Some(refusal) => refusal,
            None => self.found(request).await,
        };
        answer.map(|content| content.with(busy))
    }

    /// Nothing here changes anything, and nothing takes a body.
    fn refusal(&self, request: &Request<Incoming>) -> Option<Answer> {
        // RFC 9112 section 3.2: a proxy before us could have read the other one.
        if request.headers().get_all(HOST).iter().nth(1).is_some() {
            return Some(text(StatusCode::BAD_REQUEST, "a request has one field Host\n"));
        }
        if !self.hosts.allow(request) {
            let reason =
                "this address answers to IP addresses and to localhost, and the request names another host\n";
            return Some(text(StatusCode::MISDIRECTED_REQUEST, reason));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(refusal);
        }
        if !request.body().is_end_stream() {
            let mut refusal = text(StatusCode::PAYLOAD_TOO_LARGE, "a request here has no body\n");
            refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return Some(refusal);
        }
        None
    }

    async fn found(&self, request: &Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/" => self.page(),
            "/livez" => self.alive(),
            "/readyz" => {
                let asks_why = request.uri().query().is_some_and(|query| query.split('&').any(is_verbose));
                ready(&self.health.verdict().await, asks_why)
            }
            "/metrics" => metrics_for(request),
            "/status.json" => whole(StatusCode::OK, JSON, json!(self.document.checked().await).to_string()),
            "/events" if request.method() == Method::HEAD => whole(StatusCode::OK, "text/event-stream", ""),
            "/events" => match self.feed.subscribe() {
                Some(pieces) => respond::events(pieces),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "others watch already: close a status page\n"),
            },
            _ => text(StatusCode::NOT_FOUND, PATHS),
        }
    }

    fn page(&self) -> Answer {
        let nonce = format!("{:016x}", self.nonces.hash_one(std::time::Instant::now()));
        let mut page = whole(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace(NONCE, &nonce));
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        page
    }

    /// Answering at all says that the event loop lives. The worker threads may be blocked for a while.
    fn alive(&self) -> Answer {
        match self.health.workers() {
            Some(workers) if workers.silence() >= LIFELESS_AFTER => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("the worker threads {workers}\n"))
            }
            Some(workers) => text(StatusCode::OK, format!("alive; the worker threads {workers}\n")),
            None => text(StatusCode::OK, "alive\n"),
        }
    }
}

fn metrics_for(request: &Request<Incoming>) -> Answer {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    whole(StatusCode::OK, format.content_type(), metrics::encode(format))
}

fn is_verbose(parameter: &str) -> bool {
    parameter == "verbose" || parameter.starts_with("verbose=")
}

fn ready(verdict: &Verdict, asks_why: bool) -> Answer {
    let (status, word) = match verdict.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut said = format!("{word}\n");
    if asks_why {
        explain(verdict, &mut said);
    }
    text(status, said)
}

fn explain(verdict: &Verdict, said: &mut String) {
    let mark = |is_well| if is_well { '+' } else { '-' };
    // Writing to a string can't fail.
    let serves = matches!(verdict.stage, Stage::Serving | Stage::HandedOver);
    let _ = writeln!(said, "[{}] stage: {}", mark(serves), verdict.stage.word());
    if let Some(workers) = verdict.workers {
        let _ = writeln!(said, "[{}] worker threads: {workers}", mark(workers.is_live()));
    }
    for Outcome { name, result, took } in &*verdict.checks {
        let took = took.as_millis();
        let _ = match result {
            Ok(()) => writeln!(said, "[+] check {name}: passed in {took} ms"),
            Err(reason) => writeln!(said, "[-] check {name}: {}", reason.replace('\n', " ")),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Checks, Health};
    use crate::lifecycle::Pulse;
    use http_body_util::BodyExt as _;
    use std::sync::mpsc;
    use tokio::runtime::Builder;

    fn routes(health: &Arc<Health>) -> Routes {
        let document = Document::new(health.clone());
        Routes::new(health.clone(), document.clone(), Arc::new(Feed::new(document, 8)), Hosts::Any)
    }

    async fn read(answer: Answer) -> (u16, String) {
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// The clock of the control runtime runs ahead while it has nothing to do.
    #[tokio::test(start_paused = true)]
    async fn a_process_whose_workers_are_all_blocked_for_long_does_not_live() {
        let workers = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (opens, opened) = mpsc::channel::<()>();
        workers.spawn(async move { opened.recv() });
        let pulse = Arc::new(Pulse::new(workers.handle().clone()));
        let (health, mut beats) = (Arc::new(Health::new()), pulse.watch());
        let checks = Checks::new(Vec::new(), workers.handle().clone(), Some(pulse.watch()));
        health.begin(checks).await.unwrap();
        let routes = routes(&health);
        let mut until = async |silence: Duration| {
            beats.wait_for(|beat| beat.workers.silence() >= silence).await.unwrap();
            read(routes.alive()).await
        };
        let almost = until(Duration::from_secs(29)).await;
        assert_eq!(almost, (200, "alive; the worker threads have not answered for 29s\n".to_owned()));
        let lifeless = until(LIFELESS_AFTER).await;
        assert_eq!(lifeless, (503, "the worker threads have not answered for 30s\n".to_owned()));
        drop(opens);
        beats.wait_for(|beat| beat.workers.is_live()).await.unwrap();
        assert_eq!(read(routes.alive()).await, (200, "alive; the worker threads answer\n".to_owned()));
        workers.shutdown_background();
    }
}
