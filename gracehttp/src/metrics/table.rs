//! The table of counters that all generations of a service share: a mapped file with one record for each series.
//!
//! Each generation adds to the very same numbers, so nothing has to be copied in a restart, and nothing is lost or
//! counted twice in a take-back or a crash. Records are only ever appended, by any process at any time, without a lock:
//! the word after the last record is zero, and the process that changes it from zero owns the next record. The word
//! says how long that is, so a process that dies before its record is complete leaves a gap and stops nobody.
//!
//! Two processes that add the same series at the same moment each get a record. So the value of a series is the sum of
//! all records with its key.
//!
//! | word of a record | |
//! | --- | --- |
//! | 0 | its length in words, and whether it is complete |
//! | 1 | the length of its key in bytes, how many values a shard has, how many shards there are |
//! | 2… | the key |
//! | … | the values, a shard after the other |

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::lifecycle::{places, thread_number};
use crate::log;
use crate::sys;

/// `gracehtm` as bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"gracehtm");

/// Of the layout. A table of another version is not used.
const VERSION: u64 = 1;

/// 8 MiB. A page takes memory once a record lies in it.
const WORDS: usize = 1 << 20;

const NAME: &CStr = c"gracehttp metrics";

/// Words at the start of the table.
const HEADER: usize = 4;
const LOST_AT: usize = 2;

/// Words of a record before its key.
const HEAD: usize = 2;

/// Two cache lines, since processors fetch them in pairs. Shards begin at such a place.
const LINE: usize = 16;

/// The most shards that a series has.
const MOST_SHARDS: usize = 8;

/// The state of a record, beside its length.
const COMPLETE: u64 = 1 << 63;

/// A table, mapped into this process.
#[derive(Debug)]
pub(super) struct Table {
    words: &'static [AtomicU64],
    file: OwnedFd,
    index: Mutex<Index>,
    has_told_full: AtomicBool,
}

/// What this process has seen of the table.
#[derive(Debug, Default)]
struct Index {
    /// All records before this word were seen.
    seen: usize,
    /// Seen, but not complete then.
    incomplete: Vec<usize>,
    by_key: HashMap<Box<[u8]>, Vec<Slot>>,
}

/// The values of one series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    values: &'static [AtomicU64],
    /// Values of a shard.
    count: usize,
    /// From a shard to the next.
    stride: usize,
    /// One less than the number of shards, which is a power of two.
    mask: usize,
}

/// How the values of a new series lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// All threads add to the same values.
    Shared { values: usize },
    /// Threads add to values of their own, for what each request counts.
    Sharded { values: usize },
}

impl Table {
    pub(super) fn create() -> io::Result<Self> {
        Self::create_with(WORDS)
    }

    fn create_with(words: usize) -> io::Result<Self> {
        let file = sys::create_shared(NAME, words)?;
        let table = Self::map(file)?;
        table.words[1].store(VERSION, Ordering::Relaxed);
        table.words[0].store(MAGIC, Ordering::Release);
        Ok(table)
    }

    /// Uses the table of another generation.
    pub(super) fn adopt(file: OwnedFd) -> io::Result<Self> {
        let table = Self::map(file)?;
        let invalid = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        if table.words[0].load(Ordering::Acquire) != MAGIC {
            return invalid("it is no table of metrics");
        }
        match table.words[1].load(Ordering::Relaxed) {
            VERSION => Ok(table),
            version => {
                invalid(&format!("its layout has version {version}, and this release knows {VERSION}"))
            }
        }
    }

