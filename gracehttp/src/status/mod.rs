//! What an operator is told about a process: the log is one place, the control socket and the status page are others.

#[cfg(any(feature = "admin", feature = "cli"))]
mod document;
#[cfg(any(feature = "admin", feature = "cli"))]
mod drain_report;
#[cfg(feature = "admin")]
mod gauges;
#[cfg(any(feature = "admin", feature = "cli"))]
mod predecessors;
#[cfg(any(feature = "admin", feature = "cli"))]
mod report;
mod snapshot;
#[cfg(feature = "cli")]
mod text;
#[cfg(not(any(feature = "admin", feature = "cli")))]
mod without;

#[cfg(any(feature = "admin", feature = "cli"))]
pub(crate) use document::Document;
#[cfg(any(feature = "admin", feature = "cli"))]
pub(crate) use drain_report::DrainReport;
#[cfg(any(feature = "admin", feature = "cli"))]
pub(crate) use predecessors::Predecessors;
#[cfg(any(feature = "admin", feature = "cli"))]
#[cfg_attr(not(feature = "cli"), expect(unused_imports, reason = "the command `status` reads it"))]
pub(crate) use report::{Report, with_text};
pub(crate) use snapshot::{Observed, Snapshot};
#[cfg(not(any(feature = "admin", feature = "cli")))]
pub(crate) use without::Document;
