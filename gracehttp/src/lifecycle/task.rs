//! How this crate starts its own tasks.

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

/// A task of the one kind that all have. So the runtime's code for a task is compiled once for all of them.
pub(crate) fn boxed(
    task: impl Future<Output = ()> + Send + 'static,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(task)
}
