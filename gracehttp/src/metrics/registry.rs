//! What the application counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use prometheus_client::registry::Metric;

use crate::error::Error;
use crate::metrics::brought::Brought;
use crate::metrics::families;
use crate::metrics::instruments::{Counter, Counters, Histogram, Histograms};

/// The metrics of the application, beside those of the framework.
///
/// [`registry`] gives the one of this process.
pub struct Registry {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: BTreeMap<String, Owned>,
}

/// What a name is taken by.
enum Owned {
    Tabled(Definition),
    Brought(Arc<Brought>),
}

/// A family of the application whose values lie in the table.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) help: String,
    /// In the order in which their values are given.
    pub(super) labels: Vec<&'static str>,
    /// Those of a histogram; a counter has none.
    pub(super) bounds: Option<Vec<f64>>,
    /// Whether its series has its place, or has found none.
    is_claimed: Arc<OnceLock<()>>,
}

/// The registry of this process.
///
/// Counters and histograms that are made here go on over restarts, as the framework's own do: all generations of the
/// service add to the same numbers. Register once, in the start-up code, and keep the handle in the state.
///
/// ```
/// use gracehttp::State;
/// use gracehttp::metrics::{self, Counter};
///
/// #[derive(Clone)]
/// struct Shop {
///     orders: Counter,
/// }
///
/// async fn order(State(shop): State<Shop>) {
///     shop.orders.inc();
/// }
///
/// # fn main() -> Result<(), gracehttp::Error> {
/// let shop = Shop { orders: metrics::registry().counter("shop_orders", "Orders that were taken")? };
/// shop.orders.inc();
/// assert_eq!(shop.orders.get(), 1);
/// # Ok(())
/// # }
/// ```
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry { state: Mutex::default() })
}

impl Registry {
    /// A counter. Its name gets the ending `_total` where it has none.
    ///
    /// # Errors
    ///
    /// If the name is taken, or is none that Prometheus accepts.
    pub fn counter(&self, name: &str, help: &str) -> Result<Counter, Error> {
        let name = self.take_counter(name, help, &[])?;
        Ok(Counter::of(&name, []))
    }

