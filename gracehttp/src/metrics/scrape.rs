//! All metrics at one moment, as text.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::lifecycle::{EndCounts, Events, generation};
use crate::log;
use crate::metrics::families::{self, Family, Kind};
use crate::metrics::key::{self, Key};
use crate::metrics::process::Numbers;
use crate::metrics::recorder::Recorder;
use crate::metrics::registry::{self, Definition};
use crate::metrics::shared::table;
use crate::metrics::text::Format;

/// What a server is at the moment.
#[derive(Debug)]
pub(crate) struct ServerGauges {
    pub(crate) server: String,
    pub(crate) active_requests: u64,
    pub(crate) awake: usize,
    pub(crate) parked: usize,
    pub(crate) foreign: usize,
    pub(crate) limit: usize,
    /// Clients in its accept queues, where the kernel says it.
    pub(crate) waiting: Option<usize>,
    /// How its connections have ended.
    pub(crate) ends: EndCounts,
}

/// Knows what the servers of this process are at the moment.
pub(crate) trait Source: Send + Sync {
    fn servers(&self) -> Vec<ServerGauges>;
}

/// Of the process that serves; none where none does, as in a test of a handler.
static RECORDER: RwLock<Option<Arc<Recorder>>> = RwLock::new(None);

/// From now on the events of this process are counted, and its text has its gauges.
pub(crate) fn record(events: &Events, source: Arc<dyn Source>) {
    let recorder = Arc::new(Recorder::new(source));
    events.subscribe(recorder.clone());
    *RECORDER.write() = Some(recorder);
}

/// All metrics as text, those of the framework and of the application.
///
/// A handler can show them on the service's own port, beside the address that `admin` names:
///
/// ```
/// use gracehttp::metrics::{Format, encode};
/// use gracehttp::{HeaderMap, IntoResponse};
///
/// async fn metrics(headers: HeaderMap) -> impl IntoResponse {
///     let format = Format::accepted(headers.get("accept").and_then(|value| value.to_str().ok()));
///     ([("content-type", format.content_type())], encode(format))
/// }
/// ```
pub fn encode(format: Format) -> Vec<u8> {
    let mut own = Registry::default();
    own.register_collector(Box::new(Snapshot::take()));
    let mut text = String::new();
    let written = encode_registry(&mut text, &own)
        .and_then(|()| registry::encode_others(&mut text))
        .and_then(|()| encode_eof(&mut text));
    if written.is_err() {
        log::error(format_args!("metrics can't be written: one that the application registered fails"));
    }
    format.of(text).into_bytes()
}

type Labels = Vec<(String, String)>;

/// All that the framework and the table know at one moment.
struct Snapshot {
    /// By the full names of their families, sorted, so that a reader finds a series at its place.
    tabled: HashMap<String, BTreeMap<Labels, Vec<u64>>>,
    gauges: Vec<(&'static Family, Labels, f64)>,
    definitions: Vec<Definition>,
}

impl Snapshot {
    fn take() -> Self {
        let recorder = RECORDER.read().clone();
        // First: it adds to the table.
        let gauges = gauges(recorder.as_deref());
        let definitions = registry::definitions();
        definitions.iter().for_each(Definition::claim);
        let bounds: HashMap<String, &[f64]> = families::ALL
            .iter()
            .filter_map(|family| Some((family.full_name(), family.kind.bounds()?)))
            .chain(definitions.iter().filter_map(|own| Some((own.name.clone(), own.bounds.as_deref()?))))
            .collect();
        let mut tabled: HashMap<String, BTreeMap<Labels, Vec<u64>>> = HashMap::new();
        for (key, values) in table().map(|table| table.all()).unwrap_or_default() {
            let Some(Key { family, labels, bounds: of_key }) = key::decode(&key) else { continue };
            // Another release may have counted with other buckets.
            if of_key == bounds.get(&family).map(|bounds| key::in_words(bounds)) {
                tabled.entry(family).or_default().insert(labels, values);
            }
        }
        if let Some(table) = table() {
            let lost = BTreeMap::from([(Vec::new(), vec![table.lost()])]);
            tabled.insert(families::LOST_SERIES.full_name(), lost);
        }
        Self { tabled, gauges, definitions }
    }

