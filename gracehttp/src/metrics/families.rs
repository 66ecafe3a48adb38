//! The names of all series of the framework, in the words of Prometheus' and OpenTelemetry's conventions.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// All series of one name.
#[derive(Debug)]
pub(super) struct Family {
    /// Without its unit and without the ending `_total` of a counter.
    pub(super) name: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Lies in the table.
    Counter,
    /// A counter of seconds; lies in the table in microseconds.
    CounterOfSeconds,
    /// Of durations; lies in the table.
    Histogram(&'static Bounds),
    /// Read when it is asked for.
    Gauge,
    /// One, with labels that say something.
    Info,
}

/// The upper bounds of the buckets of a histogram. The last bucket has none.
#[derive(Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) seconds: &'static [f64],
    /// The same bounds in nanoseconds, as durations are compared.
    pub(super) nanos: &'static [u64],
}

/// The buckets that OpenTelemetry's convention advises.
pub(super) static DURATIONS: Bounds = Bounds { seconds: &OF_REQUESTS, nanos: &in_nanos(OF_REQUESTS) };

/// Of the phases of a restart, of which a drain may take minutes.
static PHASES: Bounds = Bounds { seconds: &OF_PHASES, nanos: &in_nanos(OF_PHASES) };

const OF_REQUESTS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const OF_PHASES: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];

const fn in_nanos<const N: usize>(seconds: [f64; N]) -> [u64; N] {
    let mut nanos = [0; N];
    let mut place = 0;
    while place < N {
        nanos[place] = (seconds[place] * 1e9 + 0.5) as u64;
        place += 1;
    }
    nanos
}

