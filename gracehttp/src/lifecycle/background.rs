//! Work beside the servers: background tasks, for which the drain waits, and clean-up code, which runs after
//! it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::panic_message;
use crate::lifecycle::{Drain, Phase, Shutdown};
use crate::log;

/// What clean-up code gets where the drain has used up its time.
pub(crate) const AT_LEAST: Duration = Duration::from_secs(2);

/// Starts a background task, for which the end of the process waits: a consumer of a queue, a periodic
/// refresh, an e-mail after the response.
///
/// The task gets a [`Shutdown`], which resolves when it should come to its end. It then has what is left of
/// `drain_timeout`, or is cut and reported. A panic in it is logged, and the process serves on.
///
/// ```no_run
/// use std::time::Duration;
/// # #[gracehttp::server(port = 9090)] async fn ping() {}
///
/// #[gracehttp::main(servers(ping))]
/// async fn main() {
///     gracehttp::spawn(async |mut shutdown| {
///         loop {
///             tokio::select! {
///                 () = tokio::time::sleep(Duration::from_secs(60)) => refresh().await,
///                 () = &mut shutdown => break,
///             }
///         }
///     });
/// }
/// # async fn refresh() {}
/// ```
///
/// It may be called in start-up code, in handlers, and in other such tasks.
///
/// # Panics
///
/// Outside of a tokio runtime, as [`tokio::spawn`] does.
#[track_caller]
pub fn spawn<F, Fut>(task: F)
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let background = Background::of(&Handle::current());
    let running = background.begin(Location::caller());
    let work = log_panic("a background task", running.origin, task(Shutdown::of(background.drain.clone())));
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = running.background.drain.reached(Phase::Cutting) => {}
        }
        drop(running);
    });
}

/// Registers clean-up code, which runs once, after the drain: no request and no background task is under way
/// any more. Of several, the last one registered runs first.
///
/// It gets what is left of `drain_timeout`, and at least two seconds. It also runs if the start-up code fails,
/// or is given up after it has registered it.
///
/// ```no_run
/// # #[derive(Clone)] struct Pool;
/// # impl Pool { async fn open() -> Self { Pool } async fn close(&self) {} }
/// # #[gracehttp::server(port = 9090)] async fn ping() {}
/// #[gracehttp::main(servers(ping))]
/// async fn main() -> Pool {
///     let pool = Pool::open().await;
///     let at_the_end = pool.clone();
///     gracehttp::on_exit(async move { at_the_end.close().await });
///     pool
/// }
/// ```
///
/// # Panics
///
/// Outside of a tokio runtime.
#[track_caller]
pub fn on_exit<F>(clean_up: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let code = log_panic("clean-up code", Location::caller(), clean_up);
    Background::of(&Handle::current()).clean_up().push(Box::pin(code));
}

type Origin = &'static Location<'static>;
type CleanUp = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The background tasks and the clean-up code of one runtime. An application has one runtime, and each
/// `#[tokio::test]` has one of its own.
#[derive(Default)]
pub(crate) struct Background {
    drain: Drain,
    /// How many tasks run, by the place that started them.
    running: Mutex<BTreeMap<Origin, usize>>,
    ended: Notify,
    clean_up: Mutex<Vec<CleanUp>>,
}

static ALL: LazyLock<Mutex<HashMap<Id, Arc<Background>>>> = LazyLock::new(Mutex::default);

impl Background {
    /// That of `runtime`.
    pub(crate) fn of(runtime: &Handle) -> Arc<Self> {
        lock(&ALL).entry(runtime.id()).or_default().clone()
    }

    /// Parts with that of `runtime`, after its end: what is registered there from now on is news.
    pub(crate) fn forget(runtime: &Handle) {
        lock(&ALL).remove(&runtime.id());
    }

    /// Resolves once no task runs.
    pub(crate) async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Tells the tasks that the process ends.
    pub(crate) fn shut_down(&self) {
        if self.drain.phase() < Phase::Stopping {
            self.drain.enter(Phase::Stopping);
        }
    }

    /// Cuts the tasks that still run. One that blocks its thread can't be cut; the process ends without it.
    pub(crate) fn cut(&self) {
        self.drain.enter(Phase::Cutting);
    }

    /// What still runs, in words: `2 background tasks (src/main.rs:20, src/mail.rs:7)`.
    pub(crate) fn left(&self) -> Option<String> {
        let running = self.running();
        let count: usize = running.values().sum();
        let plural = if count == 1 { "" } else { "s" };
        let origins: Vec<String> =
            running.keys().map(|origin| format!("{}:{}", origin.file(), origin.line())).collect();
        (count > 0).then(|| format!("{count} background task{plural} ({})", origins.join(", ")))
    }

