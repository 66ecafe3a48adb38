//! Keeps a worker thread watching for input and output while others are blocked.
//!
//! One idle worker thread waits for what comes, and the other idle ones wait for that one. If one task becomes ready, tokio
//! runs it on the thread that has waited, and wakes no other. If that task blocks its thread, nothing watches any
//! connection, even if all other threads are idle.
//!
//! So each thread counts when it stops and when it begins to wait, and the control runtime looks at the counts. A thread that
//! has not waited for as long as a [`PERIOD`] may be blocked. Then the workers get an empty task. It wakes an idle thread,
//! which has nothing else to do and watches from then on.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::lifecycle::start_on;

/// The time between two looks. A blocked thread delays the connections for two of them at most.
const PERIOD: Duration = Duration::from_millis(25);

/// What the threads of one runtime tell the thread that looks at them.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    threads: Mutex<Vec<Thread>>,
    /// No thread has worked for a while, so nothing looks at them.
    is_asleep: AtomicBool,
    /// A thread works again.
    woken: Notify,
}

/// One thread, as the last look found it.
#[derive(Debug)]
struct Thread {
    turns: Arc<Turns>,
    seen: u64,
    /// Another thread was woken to watch in its place.
    is_relieved: bool,
}

/// How often a thread has begun to work and to wait. Odd while it works. The thread alone counts.
#[derive(Debug, Default)]
struct Turns(AtomicU64);

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A thread may be blocked, and none was woken in its place so far.
    Stall,
    /// Some thread has worked or waited since the last look.
    Change,
    Nothing,
}

thread_local! {
    /// A thread works for one runtime.
    static TURNS: OnceCell<Arc<Turns>> = const { OnceCell::new() };
}

impl Stalls {
    /// The calling thread begins to wait for something to do.
    pub(crate) fn note_wait(&self) {
        self.turn(|turns| turns.store(turns.load(Ordering::Relaxed).next_multiple_of(2), Ordering::Relaxed));
    }

    /// The calling thread has found something to do.
    pub(crate) fn note_work(&self) {
        // Sequentially consistent, as are the steps of `until_work`: either that sees this turn, or this sees that it is asleep.
        self.turn(|turns| turns.swap(turns.load(Ordering::Relaxed) | 1, Ordering::SeqCst));
        if self.is_asleep.load(Ordering::SeqCst) && self.is_asleep.swap(false, Ordering::Relaxed) {
            self.woken.notify_one();
        }
    }

    fn turn<T>(&self, change: impl FnOnce(&AtomicU64) -> T) {
        // A thread that ends is not looked at any more.
        _ = TURNS.try_with(|turns| change(&turns.get_or_init(|| self.enlist()).0));
    }

    fn enlist(&self) -> Arc<Turns> {
        let turns = Arc::new(Turns::default());
        self.threads.lock().push(Thread { turns: turns.clone(), seen: 0, is_relieved: false });
        turns
    }

    /// Looks at the threads of `workers` for as long as the process lives. Has to run on another runtime.
    pub(crate) async fn relieve(self: Arc<Self>, workers: Handle) {
        // A thread that is alone can't be relieved.
        if workers.metrics().num_workers() == 1 {
            return;
        }
        loop {
            sleep(PERIOD).await;
            match self.look() {
                Found::Stall => drop(start_on(&workers, async {})),
                Found::Change => {}
                Found::Nothing => self.until_work().await,
            }
        }
    }

    fn look(&self) -> Found {
        let mut found = Found::Nothing;
        let mut threads = self.threads.lock();
        threads.retain(|thread| Arc::strong_count(&thread.turns) > 1);
        for thread in threads.iter_mut() {
            let turn = thread.turns.0.load(Ordering::SeqCst);
            if turn != thread.seen {
                (thread.seen, thread.is_relieved) = (turn, false);
                found = if found == Found::Nothing { Found::Change } else { found };
            } else if turn % 2 == 1 && !thread.is_relieved {
                thread.is_relieved = true;
                found = Found::Stall;
            }
        }
        found
    }

    /// Waits until a thread has something to do, so that an idle process has no timer.
    async fn until_work(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
        if self.look() == Found::Nothing {
            self.woken.notified().await;
        }
        self.is_asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::thread;
    use tokio::time::timeout;

    #[test]
    fn a_thread_that_works_on_is_relieved_once_and_one_that_waits_is_not() {
        let stalls = Stalls::default();
        stalls.note_wait();
        assert_eq!(stalls.look(), Found::Nothing);
        stalls.note_work();
        assert_eq!([(); 3].map(|()| stalls.look()), [Found::Change, Found::Stall, Found::Nothing]);
        // It has waited, and works again.
        stalls.note_wait();
        stalls.note_work();
        assert_eq!([(); 3].map(|()| stalls.look()), [Found::Change, Found::Stall, Found::Nothing]);
        stalls.note_wait();
        assert_eq!([(); 2].map(|()| stalls.look()), [Found::Change, Found::Nothing]);
    }

    #[test]
    fn a_thread_that_has_ended_is_forgotten() {
        let stalls = Stalls::default();
        thread::scope(|scope| scope.spawn(|| stalls.note_work()).join().unwrap());
        assert_eq!(stalls.look(), Found::Nothing);
        assert_eq!(stalls.threads.lock().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_looks_at_idle_threads_until_one_works() {
        let stalls = Stalls::default();
        stalls.note_wait();
        let mut asleep = pin!(stalls.until_work());
        assert!(timeout(Duration::from_secs(3600), &mut asleep).await.is_err());
        stalls.note_work();
        asleep.await;
        assert!(!stalls.is_asleep.load(Ordering::SeqCst));
        // A thread that begins to work while the other falls asleep is seen.
        stalls.note_wait();
        assert_eq!(stalls.look(), Found::Change);
        stalls.note_work();
        stalls.until_work().await;
    }
}
