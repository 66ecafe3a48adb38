//! Metrics, read by a strict parser of both forms, through restarts, take-backs and attacks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openmetrics_parser::openmetrics::parse_openmetrics;
use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{MetricNumber, OpenMetricsValue, PrometheusValue};
use tests::client::{get, get_once};
use tests::patience::{PATIENCE, within};
use tests::{App, Client, Generation, Launch, Signal, Target};

/// Every number that may only grow, by its family and labels.
type Counters = BTreeMap<String, f64>;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

struct Stage {
    app: App,
    api: Target,
    legacy: Target,
    operator: Target,
}

impl Stage {
    async fn new(change: impl FnOnce(Launch) -> Launch) -> Self {
        let launch = Launch::bin("measured").listen("api", "127.0.0.1:0");
        let app = change(launch).spawn();
        let (api, legacy, operator) =
            (app.target("api").await, app.target("legacy").await, app.target("operator").await);
        Self { app, api, legacy, operator }
    }

    /// The text in one of the forms.
    async fn text(&self, accept: &str) -> String {
        let mut client = Client::connect(&self.operator).await.expect("a connection");
        client
            .send(format!("GET /metrics HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\n\r\n"))
            .await
            .expect("sent");
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{failure}\n{}", self.app.log));
        assert_eq!(reply.status, 200);
        let form = accept.split(';').next().expect("a media type");
        assert!(reply.header("content-type").is_some_and(|given| given.starts_with(form)), "{reply:?}");
        reply.text()
    }

    async fn counters(&self) -> Counters {
        counters(&self.text(OPEN_METRICS).await)
    }

