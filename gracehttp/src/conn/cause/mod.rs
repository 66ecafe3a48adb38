//! Why a request got the response that it got, and how often that happened.

mod tally;

use http::StatusCode;

pub(crate) use tally::Tally;

/// What has answered a request, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The server's handler, one of its routes, or its service.
    Handler,
    /// No route has the path (404), or none has it with this method (405).
    NoRoute,
    /// The request was refused before any handler could see it.
    Refused(Refusal),
    /// The rest of the request's head or body did not come in time (408).
    RequestTimedOut,
    /// The handler took longer than `request_timeout` (503).
    HandlerTimedOut,
    /// The handler panicked (500).
    HandlerPanicked,
    /// The handler answered with a status that no final response has (500).
    Unsendable,
    /// The service returned an error instead of a response (500).
    ServiceFailed,
}

/// Why a request was refused, and the rule that it broke, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) rule: &'static str,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is no valid request (400).
    Malformed,
    /// Its body is over the server's `max_body` (413).
    BodyTooLarge,
    /// Its target is over the server's `max_header_size` (414).
    TargetTooLong,
    /// It is for a scheme that is not this server's (421).
    Misdirected,
    /// Its fields are over the server's `max_header_size` or `max_headers` (431).
    HeadTooLarge,
    /// It needs something that this library lacks, such as another transfer coding (501).
    NotImplemented,
}

impl Reason {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

impl Refusal {
    pub(crate) const fn new(reason: Reason, rule: &'static str) -> Self {
        Self { reason, rule }
    }

    pub(crate) const fn malformed(rule: &'static str) -> Self {
        Self::new(Reason::Malformed, rule)
    }
}

impl Cause {
    /// Its name where programs read it.
    pub(in crate::conn) fn name(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::NoRoute => "no_route",
            Self::Refused(refusal) => match refusal.reason {
                Reason::Malformed => "malformed",
                Reason::BodyTooLarge => "body_too_large",
                Reason::TargetTooLong => "target_too_long",
                Reason::Misdirected => "misdirected",
                Reason::HeadTooLarge => "head_too_large",
                Reason::NotImplemented => "not_implemented",
            },
            Self::RequestTimedOut => "request_timed_out",
            Self::HandlerTimedOut => "handler_timed_out",
            Self::HandlerPanicked => "handler_panicked",
            Self::Unsendable => "unsendable",
            Self::ServiceFailed => "service_failed",
        }
    }

    /// The status of the server's own answer for this cause; none if a handler or a route has answered.
    pub(in crate::conn) fn status(self) -> Option<StatusCode> {
        match self {
            Self::Handler | Self::NoRoute => None,
            Self::Refused(refusal) => Some(refusal.reason.status()),
            Self::RequestTimedOut => Some(StatusCode::REQUEST_TIMEOUT),
            Self::HandlerTimedOut => Some(StatusCode::SERVICE_UNAVAILABLE),
            Self::HandlerPanicked | Self::Unsendable | Self::ServiceFailed => {
                Some(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// Whether the following bytes of the connection may be something else than a request.
    pub(in crate::conn) fn ends_connection(self) -> bool {
        matches!(self, Self::Refused(_) | Self::RequestTimedOut)
    }
}
