//! The content of a response: whether it may have any, how much was declared, and how a body that fails ends.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::Error;
use axum_core::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};

use crate::conn::exchange::answer::{let_go, tell};
use crate::conn::info::ConnectionInfo;
use crate::error::panic_message;
use crate::server::Asked;

/// The request that a response answers, and its connection: messages about the response name them.
#[derive(Clone, Copy)]
pub(crate) struct AnsweredRequest<'a> {
    pub(crate) info: &'a ConnectionInfo,
    pub(crate) asked: &'a Asked,
}

/// The content of a response that is being sent. It has to be [let go](Self::let_go) in the end.
pub(crate) struct Content {
    /// None if there is no content, or once it has ended.
    body: Option<Body>,
    /// The bytes that were declared and are still to come; none if the length is unknown.
    left: Option<u64>,
    /// It ends with the connection.
    is_open_ended: bool,
    /// The body has failed.
    is_broken: bool,
    /// The body has given all that was declared, and was dropped for that reason.
    is_taken: bool,
}

/// The content of a response together with its request. As a body, the connection takes it piece by piece.
pub(crate) struct Sending<'a> {
    content: &'a mut Content,
    request: AnsweredRequest<'a>,
}

impl Content {
    /// The content of the response to a request. Corrects its framing fields: if the handler's were wrong, the
    /// client would take the rest of one response for the next.
    pub(super) fn new(
        body: Body,
        status: StatusCode,
        headers: &mut HeaderMap,
        request: AnsweredRequest<'_>,
    ) -> Self {
        // How a body is cut into pieces is the connection's business.
        if has(headers, &TRANSFER_ENCODING) {
            headers.remove(TRANSFER_ENCODING);
        }
        let mut content =
            Self { body: Some(body), left: None, is_open_ended: false, is_broken: false, is_taken: false };
        match Room::of(request.asked, status) {
            Room::Content => content.declare(headers, request),
            Room::Length => {
                content.declare(headers, request);
                content.drop_body(request);
            }
            Room::Nothing => {
                headers.remove(CONTENT_LENGTH);
                content.drop_body(request);
            }
        }
        // RFC 9112 section 6.3: HTTP/1.0 has no chunks.
        content.is_open_ended =
            request.asked.version < Version::HTTP_11 && content.size_hint().exact().is_none();
        content
    }

    /// The content as the body that the connection takes.
    pub(crate) fn sending<'a>(&'a mut self, request: AnsweredRequest<'a>) -> Sending<'a> {
        Sending { content: self, request }
    }

    pub(crate) fn is_open_ended(&self) -> bool {
        self.is_open_ended
    }

    /// Whether the body has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        // A body that says so too early is polled once more, which reveals the fault.
        self.body.as_ref().is_none_or(|body| self.left.unwrap_or(0) == 0 && body.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match (&self.body, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(body), None) => body.size_hint(),
        }
    }

    /// The connection takes no more of it.
    pub(crate) fn let_go(&mut self, request: AnsweredRequest<'_>) {
        if self.body.is_some() || self.is_taken {
            request.info.note_unanswered(request.asked);
        }
        self.drop_body(request);
    }

    /// Settles how long the content is: by the body's own length, else by the handler's Content-Length.
    fn declare(&mut self, headers: &mut HeaderMap, request: AnsweredRequest<'_>) {
        let is_head = request.asked.is_head();
        let known = self.body.as_ref().and_then(|body| body.size_hint().exact());
        // A handler of HEAD need not make the body that GET would have.
        let known = known.filter(|length| !is_head || *length > 0);
        self.left = match Declared::by(headers) {
            Declared::Length(length) if known.is_none_or(|known| known == length) => Some(length),
            Declared::Nothing => {
                // hyper declares the length of a body that is sent.
                if let Some(length) = known.filter(|_| is_head) {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                }
                known
            }
            Declared::Length(_) | Declared::Nonsense => {
                correct(headers, known, request);
                known
            }
        };
    }

    fn drop_body(&mut self, request: AnsweredRequest<'_>) {
        if let Some(body) = self.body.take() {
            let_go(&request.info.context, request.asked, "its response body", body);
        }
    }
}

/// Replaces the handler's Content-Length by the body's own length, if it has one.
#[cold]
fn correct(headers: &mut HeaderMap, known: Option<u64>, request: AnsweredRequest<'_>) {
    let fields: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
    let body = known.map_or_else(|| "of unknown length".to_owned(), |length| format!("{length} bytes long"));
    let fault = format_args!("its Content-Length {fields:?} is wrong and was corrected: its body is {body}");
    tell(&request.info.context, request.asked, fault);
    match known {
        Some(length) => _ = headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => _ = headers.remove(CONTENT_LENGTH),
    }
}

