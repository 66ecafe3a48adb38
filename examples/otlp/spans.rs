//! Spans of `tracing` as OTLP has them in JSON.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::export;

/// A layer that exports each span at its end.
pub(crate) struct Exported;

/// A span that is open.
struct Open {
    trace_id: String,
    span_id: String,
    parent_id: String,
    began: u128,
    fields: Fields,
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Exported {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| (open.trace_id.clone(), open.span_id.clone()))
        });
        let (trace_id, parent_id) = parent.unwrap_or_else(|| (hex(random(), random()), String::new()));
        let span_id = hex(random(), 0)[..16].to_owned();
        span.extensions_mut().insert(Open { trace_id, span_id, parent_id, began: now(), fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
            // The client's trace, which gracehttp has checked: it goes on here.
            if let Some(Value::String(parent)) = open.fields.0.remove("traceparent") {
                let mut parts = parent.split('-').skip(1).map(str::to_owned);
                if let (Some(trace_id), Some(parent_id)) = (parts.next(), parts.next()) {
                    (open.trace_id, open.parent_id) = (trace_id, parent_id);
                }
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if let Some(open) = span.extensions_mut().remove::<Open>() {
            export::keep(open.end(span.name()));
        }
    }
}

impl Open {
    fn end(self, name: &str) -> Value {
        let Self { trace_id, span_id, parent_id, began, fields: Fields(mut fields) } = self;
        let name = fields.remove("otel.name").unwrap_or_else(|| name.into());
        // Of the protocol: internal, server; unset, error.
        let kind = if fields.remove("otel.kind").is_some_and(|kind| kind == "server") { 2 } else { 1 };
        let status =
            if fields.remove("otel.status_code").is_some_and(|code| code == "ERROR") { 2 } else { 0 };
        let trace_state = fields.remove("tracestate").unwrap_or_default();
        let attributes: Vec<Value> = fields
            .into_iter()
            .map(|(key, value)| json!({ "key": key, "value": attribute(&value) }))
            .collect();
        json!({
            "traceId": trace_id,
            "spanId": span_id,
            "parentSpanId": parent_id,
            "traceState": trace_state.as_str().unwrap_or_default(),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": began.to_string(),
            "endTimeUnixNano": now().to_string(),
            "attributes": attributes,
            "status": { "code": status },
        })
    }
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!({ "boolValue": value }),
        // JSON of the protocol has numbers of 64 bits in quotes.
        Value::Number(value) => json!({ "intValue": value.to_string() }),
        value => json!({ "stringValue": value }),
    }
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A number by chance, other than zero.
fn random() -> u64 {
    RandomState::new().hash_one(now()).max(1)
}

fn hex(high: u64, low: u64) -> String {
    format!("{high:016x}{low:016x}")
}
