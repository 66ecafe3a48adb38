//! What an application counts with.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;

use crate::metrics::key;
use crate::metrics::shared::Lazy;
use crate::metrics::table::Layout;

/// A counter that goes on over restarts; [`Registry::counter`](super::Registry::counter) makes one. Its clones count
/// together.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Lazy>);

impl Counter {
    pub(super) fn of<'a>(family: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(Arc::new(Lazy::new(key::encode(family, sorted(labels), None), Layout::Shared { values: 1 })))
    }

    /// Counts one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Counts several at once.
    pub fn inc_by(&self, count: u64) {
        if let Some(slot) = self.0.slot() {
            slot.mine()[0].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What all generations of the service have counted.
    pub fn get(&self) -> u64 {
        self.0.values().first().copied().unwrap_or_default()
    }
}

/// A histogram that goes on over restarts; [`Registry::histogram`](super::Registry::histogram) makes one. Its clones
/// count together.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: Box<[f64]>,
    series: Lazy,
}

impl Histogram {
    pub(super) fn of<'a>(
        family: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        bounds: &[f64],
    ) -> Self {
        // The buckets, the last without a bound, and the sum: billionths and wholes, which generations can add up.
        let layout = Layout::Sharded { values: bounds.len() + 3 };
        let series = Lazy::new(key::encode(family, sorted(labels), Some(bounds)), layout);
        Self(Arc::new(Buckets { bounds: bounds.into(), series }))
    }

    /// Notes a value. One that is negative or no number is noted as 0: the sum of a histogram never decreases.
    pub fn observe(&self, value: f64) {
        let Buckets { bounds, series } = &*self.0;
        let Some(slot) = series.slot() else { return };
        let values = slot.mine();
        let value = if value > 0.0 { value } else { 0.0 };
        let bucket = bounds.partition_point(|bound| *bound < value);
        values[bucket].fetch_add(1, Ordering::Relaxed);
        // A number with a fraction that large is a whole one already. The conversion stops at the largest integer.
        values[bounds.len() + 1].fetch_add((value.fract() * 1e9) as u64, Ordering::Relaxed);
        values[bounds.len() + 2].fetch_add(value.trunc() as u64, Ordering::Relaxed);
    }

    /// How many values all generations of the service have noted.
    pub fn count(&self) -> u64 {
        self.0.series.values().iter().take(self.0.bounds.len() + 1).sum()
    }
}

/// Counters that labels tell apart; [`Registry::counters`](super::Registry::counters) makes them.
#[derive(Clone, Debug)]
pub struct Counters<const N: usize>(Arc<Family<N, Counter>>);

impl<const N: usize> Counters<N> {
    pub(super) fn new(name: String, labels: [&'static str; N]) -> Self {
        Self(Arc::new(Family { name, labels, known: RwLock::default() }))
    }

    /// The counter with these values of the labels, in their order. A handler that always counts the same keeps it.
    pub fn with(&self, values: [&str; N]) -> Counter {
        self.0.with(values, |family| Counter::of(&family.name, family.labels.into_iter().zip(values)))
    }
}

/// Histograms that labels tell apart; [`Registry::histograms`](super::Registry::histograms) makes them.
#[derive(Clone, Debug)]
pub struct Histograms<const N: usize> {
    family: Arc<Family<N, Histogram>>,
    bounds: Arc<[f64]>,
}

impl<const N: usize> Histograms<N> {
    pub(super) fn new(name: String, labels: [&'static str; N], bounds: &[f64]) -> Self {
        Self { family: Arc::new(Family { name, labels, known: RwLock::default() }), bounds: bounds.into() }
    }

    /// The histogram with these values of the labels, in their order. A handler that always notes the same keeps it.
    pub fn with(&self, values: [&str; N]) -> Histogram {
        let make = |family: &Family<N, Histogram>| {
            Histogram::of(&family.name, family.labels.into_iter().zip(values), &self.bounds)
        };
        self.family.with(values, make)
    }
}

/// Another release may name the same labels in another order.
fn sorted<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut labels: Vec<_> = labels.into_iter().collect();
    labels.sort_unstable();
    labels
}

#[derive(Debug)]
struct Family<const N: usize, T> {
    name: String,
    labels: [&'static str; N],
    known: RwLock<HashMap<[Box<str>; N], T>>,
}

impl<const N: usize, T: Clone> Family<N, T> {
    fn with(&self, values: [&str; N], make: impl FnOnce(&Self) -> T) -> T {
        let key = values.map(Box::from);
        if let Some(known) = self.known.read().get(&key) {
            return known.clone();
        }
        self.known.write().entry(key).or_insert_with(|| make(self)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_and_series_with_the_same_labels_count_together() {
        let counter = Counter::of("clones", []);
        counter.clone().inc();
        Counter::of("clones", []).inc_by(4);
        assert_eq!(counter.get(), 5);
        let family = Counters::new("labels".to_owned(), ["kind", "place"]);
        family.with(["a", "b"]).inc();
        family.with(["a", "b"]).inc();
        family.with(["b", "a"]).inc();
        assert_eq!((family.with(["a", "b"]).get(), family.with(["b", "a"]).get()), (2, 1));
        let of_another_release = Counters::new("labels".to_owned(), ["place", "kind"]);
        assert_eq!(of_another_release.with(["b", "a"]).get(), 2);
    }

    #[test]
    fn a_histogram_never_decreases() {
        let histogram = Histogram::of("values", [], &[1.0, 2.0]);
        for value in [0.5, 1.0, 1.25, 3.5, -7.0, f64::NAN, f64::INFINITY] {
            histogram.observe(value);
        }
        let values = histogram.0.series.values();
        assert_eq!((values[0], values[1], values[2]), (4, 1, 2));
        assert_eq!(histogram.count(), 7);
        let others = Histogram::of("others", [], &[1.0]);
        others.observe(0.25);
        others.observe(1e15);
        let values = others.0.series.values();
        assert_eq!((values[2], values[3]), (250_000_000, 1_000_000_000_000_000));
    }
}
