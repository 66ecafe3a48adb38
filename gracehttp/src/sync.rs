//! Locks and atomics whose order decides who has a connection or a permit. In a model test they are the checker's, which
//! tries the orders in which threads can reach them.

#[cfg(not(all(test, gracehttp_model)))]
pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
#[cfg(not(all(test, gracehttp_model)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
#[cfg(not(all(test, gracehttp_model)))]
pub(crate) use tokio::sync::Notify;

#[cfg(all(test, gracehttp_model))]
pub(crate) use model::{Mutex, Notify, RwLock};
#[cfg(all(test, gracehttp_model))]
pub(crate) use shuttle::sync::MutexGuard;
#[cfg(all(test, gracehttp_model))]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

#[cfg(all(test, gracehttp_model))]
pub(crate) mod model {
    //! The checker's locks with the interface of `parking_lot`, and its schedules.

    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::sync::atomic::{AtomicBool, Ordering};
    use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
    use shuttle::{Config, Runner};
    use tokio::sync::futures::Notified;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }
    }

    /// The notification of tokio, before each of whose calls another thread may run.
    #[derive(Debug, Default)]
    pub(crate) struct Notify {
        notify: tokio::sync::Notify,
        point: AtomicBool,
    }

    impl Notify {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn notified(&self) -> Notified<'_> {
            self.at_point().notified()
        }

        pub(crate) fn notify_one(&self) {
            self.at_point().notify_one();
        }

        pub(crate) fn notify_waiters(&self) {
            self.at_point().notify_waiters();
        }

        fn at_point(&self) -> &tokio::sync::Notify {
            self.point.load(Ordering::SeqCst);
            &self.notify
        }
    }

    /// Runs a model under two thousand schedules: random ones, and ones with a few preemptions at chosen places, which
    /// find other faults.
    pub(crate) fn check(model: impl Fn() + Clone + Send + Sync + 'static) {
        let schedules = std::env::var("GRACEHTTP_SCHEDULES").map_or(1000, |count| count.parse().unwrap());
        Runner::new(RandomScheduler::new(schedules), Config::new()).run(model.clone());
        Runner::new(PctScheduler::new(3, schedules), Config::new()).run(model);
    }
}
