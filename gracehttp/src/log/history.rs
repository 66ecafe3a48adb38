//! The last messages, kept in memory for operators who ask.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Level, Message};

/// The most bytes that are kept.
const CAPACITY: usize = 256 << 10;

/// The most bytes of messages that a successor gets: they have to fit into one message of the handoff.
const FOR_SUCCESSOR: usize = 64 << 10;

/// What one message costs beside its text.
const OVERHEAD: usize = size_of::<Kept>();

static HISTORY: Mutex<History> = Mutex::new(History::new());

#[derive(Debug)]
struct History {
    kept: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    at: SystemTime,
    level: Level,
    text: String,
}

/// A message as operators see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Recorded {
    /// As in RFC 3339, in UTC.
    pub(crate) at: String,
    /// `info`, `notice` or `error`.
    pub(crate) level: String,
    pub(crate) text: String,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at, self.level.to_uppercase(), self.text)
    }
}

impl History {
    const fn new() -> Self {
        Self { kept: VecDeque::new(), bytes: 0 }
    }

    fn note(&mut self, message: Kept) {
        self.bytes += OVERHEAD + message.text.len();
        self.kept.push_back(message);
        while self.bytes > CAPACITY
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= OVERHEAD + oldest.text.len();
        }
    }

    fn since(&self, earliest: Option<SystemTime>) -> Vec<Recorded> {
        let wanted = self.kept.iter().filter(|kept| earliest.is_none_or(|earliest| kept.at >= earliest));
        wanted.map(Kept::recorded).collect()
    }
}

/// A message as a successor gets it: milliseconds since 1970, level, text.
pub(crate) type Passed = (u64, u8, String);

impl Kept {
    fn passed(&self) -> Passed {
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        (u64::try_from(at.as_millis()).unwrap_or(u64::MAX), self.level as u8, self.text.clone())
    }

    fn recorded(&self) -> Recorded {
        Recorded {
            at: humantime::format_rfc3339_millis(self.at).to_string(),
            level: self.level.name().to_owned(),
            text: self.text.clone(),
        }
    }
}

/// Keeps a message.
pub(super) fn note(message: &Message) {
    let Message { level, text, written_at, .. } = message;
    HISTORY.lock().note(Kept { at: *written_at, level: *level, text: text.clone() });
}

/// Keeps the message of a panic.
pub(super) fn note_panic(text: &str) {
    let text = text.trim_end().to_owned();
    HISTORY.lock().note(Kept { at: SystemTime::now(), level: Level::Error, text });
}

/// The newest messages, for the successor. The oldest comes first.
pub(crate) fn for_successor() -> Vec<Passed> {
    let history = HISTORY.lock();
    let mut bytes = 0;
    let newest = history.kept.iter().rev().take_while(|kept| {
        bytes += OVERHEAD + kept.text.len();
        bytes <= FOR_SUCCESSOR
    });
    let mut passed: Vec<Passed> = newest.map(Kept::passed).collect();
    passed.reverse();
    passed
}

/// Takes in the messages of the predecessor. They are older than those of this process.
pub(crate) fn continue_from(passed: Vec<Passed>) {
    let mut history = HISTORY.lock();
    let own = std::mem::replace(&mut *history, History::new()).kept;
    let earlier = passed.into_iter().filter_map(|(at, level, text)| {
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(at))?;
        Some(Kept { at, level: Level::of(level), text })
    });
    earlier.chain(own).for_each(|message| history.note(message));
}

/// The messages of the last time, or all that are kept.
pub(crate) fn history(last: Option<Duration>) -> Vec<Recorded> {
    let earliest = last.and_then(|last| SystemTime::now().checked_sub(last));
    HISTORY.lock().since(earliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, at: u64) -> Kept {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        Kept { at, level: Level::Info, text: text.to_owned() }
    }

    #[test]
    fn it_keeps_the_newest_within_its_bytes() {
        let mut history = History::new();
        for number in 0..100 {
            history.note(kept(&format!("{number} {}", "x".repeat(10_000)), number));
        }
        assert!(history.bytes <= CAPACITY);
        let texts = history.since(None);
        assert!((20..30).contains(&texts.len()), "{}", texts.len());
        assert!(texts.last().unwrap().text.starts_with("99 "));
        history.note(kept(&"x".repeat(2 * CAPACITY), 100));
        assert_eq!((history.kept.len(), history.bytes), (0, 0));
    }

    #[test]
    fn a_message_has_its_time() {
        let mut history = History::new();
        history.note(kept("old", 1));
        history.note(kept("new", 1000));
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(500);
        let found = history.since(Some(since));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].at.as_str(), found[0].text.as_str()), ("1970-01-01T00:16:40.000Z", "new"));
    }
}
