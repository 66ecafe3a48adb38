//! A bounded queue with one reader. Its writers never wait for room.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// The result of a reader's wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Item(T),
    /// The number of items that found no room at this point.
    Lost(u64),
    /// The queue is empty, and the reader's wake-up time has come.
    TimeIsUp,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(usize, Next<T>)>,
    bytes: usize,
    /// How many items found no room.
    lost: u64,
    /// How many of them the waiting items, and those before, tell of.
    told: u64,
    /// The reader still works on the item that it has taken.
    is_busy: bool,
    /// A wait for the reader has timed out, and the reader has not come back since.
    is_stuck: bool,
}

impl<T> Queue<T> {
    /// A queue for items of `capacity` bytes in total.
    pub(super) const fn new(capacity: usize) -> Self {
        let state =
            State { waiting: VecDeque::new(), bytes: 0, lost: 0, told: 0, is_busy: false, is_stuck: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new(), capacity }
    }

    /// Adds an item of `bytes` bytes. If there is no room, the item is dropped and counted.
    pub(super) fn push(&self, bytes: usize, item: T) {
        let mut state = self.lock();
        if state.bytes + bytes > self.capacity {
            state.lost += 1;
            return;
        }
        if let lost @ 1.. = state.tell_lost() {
            state.waiting.push_back((0, Next::Lost(lost)));
        }
        state.bytes += bytes;
        state.waiting.push_back((bytes, Next::Item(item)));
        drop(state);
        self.filled.notify_one();
    }

    /// Makes the reader ask again for its wake-up time.
    pub(super) fn nudge(&self) {
        // Under the lock: a reader that is about to wait would miss the notification.
        let _state = self.lock();
        self.filled.notify_one();
    }

    /// Waits for the next item, at most until `wake_at`, which is called before each wait.
    pub(super) fn next(&self, wake_at: impl Fn() -> Option<Instant>) -> Next<T> {
        let mut state = self.lock();
        (state.is_busy, state.is_stuck) = (false, false);
        loop {
            if let Some((bytes, next)) = state.waiting.pop_front() {
                state.bytes -= bytes;
                state.is_busy = true;
                return next;
            }
            if let lost @ 1.. = state.tell_lost() {
                state.is_busy = true;
                return Next::Lost(lost);
            }
            self.emptied.notify_all();
            match wake_at().map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.filled.wait(&mut state),
                Some(Duration::ZERO) => {
                    state.is_busy = true;
                    return Next::TimeIsUp;
                }
                Some(rest) => _ = self.filled.wait_for(&mut state, rest),
            }
        }
    }

    /// Waits until the reader has finished all items, at most for `limit`. After a time-out further calls return at
    /// once until the reader comes back.
    pub(super) fn settle(&self, limit: Duration) {
        let mut state = self.lock();
        if state.is_stuck {
            return;
        }
        let is_unsettled =
            |state: &mut State<T>| state.is_busy || !state.waiting.is_empty() || state.lost > state.told;
        let outcome = self.emptied.wait_while_for(&mut state, is_unsettled, limit);
        state.is_stuck |= outcome.timed_out();
    }

    /// How many items found no room since the start.
    #[cfg(feature = "admin")]
    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }
}

impl<T> State<T> {
    /// How many items were lost that nothing has told of yet.
    fn tell_lost(&mut self) -> u64 {
        let untold = self.lost - self.told;
        self.told = self.lost;
        untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn never() -> Option<Instant> {
        None
    }

    #[test]
    fn items_without_room_are_counted_where_they_are_missing() {
        let queue = Queue::new(4);
        for item in ["a", "b", "lost", "lost"] {
            queue.push(2, item);
        }
        assert_eq!(queue.next(never), Next::Item("a"));
        queue.push(2, "c");
        queue.push(1, "lost");
        assert_eq!(queue.next(never), Next::Item("b"));
        assert_eq!(queue.next(never), Next::Lost(2));
        assert_eq!(queue.next(never), Next::Item("c"));
        assert_eq!(queue.next(never), Next::Lost(1), "also if nothing more comes");
    }

    #[test]
    fn a_reader_is_woken_at_its_time_and_when_that_changes() {
        let queue: Queue<()> = Queue::new(0);
        assert_eq!(queue.next(|| Some(Instant::now())), Next::TimeIsUp);
        let wake_at = Mutex::new(None);
        thread::scope(|scope| {
            let reader = scope.spawn(|| queue.next(|| *wake_at.lock()));
            *wake_at.lock() = Some(Instant::now());
            queue.nudge();
            assert_eq!(reader.join().unwrap(), Next::TimeIsUp);
        });
    }

    #[test]
    fn only_the_first_call_waits_for_a_stuck_reader() {
        let queue = Queue::new(1);
        queue.push(1, "a");
        queue.settle(Duration::from_millis(1));
        queue.settle(Duration::from_secs(3600));
        assert_eq!(queue.next(never), Next::Item("a"));
        thread::scope(|scope| {
            let reader = scope.spawn(|| queue.next(never));
            queue.settle(Duration::from_secs(60));
            queue.push(1, "b");
            assert_eq!(reader.join().unwrap(), Next::Item("b"));
        });
    }
}