/// Declares the families, and the list of them all.
macro_rules! families {
    ($($id:ident: $kind:expr, $name:literal $(in $unit:ident)?, [$($label:literal),*], $help:literal;)*) => {
        $(
            pub(super) static $id: Family = Family {
                name: $name,
                unit: families!(@unit $($unit)?),
                kind: $kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All families, in the order in which they are shown.
        pub(super) static ALL: &[&Family] = &[$(&$id),*];
    };
    (@unit) => { None };
    (@unit $unit:ident) => { Some(Unit::$unit) };
}

families! {
    REQUEST_DURATION: Kind::Histogram(&DURATIONS), "http_server_request_duration" in Seconds,
        ["server", "url_scheme", "http_route", "http_request_method", "http_response_status_code"],
        "How long requests took, from their head to the end of their response";
    ACTIVE_REQUESTS: Kind::Gauge, "http_server_active_requests", ["server", "url_scheme"],
        "Requests of this process whose response has not ended";
    REFUSED: Kind::Counter, "gracehttp_refused_requests", ["server", "cause"],
        "Requests that were answered before any handler saw them";
    FAILED: Kind::Counter, "gracehttp_failed_requests", ["server", "cause"],
        "Requests whose handler or service failed, or whose client went before the response";
    RECEIVED: Kind::Counter, "gracehttp_received" in Bytes, ["server"],
        "Bytes of HTTP that clients sent, without those of TLS";
    SENT: Kind::Counter, "gracehttp_sent" in Bytes, ["server"],
        "Bytes of HTTP that clients were sent, without those of TLS";
    CONNECTIONS: Kind::Gauge, "gracehttp_connections", ["server", "state"],
        "Open connections: awake or parked in this process, or foreign, held by an earlier generation";
    DRAINING: Kind::Gauge, "gracehttp_draining_connections", ["server", "generation", "state"],
        "Open connections of an earlier generation that drains, as it has last told: awake or parked";
    LIMIT: Kind::Gauge, "gracehttp_connections_limit", ["server"],
        "How many connections the server may hold (max_conns)";
    WAITING: Kind::Gauge, "gracehttp_connections_waiting", ["server"],
        "Clients in the accept queues of the server's listeners";
    ACCEPTED: Kind::Counter, "gracehttp_accepted_connections", ["server"],
        "Connections that were accepted";
    ENDS: Kind::Counter, "gracehttp_connection_ends", ["server", "end"],
        "Connections that ended, by how; see gracehttp_handed_over_connections_total for those that moved";
    HANDSHAKES: Kind::Counter, "gracehttp_tls_handshakes", ["server", "version"],
        "TLS handshakes that were completed";
    FAILED_HANDSHAKES: Kind::Counter, "gracehttp_failed_tls_handshakes", ["server", "reason"],
        "TLS handshakes that failed";
    FAILED_PROXY_HEADERS: Kind::Counter, "gracehttp_failed_proxy_headers", ["server", "reason"],
        "Connections of listed proxies that were closed because they did not begin with a PROXY header";
    CERTIFICATE_RELOADS: Kind::Counter, "gracehttp_certificate_reloads", ["server", "outcome"],
        "Certificates that were read again: renewed, kept because the new one can't be used, or unstapled since there is no \
         OCSP response for them";
    CERTIFICATE_ORDERS: Kind::Counter, "gracehttp_certificate_orders", ["server", "outcome"],
        "Certificates that an authority was asked for: issued, renewed in place of an earlier one, or failed";
    RENEWAL_SUGGESTIONS: Kind::Counter, "gracehttp_certificate_renewal_suggestions", ["server", "outcome"],
        "Answers of an authority that was asked when to renew a certificate: new, unchanged, or failed";
    CERTIFICATE_END: Kind::Gauge, "gracehttp_certificate_not_after" in Seconds, ["server", "certificate", "name"],
        "When a certificate expires, since 1970: by its place in the configuration, with its first name";
    RESTARTS: Kind::Counter, "gracehttp_restarts", ["outcome"],
        "Restarts by outcome, each counted at its end";
    PHASE_DURATION: Kind::Histogram(&PHASES), "gracehttp_restart_phase_duration" in Seconds, ["phase"],
        "How long the phases of restarts took";
    LONGEST_PAUSE: Kind::Histogram(&PHASES), "gracehttp_restart_longest_pause" in Seconds, [],
        "The longest time of each restart in which a moved connection was in neither process";
    HANDED_OVER: Kind::Counter, "gracehttp_handed_over_connections", ["server", "outcome"],
        "Connections that were given to successors, and how many of these were taken back or lost";
    GENERATION: Kind::Gauge, "gracehttp_generation", [],
        "Which process in its chain of restarts this is";
    DRAIN_REMAINING: Kind::Gauge, "gracehttp_drain_remaining" in Seconds, ["generation"],
        "How long an earlier generation that drains, or this one, may still take";
    RELOAD_SUCCESS: Kind::Gauge, "gracehttp_config_last_reload_successful", [],
        "Whether the last restart, which reads the configuration anew, succeeded";
    RELOAD_TIME: Kind::Gauge, "gracehttp_config_last_reload_success_timestamp" in Seconds, [],
        "When this process read its configuration and began to serve, since 1970";
    LOST_MESSAGES: Kind::Counter, "gracehttp_log_messages_lost", [],
        "Log messages for which there was no room";
    LOST_LINES: Kind::Counter, "gracehttp_access_log_lines_lost", [],
        "Lines of access logs that their targets did not take, or took too slowly";
    LOST_SERIES: Kind::Counter, "gracehttp_metrics_lost_series", [],
        "Series for which the table of metrics had no room";
    BUILD: Kind::Info, "gracehttp_build", ["version"],
        "The version of gracehttp";
    CPU: Kind::CounterOfSeconds, "process_cpu" in Seconds, [],
        "CPU time of all generations, in user and system mode";
    RESIDENT: Kind::Gauge, "process_resident_memory" in Bytes, [],
        "Memory of this process that is in RAM";
    VIRTUAL: Kind::Gauge, "process_virtual_memory" in Bytes, [],
        "Address space of this process";
    OPEN_FDS: Kind::Gauge, "process_open_fds", [],
        "Open descriptors of this process";
    MAX_FDS: Kind::Gauge, "process_max_fds", [],
        "How many descriptors this process may open";
    THREADS: Kind::Gauge, "process_threads", [],
        "Threads of this process";
    START_TIME: Kind::Gauge, "process_start_time" in Seconds, [],
        "When this process started, since 1970";
}

impl Family {
    /// The name in which OpenMetrics has the unit.
    pub(super) fn full_name(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{}_{}", self.name, unit.as_str()),
            None => self.name.to_owned(),
        }
    }
}

impl Kind {
    /// Those of a histogram.
    pub(super) fn bounds(self) -> Option<&'static Bounds> {
        match self {
            Self::Histogram(bounds) => Some(bounds),
            _ => None,
        }
    }

    /// Its name in the text.
    pub(super) fn name(self) -> MetricType {
        match self {
            Self::Counter | Self::CounterOfSeconds => MetricType::Counter,
            Self::Histogram(_) => MetricType::Histogram,
            Self::Gauge => MetricType::Gauge,
            Self::Info => MetricType::Info,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of the guide's table.
    fn row(family: &Family) -> String {
        let (ending, kind) = match family.kind {
            Kind::Counter | Kind::CounterOfSeconds => ("_total", "counter"),
            Kind::Histogram(_) => ("", "histogram"),
            Kind::Gauge => ("", "gauge"),
            Kind::Info => ("_info", "info"),
        };
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        format!("| `{}{ending}` | {kind} | {labels} | {} |", family.full_name(), family.help)
    }

    #[test]
    fn the_guide_lists_every_metric() {
        let guide = include_str!("../../docs/guide/metrics.md");
        let listed: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(listed, ALL.iter().map(|family| row(family)).collect::<Vec<_>>());
    }
}