    /// Counters that labels tell apart. Take labels with few values: each combination is kept for ever.
    ///
    /// ```
    /// # fn main() -> Result<(), gracehttp::Error> {
    /// let payments = gracehttp::metrics::registry().counters("payments", "Payments", ["method"])?;
    /// payments.with(["card"]).inc();
    /// payments.with(["cash"]).inc_by(2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the name is taken, or if it or a label is none that Prometheus accepts.
    pub fn counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
    ) -> Result<Counters<N>, Error> {
        let name = self.take_counter(name, help, &labels)?;
        Ok(Counters::new(name, labels))
    }

    /// A histogram with these upper bounds of its buckets. A last bucket without a bound is added.
    ///
    /// A release with other bounds begins anew.
    ///
    /// ```
    /// # fn main() -> Result<(), gracehttp::Error> {
    /// let sizes = gracehttp::metrics::registry().histogram("upload_bytes", "Sizes of uploads", &[1e3, 1e6, 1e9])?;
    /// sizes.observe(4096.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the name is taken or is none that Prometheus accepts, or if the bounds do not increase.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, Error> {
        self.take_histogram(name, help, bounds, &[])?;
        Ok(Histogram::of(name, [], bounds))
    }

    /// Histograms that labels tell apart. Take labels with few values: each combination is kept for ever.
    ///
    /// # Errors
    ///
    /// If the name is taken, if it or a label is none that Prometheus accepts, or if the bounds do not increase.
    pub fn histograms<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        bounds: &[f64],
    ) -> Result<Histograms<N>, Error> {
        self.take_histogram(name, help, bounds, &labels)?;
        Ok(Histograms::new(name.to_owned(), labels, bounds))
    }

    /// Any other metric of [`prometheus_client`], such as a gauge. It belongs to this process alone and begins anew with
    /// the next one: make counters by [`counter`](Self::counter).
    ///
    /// Its `encode` is called for each text, on a thread that answers operators, so it must not wait. If it fails or
    /// panics, the log says so once, and the text lacks this metric alone; after a panic it is not called again.
    ///
    /// ```
    /// use gracehttp::metrics::prometheus_client::metrics::gauge::Gauge;
    ///
    /// # fn main() -> Result<(), gracehttp::Error> {
    /// let queued: Gauge = Gauge::default();
    /// gracehttp::metrics::registry().register("jobs_queued", "Jobs that wait", queued.clone())?;
    /// queued.set(3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the name is taken, or is none that Prometheus accepts.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) -> Result<(), Error> {
        check_name(name)?;
        let brought = Brought::new(name, in_one_line(help), metric);
        self.state.lock().take(name, Owned::Brought(Arc::new(brought)))
    }

    fn take_counter(&self, name: &str, help: &str, labels: &[&'static str]) -> Result<String, Error> {
        // The text adds the ending.
        let name = name.strip_suffix("_total").unwrap_or(name);
        self.take(name, help, labels, None)?;
        Ok(name.to_owned())
    }

    fn take_histogram(
        &self,
        name: &str,
        help: &str,
        bounds: &[f64],
        labels: &[&'static str],
    ) -> Result<(), Error> {
        if !bounds.is_sorted_by(|a, b| a < b) || !bounds.iter().all(|bound| bound.is_finite()) {
            let fault =
                format!("metric `{name}`: its bounds {bounds:?} are no increasing row of finite numbers");
            return Err(Error::new(fault));
        }
        self.take(name, help, labels, Some(bounds.to_vec()))
    }

    fn take(
        &self,
        name: &str,
        help: &str,
        labels: &[&'static str],
        bounds: Option<Vec<f64>>,
    ) -> Result<(), Error> {
        check_name(name)?;
        for (place, label) in labels.iter().enumerate() {
            check_label(name, label)?;
            if labels[..place].contains(label) {
                return Err(Error::new(format!("metric `{name}`: its label `{label}` is named twice")));
            }
        }
        let (name, help) = (name.to_owned(), in_one_line(help));
        let definition = Definition {
            name: name.clone(),
            help,
            labels: labels.to_vec(),
            bounds,
            is_claimed: Arc::default(),
        };
        self.state.lock().take(&name, Owned::Tabled(definition))
    }
}

impl State {
    fn take(&mut self, name: &str, owned: Owned) -> Result<(), Error> {
        // A histogram takes the names of its parts, too, and a counter with its ending is the same in the text.
        let same = |other: &str| endings(name).any(|name| endings(other).any(|other| name == other));
        let is_own = families::ALL.iter().any(|family| same(&family.full_name()));
        if is_own {
            return Err(Error::new(format!(
                "metric `{name}`: gracehttp itself has one of this name; take another"
            )));
        }
        if let Some(other) = self.taken.keys().find(|other| same(other)) {
            let fault = format!(
                "metric `{name}`: the application has already registered `{other}`; register each once, in the start-up \
                 code, and share its handle"
            );
            return Err(Error::new(fault));
        }
        self.taken.insert(name.to_owned(), owned);
        Ok(())
    }
}

impl Definition {
    /// Shows a series that has no labels from the start, so that its first increase is seen.
    pub(super) fn claim(&self) {
        self.is_claimed.get_or_init(|| match &self.bounds {
            _ if !self.labels.is_empty() => {}
            Some(bounds) => _ = Histogram::of(&self.name, [], bounds).count(),
            None => _ = Counter::of(&self.name, []).get(),
        });
    }
}

/// The families of the application that lie in the table.
pub(super) fn definitions() -> Vec<Definition> {
    let state = registry().state.lock();
    let tabled = state.taken.values().filter_map(|owned| match owned {
        Owned::Tabled(definition) => Some(definition.clone()),
        Owned::Brought(_) => None,
    });
    tabled.collect()
}

/// The metrics that the application brought itself.
pub(super) fn brought() -> Vec<Arc<Brought>> {
    let state = registry().state.lock();
    let brought = state.taken.values().filter_map(|owned| match owned {
        Owned::Brought(brought) => Some(brought.clone()),
        Owned::Tabled(_) => None,
    });
    brought.collect()
}

/// The names that samples of a metric may have.
fn endings(name: &str) -> impl Iterator<Item = String> {
    ["", "_total", "_bucket", "_sum", "_count", "_info"]
        .into_iter()
        .map(move |ending| format!("{name}{ending}"))
}

fn check_name(name: &str) -> Result<(), Error> {
    if is_word(name, |byte| byte == b':') {
        return Ok(());
    }
    let rule = "a name begins with a letter, and has only letters, digits, `_` and `:`";
    Err(Error::new(format!("metric `{}`: {rule}", name.escape_debug())))
}

fn check_label(name: &str, label: &str) -> Result<(), Error> {
    let rule = match label {
        "le" | "quantile" => "Prometheus itself uses this label",
        label if label.starts_with("__") => "labels that begin with `__` are Prometheus' own",
        label if is_word(label, |_| false) => return Ok(()),
        _ => "a label begins with a letter, and has only letters, digits and `_`",
    };
    Err(Error::new(format!("metric `{name}`: its label `{}`: {rule}", label.escape_debug())))
}

fn is_word(word: &str, also: fn(u8) -> bool) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || also(byte);
    let mut bytes = word.bytes();
    bytes.next().is_some_and(is_first) && bytes.all(|byte| is_first(byte) || byte.is_ascii_digit())
}

/// A help text with a line break would end its line.
fn in_one_line(help: &str) -> String {
    help.replace('\\', "\\\\").replace('\n', "\\n")
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry { state: Mutex::default() }
    }

    fn fault<T>(outcome: Result<T, Error>) -> String {
        outcome.err().expect("an error").to_string()
    }

    #[test]
    fn a_name_can_be_registered_once() {
        let registry = registry();
        registry.counter("orders", "Orders").unwrap();
        for fault in [
            fault(registry.counter("orders", "Orders")),
            fault(registry.counter("orders_total", "Orders")),
            fault(registry.histogram("orders", "Orders", &[1.0])),
            fault(registry.register(
                "orders_total",
                "Orders",
                prometheus_client::metrics::gauge::Gauge::<i64>::default(),
            )),
        ] {
            assert!(fault.contains("already registered `orders`"), "{fault}");
        }
        registry.histogram("sizes", "Sizes", &[1.0]).unwrap();
        assert!(fault(registry.counter("sizes_count", "Sizes")).contains("already registered"));
        assert!(registry.counter("orders_of_today", "Orders").is_ok());
    }

    #[test]
    fn names_of_the_framework_are_its_own() {
        let fault = fault(registry().counter("gracehttp_restarts_total", "Restarts"));
        assert!(fault.contains("gracehttp itself"), "{fault}");
    }

    #[test]
    fn names_and_labels_are_those_that_prometheus_accepts() {
        for name in ["", "9lives", "a-b", "a b", "é", "a\nb"] {
            assert!(fault(registry().counter(name, "")).contains("begins with a letter"), "{name}");
        }
        for label in ["le", "__name__", "a:b", "", "1st", "quantile"] {
            assert!(fault(registry().counters("a", "", [label])).contains("its label"), "{label}");
        }
        assert!(fault(registry().counters("a", "", ["b", "b"])).contains("twice"));
        for bounds in [&[2.0, 1.0][..], &[1.0, 1.0], &[f64::NAN], &[1.0, f64::INFINITY]] {
            assert!(fault(registry().histogram("a", "", bounds)).contains("increasing"), "{bounds:?}");
        }
        assert!(registry().counters("ns:a_9", "", ["b_1", "_c"]).is_ok());
    }
}
