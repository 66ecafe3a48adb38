//! Both forms of the text, and the names in it.

use std::collections::BTreeSet;

use tests::client::get_once;

use crate::exposition::{Exposition, Samples};
use crate::stage::{OPEN_METRICS, PROMETHEUS, Stage, answered, sum};

#[tokio::test]
async fn both_forms_can_be_read_and_say_the_same() {
    let stage = Stage::new(|launch| launch).await;
    get_once(&stage.api, "/users/7").await.expect("an answer");
    get_once(&stage.legacy, "/old/7").await.expect("an answer");
    let counters = stage
        .until("the requests to be counted", |counters| {
            answered(counters, "/users/{id}") == 1.0
                && sum(counters, &["duration_seconds_count", "\"/old/{name}\""]) == 1.0
                && sum(counters, &["gracehttp_received_bytes_total", "\"api\""]) > 20.0
                // The looks are connections, too. The end of the first one is a series of its own.
                && sum(counters, &["gracehttp_connection_ends_total", "finished", "\"operator\""]) > 0.0
        })
        .await;
    assert!(counters.contains_key("gracehttp_restarts_total{outcome=\"succeeded\"}"), "{counters:#?}");
    assert_eq!(sum(&counters, &["gracehttp_accepted_connections_total", "\"api\""]), 1.0);

    let open_metrics = Exposition::of_open_metrics(&stage.text(OPEN_METRICS).await);
    let prometheus = Exposition::of_prometheus(&stage.text(PROMETHEUS).await);
    let names = |samples: &Samples| samples.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&open_metrics.samples), names(&prometheus.samples));
    for gauge in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
        "gracehttp_generation",
    ] {
        assert_eq!(prometheus.families[gauge].kind, "gauge");
        assert!(prometheus.samples[gauge] >= 1.0, "{gauge}");
    }
    let connections = prometheus.samples.keys().filter(|name| name.starts_with("gracehttp_connections{"));
    assert_eq!(connections.count(), 9, "three servers, three states");
    for counter in [
        "process_cpu_seconds_total",
        "gracehttp_accepted_connections_total",
        "gracehttp_log_messages_lost_total",
        "gracehttp_access_log_lines_lost_total",
    ] {
        assert_eq!(prometheus.families[counter].kind, "counter");
    }
    assert!(names(&prometheus.samples).iter().any(|name| name.starts_with("gracehttp_build_info{version=")));
}

#[tokio::test]
async fn the_admin_address_gives_the_form_that_a_client_accepts() {
    let stage = Stage::with_admin("127.0.0.1:0", |launch| launch).await;
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let (old, new) = (
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    );
    for (accept, expected) in [
        (prometheus_3, new),
        (OPEN_METRICS, new),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", old),
        ("text/plain;version=0.0.4", old),
        ("text/html", old),
        ("*/*", old),
    ] {
        let reply = stage.reply(accept).await;
        assert_eq!(reply.header("content-type"), Some(expected), "{accept}");
        let text = reply.text();
        if expected == new {
            Exposition::of_open_metrics(&text);
        } else {
            Exposition::of_prometheus(&text);
        }
    }
}

/// Prometheus' conventions: https://prometheus.io/docs/practices/naming/.
#[tokio::test]
async fn names_follow_the_conventions() {
    let stage = Stage::with_admin("127.0.0.1:0", |launch| launch).await;
    get_once(&stage.api, "/users/7").await.expect("an answer");
    get_once(&stage.api, "/broken").await.expect("an answer");
    stage
        .until("both to be counted", |counters| {
            ["/users/{id}", "/broken"].iter().all(|route| answered(counters, route) == 1.0)
        })
        .await;
    let exposition = Exposition::of_open_metrics(&stage.text(OPEN_METRICS).await);
    let prefixes = ["http_server_", "gracehttp_", "process_", "shop_"];
    for (name, family) in &exposition.families {
        assert!(prefixes.iter().any(|prefix| name.starts_with(prefix)), "{name} has no prefix of its own");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name} is no snake_case"
        );
        assert!(
            family.help.starts_with(|first: char| first.is_uppercase()) && family.help.len() > 5,
            "{name} has no help: {:?}",
            family.help
        );
        for ending in ["_total", "_count", "_sum", "_bucket", "_info", "_counter", "_gauge", "_histogram"] {
            assert!(!name.ends_with(ending), "{name}: an ending of samples, or the type in the name");
        }
        for foreign in
            ["_ms", "_millis", "_milliseconds", "_us", "_micros", "_nanoseconds", "_minutes", "_kb", "_mb"]
        {
            assert!(!name.ends_with(foreign), "{name}: no base unit");
        }
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        assert_eq!(family.unit.as_deref(), unit, "{name}: the unit is declared as the name has it");
        if family.kind == "histogram" {
            assert!(unit.is_some(), "{name} is a histogram without a unit");
        }
    }
    for sample in exposition.samples.keys() {
        let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
        for label in labels.split("\",").filter_map(|label| label.split_once('=')).map(|(label, _)| label) {
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{sample}: {label}");
        }
    }
    // OpenTelemetry's conventions, with `_` for `.`, as Prometheus writes them.
    let duration = "http_server_request_duration_seconds_count";
    let of_request = exposition.samples.keys().find(|name| name.starts_with(duration)).expect("a request");
    for attribute in ["http_request_method", "http_response_status_code", "http_route", "url_scheme"] {
        assert!(of_request.contains(&format!("{attribute}=\"")), "{of_request}");
    }
}
