//! A request's id and its span.
//!
//! The span has the names and attributes of OpenTelemetry's conventions for HTTP servers.

use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, Request, StatusCode, Version};
use tracing::Span;
use tracing::field::{Empty, debug, display};
use tracing::span::Entered;

use crate::conn::info::ConnectionInfo;
use crate::conn::request_id::{RequestId, X_REQUEST_ID};
use crate::conn::trace_context::TraceContext;
use crate::lifecycle::{KnownMethod, generation};

/// What a request carries for those who follow it. Only a server that is asked for it has any.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) id: Option<RequestId>,
    /// With the method, as its name has it.
    span: Option<(Span, &'static str)>,
}

impl Traced {
    /// Whether a server traces its requests.
    pub(super) fn is_wanted(info: &ConnectionInfo) -> bool {
        let options = &info.context.options;
        options.request_id || options.request_span
    }

    pub(super) fn begin<B>(info: &ConnectionInfo, request: &Request<B>) -> Box<Self> {
        let options = &info.context.options;
        // The last one: HAProxy and others add theirs behind that of the client.
        let of_proxy = || {
            let mut values = request.headers().get_all(X_REQUEST_ID).iter();
            let last = values.next_back().filter(|_| info.is_from_trusted_proxy())?;
            RequestId::of_proxy(last)
        };
        let id = options.request_id.then(|| of_proxy().unwrap_or_else(RequestId::make));
        let span = options.request_span.then(|| span(info, request, id.as_ref()));
        Box::new(Self { id, span })
    }

    /// As long as the result is there, the events of this thread belong to the request.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        self.span.as_ref().map(|(span, _)| span.enter())
    }

    /// The head of the response is settled.
    pub(super) fn note_head(&self, status: StatusCode, route: &'static str) {
        let Some((span, _)) = self.recording() else { return };
        span.record("http.response.status_code", status.as_u16());
        if !route.is_empty() {
            span.record("http.route", route);
        }
        if status.is_server_error() {
            span.record("error.type", status.as_str());
            span.record("otel.status_code", "ERROR");
        }
    }

    /// Its name, once the route is known. Not its path: clients choose paths.
    pub(super) fn name(&self, route: &'static str) {
        if let Some((span, method)) = self.recording().filter(|_| !route.is_empty()) {
            span.record("otel.name", display(format_args!("{method} {route}")));
        }
    }

    /// The response is not whole.
    pub(super) fn note_cut(&self, cause: &'static str) {
        if let Some((span, _)) = self.recording() {
            span.record("error.type", cause);
            span.record("otel.status_code", "ERROR");
        }
    }

    fn recording(&self) -> Option<&(Span, &'static str)> {
        self.span.as_ref().filter(|(span, _)| !span.is_disabled())
    }
}

/// The span, and the name of the method in its name.
fn span<B>(info: &ConnectionInfo, request: &Request<B>, id: Option<&RequestId>) -> (Span, &'static str) {
    let method = KnownMethod::of(request.method());
    let in_name = method.known().unwrap_or("HTTP");
    let span = tracing::info_span!(
        target: "gracehttp::request",
        // A root: what runs on this thread by chance is no parent.
        parent: None,
        "request",
        otel.name = in_name,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method.name(),
        http.request.method_original = Empty,
        http.response.status_code = Empty,
        http.route = Empty,
        url.path = request.uri().path(),
        url.scheme = info.scheme_of(request.headers()).as_str(),
        server.address = Empty,
        server.port = Empty,
        client.address = Empty,
        network.protocol.version = version(request.version()),
        user_agent.original = Empty,
        error.type = Empty,
        gracehttp.server = info.context.options.name,
        gracehttp.generation = generation(),
        gracehttp.request_id = Empty,
        traceparent = Empty,
        tracestate = Empty,
    );
    if span.is_disabled() {
        return (span, in_name);
    }
    if method.known().is_none() {
        span.record("http.request.method_original", debug(request.method()));
    }
    if let Some(client) = info.client_of(request.headers()) {
        span.record("client.address", display(client.ip));
    }
    if let Some(authority) = authority(request) {
        // The brackets of an IPv6 address belong to the URL.
        span.record("server.address", authority.host().trim_matches(['[', ']']));
        if let Some(port) = authority.port_u16() {
            span.record("server.port", port);
        }
    }
    record_fields(&span, request.headers());
    if let Some(id) = id {
        span.record("gracehttp.request_id", id.as_str());
    }
    (span, in_name)
}

fn record_fields(span: &Span, headers: &HeaderMap) {
    if let Some(agent) = headers.get(USER_AGENT) {
        match agent.to_str() {
            Ok(agent) => span.record("user_agent.original", agent),
            Err(_) => span.record("user_agent.original", display(agent.as_bytes().escape_ascii())),
        };
    }
    if let Some(trace) = TraceContext::of(headers) {
        span.record("traceparent", display(&trace));
        if let Some(state) = trace.state() {
            span.record("tracestate", state);
        }
    }
}

/// What the client takes this server for.
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let of_field = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(of_field)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
