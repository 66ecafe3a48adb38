//! The authority that a client repeats is recognised, not checked again.

use http::HeaderValue;
use parking_lot::Mutex;

use crate::conn::grammar::is_host;

/// The authority of the last request of a connection, as the value of a Host field. Clients name one host again and again.
#[derive(Debug, Default)]
pub(crate) struct KnownHost(Mutex<Option<HeaderValue>>);

impl KnownHost {
    /// This authority as the value of a Host field; none if it is invalid.
    pub(crate) fn value(&self, authority: &str) -> Option<HeaderValue> {
        let mut last = self.0.lock();
        if let Some(last) = last.as_ref().filter(|last| last.as_bytes() == authority.as_bytes()) {
            return Some(last.clone());
        }
        let value = HeaderValue::from_str(authority).ok().filter(|value| is_host(value.as_bytes()))?;
        *last = Some(value.clone());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_authority_is_known_until_another_comes_and_an_invalid_one_never_is() {
        let known = KnownHost::default();
        let mut last: Option<HeaderValue> = None;
        for (authority, is_valid, is_known) in [
            ("a.test", true, false),
            ("a.test", true, true),
            ("user@a.test", false, false),
            ("user@a.test", false, false),
            ("a.test", true, true),
            ("a.test:1", true, false),
            ("a.test:1", true, true),
            ("a.test", true, false),
        ] {
            let value = known.value(authority);
            assert_eq!(
                value.as_ref().map(|value| value == authority),
                is_valid.then_some(true),
                "{authority}"
            );
            let Some(value) = value else { continue };
            // A value that is known is the same memory.
            let is_same =
                last.as_ref().is_some_and(|last| last.as_bytes().as_ptr() == value.as_bytes().as_ptr());
            assert_eq!(is_same, is_known, "{authority}");
            last = Some(value);
        }
    }
}
