//! A metric that the application has brought itself, and whose code is the application's.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::{Metric, Registry};

use crate::log;

/// It is alone in its registry, so that its faults harm no other.
pub(super) struct Brought {
    name: String,
    registry: Registry,
    has_told_fault: AtomicBool,
    /// After a panic it is not written again: the panic hook would report each further one.
    has_panicked: AtomicBool,
}

impl Brought {
    pub(super) fn new(name: &str, help: String, metric: impl Metric) -> Self {
        let mut registry = Registry::default();
        registry.register(name, help, metric);
        Self {
            name: name.to_owned(),
            registry,
            has_told_fault: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
        }
    }

    /// Adds it to a text, or nothing if its code fails.
    pub(super) fn write(&self, text: &mut String) {
        if self.has_panicked.load(Ordering::Relaxed) {
            return;
        }
        let encode = || {
            let mut own = String::new();
            encode_registry(&mut own, &self.registry).map(|()| own)
        };
        // A metric that has panicked is not called again, so no code sees what it has left half done.
        match catch_unwind(AssertUnwindSafe(encode)) {
            Ok(Ok(own)) => text.push_str(&own),
            Ok(Err(_)) => self.tell("fails"),
            Err(_) => {
                self.has_panicked.store(true, Ordering::Relaxed);
                self.tell("panics");
            }
        }
    }

    /// Reports a fault once, since a text is asked for every few seconds.
    fn tell(&self, fault: &str) {
        if !self.has_told_fault.swap(true, Ordering::Relaxed) {
            log::error(format_args!(
                "metric `{}`, which the application registered, {fault} when it is written: the text lacks it",
                self.name
            ));
        }
    }
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brought").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
    use prometheus_client::metrics::MetricType;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[derive(Debug)]
    struct Broken(fn() -> fmt::Result);

    impl EncodeMetric for Broken {
        fn encode(&self, _: MetricEncoder<'_>) -> fmt::Result {
            (self.0)()
        }

        fn metric_type(&self) -> MetricType {
            MetricType::Gauge
        }
    }

    #[test]
    fn a_metric_that_fails_or_panics_leaves_nothing_in_the_text() {
        let mut text = String::new();
        for fault in [(|| Err(fmt::Error)) as fn() -> fmt::Result, || panic!("broken")] {
            Brought::new("broken", "It is".to_owned(), Broken(fault)).write(&mut text);
        }
        assert_eq!(text, "");
        Brought::new("whole", "It is".to_owned(), Gauge::<i64>::default()).write(&mut text);
        assert_eq!(text, "# HELP whole It is.\n# TYPE whole gauge\nwhole 0\n");
    }
}
