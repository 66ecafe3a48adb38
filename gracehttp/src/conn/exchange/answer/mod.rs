//! The one way out: every response passes here before it goes to its client.

mod closing_response;
mod content;
mod work;

use std::fmt;

use axum_core::body::Body;
#[cfg(feature = "tls")]
use http::header::STRICT_TRANSPORT_SECURITY;
use http::header::{ALLOW, CONNECTION};
use http::response::Parts;
use http::{HeaderValue, StatusCode, Version};

pub(crate) use closing_response::closing_response;
pub(crate) use content::{AnsweredRequest, Content, Sending};
pub(crate) use work::{Work, let_go};

use crate::conn::cause::{Cause, Reason, Refusal};
use crate::conn::context::Context;
use crate::conn::info::ConnectionInfo;
use crate::log;
use crate::server::{Asked, Response};

/// Logs what is wrong with the answer to a request.
#[track_caller]
fn tell(context: &Context, asked: &Asked, fault: fmt::Arguments<'_>) {
    log::error(format_args!("server `{}`: {asked}: {fault}", context.options.name));
}

/// The response that the server itself gives for a cause.
pub(crate) fn own(cause: Cause) -> Response {
    let mut response = Response::default();
    *response.status_mut() = cause.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Corrects, counts and logs a response before it is sent. `is_last` announces to the client that it is the
/// connection's last. Returns the cause, which may be another one then, too.
pub(crate) fn finish(
    request: AnsweredRequest<'_>,
    mut cause: Cause,
    is_last: bool,
    head: &mut Parts,
    mut body: Body,
) -> (Content, Cause) {
    let AnsweredRequest { info, asked } = request;
    if !is_final(head.status, asked) {
        let status = head.status.as_u16();
        let fault =
            format_args!("its handler answered {status}, which is not a final status; the client gets 500");
        tell(&info.context, asked, fault);
        cause = Cause::Unsendable;
        (*head, body) = own(cause).into_parts();
    }
    // A CONNECT has no path that could be missing: it is the method that has no handler.
    if asked.is_connect() && head.status == StatusCode::NOT_FOUND {
        head.status = StatusCode::METHOD_NOT_ALLOWED;
    }
    // RFC 9110 section 15.5.6 wants a list, which may be empty (section 10.2.1).
    if head.status == StatusCode::METHOD_NOT_ALLOWED && !head.headers.contains_key(ALLOW) {
        head.headers.insert(ALLOW, HeaderValue::from_static(""));
    }
    #[cfg(feature = "tls")]
    tell_hsts(info, head);
    observe(info, asked, cause, head.status);
    let content = Content::new(body, head.status, &mut head.headers, request);
    let is_last = is_last || content.is_open_ended() || cause.ends_connection();
    if asked.version < Version::HTTP_2 && is_last {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        // hyper would add `keep-alive` for a client of HTTP/1.0 that asks for it, if the response were of HTTP/1.1.
        head.version = asked.version;
    }
    (content, cause)
}

/// Tells browsers to come over HTTPS alone. They ignore that on plain text (RFC 6797 section 8.1), and so it is not told
/// there (section 7.2).
#[cfg(feature = "tls")]
fn tell_hsts(info: &ConnectionInfo, head: &mut Parts) {
    if let Some(hsts) = &info.context.options.hsts
        && info.is_secure()
    {
        head.headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.value().clone());
    }
}

/// Whether a handler may answer with this status. Interim responses are the connection's business (RFC 9110 section
/// 15.2). A 101 needs a request for another protocol, over HTTP/1.1 (section 15.2.2, RFC 9113 section 8.6).
fn is_final(status: StatusCode, asked: &Asked) -> bool {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => asked.asks_upgrade && !asked.is_http2(),
        _ => !status.is_informational(),
    }
}

/// Counts and logs an answer that hyper gave by itself, to a head that the strict reader passed and hyper could not
/// read.
pub(crate) fn note_refused_by_hyper(info: &ConnectionInfo, error: &hyper::Error) {
    let rule = "hyper could not read its head";
    let refusal = match error {
        error if error.is_parse_too_large() => Refusal::new(Reason::HeadTooLarge, rule),
        error if error.is_parse() => Refusal::malformed(rule),
        _ => return,
    };
    let (cause, status) = (Cause::Refused(refusal), refusal.reason.status());
    observe(info, &Asked::UNREAD, cause, status);
    info.log_unread(cause.name(), Some(status));
}

/// Counts and logs a response.
fn observe(info: &ConnectionInfo, asked: &Asked, cause: Cause, status: StatusCode) {
    info.context.answers.count(cause, status);
    match (info.context.metrics, cause) {
        (None, _) | (_, Cause::Handler) => {}
        (Some(metrics), Cause::NoRoute | Cause::Refused(_) | Cause::RequestTimedOut) => {
            metrics.note_refused(cause.name());
        }
        (Some(metrics), _) => metrics.note_failed(cause.name()),
    }
    let (server, from, status) = (&info.context.options.name, || info.client(), status.as_u16());
    match cause {
        Cause::Handler | Cause::NoRoute => {
            tracing::trace!(target: "gracehttp", "server `{server}`: {asked} from {}: {status}", from());
        }
        // At level debug: any stranger can cause it.
        Cause::Refused(Refusal { rule, .. }) => {
            let what = format_args!("refused with {status}: {rule}");
            tracing::debug!(target: "gracehttp", "server `{server}`: {asked} from {}: {what}", from());
        }
        _ => {
            tracing::debug!(target: "gracehttp", "server `{server}`: {asked} from {}: {status}: {cause}", from());
        }
    }
}
