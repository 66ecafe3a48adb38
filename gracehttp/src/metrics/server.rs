//! What one server counts. Each request passes here, so the usual way takes no lock and allocates nothing. Refusals,
//! failures, and series that find no place in the cache take a lock.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::lifecycle::{ConnectionEnd, EndCounter, KnownMethod, thread_number};
use crate::metrics::families::{
    ACCEPTED, DURATIONS, ENDS, FAILED, FAILED_HANDSHAKES, FAILED_PROXY_HEADERS, Family, HANDED_OVER,
    HANDSHAKES, RECEIVED, REFUSED, REQUEST_DURATION, SENT,
};
use crate::metrics::shared::{Count, Durations};
use crate::metrics::table::Layout;

/// How many series of requests are found without a lock. A power of two.
const CACHED: usize = 512;

/// How many places of the cache a series may have.
const PROBES: usize = 8;

/// How many threads count active requests without sharing a cache line.
const SHARDS: usize = 16;

/// The counters of one server, for the rest of the life of the process.
#[derive(Debug)]
pub(crate) struct ServerMetrics {
    server: Box<str>,
    /// Never emptied: a place that has a series keeps it.
    cache: Box<[OnceLock<Box<RequestSeries>>]>,
    /// The series that found no place in the cache.
    others: RwLock<HashMap<RequestLabels, Option<Durations>>>,
    /// By the scheme of the connection.
    active: [[Active; SHARDS]; 2],
    accepted: Count,
    /// By the places of the ends. Each is added with its first connection.
    ends: [OnceLock<Count>; ConnectionEnd::ALL.len()],
    received: Count,
    sent: Count,
    /// Counters that few requests need, by family and label.
    rare: RwLock<HashMap<(&'static str, &'static str), Count>>,
}

/// What the requests of a series have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestLabels {
    /// Its template, never its path: clients choose paths. Empty if no route has it.
    pub(crate) route: &'static str,
    pub(crate) scheme: UrlScheme,
    pub(crate) method: KnownMethod,
    pub(crate) status: u16,
}

/// What a request came over: a server can have endpoints of both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum UrlScheme {
    Http,
    Https,
}

#[derive(Debug)]
struct RequestSeries {
    labels: RequestLabels,
    /// None if the table had no room.
    durations: Option<Durations>,
}

/// A request that is being answered. It counts for the thread on which it has begun, even if it ends on another one. So the
/// number of the thread is looked up once.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    metrics: &'static ServerMetrics,
    thread: usize,
    scheme: UrlScheme,
}

/// Requests that threads with the same remainder of their numbers have begun, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Active(AtomicU64);

