//! A build without the feature `admin` counts nothing for Prometheus.

use std::time::Duration;

use crate::lifecycle::{ConnectionEnd, EndCounter, KnownMethod};

/// There are none.
#[derive(Debug)]
pub(crate) enum ServerMetrics {}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLabels {
    #[expect(dead_code, reason = "nothing reads what nothing counts")]
    pub(crate) route: &'static str,
    #[expect(dead_code, reason = "nothing reads what nothing counts")]
    pub(crate) scheme: UrlScheme,
    #[expect(dead_code, reason = "nothing reads what nothing counts")]
    pub(crate) method: KnownMethod,
    #[expect(dead_code, reason = "nothing reads what nothing counts")]
    pub(crate) status: u16,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct UrlScheme;

/// There are none.
#[derive(Debug)]
pub(crate) struct ActiveRequest(&'static ServerMetrics);

impl ActiveRequest {
    pub(crate) fn note_answered(&self, _: RequestLabels, _: Duration) {
        match *self.0 {}
    }

    pub(crate) fn note_unanswered(&self) {
        match *self.0 {}
    }
}

impl UrlScheme {
    pub(crate) fn of(_: bool) -> Self {
        Self
    }
}

impl ServerMetrics {
    pub(crate) fn note_accepted(&self) {
        match *self {}
    }

    pub(crate) fn note_received(&self, _: usize) {
        match *self {}
    }

    pub(crate) fn note_sent(&self, _: usize) {
        match *self {}
    }

    pub(crate) fn begin(&'static self, _: UrlScheme) -> ActiveRequest {
        ActiveRequest(self)
    }

    pub(crate) fn note_refused(&self, _: &'static str) {
        match *self {}
    }

    pub(crate) fn note_failed(&self, _: &'static str) {
        match *self {}
    }

    pub(crate) fn note_failed_proxy_header(&self, _: &'static str) {
        match *self {}
    }

    #[cfg(feature = "tls")]
    pub(crate) fn note_handshake(&self, _: &'static str) {
        match *self {}
    }

    #[cfg(feature = "tls")]
    pub(crate) fn note_failed_handshake(&self, _: &'static str) {
        match *self {}
    }
}

impl EndCounter for ServerMetrics {
    fn count_ends(&self, _: ConnectionEnd, _: u64) {
        match *self {}
    }
}