    /// Runs the clean-up code on `runtime`, whose timers and sockets it holds. What blocks there holds up
    /// nobody here.
    pub(crate) async fn clean_up_by(self: &Arc<Self>, deadline: Instant, runtime: &Handle) {
        if self.clean_up().is_empty() {
            // Spared where handlers block all threads to the end.
            return;
        }
        let limit = deadline.saturating_duration_since(Instant::now()).max(AT_LEAST);
        // As it is told, in whole milliseconds.
        let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let this = self.clone();
        let mut code = runtime.spawn(async move {
            // One at a time is taken: code that runs may register more.
            while let Some(code) = this.next_clean_up() {
                code.await;
            }
        });
        if tokio::time::timeout(limit, &mut code).await.is_err() {
            code.abort();
            let more = match self.clean_up().len() {
                0 => String::new(),
                count => format!("; {count} more did not come to run"),
            };
            log::error(format_args!(
                "the clean-up code is given up: it has not ended within {}{more}",
                crate::lifecycle::show(limit)
            ));
        }
    }

    /// The end of a process that never came to serve: tasks and clean-up code have the least time together,
    /// since a predecessor may be waiting to hear of it.
    pub(crate) async fn wind_up(self: &Arc<Self>, runtime: &Handle) {
        let deadline = Instant::now() + AT_LEAST;
        self.shut_down();
        if tokio::time::timeout_at(deadline, self.idle()).await.is_err()
            && let Some(left) = self.left()
        {
            log::notice(format_args!("cutting {left}"));
        }
        self.cut();
        self.clean_up_by(deadline, runtime).await;
    }

    fn begin(self: &Arc<Self>, origin: Origin) -> Running {
        *self.running().entry(origin).or_default() += 1;
        Running { background: self.clone(), origin }
    }

    fn next_clean_up(&self) -> Option<CleanUp> {
        self.clean_up().pop()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Origin, usize>> {
        lock(&self.running)
    }

    fn clean_up(&self) -> MutexGuard<'_, Vec<CleanUp>> {
        lock(&self.clean_up)
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("running", &self.running).finish_non_exhaustive()
    }
}

/// A task that counts as running until this is dropped.
struct Running {
    background: Arc<Background>,
    origin: Origin,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.background.running();
        if let Some(count) = running.get_mut(self.origin) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.origin);
            }
        }
        drop(running);
        self.background.ended.notify_waiters();
    }
}

/// The future, of which a panic is logged and goes no further.
async fn log_panic(what: &str, origin: Origin, work: impl Future<Output = ()>) {
    let mut work = Box::pin(work);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))).unwrap_or_else(|panic| {
            let (file, line) = (origin.file(), origin.line());
            log::error(format_args!("{what} ({file}:{line}) panicked: {}", panic_message(&*panic)));
            Poll::Ready(())
        })
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn here() -> Arc<Background> {
        Background::of(&Handle::current())
    }

    #[tokio::test]
    async fn a_task_is_waited_for_and_told() {
        spawn(async |shutdown| shutdown.await);
        assert!(
            here().left().unwrap().starts_with("1 background task (gracehttp/src/lifecycle/background.rs:")
        );
        here().shut_down();
        here().idle().await;
        assert_eq!(here().left(), None);
    }

    #[tokio::test]
    async fn a_task_that_does_not_listen_is_cut() {
        let (dropped, is_dropped) = oneshot::channel::<()>();
        spawn(async move |_| {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        here().cut();
        here().idle().await;
        assert!(is_dropped.await.is_err());
    }

    #[tokio::test]
    async fn a_panic_ends_its_task_alone() {
        spawn(async |_| panic!("a task's own fault"));
        here().idle().await;
    }

    #[tokio::test]
    async fn clean_up_code_runs_once_the_last_first_whatever_panics() {
        static SEEN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
        on_exit(async { SEEN.lock().push(1) });
        on_exit(async { panic!("clean-up code's own fault") });
        on_exit(async {
            SEEN.lock().push(2);
            on_exit(async { SEEN.lock().push(3) });
        });
        for _ in 0..2 {
            here().clean_up_by(Instant::now(), &Handle::current()).await;
        }
        assert_eq!(*SEEN.lock(), [2, 3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn clean_up_code_has_a_limit() {
        let start = Instant::now();
        on_exit(std::future::pending());
        here().clean_up_by(start + Duration::from_secs(5), &Handle::current()).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        on_exit(std::future::pending());
        here().clean_up_by(start, &Handle::current()).await;
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[test]
    fn every_runtime_has_its_own() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, other) = (runtime(), runtime());
        assert!(Arc::ptr_eq(&Background::of(one.handle()), &Background::of(one.handle())));
        assert!(!Arc::ptr_eq(&Background::of(one.handle()), &Background::of(other.handle())));
    }
}
