//! The ids of requests.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::lifecycle::thread_number;

/// The field that brings an id, and in which the response has it.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a proxy.
const LONGEST: usize = 128;

/// Extractor: the id of the request, with the key `request_id = true`.
///
/// The response has it in its field `x-request-id`, and the access log in `request_id`. It is made here, from digits and
/// the letters up to `f`, and no other process makes the same one. From a [trusted proxy](crate::guide::behind_a_proxy) the field
/// `x-request-id` of the request is taken over instead.
///
/// Without the key a request has no id and is answered `500 Internal Server Error`; take `Option<RequestId>` where that
/// may be.
///
/// ```
/// use gracehttp::RequestId;
///
/// async fn order(id: RequestId) -> String {
///     format!("your order is {id}\n")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id.
    pub fn as_str(&self) -> &str {
        // It is made of visible ASCII.
        self.0.to_str().unwrap_or_default()
    }

    /// An id that no other process makes.
    pub(super) fn make() -> Self {
        let mut digits = [0; 32];
        for (place, half) in [process(), scrambled(process().wrapping_add(next()))].into_iter().enumerate() {
            for (nibble, digit) in digits[16 * place..][..16].iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[(half >> (60 - 4 * nibble)) as usize & 15];
            }
        }
        // Fails never: these are digits.
        Self(HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("")))
    }

    /// That of a proxy, if it can stand in logs as it is.
    pub(super) fn of_proxy(value: &HeaderValue) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
        let bytes = value.as_bytes();
        let is_valid = (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(is_plain);
        is_valid.then(|| Self(value.clone()))
    }

    pub(super) fn value(&self) -> &HeaderValue {
        &self.0
    }
}

/// The id as it stands in the response.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for RequestId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// A number of this process, by chance. The standard library has it from the kernel.
fn process() -> u64 {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    *PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()))
}

/// A number that no thread of this process gets twice.
fn next() -> u64 {
    thread_local! {
        static MADE: Cell<u64> = const { Cell::new(0) };
    }
    let made = MADE.get() + 1;
    MADE.set(made);
    ((thread_number() as u64) << 44) | made
}

/// Another number for each number, so that ids tell nothing of how many there are (splitmix64).
fn scrambled(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let id = parts.extensions.get::<Self>().cloned();
        id.ok_or((StatusCode::INTERNAL_SERVER_ERROR, "this request has no id: the key `request_id` is off"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_id_is_made_twice() {
        let make = || (0..10_000).map(|_| RequestId::make().as_str().to_owned()).collect::<Vec<_>>();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 40_000);
    }

    #[test]
    fn an_id_is_shown_as_it_stands_in_the_response() {
        let id = RequestId::of_proxy(&HeaderValue::from_static("a-1")).unwrap();
        assert_eq!((id.to_string(), format!("{id:>5}"), id.as_ref()), ("a-1".into(), "  a-1".into(), "a-1"));
    }

    #[test]
    fn only_an_id_that_can_stand_in_logs_is_taken_over() {
        let taken = |text: &[u8]| RequestId::of_proxy(&HeaderValue::from_bytes(text).unwrap()).is_some();
        assert!(taken(b"7b0c5d8e-1f2a-4c3d-9e8f-0a1b2c3d4e5f") && taken(&[b'a'; 128]));
        for wrong in [&b""[..], b"a b", b"a\"b", b"\xff", &[b'a'; 129]] {
            assert!(!taken(wrong), "{}", wrong.escape_ascii());
        }
    }
}
