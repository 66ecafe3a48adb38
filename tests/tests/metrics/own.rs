//! The application's own metrics, which another release names, labels or types otherwise, and which may be broken.

use tests::Client;
use tests::client::get_once;

use crate::exposition::Exposition;
use crate::stage::{OPEN_METRICS, PROMETHEUS, Stage, sum};

/// Adds one to each metric of the application.
async fn count(stage: &Stage) {
    let mut client = Client::connect(&stage.api).await.expect("a connection");
    assert_eq!(client.post("/count", b"").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_release_that_changes_a_metric_begins_it_anew_and_one_that_goes_back_goes_on() {
    let stage = Stage::new(|launch| launch.env("GRACEHTTP_STANDBY", "100ms")).await;
    let first =
        "counter own_jobs\ncounters own_visits area,kind\nhistogram own_sizes 1,10\ncounter own_dropped";
    stage.next_registers(first);
    stage.restart().await;
    count(&stage).await;
    count(&stage).await;
    let counters = stage.counters().await;
    assert_eq!(sum(&counters, &["own_jobs_total"]), 2.0);
    assert_eq!(sum(&counters, &["own_visits_total", "area=\"x\"", "kind=\"x\""]), 2.0);
    assert_eq!(sum(&counters, &["own_sizes_count"]), 2.0);

    // The labels in another order are the same; other labels, buckets or types are not. One is dropped, one is new.
    stage.next_registers(
        "counters own_jobs area\ncounters own_visits kind,area\nhistogram own_sizes 1,10,100\ngauge own_renamed",
    );
    stage.restart().await;
    count(&stage).await;
    let counters = stage.counters().await;
    assert_eq!(sum(&counters, &["own_jobs_total"]), 1.0, "{counters:#?}");
    assert_eq!(sum(&counters, &["own_visits_total"]), 3.0);
    assert_eq!(sum(&counters, &["own_sizes_count"]), 1.0);
    assert_eq!(counters.keys().filter(|name| name.starts_with("own_visits_total")).count(), 1);
    assert!(!stage.text(PROMETHEUS).await.contains("own_dropped"));

    stage.next_registers("gauge own_jobs\ncounter own_sizes");
    stage.restart().await;
    let text = stage.text(OPEN_METRICS).await;
    assert_eq!(Exposition::of_open_metrics(&text).families["own_jobs"].kind, "gauge");
    count(&stage).await;
    assert_eq!(sum(&stage.counters().await, &["own_sizes_total"]), 1.0);

    stage.next_registers(first);
    stage.restart().await;
    count(&stage).await;
    let counters = stage.counters().await;
    let of = |name: &str| sum(&counters, &[name]);
    assert_eq!(["own_jobs_total", "own_sizes_count", "own_dropped_total"].map(of), [3.0; 3], "as it was");
    assert_eq!(of("own_visits_total"), 4.0, "of all releases");
}

#[tokio::test]
async fn a_name_that_is_taken_fails_the_restart_and_says_so() {
    let stage = Stage::new(|launch| launch).await;
    stage.next_registers("counter shop_orders_total");
    let start = stage.app.log.end();
    stage.app.signal(tests::Signal::USR2);
    let line = stage.app.log.line(start, "has already registered").await;
    assert!(line.contains("metric `shop_orders`") || line.contains("metric `shop_orders_total`"), "{line}");
    assert_eq!(get_once(&stage.api, "/ping").await.expect("an answer").pid(), Some(stage.app.first().pid()));
}

#[tokio::test]
async fn a_metric_whose_code_panics_or_fails_is_missing_alone_and_the_log_says_so_once() {
    let stage = Stage::with_admin("127.0.0.1:0", |launch| launch).await;
    stage.next_registers("counter own_jobs\npanics own_panics\nfails own_fails\ngauge own_queued");
    stage.restart().await;
    count(&stage).await;
    for _ in 0..3 {
        for accept in [OPEN_METRICS, PROMETHEUS] {
            let text = stage.text(accept).await;
            let exposition = if accept == PROMETHEUS {
                Exposition::of_prometheus(&text)
            } else {
                Exposition::of_open_metrics(&text)
            };
            assert_eq!(exposition.samples["own_jobs_total"], 1.0);
            assert_eq!(exposition.samples["own_queued"], 1.0);
            assert!(exposition.samples.contains_key("gracehttp_generation"));
            assert!(!text.contains("own_panics") && !text.contains("own_fails"), "{text}");
        }
    }
    for fault in [
        "metric `own_panics`, which the application registered, panics",
        "metric `own_fails`, which the application registered, fails",
    ] {
        stage.app.log.line(0, fault).await;
        assert_eq!(stage.app.log.count(0, fault), 1, "{}", stage.app.log);
    }
}