impl Sending<'_> {
    pub(crate) fn is_open_ended(&self) -> bool {
        self.content.is_open_ended
    }

    /// Counts a piece of the body.
    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let Some(left) = &mut self.content.left else { return Ok(frame) };
        let Some(data) = frame.data_ref() else { return self.end().map(|()| frame) };
        match left.checked_sub(data.len() as u64) {
            Some(rest) => {
                *left = rest;
                if rest == 0 {
                    self.drop_if_taken();
                }
                Ok(frame)
            }
            None => Err(self.fail(format_args!("its response body is longer than its Content-Length"))),
        }
    }

    /// All that was declared has come. A body that has no more is dropped now: otherwise it would be asked again for its
    /// end, several times.
    fn drop_if_taken(&mut self) {
        if self.content.is_end_stream() {
            self.content.is_taken = true;
            self.content.drop_body(self.request);
        }
    }

    /// The body has come to its end.
    fn end(&mut self) -> Result<(), Error> {
        match self.content.left.take() {
            None | Some(0) => Ok(()),
            Some(left) => {
                let fault = format_args!("its response body ended {left} bytes before its Content-Length");
                Err(self.fail(fault))
            }
        }
    }

    /// Reports why the body ends too early. The error goes on in its place, so that the client does not take the part
    /// that it has for the whole.
    #[track_caller]
    fn fail(&mut self, fault: fmt::Arguments<'_>) -> Error {
        self.break_off(fault);
        Error::new(fault.to_string())
    }

    #[track_caller]
    fn break_off(&mut self, fault: fmt::Arguments<'_>) {
        self.content.is_broken = true;
        let context = &self.request.info.context;
        tell(context, self.request.asked, fault);
        context.answers.count_broken();
        if let Some(metrics) = context.metrics {
            metrics.note_failed("broken_off");
        }
        self.content.drop_body(self.request);
    }
}

impl http_body::Body for Sending<'_> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.content.body else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
        Poll::Ready(match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(Ok(frame)))) => Some(this.count(frame)),
            Ok(Poll::Ready(Some(Err(error)))) => {
                this.break_off(format_args!("its response body failed: {}", causes(&error)));
                Some(Err(error))
            }
            Ok(Poll::Ready(None)) => this.end().err().map(Err),
            Err(panic) => {
                let panic = panic_message(&*panic);
                Some(Err(this.fail(format_args!("its response body panicked: {panic}"))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// What may follow a head.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Content,
    /// No content, but the length that it would have.
    Length,
    /// No content, nor a length.
    Nothing,
}

impl Room {
    /// RFC 9110 sections 6.4.1, 8.6, 9.3.2, 9.3.6, 15.2, 15.3.5, 15.3.6 and 15.4.5.
    fn of(asked: &Asked, status: StatusCode) -> Self {
        let is_tunnel = asked.is_connect() && status.is_success();
        match status {
            _ if status.is_informational() || is_tunnel => Self::Nothing,
            // A 304 would need the length of another response, which is unknown here. hyper adds the zero of a 205.
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => Self::Nothing,
            _ if asked.is_head() => Self::Length,
            _ => Self::Content,
        }
    }
}

/// The length that a handler declares.
#[derive(Debug, PartialEq, Eq)]
enum Declared {
    Nothing,
    Length(u64),
    /// No number, or several fields.
    Nonsense,
}

impl Declared {
    fn by(headers: &HeaderMap) -> Self {
        if !has(headers, &CONTENT_LENGTH) {
            return Self::Nothing;
        }
        let mut fields = headers.iter().filter(|(name, _)| *name == CONTENT_LENGTH);
        match (fields.next(), fields.next()) {
            (None, _) => Self::Nothing,
            (Some((_, value)), None) => parse_length(value.as_bytes()).map_or(Self::Nonsense, Self::Length),
            (Some(_), Some(_)) => Self::Nonsense,
        }
    }
}

/// Whether a response has this field. Most responses have few fields: comparing their names is cheaper than hashing
/// this one.
fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|other| other == name)
}

/// Digits alone: `u64::from_str` takes a leading plus sign.
fn parse_length(digits: &[u8]) -> Option<u64> {
    let add = |length: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        length.checked_mul(10)?.checked_add(u64::from(digit))
    };
    digits.iter().try_fold(0, add).filter(|_| !digits.is_empty())
}

/// An error's text, followed by those of its causes that it does not repeat itself.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
