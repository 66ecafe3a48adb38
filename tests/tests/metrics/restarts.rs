//! No counter jumps back, whatever becomes of the processes.

use tests::Client;
use tests::client::{get, get_once};
use tests::{Scratch, Signal};

use crate::exposition::Samples;
use crate::stage::{Stage, answered, assert_grown, sum};

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
    assert_eq!(sum(&after, &["shop_orders_total"]), orders, "the application's own counter");
    assert_eq!(sum(&after, &["shop_payments_total", "card"]), 2.0 * orders);
    stage.app.predecessors_leave_cleanly().await;
    let phase = |counters: &Samples, phase: &str| {
        let of_phase = format!("phase=\"{phase}\"");
        sum(counters, &["gracehttp_restart_phase_duration_seconds_count", &of_phase])
    };
    // The last receipt comes with the end of its process.
    let after = stage
        .until("every restart to be counted", |counters| {
            sum(counters, &["gracehttp_restarts_total", "succeeded"]) == 20.0
                && ["start", "ready", "commit", "drain"].iter().all(|name| phase(counters, name) == 20.0)
        })
        .await;
    assert_grown(&before, &after);
    assert_eq!(sum(&after, &["gracehttp_restarts_total", "failed"]), 0.0);
    assert!(sum(&after, &["gracehttp_handed_over_connections_total"]) >= 20.0);
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
        let during = stage
            .until("the successor to count", |counters| {
                answered(counters, "/users/{id}") == f64::from(5 * round)
            })
            .await;
        assert_grown(&before, &during);
        successor.signal(Signal::KILL);
        stage.app.serves(&stage.api, &stage.app.first()).await;
        let after = stage.counters().await;
        assert_grown(&during, &after);
        let counted = answered(&after, "/users/{id}");
        assert_eq!(counted, f64::from(5 * round), "what the dead successor has counted is still there");
        before = after;
    }
    stage
        .until("every restart to be counted", |counters| {
            sum(counters, &["gracehttp_restarts_total", "taken_back"]) == 3.0
        })
        .await;
}

#[tokio::test]
async fn a_killed_process_has_counted_all_ends_but_those_of_its_open_connections() {
    const OPEN: usize = 5;
    const ENDED: u32 = 200;
    let stage = Stage::new(|launch| launch.env("GRACEHTTP_SUPERVISE", "always")).await;
    let mut open = Vec::new();
    for _ in 0..OPEN {
        let mut client = Client::connect(&stage.api).await.expect("a connection");
        client.get("/users/7").await.expect("an answer");
        open.push(client);
    }
    // It makes the series, and nothing is read between the load and the kill.
    let before = stage.counters().await;
    let worker = stage.worker().await;
    for _ in 0..ENDED {
        get_once(&stage.api, "/users/7").await.expect("an answer");
    }
    stage.crash(&worker).await;
    let without_end = |counters: &Samples| {
        let of_api = |family: &str| sum(counters, &[family, "server=\"api\""]);
        of_api("gracehttp_accepted_connections_total") - of_api("gracehttp_connection_ends_total")
    };
    // The few that the client had closed, and the process had not seen end, were open to it as well. So is the one that
    // has found the fresh process, until that has seen its end.
    let after = stage
        .until("the ends to be all but those of the open connections", |counters| {
            (OPEN as f64..=OPEN as f64 + 20.0).contains(&without_end(counters))
        })
        .await;
    assert_grown(&before, &after);
    assert!(sum(&after, &["gracehttp_accepted_connections_total", "\"api\""]) >= f64::from(ENDED));
}

/// The gauges of a generation that drains, as its successor shows them.
#[tokio::test]
async fn a_successor_shows_what_its_predecessor_still_holds_and_for_how_long() {
    let stage = Stage::with_admin("127.0.0.1:0", |launch| {
        launch.env("GRACEHTTP_STANDBY", "100ms").env("GRACEHTTP_DRAIN_TIMEOUT", "20s")
    })
    .await;
    let mut slow = Client::connect(&stage.api).await.expect("a connection");
    slow.send(get("/slow")).await.expect("sent");
    let active = "http_server_active_requests{server=\"api\",url_scheme=\"http\"}";
    stage.until_gauge(active, |count| count == Some(1.0)).await;
    stage.restart().await;
    let awake = "gracehttp_draining_connections{generation=\"1\",server=\"api\",state=\"awake\"}";
    stage.until_gauge(awake, |count| count == Some(1.0)).await;
    let remaining = "gracehttp_drain_remaining_seconds{generation=\"1\"}";
    stage.until_gauge(remaining, |seconds| seconds.is_some_and(|left| (1.0..=20.0).contains(&left))).await;
    drop(slow);
    // With its last connection it ends, and is not shown any more.
    stage.until_gauge(awake, |count| count.is_none()).await;
    stage.until_gauge(remaining, |left| left.is_none()).await;
}

/// Twenty restarts, of which some fail, one is taken back, and one process is killed.
async fn endure(stage: &Stage) {
    let mut before = stage.counters().await;
    let mut client = Client::connect(&stage.api).await.expect("a connection");
    for round in 1..=20 {
        match round {
            5 | 12 => {
                stage.next_registers("nonsense");
                let start = stage.app.log.end();
                stage.app.first().signal(Signal::USR2);
                stage.app.log.line(start, "what is nonsense").await;
                stage
                    .until("the failure to be counted", |counters| {
                        let failed = sum(counters, &["gracehttp_restarts_total", "failed"]);
                        failed == if round == 5 { 1.0 } else { 2.0 }
                    })
                    .await;
                stage.next_registers("");
            }
            8 => {
                // The next process keeps its successor's connections for so long.
                stage.scratch.write("Gracehttp.toml", "standby = \"8s\"\n");
                stage.restart_by_supervisor().await;
                stage.scratch.write("Gracehttp.toml", "standby = \"100ms\"\n");
                let worker = stage.worker().await;
                let successor = stage.restart_by_supervisor().await;
                successor.signal(Signal::KILL);
                stage.app.serves(&stage.api, &worker).await;
                stage
                    .until("the take-back to be counted", |counters| {
                        sum(counters, &["gracehttp_restarts_total", "taken_back"]) == 1.0
                    })
                    .await;
            }
            15 => {
                let worker = stage.worker().await;
                stage.crash(&worker).await;
                client = Client::connect(&stage.api).await.expect("a connection");
            }
            _ => _ = stage.restart_by_supervisor().await,
        }
        for _ in 0..3 {
            get_once(&stage.api, "/users/7").await.expect("an answer");
        }
        client
            .post("/orders", b"")
            .await
            .expect("an answer, on the connection of all rounds but that of the kill");
        let after = stage.counters().await;
        assert_grown(&before, &after);
        before = after;
    }
    let after = stage
        .until("all answers to be counted", |counters| {
            answered(counters, "/users/{id}") == 60.0 && answered(counters, "/orders") == 20.0
        })
        .await;
    assert_eq!(sum(&after, &["shop_orders_total"]), 20.0);
}

#[tokio::test]
async fn the_admin_address_shows_no_decrease_through_anything() {
    let supervised = |launch: tests::Launch| launch.env("GRACEHTTP_SUPERVISE", "always");
    endure(&Stage::with_admin("127.0.0.1:0", supervised).await).await;
}

#[tokio::test]
async fn nor_does_a_unix_socket() {
    let scratch = Scratch::new();
    let address = format!("unix:{}", scratch.join("admin.sock").display());
    let supervised = |launch: tests::Launch| launch.env("GRACEHTTP_SUPERVISE", "always");
    endure(&Stage::with_admin(&address, supervised).await).await;
}
