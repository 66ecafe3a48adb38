//! What an operator is told about a process: the log is one place, the control socket and the status page are others.

mod snapshot;

pub(crate) use snapshot::{Observed, ServerSnapshot, Snapshot};