impl UrlScheme {
    pub(crate) fn of(is_secure: bool) -> Self {
        if is_secure { Self::Https } else { Self::Http }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl ActiveRequest {
    /// Its response has ended.
    pub(crate) fn note_answered(&self, labels: RequestLabels, duration: Duration) {
        if let Some(durations) = self.metrics.durations(labels) {
            durations.observe_for(self.thread, duration);
        }
    }

    /// It has ended without a response.
    pub(crate) fn note_unanswered(&self) {
        self.metrics.note_failed("unanswered");
    }

    fn count(&self) -> &AtomicU64 {
        &self.metrics.active[self.scheme as usize][self.thread % SHARDS].0
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}

impl ServerMetrics {
    /// The counters of a server with this name. They live as long as the process does: so a request needs no reference
    /// count, which all threads would have to change.
    pub(crate) fn of(server: &str) -> &'static Self {
        let count = |family: &Family| {
            Count::of(&family.full_name(), [("server", server)], Layout::Sharded { values: 1 })
        };
        Box::leak(Box::new(Self {
            server: server.into(),
            cache: (0..CACHED).map(|_| OnceLock::new()).collect(),
            others: RwLock::default(),
            active: Default::default(),
            accepted: count(&ACCEPTED),
            ends: Default::default(),
            received: count(&RECEIVED),
            sent: count(&SENT),
            rare: RwLock::default(),
        }))
    }

    pub(crate) fn note_accepted(&self) {
        self.accepted.add(1);
    }

    pub(crate) fn note_received(&self, bytes: usize) {
        self.received.add(bytes as u64);
    }

    pub(crate) fn note_sent(&self, bytes: usize) {
        self.sent.add(bytes as u64);
    }

    /// A request begins.
    pub(crate) fn begin(&'static self, scheme: UrlScheme) -> ActiveRequest {
        let active = ActiveRequest { metrics: self, thread: thread_number(), scheme };
        active.count().fetch_add(1, Ordering::Relaxed);
        active
    }

    /// The server itself has answered.
    pub(crate) fn note_refused(&self, cause: &'static str) {
        self.count(&REFUSED, cause);
    }

    /// The handler or the client has failed.
    pub(crate) fn note_failed(&self, cause: &'static str) {
        self.count(&FAILED, cause);
    }

    pub(crate) fn note_handshake(&self, version: &'static str) {
        self.count(&HANDSHAKES, version);
    }

    pub(crate) fn note_failed_handshake(&self, reason: &'static str) {
        self.count(&FAILED_HANDSHAKES, reason);
    }

    /// The connection of a proxy has not begun with a PROXY header.
    pub(crate) fn note_failed_proxy_header(&self, reason: &'static str) {
        self.count(&FAILED_PROXY_HEADERS, reason);
    }

    /// Requests of this process whose response has not ended.
    pub(crate) fn active_requests(&self, scheme: UrlScheme) -> u64 {
        self.active[scheme as usize].iter().map(|active| active.0.load(Ordering::Relaxed)).sum()
    }

    fn durations(&self, labels: RequestLabels) -> Option<Durations> {
        let places = places(labels).map(|place| &self.cache[place]);
        for place in places {
            match place.get() {
                Some(series) if series.is_of(labels) => return series.durations,
                Some(_) => {}
                None => return self.add(labels),
            }
        }
        self.find_other(labels)
    }

    /// Gives a series a place in the cache.
    #[cold]
    fn add(&self, labels: RequestLabels) -> Option<Durations> {
        let durations = self.claim(labels);
        for place in places(labels) {
            let series = self.cache[place].get_or_init(|| Box::new(RequestSeries { labels, durations }));
            if series.is_of(labels) {
                return series.durations;
            }
        }
        self.find_other(labels)
    }

    #[cold]
    fn find_other(&self, labels: RequestLabels) -> Option<Durations> {
        let known = self.others.read().get(&labels).copied();
        known.unwrap_or_else(|| *self.others.write().entry(labels).or_insert_with(|| self.claim(labels)))
    }

    fn claim(&self, RequestLabels { route, scheme, method, status }: RequestLabels) -> Option<Durations> {
        let status = status.to_string();
        let values = [&*self.server, scheme.name(), route, method.name(), &*status];
        let labels = REQUEST_DURATION.labels.iter().copied().zip(values);
        Durations::of(&REQUEST_DURATION.full_name(), labels, &DURATIONS)
    }

    /// Counts one in a family with one label beside the server's.
    #[cold]
    fn count(&self, family: &'static Family, value: &'static str) {
        let key = (family.name, value);
        let known = self.rare.read().get(&key).copied();
        let count = known
            .unwrap_or_else(|| *self.rare.write().entry(key).or_insert_with(|| self.series(family, value)));
        count.add(1);
    }

    fn series(&self, family: &Family, value: &str) -> Count {
        let labels = [(family.labels[0], &*self.server), (family.labels[1], value)];
        Count::of(&family.full_name(), labels, Layout::Shared { values: 1 })
    }

    fn series_of_end(&self, end: ConnectionEnd) -> Count {
        match end {
            // A connection that has moved may come back, and move again: each move counts.
            ConnectionEnd::Moved | ConnectionEnd::AnsweredAndMoved => self.series(&HANDED_OVER, "given"),
            ConnectionEnd::TakenBack | ConnectionEnd::Lost => self.series(&HANDED_OVER, end.name()),
            _ => self.series(&ENDS, end.name()),
        }
    }
}

/// The count goes into the table at once: a process that is killed loses none.
impl EndCounter for ServerMetrics {
    fn count_ends(&self, end: ConnectionEnd, count: u64) {
        self.ends[end.index()].get_or_init(|| self.series_of_end(end)).add(count);
    }
}

impl RequestSeries {
    fn is_of(&self, labels: RequestLabels) -> bool {
        let own = self.labels;
        // Addresses first: a route has one text in all its requests.
        own.status == labels.status
            && own.method == labels.method
            && own.scheme == labels.scheme
            && (std::ptr::eq(own.route, labels.route) || own.route == labels.route)
    }
}

/// Where a series may be in the cache.
fn places(RequestLabels { route, scheme, method, status }: RequestLabels) -> impl Iterator<Item = usize> {
    // The address of a route is as good as its text, which would have to be read.
    let hash = (route.as_ptr().addr() as u64)
        .wrapping_add(u64::from(method.number()) << 20)
        .wrapping_add((scheme as u64) << 28)
        .wrapping_add(u64::from(status) << 3)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let first = (hash >> 32) as usize;
    (0..PROBES).map(move |probe| (first + probe) % CACHED)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::lifecycle::{ConnectionEnds, moved};
    use crate::metrics::key;
    use crate::metrics::shared::table;

    /// How many requests of a server were counted, and in how many series.
    fn counted(server: &str) -> (u64, usize) {
        let all = table().unwrap().all().into_iter();
        let of_server = all.filter(|(known, _)| {
            let key = key::decode(known).unwrap();
            key.family == REQUEST_DURATION.full_name() && key.labels[0].1 == server
        });
        let series: Vec<Vec<u64>> = of_server.map(|(_, values)| values).collect();
        (series.iter().flat_map(|values| &values[..=DURATIONS.nanos.len()]).sum(), series.len())
    }

    fn labels(status: u16) -> RequestLabels {
        RequestLabels {
            route: "/users/{id}",
            scheme: UrlScheme::Http,
            method: KnownMethod::of(&Method::GET),
            status,
        }
    }

    #[test]
    fn every_series_is_counted_also_those_that_find_no_place_in_the_cache() {
        let metrics = ServerMetrics::of("many series");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..3 {
                        (100..1000).for_each(|status| {
                            metrics
                                .begin(UrlScheme::Http)
                                .note_answered(labels(status), Duration::from_millis(round));
                        });
                    }
                });
            }
        });
        assert_eq!(counted("many series"), (4 * 3 * 900, 900));
        assert!(!metrics.others.read().is_empty(), "900 series don't fit into the cache");
    }

    #[test]
    fn durations_fall_into_the_buckets_of_the_convention() {
        let metrics = ServerMetrics::of("buckets");
        for millis in [0, 5, 6, 10_000, 10_001] {
            metrics.begin(UrlScheme::Http).note_answered(labels(200), Duration::from_millis(millis));
        }
        let all = table().unwrap().all().into_iter();
        let mut of_server =
            all.filter(|(known, _)| key::decode(known).unwrap().labels.iter().any(|l| l.1 == "buckets"));
        let values = of_server.find(|(_, values)| values.len() == DURATIONS.nanos.len() + 2).unwrap().1;
        assert_eq!((values[0], values[1], values[13], values[14]), (2, 1, 1, 1));
        assert_eq!(values[15], 20_012_000_000, "the sum, in nanoseconds");
    }

    #[test]
    fn active_requests_may_end_on_another_thread() {
        let metrics = ServerMetrics::of("active");
        let mut requests = [(); 3].map(|()| metrics.begin(UrlScheme::Https)).into_iter();
        let ended = requests.next();
        std::thread::spawn(|| drop(ended)).join().unwrap();
        assert_eq!(metrics.active_requests(UrlScheme::Https), 2);
        assert_eq!(metrics.active_requests(UrlScheme::Http), 0);
    }

    #[test]
    fn what_was_given_and_comes_back_is_given_once_more() {
        let ends = ConnectionEnds::counted_by(Some(ServerMetrics::of("given")));
        let before = ends.counts();
        for _ in 0..2 {
            [false, true, true].into_iter().for_each(|had_answered| ends.note(moved(had_answered)));
            [false, true].into_iter().for_each(|had_answered| ends.take_back(had_answered));
        }
        ends.lose_moved(&before);
        let outcome = |outcome: &str| {
            let labels = [("server", "given"), ("outcome", outcome)];
            table().unwrap().values(&key::encode(&HANDED_OVER.full_name(), labels, None))
        };
        assert_eq!(["given", "taken_back", "lost"].map(outcome), [[6], [4], [2]]);
    }
}
