//! Counters and other metrics, of the framework and of the application.
//!
//! The counters of all generations of a service lie in one table of memory that they share. So a counter never jumps
//! back: in no restart, when a predecessor takes over again, nor after a crash under the supervisor.
//!
//! [The guide](crate::guide::metrics) lists all metrics of the framework. [`registry`] takes those of the application.

mod families;
mod instruments;
mod key;
mod process;
mod recorder;
mod registry;
mod scrape;
mod server;
mod shared;
mod table;
mod text;

/// The crate in whose text the metrics are written. Its metrics can be [registered](Registry::register), too.
pub use prometheus_client;

pub use instruments::{Counter, Counters, Histogram, Histograms};
pub use registry::{Registry, registry};
pub(crate) use scrape::{ServerGauges, Source, record};
pub use scrape::encode;
pub(crate) use server::{KnownMethod, RequestLabels, ServerMetrics};
pub(crate) use shared::{adopt, share};
pub use text::Format;
