//! How many responses a server gave.

use std::fmt;

/// The counts of a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// Those that are not zero.
    pub(crate) counts: Vec<AnswerCount>,
    /// Answers that broke off.
    pub(crate) broken: u64,
    /// HTTP/2 streams that h2 ended without us, some of them with a 431.
    pub(crate) unseen: u64,
}

/// How many responses had one cause and one class of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerCount {
    pub(crate) cause: &'static str,
    /// 2 for 2xx.
    pub(crate) class: usize,
    pub(crate) count: u64,
}

/// As it reads behind "answered": `handler 2xx 7, handler 4xx 1, malformed 4xx 2; broken off 1`.
impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for AnswerCount { cause, class, count } in &self.counts {
            write!(f, "{separator}{cause} {class}xx {count}")?;
            separator = ", ";
        }
        if separator.is_empty() {
            f.write_str("nothing")?;
        }
        let rare = [("broken off", self.broken), ("streams ended by h2 itself", self.unseen)];
        rare.iter()
            .filter(|(_, count)| *count > 0)
            .try_for_each(|(what, count)| write!(f, "; {what} {count}"))
    }
}
