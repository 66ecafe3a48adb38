//! The numbers of threads. What each request of each thread changes lies apart for threads with different numbers.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    /// The number of the thread, once it has one. The first value is a constant, so no access has to check whether there is
    /// a value.
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Threads count themselves, so that neighbours have different places.
pub(crate) fn thread_number() -> usize {
    match NUMBER.get() {
        usize::MAX => count_thread(),
        number => number,
    }
}

/// How many threads serve; 0 until [`note_serving_threads`] is called.
static SERVING: AtomicUsize = AtomicUsize::new(0);

/// Notes how many threads serve.
pub(crate) fn note_serving_threads(count: usize) {
    SERVING.store(count, Ordering::Relaxed);
}

/// How many places keep the threads that serve apart: one for each, up to a limit. A power of two.
pub(crate) fn places(most: usize) -> usize {
    let threads = match SERVING.load(Ordering::Relaxed) {
        // The fallback takes a dozen system calls, since a container may have a share of the processors.
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    threads.next_power_of_two().min(most)
}

#[cold]
fn count_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    let number = THREADS.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    number
}
