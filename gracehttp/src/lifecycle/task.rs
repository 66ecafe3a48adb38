//! How this crate starts its own tasks, but for those of connections, of which there are many, and those that return something.

use std::pin::Pin;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Starts a task on the runtime of the caller.
pub(crate) fn start(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(boxed(task))
}

/// Starts a task on this runtime.
pub(crate) fn start_on(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    runtime.spawn(boxed(task))
}

/// A task in the one form that all of them have: so the runtime's code for a task is compiled only once.
pub(crate) fn boxed(
    task: impl Future<Output = ()> + Send + 'static,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(task)
}
