//! What the test's own authority answers if it is asked when to renew a certificate (RFC 9773).

use std::fmt::Display;
use std::time::SystemTime;

use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::jws::encode;

/// The identifier of the authority's key, from the example of RFC 9773.
pub(crate) const KEY_IDENTIFIER: &[u8] = &[
    0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde,
    0x01, 0xc8, 0xd4,
];

/// The serial number of a certificate. Its first bit is set, so that its encoding begins with a zero byte.
pub(crate) fn serial(number: usize) -> Vec<u8> {
    [&[0x87, 0x65][..], &u32::try_from(number).expect("few certificates").to_be_bytes()].concat()
}

/// What identifies a certificate (section 4.1).
pub(crate) fn identifier(number: usize) -> String {
    format!("{}.{}", encode(KEY_IDENTIFIER), encode(&[&[0][..], &serial(number)].concat()))
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Suggestion {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    pub(crate) retry_after: Option<&'static str>,
    pub(crate) location: Option<String>,
}

/// Chooses the answer about a certificate, by its number and how often it was asked about before.
pub(crate) type Suggest = Box<dyn Fn(usize, usize) -> Suggestion + Send>;

impl Suggestion {
    pub(crate) fn of(body: impl Display) -> Self {
        let (status, retry_after, location) = (StatusCode::OK, Some("21600"), None);
        Self { status, body: body.to_string(), retry_after, location }
    }

    pub(crate) fn window(start: SystemTime, end: SystemTime) -> Self {
        let [start, end] = [start, end].map(|time| humantime::format_rfc3339_seconds(time).to_string());
        Self::of(json!({"suggestedWindow": {"start": start, "end": end}}))
    }

    pub(crate) fn explained(self, url: &str) -> Self {
        let mut body: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        body["explanationURL"] = json!(url);
        Self { body: body.to_string(), ..self }
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status: StatusCode::from_u16(status).expect("a status"), ..self }
    }

    pub(crate) fn retry_after(self, value: Option<&'static str>) -> Self {
        Self { retry_after: value, ..self }
    }

    pub(crate) fn response(self) -> Response<Full<bytes::Bytes>> {
        let mut response = Response::builder().status(self.status);
        if let Some(value) = self.retry_after {
            response = response.header("retry-after", value);
        }
        if let Some(location) = self.location {
            response = response.header("location", location);
        }
        response.body(Full::from(self.body)).expect("an answer")
    }
}
