//! The log as JSON: one object a line.
//!
//! The framework's own messages come with their fields. Events of the application and of other crates come from `tracing`,
//! with their fields and the spans around them.

use std::cell::RefCell;
use std::fmt::Debug;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::json::{Fields, Object, Value};
use super::plain;
use super::writer::{self, Entry};

/// The target of the framework's own messages.
const OWN_TARGET: &str = "gracehttp";

thread_local! {
    static ABOUT: RefCell<Fields> = const { RefCell::new(Vec::new()) };
}

/// Runs `log`, whose messages have these fields.
pub(crate) fn about(fields: Fields, log: impl FnOnce()) {
    ABOUT.set(fields);
    log();
    ABOUT.take();
}

/// The fields of the messages that are logged here and now.
pub(super) fn current_fields() -> Fields {
    ABOUT.with_borrow(Clone::clone)
}

/// The server that a message names. A message about a server begins with its name, sometimes behind where a fault was set or
/// found. So the field is made of the words: no message can have the one without the other.
pub(super) fn named_server(message: &str) -> Option<&str> {
    const NAMED: &str = "server `";
    let behind_colon = || message.find(": server `").map(|at| &message[at + ": ".len()..]);
    let named = if message.starts_with(NAMED) { Some(message) } else { behind_colon() };
    named?.strip_prefix(NAMED)?.split_once('`').map(|(name, _)| name)
}

/// A line of the framework.
pub(super) fn line(at: SystemTime, level: &str, message: &str, fields: &Fields) -> Vec<u8> {
    let mut object = begun(at, level, OWN_TARGET);
    object.text("message", &message);
    fields.iter().for_each(|(name, value)| object.field(name, value));
    ended(object)
}

fn begun(at: SystemTime, level: &str, target: &str) -> Object {
    let mut object = Object::new();
    object.text("timestamp", &humantime::format_rfc3339_millis(at));
    object.text("level", &level);
    object.text("target", &target);
    object.field("pid", &Value::Number(std::process::id().into()));
    if let Some(generation) = super::generation() {
        object.field("generation", &Value::Number(generation));
    }
    object
}

fn ended(object: Object) -> Vec<u8> {
    let mut line = object.end().into_bytes();
    line.push(b'\n');
    line
}

/// Writes the events of the application and of other crates.
#[derive(Debug)]
pub(super) struct Structured;

/// The fields of a span, with their names.
#[derive(Debug, Default)]
struct Seen(Vec<(String, Value)>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Structured {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut seen = Seen::default();
        attributes.record(&mut seen);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(seen);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(seen) = span.extensions_mut().get_mut::<Seen>()
        {
            values.record(seen);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut seen = Seen::default();
        event.record(&mut seen);
        let mut object = begun(plain::now(), metadata.level().as_str(), &seen.target(metadata.target()));
        for (name, value) in &seen.0 {
            // What the crate `log` adds for its own use.
            if !name.starts_with("log.") {
                object.field(name, value);
            }
        }
        object.text("message", &"");
        if metadata.target() == OWN_TARGET {
            ABOUT.with_borrow(|fields| fields.iter().for_each(|(name, value)| object.field(name, value)));
            if let Some(server) = seen.message().and_then(named_server) {
                object.text("server", &server);
            }
        }
        let spans: Vec<String> = context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
            .map(|span| {
                let mut written = Object::new();
                written.text("name", &span.name());
                let extensions = span.extensions();
                let fields = extensions.get::<Seen>().map(|seen| seen.0.as_slice()).unwrap_or_default();
                fields.iter().for_each(|(name, value)| written.field(name, value));
                written.end()
            })
            .collect();
        if !spans.is_empty() {
            object.list("spans", &spans);
        }
        writer::push(Entry::Line(ended(object)));
    }
}

impl Seen {
    fn note(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(name, _)| name == field.name()) {
            Some((_, former)) => *former = value,
            None => self.0.push((field.name().to_owned(), value)),
        }
    }

    fn message(&self) -> Option<&str> {
        self.0.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == "message" => Some(text.as_str()),
            _ => None,
        })
    }

    /// The target of a record of the crate `log` is a field of its event.
    fn target(&self, of_event: &str) -> String {
        let of_record = self.0.iter().find(|(name, _)| name == "log.target");
        match of_record {
            Some((_, Value::Text(target))) if of_event == "log" => target.clone(),
            _ => of_event.to_owned(),
        }
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, Value::Number(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, Value::Signed(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.note(field, Value::Text(value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::named_server;

    #[test]
    fn the_first_server_that_a_message_is_about_is_its_field() {
        for (message, server) in [
            ("server `web`: GET /: its handler panicked: no: server `evil`", Some("web")),
            ("server `a b` listens nowhere", Some("a b")),
            ("a.toml:3: server `web` has `tls.ocsp`", Some("web")),
            ("start new process failed, pid 7: a.toml:3: server `web` has", Some("web")),
            ("serving web on http://127.0.0.1:80", None),
            ("there is no server `web`", None),
            ("server `", None),
        ] {
            assert_eq!(named_server(message), server, "{message}");
        }
    }
}
