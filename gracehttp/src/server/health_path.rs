//! The path at which a server says whether it is ready.

use std::fmt;
use std::str::FromStr;

/// A path that a client can ask for as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthPath(String);

impl HealthPath {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An error is the second half of a sentence: it says what would be valid.
impl FromStr for HealthPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#{}*%\"<>\\^`|".contains(&byte);
        match text.starts_with('/') && text.bytes().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err("valid is a path such as `/healthz`, without query and parameters".to_owned()),
        }
    }
}

impl fmt::Display for HealthPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_they_are_written() {
        for valid in ["/healthz", "/", "/-/ready", "/health.txt", "/a:b"] {
            assert_eq!(valid.parse::<HealthPath>().map(|path| path.to_string()).as_deref(), Ok(valid));
        }
        for invalid in ["", "healthz", "/a?b", "/{id}", "/a b", "/ü", "/%41", "/*", "off", "/a\n"] {
            assert!(invalid.parse::<HealthPath>().is_err(), "{invalid}");
        }
    }
}
