//! Many connections at once, and their number.

use std::time::Duration;

use tests::client::{Pause, get};
use tests::tls::SUITES;

use super::*;

#[tokio::test]
async fn two_hundred_idle_connections_move_at_once() {
    const COUNT: usize = 200;
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for number in 0..COUNT {
        let mut client = client_with(&service, SUITES[number % SUITES.len()]).await;
        if number % 2 == 0 {
            get_by(&mut client, service.app.pid()).await;
        }
        clients.push(client);
    }
    for _ in 0..2 {
        settled(&service).await;
        let pid = restart_and_leave(&service).await;
        for client in &mut clients {
            client.send(get("/ping")).await.unwrap();
        }
        for client in &mut clients {
            answered_by(client, pid).await;
        }
    }
    all_leave_cleanly(&service).await;
}

/// Connections that moved count in the successor, and those of the predecessor, too.
#[tokio::test]
async fn limit_of_connections_holds_over_both_generations() {
    let service = Service::new(&format!("{TLS} max_conns=4 when_full=wait")).await;
    let mut idle = clients(&service).await;
    for client in &mut idle {
        get_by(client, service.app.pid()).await;
    }
    let mut slow = clients(&service).await;
    for client in &mut slow {
        client.send(get("/slow?ms=2000")).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "slow begins") == 2).await;
    let successor = service.app.restart().await;
    for client in &mut idle {
        client.moves_to(successor.pid()).await;
    }
    // Two in each process: the server is full.
    let mut fifth = wire(&service.target, VERSIONS[0]).await;
    let hello = fifth.flight();
    fifth.pass(&hello).await.unwrap();
    for client in &mut slow {
        answered_by(client, service.app.first().pid()).await;
        client.moves_to(successor.pid()).await;
    }
    service.app.predecessors_leave_cleanly().await;
    // Still full, now with four in the successor.
    let waits = tokio::time::timeout(Duration::from_millis(300), fifth.next_flight()).await;
    assert!(waits.is_err(), "a fifth connection was served: {waits:?}");
    for client in slow.iter_mut().chain(&mut idle) {
        assert_eq!(client.pause(Duration::from_millis(1)).await, Pause::Open);
    }
    drop(slow);
    let mut fifth = fifth.client().await.unwrap();
    get_by(&mut fifth, successor.pid()).await;
    for client in &mut idle {
        get_by(client, successor.pid()).await;
    }
    all_leave_cleanly(&service).await;
}
