//! W3C Trace Context: which trace a request belongs to.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

/// The most members of a `tracestate`, and its most bytes (section 3.3.1.1 and 3.3.1.5).
const MOST_MEMBERS: usize = 32;
const MOST_BYTES: usize = 4 << 10;

/// The flags that have a meaning: the trace is sampled, and its id is random. Others are not passed on (section 3.2.2.5).
const KNOWN_FLAGS: u8 = 0b11;

/// Extractor: the trace that the client says the request belongs to, by its fields `traceparent` and `tracestate`
/// ([W3C Trace Context](https://www.w3.org/TR/trace-context/)).
///
/// It is read strictly. A request without a valid `traceparent` is answered `400 Bad Request`; take
/// `Option<TraceContext>` where it may be missing. A `tracestate` that is not valid is left out. Any client can send these
/// fields.
///
/// It is shown as a `traceparent`, for requests to other services:
///
/// ```
/// use gracehttp::TraceContext;
///
/// async fn forward(trace: TraceContext) -> String {
///     format!("traceparent: {trace}")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
    state: Option<String>,
}

impl TraceContext {
    /// The id of the whole trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The id of the span of the client that has sent the request.
    pub fn parent_id(&self) -> [u8; 8] {
        self.parent_id
    }

    /// Whether the client may record the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// What the systems on the way have noted, as `tracestate` has it.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// That of these fields.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all("traceparent").iter();
        let (parent, None) = (parents.next()?, parents.next()) else { return None };
        let (trace_id, parent_id, flags) = read_parent(parent.as_bytes())?;
        Some(Self { trace_id, parent_id, flags, state: read_state(headers) })
    }
}

/// Version 00, or what every later version begins with (section 4.3).
fn read_parent(text: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    let (parent, rest) = text.split_at_checked(55)?;
    let [version] = hex(&parent[..2])?;
    let is_long_enough = match version {
        0xff => return None,
        0 => rest.is_empty(),
        _ => rest.first().is_none_or(|byte| *byte == b'-'),
    };
    let has_dashes = [2, 35, 52].into_iter().all(|dash| parent[dash] == b'-');
    let (trace_id, parent_id, [flags]) = (hex(&parent[3..35])?, hex(&parent[36..52])?, hex(&parent[53..])?);
    let is_valid = is_long_enough && has_dashes && trace_id != [0; 16] && parent_id != [0; 8];
    is_valid.then_some((trace_id, parent_id, flags))
}

/// Lower case alone (section 3.2.2).
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The list of all fields together (section 3.3).
fn read_state(headers: &HeaderMap) -> Option<String> {
    let mut members = Vec::new();
    let mut keys = HashSet::new();
    for value in headers.get_all("tracestate") {
        let text = value.to_str().ok()?;
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_valid = is_key(key) && is_value(value) && keys.insert(key);
            if !is_valid || members.len() == MOST_MEMBERS {
                return None;
            }
            members.push(member);
        }
    }
    let state = members.join(",");
    (!state.is_empty() && state.len() <= MOST_BYTES).then_some(state)
}

fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte);
    let part = |part: &str, most: usize, digit_first: bool| {
        let first = part.bytes().next();
        (1..=most).contains(&part.len())
            && part.bytes().all(plain)
            && first.is_some_and(|byte| byte.is_ascii_lowercase() || (digit_first && byte.is_ascii_digit()))
    };
    match key.split_once('@') {
        None => part(key, 256, true),
        Some((tenant, system)) => part(tenant, 241, true) && part(system, 14, false),
    }
}

fn is_value(value: &str) -> bool {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(plain) && !value.ends_with(' ')
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, parent) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.parent_id));
        write!(f, "00-{trace:032x}-{parent:016x}-{:02x}", self.flags & KNOWN_FLAGS)
    }
}

impl<S: Sync> FromRequestParts<S> for TraceContext {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::of(&parts.headers).ok_or((StatusCode::BAD_REQUEST, "the request has no valid traceparent"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for TraceContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(fields: &[(&'static str, &str)]) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        TraceContext::of(&headers)
    }

    #[test]
    fn a_valid_parent_is_read_and_shown() {
        let trace = read(&[("traceparent", VALID)]).unwrap();
        assert_eq!((trace.to_string().as_str(), trace.is_sampled()), (VALID, true));
        assert_eq!(trace.parent_id()[0], 0xb7);
        for later in ["cc", "01"].map(|version| VALID.replacen("00", version, 1)) {
            for end in ["", "-what-the-future-brings"] {
                assert!(read(&[("traceparent", &format!("{later}{end}"))]).is_some());
            }
            assert!(read(&[("traceparent", &format!("{later}."))]).is_none());
        }
    }

    /// A later version of the standard may give them one.
    #[test]
    fn flags_without_a_meaning_are_not_passed_on() {
        let shown = |flags: &str| {
            let parent = format!("{}{flags}", &VALID[..53]);
            let trace = read(&[("traceparent", &parent)]).unwrap();
            (trace.is_sampled(), trace.to_string()[53..].to_owned())
        };
        assert_eq!(shown("fe"), (false, "02".to_owned()));
        assert_eq!(shown("05"), (true, "01".to_owned()));
    }

    #[test]
    fn what_is_not_valid_is_no_parent() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_parent = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        for wrong in [
            "",
            &VALID[..54],
            &format!("{VALID}-"),
            &VALID.to_uppercase(),
            &VALID.replacen("00", "ff", 1),
            &VALID.replace('-', "_"),
            &VALID.replace("0af", "0ag"),
            &zero_trace,
            &zero_parent,
        ] {
            assert!(read(&[("traceparent", wrong)]).is_none(), "{wrong}");
        }
        assert!(read(&[("traceparent", VALID), ("traceparent", VALID)]).is_none());
    }

    #[test]
    fn a_state_is_whole_or_left_out() {
        let state = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("tracestate", *value)).collect();
            let fields = [&[("traceparent", VALID)], &fields[..]].concat();
            read(&fields).unwrap().state
        };
        assert_eq!(state(&["a=1, b@c=2 ,", "d=x y"]).as_deref(), Some("a=1,b@c=2,d=x y"));
        let many = (0..33).map(|number| format!("k{number}=1")).collect::<Vec<_>>();
        assert!(state(&[&many[..32].join(",")]).is_some());
        for wrong in ["", "a", "A=1", "a=", "a=1,a=2", "a=b=c", "a@b@c=1", "a@1=1", &many.join(",")] {
            assert_eq!(state(&[wrong]), None, "{wrong}");
        }
    }
}
