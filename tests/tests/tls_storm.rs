//! Restarts in a storm under the worst honest clients over TLS: records that are cut anywhere and held back, half heads,
//! renewed keys, pipelined requests, slow readers. No client notices one of the restarts.
//!
//! The normal run is short. `GRACEHTTP_LONG=1` runs what the project claims: 100 restarts, and 100 000 requests.

use std::time::Duration;

use tests::load::Style;
use tests::patience::eventually;
use tests::{App, Exit, Launch, Load, Scratch, Signal, Target};

const TLS: &str = "server tls 127.0.0.1:0 tls=self_signed";

/// Returns the normal number, or with `GRACEHTTP_LONG` the long one.
fn times(normal: usize, long: usize) -> usize {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { long } else { normal }
}

/// Every client keeps its connection, and sends its requests over this one.
struct Storm {
    load: Load,
    clients: usize,
}

impl Storm {
    /// Half of each kind writes and reads smoothly, the others in pieces.
    fn on(target: &Target, pause: Duration) -> Self {
        let kinds = [
            (Style::Get, 12),
            (Style::Post, 8),
            (Style::HalfHead, 8),
            (Style::Pipelined, 8),
            (Style::LateBody, 4),
            (Style::Large, 2),
        ];
        let (mut load, mut clients) = (Load::on(target).pause(pause), 0);
        for (style, count) in kinds {
            load = load.clients(count, style);
            clients += count;
        }
        load = load.ragged(pause);
        for (style, count) in kinds {
            load = load.clients(count, style);
            clients += count;
        }
        Self { load, clients }
    }

    /// No request failed, no answer announced a close, and no client connected twice.
    async fn passes(self) -> u64 {
        let report = self.load.stop().await;
        report.assert_unnoticed();
        assert_eq!(
            report.connections, self.clients as u64,
            "connections of {} clients\n{report}",
            self.clients
        );
        report.requests
    }
}

async fn all_leave_cleanly(app: &App) {
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.log.count(0, "ERROR") + app.log.count(0, "cutting"), 0, "{}", app.log);
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn restarts_go_unnoticed_by_clients_that_cut_their_records() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, TLS).start("tls").await;
    let storm = Storm::on(&app.target("tls").await, Duration::from_millis(times(150, 250) as u64));
    let restarts = times(8, 100);
    for number in 1..=restarts {
        storm.load.answers(times(100, 1100) as u64).await;
        storm.load.mark(format!("signal {number}"));
        let generation = app.restart().await;
        storm.load.mark(format!("pid {} started", generation.pid()));
    }
    let requests = storm.passes().await;
    println!("{requests} requests over {restarts} restarts");
    assert!(requests >= times(800, 100_000) as u64);
    all_leave_cleanly(&app).await;
}

/// Signals 100 ms apart, whatever the outcome of the earlier ones.
#[tokio::test]
async fn signals_100_ms_apart_go_unnoticed_by_clients_that_cut_their_records() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, TLS).start("tls").await;
    let storm = Storm::on(&app.target("tls").await, Duration::from_millis(100));
    storm.load.answers(100).await;
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    for number in 1..=times(20, 100) {
        beat.tick().await;
        storm.load.mark(format!("signal {number}"));
        app.signal(Signal::USR2);
    }
    // The last successor serves when no other process is left.
    eventually("the end of all predecessors", || {
        app.current().children().is_empty() && app.log.count(0, "has ended") == app.generations() - 1
    })
    .await;
    storm.load.answers(100).await;
    storm.passes().await;
    assert!(app.generations() > times(5, 20), "{}", app.log);
    all_leave_cleanly(&app).await;
}

/// New connections, too: each handshake may begin in one generation, and its request be answered by the next.
#[tokio::test]
async fn restarts_refuse_no_new_client_that_cuts_its_records() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, TLS).start("tls").await;
    let load = Load::on(&app.target("tls").await)
        .pause(Duration::from_millis(200))
        .clients(4, Style::Fresh)
        .clients(4, Style::Silent)
        .ragged(Duration::from_millis(100))
        .clients(6, Style::Fresh)
        .clients(6, Style::Silent);
    for number in 1..=times(6, 60) {
        load.answers(30).await;
        load.mark(format!("signal {number}"));
        app.restart().await;
    }
    let report = load.stop().await;
    report.assert_unnoticed();
    all_leave_cleanly(&app).await;
}