    fn map(file: OwnedFd) -> io::Result<Self> {
        let words = sys::map_shared(&file)?;
        if words.len() < HEADER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too short"));
        }
        let index = Mutex::new(Index { seen: HEADER, ..Index::default() });
        Ok(Self { words, file, index, has_told_full: AtomicBool::new(false) })
    }

    /// For the successor, and for the supervisor.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The values of a series, which is added if it is not there yet. None if the table is full: the series is lost.
    pub(super) fn slot(&self, key: &[u8], layout: Layout) -> Option<Slot> {
        let mut index = self.index.lock();
        loop {
            self.catch_up(&mut index);
            if let Some(slots) = index.by_key.get(key) {
                return slots.first().copied();
            }
            match self.append(index.seen, key, layout) {
                // If another process was quicker, its record may be of this very series.
                Appended::Record | Appended::Overtaken => {}
                Appended::Full => {
                    drop(index);
                    self.note_lost();
                    return None;
                }
            }
        }
    }

    /// Every series with its values.
    pub(super) fn all(&self) -> Vec<(Box<[u8]>, Vec<u64>)> {
        let mut index = self.index.lock();
        self.catch_up(&mut index);
        index.by_key.iter().map(|(key, slots)| (key.clone(), sum(slots))).collect()
    }

    /// The values of one series.
    pub(super) fn values(&self, key: &[u8]) -> Vec<u64> {
        let mut index = self.index.lock();
        self.catch_up(&mut index);
        index.by_key.get(key).map(|slots| sum(slots)).unwrap_or_default()
    }

    /// How many series found no room, over all generations.
    pub(super) fn lost(&self) -> u64 {
        self.words[LOST_AT].load(Ordering::Relaxed)
    }

    fn note_lost(&self) {
        self.words[LOST_AT].fetch_add(1, Ordering::Relaxed);
        if !self.has_told_full.swap(true, Ordering::Relaxed) {
            log::notice(format_args!(
                "the table of metrics is full: new series are lost, and counted in gracehttp_metrics_lost_series_total; \
                 take labels with fewer values"
            ));
        }
    }

    /// Sees the records that were appended since the last time.
    fn catch_up(&self, index: &mut Index) {
        let incomplete = std::mem::take(&mut index.incomplete);
        for at in incomplete {
            self.see(index, at);
        }
        while let Some(length) = self.length(index.seen) {
            let at = index.seen;
            index.seen += length;
            self.see(index, at);
        }
    }

    /// The length of the record at a place; none if no record is there.
    fn length(&self, at: usize) -> Option<usize> {
        let head = self.words.get(at)?.load(Ordering::Acquire);
        let length = usize::try_from(head & !COMPLETE).ok()?;
        (length > HEAD && at + length <= self.words.len()).then_some(length)
    }

    fn see(&self, index: &mut Index, at: usize) {
        if self.words[at].load(Ordering::Acquire) & COMPLETE == 0 {
            index.incomplete.push(at);
        } else if let Some((key, slot)) = self.read(at) {
            index.by_key.entry(key).or_default().push(slot);
        }
    }

    /// A complete record.
    fn read(&self, at: usize) -> Option<(Box<[u8]>, Slot)> {
        let length = self.length(at)?;
        let shape = Shape::unpack(self.words[at + 1].load(Ordering::Relaxed))?;
        if shape.length(at) != length {
            return None;
        }
        let key_words = &self.words[at + HEAD..at + HEAD + shape.key.div_ceil(8)];
        let mut key: Vec<u8> =
            key_words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        key.truncate(shape.key);
        let start = shape.start(at);
        let values = &self.words[start..at + length];
        let slot = Slot { values, count: shape.values, stride: shape.stride(), mask: shape.shards - 1 };
        Some((key.into(), slot))
    }

    fn append(&self, at: usize, key: &[u8], layout: Layout) -> Appended {
        let shape = Shape::of(key, layout);
        let length = shape.length(at);
        if at + length >= self.words.len() {
            return Appended::Full;
        }
        let head = &self.words[at];
        if head.compare_exchange(0, length as u64, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // Behind a record that makes no sense nothing can be added.
            return if self.length(at).is_some() { Appended::Overtaken } else { Appended::Full };
        }
        self.words[at + 1].store(shape.pack(), Ordering::Relaxed);
        for (word, bytes) in self.words[at + HEAD..].iter().zip(key.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        head.store(length as u64 | COMPLETE, Ordering::Release);
        Appended::Record
    }
}

enum Appended {
    Record,
    Overtaken,
    Full,
}

impl Slot {
    /// The values that the calling thread adds to.
    pub(super) fn mine(&self) -> &'static [AtomicU64] {
        self.of_thread(thread_number())
    }

    /// The values that the thread with this number adds to.
    pub(super) fn of_thread(&self, number: usize) -> &'static [AtomicU64] {
        let start = (number & self.mask) * self.stride;
        &self.values[start..start + self.count]
    }
}

/// The values of a series over all shards and records.
fn sum(slots: &[Slot]) -> Vec<u64> {
    let count = slots.iter().map(|slot| slot.count).max().unwrap_or_default();
    let shards =
        slots.iter().flat_map(|slot| slot.values.chunks(slot.stride).map(|shard| &shard[..slot.count]));
    let mut sums = vec![0_u64; count];
    for shard in shards {
        for (sum, value) in sums.iter_mut().zip(shard) {
            *sum = sum.wrapping_add(value.load(Ordering::Relaxed));
        }
    }
    sums
}

/// What the second word of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Bytes of the key.
    key: usize,
    values: usize,
    shards: usize,
}

impl Shape {
    fn of(key: &[u8], layout: Layout) -> Self {
        match layout {
            Layout::Shared { values } => Self { key: key.len(), values, shards: 1 },
            Layout::Sharded { values } => Self { key: key.len(), values, shards: places(MOST_SHARDS) },
        }
    }

    fn pack(self) -> u64 {
        (self.key as u64) << 32 | (self.values as u64) << 16 | self.shards as u64
    }

    fn unpack(word: u64) -> Option<Self> {
        let part = |shift: u32, bits: u32| usize::try_from(word >> shift & ((1 << bits) - 1)).ok();
        let shape = Self { key: part(32, 32)?, values: part(16, 16)?, shards: part(0, 16)? };
        (shape.values > 0 && shape.shards.is_power_of_two()).then_some(shape)
    }

    /// From a shard to the next.
    fn stride(self) -> usize {
        if self.shards == 1 { self.values } else { self.values.next_multiple_of(LINE) }
    }

    /// Where the values of a record at `at` begin.
    fn start(self, at: usize) -> usize {
        let behind_key = at + HEAD + self.key.div_ceil(8);
        if self.shards == 1 { behind_key } else { behind_key.next_multiple_of(LINE) }
    }

    fn length(self, at: usize) -> usize {
        self.start(at) + self.shards * self.stride() - at
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
