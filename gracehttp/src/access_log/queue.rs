//! Lines that wait for their writer. Threads that serve never wait for it: a line for which there is no room is counted as
//! lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::lifecycle::{places, thread_number};

/// A place that holds so many bytes takes no further line.
const CAPACITY: usize = 1 << 20;

/// With so many bytes in one place the writer writes at once.
const MUCH: usize = 256 << 10;

/// How long lines are gathered, to be written together.
const GATHER: Duration = Duration::from_millis(20);

/// The most places: one for each thread that serves, where there are not too many.
const MOST_PLACES: usize = 16;

/// The least memory that an emptied buffer keeps. It keeps twice what it held last, if that is more: to grow it for every write
/// would cost as much as the write.
const KEPT: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Queue {
    places: Box<[Place]>,
    /// The writer knows that there are lines.
    is_awake: AtomicBool,
    /// The writer is to write at once.
    hurries: AtomicBool,
    lost: AtomicU64,
    /// The process ends: only [last lines](Self::push_last) are taken.
    is_closed: AtomicBool,
    /// Held while the writer goes to wait, and while it is woken.
    waiting: Mutex<()>,
    woken: Condvar,
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(Mutex<Vec<u8>>);

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            places: (0..places(MOST_PLACES)).map(|_| Place::default()).collect(),
            is_awake: AtomicBool::new(false),
            hurries: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            waiting: Mutex::new(()),
            woken: Condvar::new(),
        }
    }

    /// Adds the line that `put` appends, or counts it as lost.
    pub(super) fn push(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let lines = self.place().lock();
        if !self.is_closed.load(Ordering::Relaxed) {
            self.add(lines, put);
        }
    }

    /// Adds a line even if the queue is closed.
    pub(super) fn push_last(&self, put: impl FnOnce(&mut Vec<u8>)) {
        self.add(self.place().lock(), put);
    }

    /// From now on takes no line but the [last ones](Self::push_last).
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        // Waits for threads that add a line. One that locks its place from now on sees that the queue is closed.
        self.places.iter().for_each(|place| drop(place.0.lock()));
    }

    fn place(&self) -> &Mutex<Vec<u8>> {
        // Their number is a power of two, so that this needs no division.
        &self.places[thread_number() & (self.places.len() - 1)].0
    }

    fn add(&self, mut lines: MutexGuard<'_, Vec<u8>>, put: impl FnOnce(&mut Vec<u8>)) {
        let before = lines.len();
        if before >= CAPACITY {
            drop(lines);
            self.note_lost(1);
            return;
        }
        put(&mut lines);
        let after = lines.len();
        drop(lines);
        if before == 0 && !self.is_awake.swap(true, Ordering::AcqRel) {
            self.wake_writer();
        }
        if before < MUCH && after >= MUCH && !self.hurries.swap(true, Ordering::AcqRel) {
            self.wake_writer();
        }
    }

    /// Wakes the writer at once, for something else than lines.
    pub(super) fn hurry(&self) {
        self.is_awake.store(true, Ordering::Release);
        self.hurries.store(true, Ordering::Release);
        self.wake_writer();
    }

    fn wake_writer(&self) {
        // Under the lock: a writer that is about to wait would miss the notification.
        let _waiting = self.waiting.lock();
        self.woken.notify_one();
    }

    /// Waits until there is something to do, and then a little longer, in which more may come.
    pub(super) fn wait(&self) {
        let mut waiting = self.waiting.lock();
        while !self.is_awake.load(Ordering::Acquire) {
            self.woken.wait(&mut waiting);
        }
        let end = Instant::now() + GATHER;
        while !self.hurries.load(Ordering::Acquire) {
            if self.woken.wait_until(&mut waiting, end).timed_out() {
                break;
            }
        }
        // Before the lines are gathered, so that each later one wakes the writer again.
        self.hurries.store(false, Ordering::Release);
        self.is_awake.store(false, Ordering::Release);
    }

    /// Gives all lines that wait to `write`, whole lines at a time.
    pub(super) fn gather(&self, spare: &mut Vec<u8>, mut write: impl FnMut(&[u8])) {
        for place in &self.places {
            std::mem::swap(spare, &mut *place.0.lock());
            if !spare.is_empty() {
                write(spare);
                let kept = KEPT.max(2 * spare.len());
                spare.clear();
                spare.shrink_to(kept);
            }
        }
    }

    pub(super) fn note_lost(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_room_are_counted_and_those_before_stay_whole() {
        let queue = Queue::new();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let pushed = 2 * CAPACITY / line.len();
        (0..pushed).for_each(|_| queue.push(|lines| lines.extend_from_slice(&line)));
        let mut gathered = 0;
        queue.gather(&mut Vec::new(), |lines| {
            assert!(lines.chunks(100).all(|chunk| chunk == line));
            gathered += lines.len() / line.len();
        });
        assert_eq!(gathered as u64 + queue.lost(), pushed as u64);
        assert!(queue.lost() > 0);
        queue.push(|lines| lines.push(b'\n'));
        queue.wait();
        queue.gather(&mut Vec::new(), |lines| assert_eq!(lines, b"\n"));
    }

    #[test]
    fn a_closed_queue_takes_the_last_lines_alone() {
        let queue = Queue::new();
        queue.push(|lines| lines.extend_from_slice(b"before\n"));
        queue.close();
        queue.push(|lines| lines.extend_from_slice(b"behind\n"));
        queue.push_last(|lines| lines.extend_from_slice(b"last\n"));
        queue.gather(&mut Vec::new(), |lines| assert_eq!(lines, b"before\nlast\n"));
    }

    #[test]
    fn every_line_of_many_threads_wakes_its_writer() {
        const THREADS: usize = 4;
        const LINES: usize = 20_000;
        let queue = Queue::new();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    (0..LINES).for_each(|_| queue.push(|lines| lines.extend_from_slice(b"a line\n")));
                });
            }
            let (mut gathered, mut spare) = (0, Vec::new());
            while gathered + (queue.lost() as usize) < THREADS * LINES {
                queue.wait();
                queue.gather(&mut spare, |lines| {
                    gathered += lines.split(|byte| *byte == b'\n').filter(|line| *line == b"a line").count();
                });
            }
        });
    }
}
