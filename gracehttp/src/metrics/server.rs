//! What one server counts. Each request passes here, so it takes no lock and allocates nothing.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use parking_lot::RwLock;

use crate::metrics::families::{
    ACCEPTED, DURATIONS, FAILED, FAILED_HANDSHAKES, Family, HANDSHAKES, RECEIVED, REFUSED, REQUEST_DURATION,
    SENT,
};
use crate::metrics::shared::{Count, Durations};
use crate::metrics::table::{Layout, thread_number};

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
    active: [Active; SHARDS],
    accepted: Count,
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
    pub(crate) method: KnownMethod,
    pub(crate) status: u16,
}

#[derive(Debug)]
struct RequestSeries {
    labels: RequestLabels,
    /// None if the table had no room.
    durations: Option<Durations>,
}

/// A method that the convention knows: clients can invent others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KnownMethod(&'static str);

/// Counted by one thread, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Active {
    begun: AtomicU64,
    /// By requests that another thread may have begun.
    ended: AtomicU64,
}

impl KnownMethod {
    pub(crate) fn of(method: &Method) -> Self {
        Self(match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::PATCH => "PATCH",
            Method::OPTIONS => "OPTIONS",
            Method::CONNECT => "CONNECT",
            Method::TRACE => "TRACE",
            _ => "_OTHER",
        })
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
    pub(crate) fn note_begun(&self) {
        self.active().begun.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended, answered or not.
    pub(crate) fn note_ended(&self) {
        self.active().ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Its response has ended.
    pub(crate) fn note_answered(&self, labels: RequestLabels, duration: Duration) {
        if let Some(durations) = self.durations(labels) {
            durations.observe(duration);
        }
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

    /// Requests of this process whose response has not ended.
    pub(crate) fn active_requests(&self) -> u64 {
        let sum = |value: fn(&Active) -> &AtomicU64| -> u64 {
            self.active.iter().map(|active| value(active).load(Ordering::Relaxed)).sum()
        };
        // Ends first: a request that begins and ends in between would else be missing.
        let ended = sum(|active| &active.ended);
        sum(|active| &active.begun).saturating_sub(ended)
    }

    fn active(&self) -> &Active {
        &self.active[thread_number() % SHARDS]
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

    fn claim(&self, RequestLabels { route, method, status }: RequestLabels) -> Option<Durations> {
        let status = status.to_string();
        let [server, of_route, of_method, of_status] =
            [0, 1, 2, 3].map(|label| REQUEST_DURATION.labels[label]);
        let labels =
            [(server, &*self.server), (of_route, route), (of_method, method.0), (of_status, &*status)];
        Durations::of(&REQUEST_DURATION.full_name(), labels, DURATIONS)
    }

    /// Counts one in a family with one label beside the server's.
    #[cold]
    fn count(&self, family: &'static Family, value: &'static str) {
        let key = (family.name, value);
        let known = self.rare.read().get(&key).copied();
        let count = known.unwrap_or_else(|| {
            let labels = [(family.labels[0], &*self.server), (family.labels[1], value)];
            let make = || Count::of(&family.full_name(), labels, Layout::Shared { values: 1 });
            *self.rare.write().entry(key).or_insert_with(make)
        });
        count.add(1);
    }
}

impl RequestSeries {
    fn is_of(&self, labels: RequestLabels) -> bool {
        let own = self.labels;
        // Addresses first: a route has one text in all its requests.
        own.status == labels.status
            && std::ptr::eq(own.method.0, labels.method.0)
            && (std::ptr::eq(own.route, labels.route) || own.route == labels.route)
    }
}

/// Where a series may be in the cache.
fn places(RequestLabels { route, method, status }: RequestLabels) -> impl Iterator<Item = usize> {
    // The address of a route is as good as its text, which would have to be read.
    let hash = (route.as_ptr().addr() as u64)
        .wrapping_add((method.0.as_ptr().addr() as u64).rotate_left(20))
        .wrapping_add(u64::from(status) << 3)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let first = (hash >> 32) as usize;
    (0..PROBES).map(move |probe| (first + probe) % CACHED)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        (series.iter().flat_map(|values| &values[..=DURATIONS.len()]).sum(), series.len())
    }

    fn labels(status: u16) -> RequestLabels {
        RequestLabels { route: "/users/{id}", method: KnownMethod::of(&Method::GET), status }
    }

    #[test]
    fn every_series_is_counted_also_those_that_find_no_place_in_the_cache() {
        let metrics = ServerMetrics::of("many series");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..3 {
                        (100..1000).for_each(|status| {
                            metrics.note_answered(labels(status), Duration::from_millis(round));
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
            metrics.note_answered(labels(200), Duration::from_millis(millis));
        }
        let all = table().unwrap().all().into_iter();
        let mut of_server =
            all.filter(|(known, _)| key::decode(known).unwrap().labels.iter().any(|l| l.1 == "buckets"));
        let values = of_server.find(|(_, values)| values.len() == DURATIONS.len() + 2).unwrap().1;
        assert_eq!((values[0], values[1], values[13], values[14]), (2, 1, 1, 1));
        assert_eq!(values[15], 20_012_000_000, "the sum, in nanoseconds");
    }

    #[test]
    fn active_requests_may_end_on_another_thread() {
        let metrics = ServerMetrics::of("active");
        (0..3).for_each(|_| metrics.note_begun());
        std::thread::spawn(|| metrics.note_ended()).join().unwrap();
        assert_eq!(metrics.active_requests(), 2);
    }

    #[test]
    fn methods_that_clients_invent_are_one() {
        let method = |name: &str| KnownMethod::of(&Method::from_bytes(name.as_bytes()).unwrap());
        assert_eq!(method("BREW"), method("PROPFIND"));
        assert_eq!(method("get").0, "_OTHER", "methods are case-sensitive");
        assert_eq!(method("PATCH").0, "PATCH");
    }
}