    /// Waits until the counters say so: a response is counted at its end, a moment after its client has it.
    async fn until(&self, what: &str, holds: impl Fn(&Counters) -> bool) -> Counters {
        within(PATIENCE, what, async {
            loop {
                let counters = self.counters().await;
                if holds(&counters) {
                    return counters;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    async fn restart(&self) -> Arc<Generation> {
        let successor = self.app.restart().await;
        self.app.serves(&self.api, &successor).await;
        successor
    }
}

/// All counters and buckets in a text of OpenMetrics. The parser refuses what is not as the standard says.
fn counters(text: &str) -> Counters {
    let exposition = parse_openmetrics(&without_units_of_histograms(text))
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut counters = Counters::new();
    for (name, family) in &exposition.families {
        assert!(!family.help.is_empty(), "{name} has no help");
        for sample in family.iter_samples() {
            let labels: BTreeMap<String, String> = sample
                .get_labelset()
                .expect("labels")
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let of = format!("{name} {labels:?}");
            match &sample.value {
                OpenMetricsValue::Counter(counter) => _ = counters.insert(of, number(&counter.value)),
                OpenMetricsValue::Histogram(histogram) => {
                    for bucket in &histogram.buckets {
                        counters.insert(format!("{of} {}", bucket.upper_bound), number(&bucket.count));
                    }
                    counters.insert(format!("{of} count"), histogram.count.expect("a count") as f64);
                    counters.insert(format!("{of} sum"), number(histogram.sum.as_ref().expect("a sum")));
                }
                _ => {}
            }
        }
    }
    counters
}

/// The parser refuses units of histograms, which the standard allows (its example of a summary has one).
fn without_units_of_histograms(text: &str) -> String {
    let is_of_histogram = |line: &&str| {
        let unit = line.strip_prefix("# UNIT ").and_then(|rest| rest.split_once(' '));
        unit.is_some_and(|(family, _)| text.contains(&format!("# TYPE {family} histogram\n")))
    };
    let lines = text.lines().filter(|line| !is_of_histogram(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn number(number: &MetricNumber) -> f64 {
    number.as_f64()
}

/// The sum of the series whose names and labels contain all these parts.
fn sum(counters: &Counters, parts: &[&str]) -> f64 {
    let fits = |name: &str| parts.iter().all(|part| name.contains(part));
    counters.iter().filter(|(name, _)| fits(name)).map(|(_, value)| value).sum()
}

/// How many requests of the server `api` were answered by a route.
fn answered(counters: &Counters, route: &str) -> f64 {
    let route = format!("\"http_route\": \"{route}\"");
    sum(counters, &["http_server_request_duration_seconds", "\"api\"", &route, " count"])
}

fn assert_grown(before: &Counters, after: &Counters) {
    for (name, value) in before {
        let now = after.get(name).unwrap_or_else(|| panic!("{name} is gone; it was {value}"));
        assert!(now >= value, "{name} was {value} and is {now}");
    }
}

#[tokio::test]
async fn both_forms_can_be_read_and_say_the_same() {
    let stage = Stage::new(|launch| launch).await;
    get_once(&stage.api, "/users/7").await.expect("an answer");
    get_once(&stage.legacy, "/old/7").await.expect("an answer");
    let counters = stage
        .until("the requests to be counted", |counters| {
            answered(counters, "/users/{id}") == 1.0 && sum(counters, &["\"/old/{name}\"", " count"]) == 1.0
        })
        .await;
    assert!(counters.contains_key("gracehttp_restarts {\"outcome\": \"succeeded\"}"), "{counters:#?}");
    assert_eq!(sum(&counters, &["gracehttp_accepted_connections", "\"api\""]), 1.0);
    assert!(sum(&counters, &["gracehttp_received_bytes", "\"api\""]) > 20.0);

    let text = stage.text("text/plain").await;
    let exposition = parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let family = |name: &str| {
        exposition
            .families
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", exposition.families.keys()))
    };
    for gauge in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
        "gracehttp_generation",
    ] {
        let value = family(gauge).iter_samples().next().expect("a sample");
        let PrometheusValue::Gauge(value) = &value.value else { panic!("{gauge} is no gauge") };
        assert!(value.as_f64() >= 1.0, "{gauge}");
    }
    assert_eq!(family("gracehttp_connections").iter_samples().count(), 9, "three servers, three states");
    for counter in [
        "process_cpu_seconds_total",
        "gracehttp_accepted_connections_total",
        "gracehttp_log_messages_lost_total",
    ] {
        let sample = family(counter).iter_samples().next().expect("a sample");
        assert!(matches!(sample.value, PrometheusValue::Counter(_)), "{counter}");
    }
    assert!(text.contains("gracehttp_build_info{version="), "{text}");
}

#[tokio::test]
async fn no_counter_decreases_in_twenty_restarts_and_the_sums_are_the_clients() {
    let stage = Stage::new(|launch| launch.env("GRACEHTTP_STANDBY", "100ms")).await;
    let mut before = stage.counters().await;
    let (mut users, mut orders) = (0.0, 0.0);
    let mut client = Client::connect(&stage.api).await.expect("a connection");
    for _ in 0..20 {
        let successor = stage.restart().await;
        client.moves_to(successor.pid()).await;
        for _ in 0..10 {
            client.get("/users/7").await.expect("an answer");
            client.post("/orders", b"").await.expect("an answer");
        }
        users += 10.0;
        orders += 10.0;
        let after = stage.counters().await;
        assert_grown(&before, &after);
        before = after;
    }
    let after = stage
        .until("every answer to be counted", |counters| {
            answered(counters, "/users/{id}") == users && answered(counters, "/orders") == orders
        })
        .await;
    assert_eq!(sum(&after, &["shop_orders"]), orders, "the application's own counter");
    assert_eq!(sum(&after, &["shop_payments", "card"]), 2.0 * orders);
    stage.app.predecessors_leave_cleanly().await;
    let after = stage.counters().await;
    assert_grown(&before, &after);
    assert_eq!(sum(&after, &["gracehttp_restarts", "succeeded"]), 20.0);
    assert_eq!(sum(&after, &["gracehttp_restarts", "failed"]), 0.0);
    let phases = |phase: &str| {
        let of_phase = format!("\"{phase}\"");
        sum(&after, &["gracehttp_restart_phase_duration_seconds", &of_phase, " count"])
    };
    assert_eq!(["start", "ready", "commit", "drain"].map(phases), [20.0; 4]);
    assert!(sum(&after, &["gracehttp_handed_over_connections"]) >= 20.0);
}

#[tokio::test]
async fn no_counter_decreases_when_a_predecessor_takes_back() {
    let stage = Stage::new(|launch| launch.env("GRACEHTTP_STANDBY", "5s")).await;
    let mut before = stage.counters().await;
    for round in 1..=3 {
        let start = stage.app.log.end();
        stage.app.first().signal(Signal::USR2);
        let successor = stage.app.successor_since(start).await;
        stage.app.serves(&stage.api, &successor).await;
        // The successor counts, and dies.
        for _ in 0..5 {
            get_once(&stage.api, "/users/7").await.expect("an answer");
        }
        let counted = |counters: &Counters| answered(counters, "/users/{id}") == f64::from(5 * round);
        let during = stage.until("the successor to count", counted).await;
        assert_grown(&before, &during);
        successor.signal(Signal::KILL);
        stage.app.serves(&stage.api, &stage.app.first()).await;
        let after = stage.counters().await;
        assert_grown(&during, &after);
        assert!(counted(&after), "what the dead successor has counted is still there");
        before = after;
    }
    let taken_back = |counters: &Counters| sum(counters, &["gracehttp_restarts", "taken_back"]) == 3.0;
    stage.until("every restart to be counted", taken_back).await;
}

#[tokio::test]
async fn no_counter_decreases_when_a_process_is_killed_under_a_supervisor() {
    let stage = Stage::new(|launch| launch.env("GRACEHTTP_SUPERVISE", "always")).await;
    for round in 1..=2 {
        for _ in 0..5 {
            get_once(&stage.api, "/users/7").await.expect("an answer");
        }
        let mut client = Client::connect(&stage.api).await.expect("a connection");
        client.post("/orders", b"").await.expect("an answer");
        let counted = |counters: &Counters| {
            answered(counters, "/users/{id}") == f64::from(5 * round)
                && answered(counters, "/orders") == f64::from(round)
        };
        let before = stage.until("the requests to be counted", counted).await;
        let pid = get_once(&stage.api, "/ping").await.expect("an answer").pid().expect("a pid");
        let worker = stage.app.hold(pid);
        worker.signal(Signal::KILL);
        within(PATIENCE, "a fresh process to serve", async {
            // A client that the killed process had accepted is lost.
            while !get_once(&stage.api, "/ping").await.is_ok_and(|reply| reply.pid() != Some(pid)) {}
        })
        .await;
        let after = stage.counters().await;
        assert_grown(&before, &after);
        assert_eq!(sum(&after, &["shop_orders"]), f64::from(round));
    }
}

#[tokio::test]
async fn paths_and_methods_that_clients_invent_make_no_series() {
    let stage = Stage::new(|launch| launch).await;
    get_once(&stage.api, "/users/0").await.expect("an answer");
    let before = stage.until("the first", |counters| answered(counters, "/users/{id}") == 1.0).await;
    let mut client = Client::connect(&stage.api).await.expect("a connection");
    let mut requests = 0;
    for round in 0..100 {
        // Pipelined: an attacker does not wait.
        let many: Vec<String> = (0..50)
            .flat_map(|number| {
                let invented =
                    format!("X{round}Y{number} /nowhere/{round}/{number} HTTP/1.1\r\nhost: a\r\n\r\n");
                [
                    get(&format!("/users/{round}-{number}")),
                    get(&format!("/nowhere/{round}/{number}")),
                    invented,
                ]
            })
            .collect();
        requests += many.len();
        client.send(many.concat()).await.expect("sent");
        for _ in 0..many.len() {
            client.reply().await.expect("an answer");
        }
    }
    let after = stage
        .until("all of them to be counted", |counters| {
            let all = sum(counters, &["http_server_request_duration_seconds", "\"api\"", " count"]);
            all == requests as f64 + 1.0
        })
        .await;
    let is_new = |name: &&String| name.contains("\"api\"") && !before.contains_key(*name);
    let new: Vec<&String> = after.keys().filter(is_new).collect();
    // 404 with GET and with `_OTHER`, 17 numbers each; refused for want of a route; the end of a connection.
    assert!(new.len() <= 2 * 17 + 2, "{new:#?}");
    assert!(sum(&after, &["\"_OTHER\"", "\"404\"", " count"]) > 0.0, "{after:#?}");
    assert_eq!(sum(&after, &["gracehttp_metrics_lost_series"]), 0.0);
}

#[tokio::test]
async fn what_goes_wrong_is_counted_by_its_cause() {
    let stage = Stage::new(|launch| launch).await;
    get_once(&stage.api, "/nowhere").await.expect("an answer");
    get_once(&stage.api, "/broken").await.expect("an answer");
    let mut malformed = Client::connect(&stage.api).await.expect("a connection");
    malformed.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await.expect("sent");
    assert_eq!(malformed.reply().await.expect("an answer").status, 400);
    let mut gone = Client::connect(&stage.api).await.expect("a connection");
    gone.send(get("/slow")).await.expect("sent");
    let is_active = |text: &str| text.contains("http_server_active_requests{server=\"api\"} 1");
    within(PATIENCE, "the slow request to be active", async {
        while !is_active(&stage.text("text/plain").await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(gone);
    let counters = stage
        .until("the request whose client is gone", |counters| {
            sum(counters, &["gracehttp_failed_requests", "unanswered"]) == 1.0
        })
        .await;
    for (family, cause) in [
        ("gracehttp_refused_requests", "no_route"),
        ("gracehttp_refused_requests", "malformed"),
        ("gracehttp_failed_requests", "handler_panicked"),
    ] {
        assert_eq!(sum(&counters, &[family, &format!("\"{cause}\"")]), 1.0, "{cause}: {counters:#?}");
    }
}
