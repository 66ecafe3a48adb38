//! The ledger: what a process says about its connections, in memory that another process still has when the first one
//! is dead.
//!
//! A mark is one store. It costs no system call, waits for nothing, and can't be lost: if the process is killed at any
//! instruction, all marks before it are there. So a mark that warns has to be made *before* what it warns of.
//!
//! In a restart the successor marks each connection that it was given, as long as the predecessor could take it back. A
//! connection may go back only if it is idle: the bytes of a request that the successor has read would be missing there.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};

use crate::socket::Origin;
use crate::sync::{AtomicBool, Ordering};
use crate::sys::{self, SharedWords};

/// The words before the first connection's. As many as a cache line has, so that no mark shares one with them. Both
/// processes may be of different releases: a word never changes its meaning.
const HEADER: usize = 8;

/// The place in the header of the word that is 1 once marks are made.
const IN_USE: usize = 0;

/// For how many connections there is room at most, whatever the limit of descriptors is: 32 MB of addresses, of which
/// memory takes only what was marked.
const MOST: usize = 1 << 22;

/// What the process that has a connection says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not a byte of it was read. It is as it was sent.
    Untouched,
    /// A byte may have been read that has no answer.
    Busy,
    /// All that was read was answered, and every answer has gone out.
    Idle,
}

impl Mark {
    fn word(self) -> u64 {
        match self {
            Self::Untouched => 0,
            Self::Busy => 1,
            Self::Idle => 2,
        }
    }

    fn of(word: u64) -> Self {
        match word {
            0 => Self::Untouched,
            2 => Self::Idle,
            // Another release may say more, which this one does not understand.
            _ => Self::Busy,
        }
    }
}

/// The marks of connections, by their numbers.
#[derive(Debug)]
pub(crate) struct Ledger {
    words: SharedWords,
    /// This process makes no marks any more: no other process could read them.
    closed: AtomicBool,
}

impl Ledger {
    /// An empty ledger with room for all connections that this process could have, and the file for the other process.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let connections = usize::try_from(descriptors).unwrap_or(MOST).min(MOST);
        let file = sys::create_shared(c"gracehttp-ledger", HEADER + connections)?;
        Ok((Self::of(&file)?, file))
    }

    /// The ledger in this file, which another process has made.
    pub(crate) fn of(file: &OwnedFd) -> io::Result<Self> {
        Ok(Self { words: SharedWords::of(file)?, closed: AtomicBool::new(false) })
    }

    /// From now on this process marks all connections for which there is room.
    pub(crate) fn begin(&self) {
        self.words[IN_USE].store(1, Ordering::Release);
    }

    /// No mark counts any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The entry of a connection; none if there is no room for its number.
    pub(crate) fn entry(self: &Arc<Self>, number: Origin) -> Option<Entry> {
        let place = self.place(number.get())?;
        Some(Entry { ledger: self.clone(), place })
    }

    /// The mark of a connection; none if the other process makes no marks, or has no room for the number.
    ///
    /// It is final once the process that makes the marks is dead.
    pub(crate) fn mark(&self, number: u32) -> Option<Mark> {
        let is_in_use = self.words.get(IN_USE)?.load(Ordering::Acquire) == 1;
        let place = self.place(number).filter(|_| is_in_use)?;
        Some(Mark::of(self.words[place].load(Ordering::Acquire)))
    }

    /// The place of a connection's word. Numbers are counted from 1.
    fn place(&self, number: u32) -> Option<usize> {
        let place = HEADER + usize::try_from(number).ok()?.checked_sub(1)?;
        (place < self.words.len()).then_some(place)
    }
}

/// A connection's entry in the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    ledger: Arc<Ledger>,
    place: usize,
}

impl Entry {
    /// Marks the connection, for as long as another process could read it.
    pub(crate) fn set(&self, mark: Mark) {
        if !self.ledger.closed.load(Ordering::Relaxed) {
            self.ledger.words[self.place].store(mark.word(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> Origin {
        Origin::new(number).unwrap()
    }

    /// The ledger of a predecessor, and that of its successor.
    fn both() -> (Ledger, Arc<Ledger>) {
        let (ours, file) = Ledger::create().unwrap();
        (ours, Arc::new(Ledger::of(&file).unwrap()))
    }

    #[test]
    fn one_process_reads_what_the_other_has_marked() {
        let (ours, theirs) = both();
        theirs.entry(number(2)).unwrap().set(Mark::Busy);
        assert_eq!(ours.mark(2), None, "not in use");
        theirs.begin();
        for mark in [Mark::Busy, Mark::Idle, Mark::Untouched] {
            theirs.entry(number(3)).unwrap().set(mark);
            let marks = [1, 2, 3, 4].map(|number| ours.mark(number).unwrap());
            assert_eq!(marks, [Mark::Untouched, Mark::Busy, mark, Mark::Untouched]);
        }
        theirs.close();
        theirs.entry(number(2)).unwrap().set(Mark::Idle);
        assert_eq!(ours.mark(2), Some(Mark::Busy), "closed");
    }

    #[test]
    fn numbers_without_room_have_no_entry() {
        let (ours, theirs) = both();
        theirs.begin();
        let room = u32::try_from(ours.words.len() - HEADER).unwrap();
        assert!(theirs.entry(number(room)).is_some() && ours.mark(room).is_some());
        assert!(theirs.entry(number(room + 1)).is_none());
        assert_eq!([0, room + 1, u32::MAX].map(|number| ours.mark(number)), [None; 3]);
    }

    #[test]
    fn a_mark_of_another_release_counts_as_busy() {
        assert_eq!(Mark::of(3), Mark::Busy);
        for mark in [Mark::Untouched, Mark::Busy, Mark::Idle] {
            assert_eq!(Mark::of(mark.word()), mark);
        }
    }
}
