//! The application's start-up code, run beside the event loop that may have to give it up.

use std::any::TypeId;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::config::Section;
use crate::error::Error;
use crate::lifecycle::aside;

type Read<S> = Box<dyn FnOnce(&Section<'_>) -> Result<StartUpCode<S>, Error> + Send>;
type Run<S> = Box<dyn FnOnce(&Handle, GivenUp) -> Result<S, BoxError> + Send>;
type BoxError = Box<dyn StdError + Send + Sync>;

/// Closed once the future that waits for the code was dropped.
type GivenUp = oneshot::Receiver<Infallible>;

/// Start-up code whose settings are still to be read.
pub(crate) struct UnreadStartUpCode<S> {
    read: Read<S>,
    takes_settings: bool,
}

impl<S: Send + 'static> UnreadStartUpCode<S> {
    /// `read` turns the application's section of the configuration into the argument of the code.
    pub(crate) fn new<A, F, Fut>(read: fn(&Section<'_>) -> Result<A, Error>, code: F) -> Self
    where
        A: Send + 'static,
        F: FnOnce(A) -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, BoxError>>,
    {
        let read = move |section: &Section<'_>| {
            let settings = read(section)?;
            let run = |runtime: &Handle, given_up| runtime.block_on(unless(given_up, code(settings)));
            Ok(StartUpCode { run: Box::new(run) })
        };
        Self { read: Box::new(read), takes_settings: TypeId::of::<A>() != TypeId::of::<()>() }
    }

    /// Whether it takes settings of the application's own type, whose code reads them from the section.
    pub(crate) fn takes_settings(&self) -> bool {
        self.takes_settings
    }

    pub(crate) fn read(self, section: &Section<'_>) -> Result<StartUpCode<S>, Error> {
        (self.read)(section)
    }
}

/// The code that an application runs before it serves. It returns the state.
pub(crate) struct StartUpCode<S> {
    run: Run<S>,
}

impl<S: Send + 'static> StartUpCode<S> {
    /// Runs the code on a thread of its own: its future need not be `Send`, and code that blocks holds up neither the
    /// signals nor the worker threads. Dropping the returned future gives the code up, which is dropped at its next await.
    ///
    /// `then` runs on the same thread: it may block, too.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        runtime: Handle,
        then: impl FnOnce(&S) -> T + Send + 'static,
    ) -> Result<(S, T), Error> {
        let (_gives_up_when_dropped, given_up) = oneshot::channel();
        let run = move || {
            let state = (self.run)(&runtime, given_up)?;
            let made = then(&state);
            Ok::<_, BoxError>((state, made))
        };
        aside("start-up", "the start-up code", run)
            .await?
            .map_err(|error| Error::caused_by(format!("the start-up code failed: {error}"), error))
    }
}

/// Runs the code until it ends or is given up. Checks the latter first: the runtime may have ended meanwhile, and
/// polling a timer of an ended runtime panics.
async fn unless<S>(
    given_up: GivenUp,
    code: impl Future<Output = Result<S, BoxError>>,
) -> Result<S, BoxError> {
    tokio::select! {
        biased;
        _ = given_up => Err("the process was stopped meanwhile".into()),
        outcome = code => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::runtime::Runtime;
    use tokio::time::{sleep, timeout};

    /// Else it panics as soon as the runtime of its timer ends, in the middle of an orderly stop.
    #[tokio::test]
    async fn code_that_is_given_up_is_dropped_at_its_await() {
        let workers = Runtime::new().unwrap();
        let (begins, begun) = oneshot::channel();
        let (held, dropped) = oneshot::channel::<Infallible>();
        let code = async move || {
            let _held = held;
            begins.send(()).unwrap();
            sleep(Duration::from_secs(3600)).await;
            Ok(())
        };
        let code = StartUpCode {
            run: Box::new(move |runtime, given_up| runtime.block_on(unless(given_up, code()))),
        };
        let running = tokio::spawn(code.run(workers.handle().clone(), |()| ()));
        begun.await.unwrap();
        running.abort();
        let dropped = timeout(Duration::from_secs(30), dropped).await;
        assert!(matches!(dropped, Ok(Err(_))), "it waits on");
        workers.shutdown_background();
    }
}
