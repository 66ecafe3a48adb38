//! The application's start-up code, run beside the event loop that may have to give it up.

use std::error::Error as StdError;
use std::future::Future;

use tokio::runtime::Handle;

use crate::config::Section;
use crate::error::Error;
use crate::lifecycle::aside;

type Read<S> = Box<dyn FnOnce(Section<'_>) -> Result<StartUpCode<S>, Error> + Send>;
type Run<S> = Box<dyn FnOnce(&Handle) -> Result<S, BoxError> + Send>;
type BoxError = Box<dyn StdError + Send + Sync>;

/// Start-up code whose settings are still to be read.
pub(crate) struct UnreadStartUpCode<S> {
    read: Read<S>,
}

impl<S: Send + 'static> UnreadStartUpCode<S> {
    /// `read` makes of the application's section of the configuration what the code takes.
    pub(crate) fn new<A, F, Fut>(read: fn(Section<'_>) -> Result<A, Error>, code: F) -> Self
    where
        A: Send + 'static,
        F: FnOnce(A) -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, BoxError>>,
    {
        let read = move |section: Section<'_>| {
            let settings = read(section)?;
            Ok(StartUpCode { run: Box::new(|runtime| runtime.block_on(code(settings))) })
        };
        Self { read: Box::new(read) }
    }

    pub(crate) fn read(self, section: Section<'_>) -> Result<StartUpCode<S>, Error> {
        (self.read)(section)
    }
}

/// What an application runs before it serves, and what that made.
pub(crate) struct StartUpCode<S> {
    run: Run<S>,
}

impl<S: Send + 'static> StartUpCode<S> {
    /// Runs the code on a thread of its own: its future need not be `Send`, and code that blocks holds up
    /// neither the signals nor the workers. Dropping the returned future gives the code up.
    pub(crate) async fn run(self, runtime: Handle) -> Result<S, Error> {
        aside("start-up", "the start-up code", move || (self.run)(&runtime))
            .await?
            .map_err(|error| Error::caused_by(format!("the start-up code failed: {error}"), error))
    }
}
