//! The receipts of restarts, as the log shows them.

use std::collections::BTreeMap;

/// A receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The connections that the predecessor held.
    pub before: u64,
    /// Those that it has accepted since.
    pub accepted: u64,
    /// What became of them, in the log's words.
    pub ends: BTreeMap<String, u64>,
}

impl Account {
    /// Reads the line `restart done, pid 7; 9 connections and 2 accepted meanwhile: 8 moved, 3 finished; …`.
    pub fn read(line: &str) -> Self {
        let is_counts = |part: &&str| {
            part.split(' ').nth(1).is_some_and(|word| word.trim_end_matches(':') == "connections")
        };
        let counts = line.split("; ").find(is_counts).unwrap_or_else(|| panic!("no receipt: {line}"));
        let (held, ends) = counts.split_once(": ").unwrap_or((counts, ""));
        let (before, accepted) = held.split_once(" and ").unwrap_or((held, "0"));
        Self {
            before: number(before),
            accepted: number(accepted),
            ends: ends
                .split(", ")
                .filter(|end| !end.is_empty())
                .map(words)
                .map(|(end, n)| (end.into(), n))
                .collect(),
        }
    }

    /// How many connections had this end.
    pub fn count(&self, end: &str) -> u64 {
        self.ends.get(end).copied().unwrap_or_default()
    }

    /// Each connection is there once.
    pub fn assert_balanced(&self) {
        assert_eq!(self.before + self.accepted, self.ends.values().sum::<u64>(), "{self:?}");
    }
}

fn number(text: &str) -> u64 {
    words(text).1
}

/// `7 moved`
fn words(text: &str) -> (&str, u64) {
    let (count, what) = text.split_once(' ').unwrap_or((text, ""));
    (what, count.parse().unwrap_or_else(|_| panic!("no count: {text:?}")))
}
