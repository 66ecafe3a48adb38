//! What clients choose makes no series; what goes wrong is counted by its cause.

use std::time::Duration;

use tests::Client;
use tests::client::{get, get_once};
use tests::patience::{PATIENCE, eventually, within};
use tests::random::Random;

use crate::exposition::{Exposition, Samples};
use crate::stage::{PROMETHEUS, Stage, answered, sum};

const CLIENTS: u64 = 4;
/// With `GRACEHTTP_LONG=1`: a hundred thousand requests. Otherwise a fifth of them.
const LONG: u64 = 50;
const NORMAL: u64 = 10;
const PIPELINED: u64 = 500;

/// Requests of which everything is invented that a client can invent.
fn invented(random: &mut Random, count: u64) -> String {
    let one = |_| {
        let number = random.below(u64::MAX);
        let method = match random.below(4) {
            0 => ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"][random.below(5) as usize].to_owned(),
            1 => format!("X{number}"),
            _ => "GET".to_owned(),
        };
        let path = match random.below(4) {
            0 => format!("/users/{number}"),
            1 => format!("/statuses/{}", 200 + random.below(800)),
            2 => format!("/nowhere/{number}?{number}=1"),
            _ => format!("/%{:02x}/{number}", 0x41 + random.below(20)),
        };
        format!("{method} {path} HTTP/1.1\r\nhost: h{number}.example\r\n\r\n")
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_with_invented_parts_make_few_series() {
    let rounds = if std::env::var_os("GRACEHTTP_LONG").is_some() { LONG } else { NORMAL };
    let stage = Stage::new(|launch| launch).await;
    get_once(&stage.api, "/users/0").await.expect("an answer");
    let before = stage.until("the first", |counters| answered(counters, "/users/{id}") == 1.0).await;
    let resident = || async {
        Exposition::of_prometheus(&stage.text(PROMETHEUS).await).samples["process_resident_memory_bytes"]
    };
    let attack = |seed: u64| {
        let target = stage.api.clone();
        async move {
            let mut random = Random::new(seed);
            let mut client = Client::connect(&target).await.expect("a connection");
            for _ in 0..rounds {
                client.send(invented(&mut random, PIPELINED)).await.expect("sent");
                for _ in 0..PIPELINED {
                    client.reply().await.expect("an answer");
                }
            }
        }
    };
    // The first of them meets all series, and makes what the process needs for itself.
    attack(0).await;
    stage.counters().await;
    let memory = resident().await;
    let attackers: Vec<_> = (1..CLIENTS).map(|seed| tokio::spawn(attack(seed))).collect();
    for attacker in attackers {
        attacker.await.expect("all answered");
    }
    let requests = CLIENTS * rounds * PIPELINED;
    let after = stage
        .until("all of them to be counted", |counters| {
            let all = sum(counters, &["http_server_request_duration_seconds_count", "server=\"api\""]);
            all == requests as f64 + 1.0
        })
        .await;
    let of_requests = |samples: &Samples| {
        let of_api = |name: &&String| {
            name.starts_with("http_server_request_duration_seconds_count") && name.contains("\"api\"")
        };
        samples.keys().filter(of_api).count()
    };
    // 800 statuses of a handler; 404 or 405 for each of six methods, with a route or without.
    let new = of_requests(&after) - of_requests(&before);
    assert!(new <= 800 + 2 * 6 * 3, "{new} series");
    let others = after.keys().filter(|name| {
        name.contains("\"api\"") && !name.contains("request_duration") && !before.contains_key(*name)
    });
    assert!(others.clone().count() <= 2, "{:?}", others.collect::<Vec<_>>());
    assert!(sum(&after, &["_count", "http_request_method=\"_OTHER\"", "\"404\""]) > 0.0, "{after:#?}");
    assert_eq!(sum(&after, &["gracehttp_metrics_lost_series_total"]), 0.0);
    let grown = resident().await - memory;
    assert!(grown < 16e6, "{grown} bytes more");
}

#[tokio::test]
async fn a_full_table_loses_new_series_and_no_others() {
    let stage = Stage::new(|launch| launch.env("GRACEHTTP_STANDBY", "100ms")).await;
    get_once(&stage.api, "/users/0").await.expect("an answer");
    let lost = |counters: &Samples| sum(counters, &["gracehttp_metrics_lost_series_total"]);
    let before = stage.until("the first", |counters| answered(counters, "/users/{id}") == 1.0).await;
    assert_eq!(lost(&before), 0.0);
    // The table has room for half of its series. They are not shown by the release after it, but stay.
    stage.next_registers("filler own_filler");
    stage.restart().await;
    let client = Client::connect(&stage.api).await.expect("a connection");
    // Sixteen megabytes of labels take their time.
    let mut client = client.limit(Duration::from_secs(60));
    client.post("/count", b"").await.expect("an answer");
    stage.next_registers("counter own_counter_that_came_too_late");
    stage.restart().await;
    let full = stage.counters().await;
    assert!((1000.0..3900.0).contains(&lost(&full)), "{}", lost(&full));
    // What has its place goes on. What has none is lost, and nothing else is harmed.
    client.post("/count", b"").await.expect("an answer");
    client.get("/users/0").await.expect("an answer");
    client.get("/broken").await.expect("an answer");
    let after = stage
        .until("the second, and the lost", |counters| {
            answered(counters, "/users/{id}") == 2.0 && lost(counters) > lost(&full)
        })
        .await;
    assert_eq!(sum(&after, &["_seconds_count", "\"/broken\""]), 0.0);
    assert_eq!(sum(&after, &["own_counter_that_came_too_late_total"]), 0.0);
    assert!(
        !after.contains_key("own_counter_that_came_too_late_total"),
        "a counter without a place is not shown as 0"
    );
    let full = || stage.app.log.count(0, "the table of metrics is full");
    eventually("a line of each process that found it full", || full() >= 2).await;
    assert_eq!(full(), 2, "{}", stage.app.log);
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
    let is_active =
        |text: &str| text.contains("http_server_active_requests{server=\"api\",url_scheme=\"http\"} 1");
    within(PATIENCE, "the slow request to be active", async {
        while !is_active(&stage.text(PROMETHEUS).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(gone);
    for (family, cause) in [
        ("gracehttp_failed_requests_total", "unanswered"),
        ("gracehttp_refused_requests_total", "no_route"),
        ("gracehttp_refused_requests_total", "malformed"),
        ("gracehttp_failed_requests_total", "handler_panicked"),
    ] {
        let once = |counters: &Samples| sum(counters, &[family, &format!("\"{cause}\"")]) == 1.0;
        stage.until(cause, once).await;
    }
}

#[tokio::test]
async fn clients_that_wait_at_a_full_server_are_counted_on_tcp_and_unix_sockets() {
    let scratch = tests::Scratch::new();
    let path = format!("unix:{}", scratch.join("api.sock").display());
    for endpoint in ["127.0.0.1:0", &path] {
        let stage = Stage::new(|launch| {
            launch
                .listen("api", endpoint)
                .env("GRACEHTTP_SERVER__API__MAX_CONNS", "1")
                .env("GRACEHTTP_SERVER__API__WHEN_FULL", "wait")
        })
        .await;
        let mut served = Client::connect(&stage.api).await.expect("a connection");
        served.get("/ping").await.expect("an answer");
        let waiting = [
            Client::connect(&stage.api).await.expect("a connection"),
            Client::connect(&stage.api).await.expect("a connection"),
        ];
        within(PATIENCE, "two clients to wait", async {
            let two = "gracehttp_connections_waiting{server=\"api\"} 2";
            while !stage.text(PROMETHEUS).await.contains(two) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        drop(waiting);
    }
}
