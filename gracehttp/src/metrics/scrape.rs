//! All metrics at one moment, as text.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::lifecycle::{Events, generation};
use crate::log;
use crate::metrics::families::{self, Family, Kind};
use crate::metrics::key::{self, Key};
use crate::metrics::process::Numbers;
use crate::metrics::recorder::Recorder;
use crate::metrics::registry::{self, Definition};
use crate::metrics::server::UrlScheme;
use crate::metrics::shared::table;
use crate::metrics::text::Format;

/// What a server is at the moment.
#[derive(Debug)]
pub(crate) struct ServerGauges {
    pub(crate) server: String,
    /// By the schemes of its endpoints.
    pub(crate) active_requests: Vec<(UrlScheme, u64)>,
    pub(crate) awake: usize,
    pub(crate) parked: usize,
    pub(crate) foreign: usize,
    pub(crate) limit: usize,
    /// Clients in its accept queues, where the kernel says it.
    pub(crate) waiting: Option<usize>,
    /// Connections that this process holds, those of upgrades included.
    pub(crate) held: u64,
    /// Its certificates, in their order.
    pub(crate) certificates: Vec<CertificateGauge>,
}

/// A certificate of a server.
#[derive(Debug)]
pub(crate) struct CertificateGauge {
    /// The first name that it is for.
    pub(crate) name: String,
    /// When it expires.
    pub(crate) not_after: SystemTime,
}

/// What an earlier generation that drains has told of itself.
#[derive(Debug)]
pub(crate) struct DrainGauges {
    pub(crate) generation: u64,
    pub(crate) remaining: Option<Duration>,
    pub(crate) servers: Vec<DrainingConnections>,
}

/// What it still has of one server.
#[derive(Debug)]
pub(crate) struct DrainingConnections {
    pub(crate) server: String,
    pub(crate) awake: u64,
    pub(crate) parked: u64,
}

/// Knows what the servers of this process are at the moment, and which processes before it still drain.
pub(crate) trait Source: Send + Sync {
    fn servers(&self) -> Vec<ServerGauges>;

    fn draining(&self) -> Vec<DrainGauges>;
}

/// The recorder of this process once it serves; none in a test of a handler, which has no such process.
static RECORDER: RwLock<Option<Arc<Recorder>>> = RwLock::new(None);

/// From now on the events of this process are counted, and its text has its gauges.
pub(crate) fn record(events: &Events, source: Arc<dyn Source>) {
    let recorder = Arc::new(Recorder::new(source));
    events.subscribe(recorder.clone());
    *RECORDER.write() = Some(recorder);
}

/// All metrics as text, those of the framework and of the application.
///
/// A handler can show them on the service's own port. Without the key `admin`, the start-up code has to call
/// [`turn_on`](super::turn_on): else the text lacks most of the framework's metrics.
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
    // Writing to a string never fails.
    let written = encode_registry(&mut text, &own);
    registry::brought().iter().for_each(|brought| brought.write(&mut text));
    if let Err(error) = written.and_then(|()| encode_eof(&mut text)) {
        log::error(format_args!("metrics can't be written: {error}"));
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
        let own = families::ALL.iter().map(|family| (family.full_name(), Form::of(family)));
        let forms: HashMap<String, Form<'_>> =
            own.chain(definitions.iter().map(|own| (own.name.clone(), Form::of_own(own)))).collect();
        let mut tabled: HashMap<String, BTreeMap<Labels, Vec<u64>>> = HashMap::new();
        for (key, values) in table().map(|table| table.all()).unwrap_or_default() {
            let Some(key) = key::decode(&key) else { continue };
            let Some(labels) = forms.get(&key.family).and_then(|form| form.labels_of(&key)) else { continue };
            tabled.entry(key.family).or_default().insert(labels, values);
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

/// How the series of a family look in this release. Another release may have counted with other labels or buckets, or with
/// none. Its counts are kept for it, and not shown.
struct Form<'a> {
    labels: &'a [&'static str],
    bounds: Option<String>,
}

impl<'a> Form<'a> {
    fn of(family: &Family) -> Self {
        Self {
            labels: family.labels,
            bounds: family.kind.bounds().map(|bounds| key::in_words(bounds.seconds)),
        }
    }

    fn of_own(own: &'a Definition) -> Self {
        Self { labels: &own.labels, bounds: own.bounds.as_deref().map(key::in_words) }
    }

    /// The labels of a series in the order of this release. None if it has another form.
    fn labels_of(&self, key: &Key) -> Option<Labels> {
        if key.bounds != self.bounds || key.labels.len() != self.labels.len() {
            return None;
        }
        let of_name = |name: &&str| key.labels.iter().find(|(known, _)| known == name).cloned();
        self.labels.iter().map(of_name).collect()
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
        Kind::Histogram(bounds) => write_histogram(encoder, bounds.seconds, values),
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
            for (scheme, count) in &server.active_requests {
                add(&families::ACTIVE_REQUESTS, &[name, scheme.name()], *count as f64);
            }
            for (state, count) in
                [("awake", server.awake), ("parked", server.parked), ("foreign", server.foreign)]
            {
                add(&families::CONNECTIONS, &[name, state], count as f64);
            }
            add(&families::LIMIT, &[name], server.limit as f64);
            for (place, certificate) in (1..).zip(&server.certificates) {
                let end = certificate.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let labels = [name, &format!("{place}"), &certificate.name];
                add(&families::CERTIFICATE_END, &labels, end.as_secs_f64());
            }
            if let Some(waiting) = server.waiting {
                add(&families::WAITING, &[name], waiting as f64);
            }
        }
        let own = generation();
        add(&families::GENERATION, &[], own as f64);
        if let Some(remaining) = recorder.drain_remaining() {
            add(&families::DRAIN_REMAINING, &[&own.to_string()], remaining.as_secs_f64());
        }
        for drain in recorder.draining() {
            let generation = drain.generation.to_string();
            if let Some(remaining) = drain.remaining {
                add(&families::DRAIN_REMAINING, &[&generation], remaining.as_secs_f64());
            }
            for DrainingConnections { server, awake, parked } in &drain.servers {
                for (state, count) in [("awake", awake), ("parked", parked)] {
                    add(&families::DRAINING, &[server, &generation, state], *count as f64);
                }
            }
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
