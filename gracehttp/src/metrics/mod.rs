//! Counters that go on over restarts, and their text for Prometheus.
