//! The application's start-up code, run beside the event loop that may have to give it up.

use std::any::Any;
use std::error::Error as StdError;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{Error, panic_message};

type Code<S> = Box<dyn FnOnce(&Handle) -> Result<S, BoxError> + Send>;
type BoxError = Box<dyn StdError + Send + Sync>;

/// What an application runs before it serves, and what that made.
pub(crate) struct StartUpCode<S> {
    run: Code<S>,
}

impl<S: Send + 'static> StartUpCode<S> {
    pub(crate) fn new<F, Fut>(code: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, BoxError>>,
    {
        Self { run: Box::new(|runtime| runtime.block_on(code())) }
    }

    /// Runs the code on a thread of its own: its future need not be `Send`, and code that blocks holds up
    /// neither the signals nor the workers. Dropping the returned future gives the code up.
    pub(crate) async fn run(self, runtime: Handle) -> Result<S, Error> {
        let (done, outcome) = oneshot::channel();
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(|| (self.run)(&runtime)));
            // Nobody listens any more if the process was stopped meanwhile.
            let _ = done.send(result);
        };
        thread::Builder::new()
            .name("start-up".to_owned())
            .spawn(body)
            .map_err(|error| Error::caused_by(format!("no thread for the start-up code: {error}"), error))?;
        match outcome.await {
            Ok(Ok(Ok(state))) => Ok(state),
            Ok(Ok(Err(error))) => Err(Error::caused_by(format!("the start-up code failed: {error}"), error)),
            Ok(Err(panic)) => Err(panicked(&*panic)),
            Err(_) => Err(Error::new("the start-up code ended its thread")),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    Error::new(format!("the start-up code panicked: {}", panic_message(panic)))
}
