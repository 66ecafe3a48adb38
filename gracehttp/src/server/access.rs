//! Who may connect to the Unix sockets of a server.

use std::fmt;

/// Owner and mode of a socket's file. If they are not set, the kernel's defaults hold: the user and group of the
/// process, and the mode that the umask leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SocketAccess {
    pub(crate) mode: Option<Mode>,
    /// A name or a number.
    pub(crate) user: Option<String>,
    /// A name or a number.
    pub(crate) group: Option<String>,
}

/// The permission bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode(u32);

impl Mode {
    /// Accepts the permissions of owner, group and others, and no other bits.
    pub(crate) fn new(bits: u32) -> Option<Self> {
        (bits <= 0o777).then_some(Self(bits))
    }

    /// Reads octal digits: `0660`, `660`, `0o660`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let is_octal = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().and_then(Self::new)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        for text in ["0660", "660", "0o660"] {
            assert_eq!(Mode::parse(text).unwrap().to_string(), "0660", "{text}");
        }
        for text in ["", "0o", "888", "1777", "+660", "rw-rw----", "99999999999"] {
            assert_eq!(Mode::parse(text), None, "{text}");
        }
    }
}
