//! Restarts that fail, and successors that die: TLS connections stay where their keys are.

use std::time::Duration;

use tests::client::{Pause, get};
use tests::tls::SUITES;
use tests::{Kind, Launch, Scratch, Signal};

use super::*;

/// The predecessor keeps its sessions until the commit.
#[tokio::test]
async fn failed_restart_disturbs_no_connection() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, TLS).start("tls").await;
    let target = app.target("tls").await;
    let mut all = Vec::new();
    for suite in SUITES {
        let mut client = wire(&target, suite).await.client().await.unwrap();
        get_by(&mut client, app.pid()).await;
        let mut cut = wire(&target, suite).await.client().await.unwrap();
        let record = cut.wire().seal(get("/ping"));
        cut.wire().pass(&record[..record.len() / 2]).await.unwrap();
        all.push((client, cut, record));
    }
    for plan in [format!("{TLS}\nstart refuse to start"), format!("{TLS}\nstart abort")] {
        scratch.write("plan", plan);
        let start = app.log.end();
        app.signal(Signal::USR2);
        app.log.line(start, "serves on").await;
        for (client, ..) in &mut all {
            get_by(client, app.pid()).await;
        }
    }
    scratch.write("plan", TLS);
    let pid = app.restart().await.pid();
    app.predecessors_leave_cleanly().await;
    for (client, cut, record) in &mut all {
        get_by(client, pid).await;
        cut.wire().pass(&record[record.len() / 2..]).await.unwrap();
        answered_by(cut, pid).await;
    }
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// The connections of a dead successor are lost, since no other process has their keys. They end, and no client gets a
/// record that it can't open. New connections are served.
#[tokio::test]
async fn connections_end_with_a_successor_that_is_killed_in_standby() {
    let service = Service::with(TLS, |launch| launch.env("GRACEHTTP_STANDBY", "10s")).await;
    let old = service.app.first();
    let mut all = Vec::new();
    for suite in SUITES {
        // Some have been awake in the successor, others not.
        let mut asks = client_with(&service, suite).await;
        get_by(&mut asks, old.pid()).await;
        all.push(asks);
        all.push(client_with(&service, suite).await);
    }
    let successor = service.restart().await;
    for client in all.iter_mut().step_by(2) {
        client.moves_to(successor.pid()).await;
    }
    eventually("all connections in the successor", || sockets(&successor) > all.len()).await;
    successor.kill();
    service.app.serves(&service.target, &old).await;
    for client in &mut all {
        let end = client.pause(Duration::from_secs(10)).await;
        let lost =
            matches!(&end, Pause::Failed(failure) if [Kind::Truncated, Kind::Reset].contains(&failure.kind));
        assert!(lost || end == Pause::Closed, "{end:?}\n{}", service.app.log);
    }
    // The next restart succeeds.
    let mut new = clients(&service).await;
    let start = service.app.log.end();
    old.signal(Signal::USR2);
    let third = service.app.successor_since(start).await;
    for client in &mut new {
        client.moves_to(third.pid()).await;
    }
    assert!(third.is_running());
}

/// How many sockets a process has open.
fn sockets(generation: &tests::Generation) -> usize {
    generation.descriptor_names().iter().filter(|name| name.starts_with("socket:")).count()
}
