//! The port of the https addresses to which a plain server sends its clients.

use std::fmt;
use std::num::NonZeroU16;

/// The port that stands in the address of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HttpsPort(NonZeroU16);

impl HttpsPort {
    /// The port that an https address has if it names none.
    const USUAL: NonZeroU16 = NonZeroU16::new(443).expect("443 is not zero");

    pub(crate) fn new(port: u16) -> Option<Self> {
        NonZeroU16::new(port).map(Self)
    }

    /// The port, if it has to be named.
    pub(crate) fn named(self) -> Option<u16> {
        (self.0 != Self::USUAL).then(|| self.0.get())
    }

    /// Reads `true`, which means 443, a port, or `false`. An error is the second half of a sentence.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, String> {
        match text {
            "true" => Ok(Some(Self(Self::USUAL))),
            "false" => Ok(None),
            _ => {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let port = digits.then(|| text.parse().ok().and_then(Self::new)).flatten();
                port.map(Some).ok_or_else(|| "valid is `true` (port 443), a port, or `false`".to_owned())
            }
        }
    }
}

/// As [`HttpsPort::read`] reads it.
impl fmt::Display for HttpsPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            None => f.write_str("true"),
            Some(port) => port.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_shown() {
        for text in ["true", "8443", "1", "65535"] {
            assert_eq!(HttpsPort::read(text).unwrap().unwrap().to_string(), text);
        }
        assert_eq!(HttpsPort::read("443").unwrap().unwrap().to_string(), "true");
        assert_eq!(HttpsPort::read("false"), Ok(None));
        for text in ["", "0", "65536", "+443", "yes", ":443"] {
            assert!(HttpsPort::read(text).is_err(), "{text}");
        }
    }
}
