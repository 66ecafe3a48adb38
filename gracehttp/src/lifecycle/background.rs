//! Work beside the servers: background tasks, for which the drain waits, and clean-up code, which runs after
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::panic_message;
use crate::lifecycle::{Drain, Event, Events, Phase, Shutdown, show, start, start_on};
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
    start(async move {
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

pub(crate) type Origin = &'static Location<'static>;
type CleanUp = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The background tasks and the clean-up code of one runtime, for as long as the runtime lives. An application has one
/// runtime, and each `#[tokio::test]` has one of its own.
#[derive(Default)]
pub(crate) struct Background {
    drain: Drain,
    /// How many tasks run, by the place that started them.
    running: Mutex<BTreeMap<Origin, usize>>,
    ended: Notify,
    clean_up: Mutex<Vec<CleanUp>>,
}

/// [`spawn`] and [`on_exit`] find the `Background` of their runtime here. This list owns none of them: a task of the
/// runtime does, and drops it when the runtime ends.
///
/// A runtime can't carry a value of ours. A thread can enter it by its handle alone, as the threads of the start-up
/// code and of factories do, and perhaps threads of the application. A thread-local that the runtime's own threads set,
/// or a task-local, would miss those, and the process would end without waiting for their tasks.
static BY_RUNTIME: Mutex<Vec<(Id, Weak<Background>)>> = Mutex::new(Vec::new());

impl Background {
    /// That of `runtime`.
    pub(crate) fn of(runtime: &Handle) -> Arc<Self> {
        let mut by_runtime = BY_RUNTIME.lock();
        by_runtime.retain(|(_, background)| background.strong_count() > 0);
        let known = by_runtime.iter().find(|(id, _)| *id == runtime.id());
        if let Some(background) = known.and_then(|(_, background)| background.upgrade()) {
            return background;
        }
        let background = Arc::new(Self::default());
        by_runtime.push((runtime.id(), Arc::downgrade(&background)));
        let kept = background.clone();
        start_on(runtime, async move {
            pending::<()>().await;
            drop(kept);
        });
        background
    }

    /// Begins another one for `runtime`: what was registered so far has had its end.
    pub(crate) fn forget(runtime: &Handle) {
        BY_RUNTIME.lock().retain(|(id, _)| *id != runtime.id());
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

    /// The tasks that still run, if any do.
    pub(crate) fn left(&self) -> Option<TasksLeft> {
        let running = self.running();
        let (origins, count) = (running.keys().copied().collect(), running.values().sum());
        (count > 0).then_some(TasksLeft { count, origins })
    }

    /// Runs the clean-up code on `runtime`, whose timers and sockets it holds. Code that blocks a thread there does not
    /// hold up the caller.
    pub(crate) async fn clean_up_by(
        self: &Arc<Self>,
        deadline: Instant,
        runtime: &Handle,
    ) -> Result<(), CleanUpUnfinished> {
        if self.clean_up().is_empty() {
            // Handlers may block all threads to the end: without clean-up code that does not matter.
            return Ok(());
        }
        let limit = deadline.saturating_duration_since(Instant::now()).max(AT_LEAST);
        // As it is reported, in whole milliseconds.
        let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let this = self.clone();
        let mut code = start_on(runtime, async move {
            // One at a time is taken: code that runs may register more.
            while let Some(code) = this.next_clean_up() {
                code.await;
            }
        });
        if tokio::time::timeout(limit, &mut code).await.is_ok() {
            return Ok(());
        }
        code.abort();
        Err(CleanUpUnfinished { limit, not_begun: self.clean_up().len() })
    }

    /// Cleans up after the start-up code of a process that will not serve. Tasks and clean-up code share the least
    /// time, since a predecessor may wait for this process to end.
    pub(crate) async fn end_early(self: &Arc<Self>, runtime: &Handle, events: &Events) {
        let deadline = Instant::now() + AT_LEAST;
        self.shut_down();
        if tokio::time::timeout_at(deadline, self.idle()).await.is_err()
            && let Some(left) = self.left()
        {
            events.emit(&Event::TasksCut(left));
        }
        self.cut();
        if let Err(unfinished) = self.clean_up_by(deadline, runtime).await {
            events.emit(&Event::CleanUpUnfinished(unfinished));
        }
    }

    fn begin(self: &Arc<Self>, origin: Origin) -> Running {
        *self.running().entry(origin).or_default() += 1;
        Running { background: self.clone(), origin }
    }

    fn next_clean_up(&self) -> Option<CleanUp> {
        self.clean_up().pop()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Origin, usize>> {
        self.running.lock()
    }

    fn clean_up(&self) -> MutexGuard<'_, Vec<CleanUp>> {
        self.clean_up.lock()
    }
}

/// Background tasks that still run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TasksLeft {
    pub(crate) count: usize,
    /// The places in the code that started them.
    pub(crate) origins: Vec<Origin>,
}

/// `2 background tasks (src/main.rs:20, src/mail.rs:7)`
impl fmt::Display for TasksLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} background task{plural} (", self.count)?;
        for (place, origin) in self.origins.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{}:{}", origin.file(), origin.line())?;
        }
        f.write_str(")")
    }
}

/// The clean-up code has used up its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CleanUpUnfinished {
    pub(crate) limit: Duration,
    /// How much of it has not begun.
    pub(crate) not_begun: usize,
}

impl fmt::Display for CleanUpUnfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the clean-up code is given up: it has not ended within {}", show(self.limit))?;
        match self.not_begun {
            0 => Ok(()),
            count => write!(f, "; {count} more did not run"),
        }
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

/// Runs a future. A panic in it is logged and goes no further.
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn here() -> Arc<Background> {
        Background::of(&Handle::current())
    }

    #[tokio::test]
    async fn a_task_hears_of_the_end_and_is_waited_for() {
        spawn(async |shutdown| shutdown.await);
        let left = here().left().unwrap().to_string();
        assert!(left.starts_with("1 background task (gracehttp/src/lifecycle/background.rs:"), "{left}");
        here().shut_down();
        here().idle().await;
        assert_eq!(here().left(), None);
    }

    #[tokio::test]
    async fn a_task_that_ignores_the_end_is_cut() {
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
    async fn clean_up_code_runs_once_last_first_in_spite_of_panics() {
        static SEEN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
        on_exit(async { SEEN.lock().push(1) });
        on_exit(async { panic!("clean-up code's own fault") });
        on_exit(async {
            SEEN.lock().push(2);
            on_exit(async { SEEN.lock().push(3) });
        });
        for _ in 0..2 {
            here().clean_up_by(Instant::now(), &Handle::current()).await.unwrap();
        }
        assert_eq!(*SEEN.lock(), [2, 3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn clean_up_code_has_a_limit() {
        let start = Instant::now();
        on_exit(std::future::pending());
        let unfinished =
            here().clean_up_by(start + Duration::from_secs(5), &Handle::current()).await.unwrap_err();
        assert_eq!(unfinished, CleanUpUnfinished { limit: Duration::from_secs(5), not_begun: 0 });
        assert_eq!(start.elapsed().as_secs(), 5);
        on_exit(std::future::pending());
        here().clean_up_by(start, &Handle::current()).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[test]
    fn every_runtime_has_its_own_until_it_ends() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, other) = (runtime(), runtime());
        assert!(Arc::ptr_eq(&Background::of(one.handle()), &Background::of(one.handle())));
        assert!(!Arc::ptr_eq(&Background::of(one.handle()), &Background::of(other.handle())));
        let background = Arc::downgrade(&Background::of(one.handle()));
        drop(one);
        assert_eq!(background.strong_count(), 0, "it ends with its runtime");
    }
}
