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
        for (authority, is_valid) in [
            ("a.test", true),
            ("a.test", true),
            ("user@a.test", false),
            ("a.test:1", true),
            ("user@a.test", false),
        ] {
            let value = known.value(authority);
            assert_eq!(value.map(|value| value == authority), is_valid.then_some(true), "{authority}");
        }
    }
}