    fn write(&self, family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tabled = self.tabled.get(&family.full_name());
        let gauges: Vec<_> = self.gauges.iter().filter(|(of, ..)| std::ptr::eq(*of, family)).collect();
        if tabled.is_none() && gauges.is_empty() && family.kind != Kind::Info {
            return Ok(());
        }
        let mut encoder =
            encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind.name())?;
        for (labels, values) in tabled.into_iter().flatten() {
            write_tabled(&mut encoder.encode_family(labels)?, family.kind, values)?;
        }
        for (_, labels, value) in gauges {
            encoder.encode_family(labels)?.encode_gauge(value)?;
        }
        if family.kind == Kind::Info {
            encoder.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        }
        Ok(())
    }

    fn write_own(&self, own: &Definition, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Definition { name, help, bounds, .. } = own;
        let Some(tabled) = self.tabled.get(name) else { return Ok(()) };
        let metric_type = if bounds.is_some() { MetricType::Histogram } else { MetricType::Counter };
        let mut encoder = encoder.encode_descriptor(name, help, None::<&Unit>, metric_type)?;
        for (labels, values) in tabled {
            let mut encoder = encoder.encode_family(labels)?;
            match bounds {
                Some(bounds) => write_histogram(&mut encoder, bounds, values)?,
                None => write_tabled(&mut encoder, Kind::Counter, values)?,
            }
        }
        Ok(())
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        families::ALL.iter().try_for_each(|family| self.write(family, &mut encoder))?;
        self.definitions.iter().try_for_each(|own| self.write_own(own, &mut encoder))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

fn write_tabled(encoder: &mut MetricEncoder<'_>, kind: Kind, values: &[u64]) -> fmt::Result {
    let value = values.first().copied().unwrap_or_default();
    match kind {
        Kind::Histogram(bounds) => write_histogram(encoder, bounds, values),
        Kind::CounterOfSeconds => {
            encoder.encode_counter::<NoLabelSet, f64, f64>(&Duration::from_micros(value).as_secs_f64(), None)
        }
        Kind::Counter | Kind::Gauge | Kind::Info => {
            encoder.encode_counter::<NoLabelSet, u64, f64>(&value, None)
        }
    }
}

/// A histogram of the table: its buckets, the last without a bound, then billionths and, perhaps, wholes of the sum.
fn write_histogram(encoder: &mut MetricEncoder<'_>, bounds: &[f64], values: &[u64]) -> fmt::Result {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(values.iter().copied()).collect();
    let value = |at: usize| values.get(at).copied().unwrap_or_default() as f64;
    let sum = value(buckets.len() + 1) + value(buckets.len()) / 1e9;
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// All gauges of this process.
fn gauges(recorder: Option<&Recorder>) -> Vec<(&'static Family, Labels, f64)> {
    let mut gauges = Vec::new();
    let mut add = |family: &'static Family, values: &[&str], value: f64| {
        let labels = family.labels.iter().zip(values);
        let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        gauges.push((family, labels, value));
    };
    if let Some(recorder) = recorder {
        for server in recorder.carry() {
            let name = &*server.server;
            add(&families::ACTIVE_REQUESTS, &[name], server.active_requests as f64);
            for (state, count) in
                [("awake", server.awake), ("parked", server.parked), ("foreign", server.foreign)]
            {
                add(&families::CONNECTIONS, &[name, state], count as f64);
            }
            add(&families::LIMIT, &[name], server.limit as f64);
            if let Some(waiting) = server.waiting {
                add(&families::WAITING, &[name], waiting as f64);
            }
        }
        add(&families::GENERATION, &[], generation() as f64);
        if let Some(remaining) = recorder.drain_remaining() {
            add(&families::DRAIN_REMAINING, &[], remaining.as_secs_f64());
        }
        add(&families::RELOAD_SUCCESS, &[], f64::from(u8::from(recorder.last_reload_succeeded())));
        add(&families::RELOAD_TIME, &[], recorder.serving_since());
    }
    let numbers = Numbers::now();
    for (family, value) in [
        (&families::RESIDENT, numbers.resident),
        (&families::VIRTUAL, numbers.size),
        (&families::OPEN_FDS, numbers.open_fds),
        (&families::MAX_FDS, numbers.max_fds),
        (&families::THREADS, numbers.threads),
    ] {
        if let Some(value) = value {
            add(family, &[], value as f64);
        }
    }
    if let Some(started) = numbers.started {
        add(&families::START_TIME, &[], started);
    }
    gauges
}
