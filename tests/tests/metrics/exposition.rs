//! The two forms of the text, read by strict readers: the older one by a parser of Prometheus' form, OpenMetrics by the
//! rules of its standard, version 1.0.

use std::collections::{BTreeMap, BTreeSet};

use prom_text_format_parser::{Scrape, Type, ValueType};

/// Every sample, by its name and sorted labels: `name{a="b",c="d"}`.
pub(crate) type Samples = BTreeMap<String, f64>;

type Labels = BTreeMap<String, String>;

/// What a text says.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    pub(crate) families: BTreeMap<String, Family>,
    pub(crate) samples: Samples,
}

/// The head of a family.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
}

impl Exposition {
    /// Reads the form 0.0.4.
    pub(crate) fn of_prometheus(text: &str) -> Self {
        let scrape = Scrape::parse(text).unwrap_or_else(|fault| panic!("{fault:?}\n{text}"));
        let mut exposition = Self::default();
        for metric in scrape.metrics {
            let family = Family {
                kind: metric.kind.to_string(),
                help: metric.help_desc.unwrap_or_default(),
                unit: None,
            };
            let twice = exposition.families.insert(metric.name.clone(), family);
            assert!(twice.is_none(), "{} comes twice\n{text}", metric.name);
            for sample in metric.samples {
                let ending = match (metric.kind, sample.value.value_type) {
                    (Type::Histogram, ValueType::Sample) => "_bucket",
                    (_, ValueType::Sum) => "_sum",
                    (_, ValueType::Count) => "_count",
                    _ => "",
                };
                let labels = sample.labels.iter().map(|label| (label.key.clone(), label.value.clone()));
                let name = format!("{}{ending}", metric.name);
                exposition.add(&name, &labels.collect(), sample.value.value.as_f64());
            }
        }
        exposition
    }

    /// Reads OpenMetrics.
    pub(crate) fn of_open_metrics(text: &str) -> Self {
        let lines = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end\n{text}"));
        let mut exposition = Self::default();
        let mut name = String::new();
        let mut had = BTreeSet::new();
        for line in lines.lines() {
            let fault = |what: &str| -> ! { panic!("{what}: {line}\n{text}") };
            if let Some(head) = line.strip_prefix("# ") {
                let [keyword, of, rest] = head.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    fault("no head of a family")
                };
                if of != name {
                    if !had.insert(of.to_owned()) {
                        fault("a family in two parts");
                    }
                    of.clone_into(&mut name);
                }
                let family = exposition.families.entry(name.clone()).or_default();
                let place = match keyword {
                    "HELP" => &mut family.help,
                    "TYPE" => &mut family.kind,
                    "UNIT" => family.unit.get_or_insert_default(),
                    _ => fault("an unknown keyword"),
                };
                if !std::mem::replace(place, rest.to_owned()).is_empty() {
                    fault("said twice");
                }
                if keyword == "UNIT" && !name.ends_with(&format!("_{rest}")) {
                    fault("the name does not end with the unit");
                }
            } else {
                let (sample, labels, value) = sample(line).unwrap_or_else(|| fault("no sample"));
                let Some(family) = exposition.families.get(&name) else { fault("a sample without a head") };
                let ending = sample.strip_prefix(&*name).unwrap_or_else(|| fault("of another family"));
                let allowed: &[&str] = match &*family.kind {
                    "counter" => &["_total"],
                    "gauge" | "unknown" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "info" => &["_info"],
                    _ => fault("an unknown type"),
                };
                if !allowed.contains(&ending) || labels.contains_key("le") != (ending == "_bucket") {
                    fault("no such sample in a family of this type");
                }
                exposition.add(sample, &labels, value);
            }
        }
        exposition.check_histograms();
        exposition
    }

    fn add(&mut self, name: &str, labels: &Labels, value: f64) {
        let key = key(name, labels);
        assert!(self.samples.insert(key.clone(), value).is_none(), "{key} comes twice");
    }

    /// Buckets are cumulative, and the last one has them all.
    fn check_histograms(&self) {
        let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (bucket, count) in &self.samples {
            let Some((name, rest)) = bucket.split_once("_bucket{") else { continue };
            let line = format!("{name}_count{{{rest} 0");
            let (name, mut labels, _) = sample(&line).expect("read before");
            let bound = labels.remove("le").expect("a bound").replace("+Inf", "inf");
            let buckets = histograms.entry(key(name, &labels)).or_default();
            buckets.push((bound.parse().expect("a number"), *count));
        }
        for (count, buckets) in &mut histograms {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{count}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, self.samples[count])), "{count}");
            assert!(self.samples.contains_key(&count.replacen("_count", "_sum", 1)), "{count} has no sum");
        }
    }

    /// The samples that may only grow.
    pub(crate) fn counters(&self) -> Samples {
        let of = |kind: &str, name: &str| self.families.get(name).is_some_and(|family| family.kind == kind);
        let grows = |sample: &str| {
            let name = sample.split('{').next().unwrap_or_default();
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .any(|ending| name.strip_suffix(ending).is_some_and(|family| of("histogram", family)));
            let family = name.strip_suffix("_total").unwrap_or(name);
            of_histogram || of("counter", name) || of("counter", family)
        };
        self.samples
            .iter()
            .filter(|(name, _)| grows(name))
            .map(|(name, value)| (name.clone(), *value))
            .collect()
    }
}

fn key(name: &str, labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// A line of OpenMetrics, without a time and an example: this text has none. Values of labels stay escaped.
fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end_of_name = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end_of_name);
    let mut labels = Labels::new();
    if let Some(mut list) = rest.strip_prefix('{') {
        loop {
            if let Some(behind) = list.strip_prefix('}') {
                rest = behind;
                break;
            }
            let (label, behind) = list.split_once("=\"")?;
            let end = end_of_value(behind)?;
            if !is_name(label) || labels.insert(label.to_owned(), behind[..end].to_owned()).is_some() {
                return None;
            }
            let behind = &behind[end + 1..];
            list = behind.strip_prefix(',').unwrap_or(behind);
        }
    }
    let value = rest.strip_prefix(' ')?;
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().ok()? };
    is_name(name).then_some((name, labels, value))
}

/// Where the closing quote is.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' | b'"' | b'n' if escaped => escaped = false,
            _ if escaped => return None,
            b'\\' => escaped = true,
            b'"' => return Some(place),
            _ => {}
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    name.bytes().all(fits) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}
