//! Counters and other metrics, of the framework and of the application.
//!
//! The counters of all generations of a service lie in one table of memory that they share. So a counter never jumps
//! back: in no restart, when a predecessor takes over again, nor after a crash under the supervisor.
//!
//! [The guide](crate::guide::metrics) lists all metrics of the framework. [`registry`] takes those of the application.

mod brought;
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

use std::sync::atomic::{AtomicBool, Ordering};

/// The crate in whose text the metrics are written. Its metrics can be [registered](Registry::register), too.
pub use prometheus_client;

pub use instruments::{Counter, Counters, Histogram, Histograms};
pub use registry::{Registry, registry};
pub use scrape::encode;
pub(crate) use scrape::{CertificateGauge, DrainGauges, DrainingConnections, ServerGauges, Source, record};
pub(crate) use server::{ActiveRequest, RequestLabels, ServerMetrics, UrlScheme};
pub(crate) use shared::{adopt, share};
pub use text::Format;

static ARE_ON: AtomicBool = AtomicBool::new(false);

/// Turns the framework's own metrics on, without an address for operators: the service shows them on a port of its own,
/// by [`encode`].
///
/// Call it in the start-up code. With the key `admin` they are on already. While they are off, they cost nothing.
///
/// ```
/// use gracehttp::metrics::{self, Format};
/// use gracehttp::{App, Server};
///
/// async fn text() -> Vec<u8> {
///     metrics::encode(Format::Prometheus)
/// }
///
/// # fn run() -> std::process::ExitCode {
/// App::new(async || metrics::turn_on())
///     .serve(Server::builder("metrics").listen("127.0.0.1:9100").handler(text))
///     .run()
/// # }
/// ```
pub fn turn_on() {
    ARE_ON.store(true, Ordering::Relaxed);
}

/// Whether anything asks for metrics.
pub(crate) fn are_on() -> bool {
    ARE_ON.load(Ordering::Relaxed)
}
