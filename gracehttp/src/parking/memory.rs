//! Memory goes back to the system when many connections have parked.
//!
//! What they used while awake (tasks, buffers and, most of all, their TLS handshakes) is free as soon as they are
//! parked. But glibc keeps freed memory for the process, and after many handshakes at once that is ten times what the
//! parked connections need. Connections that wake and park again leave as much behind, if many do so at once.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::sleep;

/// So many more parked connections than before are worth the cost: some milliseconds of CPU time.
const MANY: usize = 512;

/// How long the attendant watches whether connections still park.
const MOMENT: Duration = Duration::from_millis(100);

/// Fewer than this share of the growth, parked within [`MOMENT`], are the everyday traffic of connections that wake and
/// park again.
const SHARE: usize = 16;

/// The shortest time between two times that memory is given back. If all connections wake and park again and again, they need
/// the memory again at once.
const PAUSE: Duration = Duration::from_secs(5);

/// How many connections of all servers of a process are parked.
#[derive(Debug, Default)]
pub(crate) struct ParkedCount {
    counts: Mutex<Counts>,
    /// Notified when the growth, or the connections that were parked again, become [`MANY`].
    many: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    parked: usize,
    /// The fewest that were parked since memory was given back. What is above them is the growth.
    fewest: usize,
    /// How often a connection was parked.
    parks: usize,
    /// How often one had been parked when memory was given back.
    parks_then: usize,
}

impl ParkedCount {
    pub(super) fn add(&self) {
        let mut counts = self.counts();
        counts.parked += 1;
        counts.parks = counts.parks.wrapping_add(1);
        let is_many = counts.growth() == MANY || counts.parked_again() == MANY;
        drop(counts);
        if is_many {
            self.many.notify_one();
        }
    }

    pub(super) fn remove(&self) {
        let mut counts = self.counts();
        counts.parked -= 1;
        counts.fewest = counts.fewest.min(counts.parked);
    }

    /// Gives memory back each time that many have parked and hardly any still do. While few park, it has no timer.
    pub(crate) async fn attend<F: Future>(&self, give_back: impl Fn() -> F) {
        loop {
            let parks = self.many().await;
            sleep(MOMENT).await;
            let is_settled = self.counts().start_anew_if_settled_since(parks);
            if is_settled {
                give_back().await;
            }
            // Traffic without a pause is looked at as rarely as memory is given back.
            if is_settled || self.counts().growth() < MANY {
                sleep(PAUSE).await;
            }
        }
    }

    /// Waits until many have parked, and tells how often a connection was parked by then.
    async fn many(&self) -> usize {
        loop {
            {
                let counts = self.counts();
                if counts.growth() >= MANY || counts.parked_again() >= MANY {
                    return counts.parks;
                }
            }
            self.many.notified().await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

impl Counts {
    fn growth(&self) -> usize {
        self.parked - self.fewest
    }

    /// How many were parked since memory was given back, at most as many as there are: some may have woken in between.
    fn parked_again(&self) -> usize {
        self.parks.wrapping_sub(self.parks_then).min(self.parked)
    }

    /// Whether many have parked and few of them since `parks`, or many have parked again and none since. If so, both are
    /// counted from here on.
    fn start_anew_if_settled_since(&mut self, parks: usize) -> bool {
        let recent = self.parks.wrapping_sub(parks);
        let has_grown = self.growth() >= MANY && recent <= self.growth() / SHARE;
        let is_settled = has_grown || (self.parked_again() >= MANY && recent == 0);
        if is_settled {
            (self.fewest, self.parks_then) = (self.parked, self.parks);
        }
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};
    use tokio::time::{Instant, advance};

    /// How often the attendant was woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs a story beside the attendant. Returns when, in milliseconds, memory was given back.
    async fn given_back_during(story: impl AsyncFnOnce(&ParkedCount)) -> Vec<u128> {
        let (parked, start) = (ParkedCount::default(), Instant::now());
        let times = Cell::new(Vec::new());
        let note = || async {
            let mut so_far = times.take();
            so_far.push(start.elapsed().as_millis());
            times.set(so_far);
        };
        tokio::select! {
            biased;
            () = parked.attend(note) => unreachable!("it attends for ever"),
            () = story(&parked) => {}
        }
        times.take()
    }

    fn park(parked: &ParkedCount, count: usize) {
        (0..count).for_each(|_| parked.add());
    }

    fn wake(parked: &ParkedCount, count: usize) {
        (0..count).for_each(|_| parked.remove());
    }

    async fn pass(milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn memory_goes_back_once_after_many_have_parked() {
        let times = given_back_during(async |parked| {
            park(parked, 10_000);
            pass(60_000).await;
        });
        assert_eq!(times.await, [100]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_while_more_park() {
        let times = given_back_during(async |parked| {
            for _ in 0..20 {
                park(parked, 500);
                pass(50).await;
            }
            pass(60_000).await;
        });
        let times = times.await;
        assert!(matches!(times[..], [1000..=1200]), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn few_that_park_are_not_worth_it() {
        let times = given_back_during(async |parked| {
            park(parked, MANY - 1);
            pass(60_000).await;
        });
        assert_eq!(times.await, [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_wake_at_once_again_do_not_count() {
        let times = given_back_during(async |parked| {
            park(parked, 10_000);
            pass(50).await;
            wake(parked, 9_500);
            pass(60_000).await;
        });
        assert_eq!(times.await, [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn everyday_traffic_neither_prevents_nor_repeats_it() {
        let times = given_back_during(async |parked| {
            park(parked, 10_000);
            for _ in 0..60_000 {
                wake(parked, 1);
                pass(1).await;
                park(parked, 1);
            }
        });
        assert_eq!(times.await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_goes_back_after_many_have_woken_and_parked_again() {
        let times = given_back_during(async |parked| {
            park(parked, 10_000);
            pass(10_000).await;
            for _ in 0..MANY {
                wake(parked, 1);
                park(parked, 1);
            }
            pass(60_000).await;
        });
        assert_eq!(times.await, [100, 10_100]);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_all_wake_and_park_without_end_are_left_alone() {
        let times = given_back_during(async |parked| {
            for _ in 0..1000 {
                park(parked, 10_000);
                pass(40).await;
                wake(parked, 10_000);
                pass(10).await;
            }
        });
        assert_eq!(times.await, [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_many_count_from_the_fewest_since() {
        let times = given_back_during(async |parked| {
            park(parked, 10_000);
            pass(10_000).await;
            wake(parked, 400);
            park(parked, 400 + MANY - 1);
            pass(10_000).await;
            wake(parked, 400);
            park(parked, 400);
            pass(10_000).await;
        });
        assert_eq!(times.await, [100, 10_100]);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_goes_back_at_most_once_in_five_seconds() {
        let times = given_back_during(async |parked| {
            for _ in 0..10 {
                park(parked, 1_000);
                pass(300).await;
            }
            pass(60_000).await;
        });
        assert_eq!(times.await, [100, 5_200]);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_timer_while_few_park() {
        let (parked, wakes) = (ParkedCount::default(), Arc::new(Wakes::default()));
        park(&parked, MANY - 1);
        let waker = Waker::from(wakes.clone());
        let mut attended = pin!(parked.attend(|| async {}));
        assert!(attended.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        advance(Duration::from_secs(3600)).await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "how often a timer has woken it");
        park(&parked, 1);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "how often it was woken");
    }
}
