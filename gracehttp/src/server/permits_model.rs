//! Whatever the order in which threads and processes take, give back and report permits: the limit holds, and a permit
//! that is free is found.

use std::sync::atomic::AtomicUsize as Plain;

use shuttle::future::block_on;
use shuttle::thread;

use super::*;
use crate::sync::model::check;

const LIMIT: usize = 3;

fn permits() -> Arc<Permits> {
    Arc::new(Permits::new(LIMIT, Arc::default()))
}

/// How many connections both processes have. The checker does not see it, so looks at it cost no schedule.
#[derive(Clone, Default)]
struct Connections(Arc<Plain>);

impl Connections {
    fn add(&self, count: usize) {
        let now = self.0.fetch_add(count, Ordering::SeqCst) + count;
        assert!(now <= LIMIT, "{now} connections under a limit of {LIMIT}");
    }

    fn remove(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A predecessor that holds one connection asks for two more, while this process accepts.
#[test]
fn the_limit_holds_while_permits_are_granted() {
    check(|| {
        let (permits, connections) = (permits(), Connections::default());
        permits.set_foreign(1);
        connections.add(1);
        let accepting = [0; 2].map(|_| {
            let (permits, connections) = (permits.clone(), connections.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    let Some(permit) = permits.try_acquire(Turn::Usual) else { continue };
                    connections.add(1);
                    thread::yield_now();
                    connections.remove();
                    drop(permit);
                }
            })
        });
        permits.set_foreign(3);
        let granted = permits.spare(2);
        connections.add(granted);
        permits.set_foreign(1 + granted);
        accepting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(permits.held(), 0);
    });
}

/// Another process accepts from the pause on. It learns the count after the pause, and takes the rest of the limit.
#[test]
fn a_count_after_a_pause_covers_all_permits_that_were_kept() {
    check(|| {
        let permits = permits();
        let kept = Arc::new(Plain::new(0));
        let accepting = [0; 2].map(|_| {
            let (permits, kept) = (permits.clone(), kept.clone());
            thread::spawn(move || {
                if let Some(permit) = permits.try_acquire(Turn::Usual) {
                    kept.fetch_add(1, Ordering::SeqCst);
                    permit.into_count();
                }
            })
        });
        permits.pause();
        let count = permits.held();
        accepting.into_iter().for_each(|thread| thread.join().unwrap());
        let kept = kept.load(Ordering::SeqCst);
        assert!(kept <= count, "{kept} permits were kept, {count} were reported");
        assert_eq!(permits.held(), kept);
    });
}

/// Permits of a full server become free one by one, and several at once when another process reports fewer.
#[test]
fn a_permit_that_becomes_free_is_found_by_one_that_waits() {
    check(|| {
        let permits = permits();
        permits.set_foreign(LIMIT - 1);
        let accepting = [0; 3].map(|_| {
            let permits = permits.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    drop(block_on(permits.acquire(Turn::Usual)));
                }
            })
        });
        permits.set_foreign(LIMIT);
        permits.set_foreign(0);
        accepting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(permits.held(), 0);
    });
}

/// A queue is emptied with permits that the successor grants, by two loops, while one request ends and the successor dies.
#[test]
fn no_granted_permit_is_taken_twice() {
    check(|| {
        let permits = permits();
        permits.permit_requests().share();
        let taken = Arc::new(Plain::new(0));
        let emptying = [0; 2].map(|_| {
            let (permits, taken) = (permits.clone(), taken.clone());
            thread::spawn(move || {
                let asking = permits.ask();
                if let Some(permit) = permits.try_acquire(Turn::Last) {
                    taken.fetch_add(1, Ordering::SeqCst);
                    permit.into_count();
                }
                drop(asking);
            })
        });
        let granted = permits.permit_requests().asked().min(1);
        permits.grant(granted);
        emptying.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(taken.load(Ordering::SeqCst) <= granted);
        assert_eq!(permits.permit_requests().reserved(), 0);
    });
}
