//! The ends of connections around a move: each side says close_notify, and the other gets it.

use std::time::Duration;

use tests::Signal;
use tests::client::{Pause, get};
use tests::tls::SUITES;

use super::*;

/// The server answers the client's close_notify with its own.
async fn ends(client: &mut Client<Wire>) {
    assert_eq!(client.pause(Duration::from_secs(10)).await, Pause::Closed);
}

/// The close_notify is in the predecessor's socket when the signal comes, or only the first half of its record is.
#[tokio::test]
async fn close_notify_right_before_a_restart_ends_the_connection() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in SUITES {
        for part in [2, 1] {
            let mut client = client_with(&service, suite).await;
            get_by(&mut client, service.app.pid()).await;
            let notice = client.wire().close_notify();
            let (now, later) = notice.split_at(part * notice.len() / 2);
            client.wire().pass(now).await.unwrap();
            clients.push((client, later.to_vec()));
        }
    }
    service.restart().await;
    for (client, later) in &mut clients {
        client.wire().pass(later).await.unwrap();
        ends(client).await;
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn close_notify_at_the_same_time_as_the_signal_ends_the_connection() {
    let service = Service::new(TLS).await;
    for _ in 0..5 {
        let mut clients = Vec::new();
        for suite in SUITES {
            let mut client = client_with(&service, suite).await;
            get_by(&mut client, service.app.pid()).await;
            let notice = client.wire().close_notify();
            clients.push((client, notice));
        }
        settled(&service).await;
        let start = service.app.log.end();
        // The process reads the signal and the records after it continues.
        let old = service.app.current();
        old.signal(Signal::STOP);
        old.signal(Signal::USR2);
        for (client, notice) in &mut clients {
            client.wire().pass(notice).await.unwrap();
        }
        old.signal(Signal::CONT);
        service.app.successor_since(start).await;
        for (client, _) in &mut clients {
            ends(client).await;
        }
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn close_notify_after_a_move_ends_the_connection() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in SUITES {
        clients.push(client_with(&service, suite).await);
        let mut asks = client_with(&service, suite).await;
        get_by(&mut asks, service.app.pid()).await;
        clients.push(asks);
    }
    restart_and_leave(&service).await;
    for client in &mut clients {
        let notice = client.wire().close_notify();
        client.wire().pass(&notice).await.unwrap();
        ends(client).await;
    }
    all_leave_cleanly(&service).await;
}

/// The predecessor answers, since the client is not gone, and then ends the connection.
#[tokio::test]
async fn close_notify_behind_a_request_in_flight_ends_the_connection_after_the_answer() {
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    for client in &mut clients {
        let mut bytes = client.wire().seal(get("/slow?ms=1000"));
        bytes.extend(client.wire().close_notify());
        client.wire().pass(&bytes).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "slow begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        assert_eq!(client.reply().await.unwrap().pid(), Some(service.app.first().pid()));
        ends(client).await;
    }
    all_leave_cleanly(&service).await;
}

/// A connection that moved rests in the successor, which stops: it wakes the session only to say close_notify.
#[tokio::test]
async fn stop_of_the_successor_ends_connections_that_moved() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in SUITES {
        clients.push(client_with(&service, suite).await);
        let mut asks = client_with(&service, suite).await;
        get_by(&mut asks, service.app.pid()).await;
        clients.push(asks);
    }
    restart_and_leave(&service).await;
    service.app.signal(Signal::TERM);
    for client in &mut clients {
        ends(client).await;
    }
    assert_eq!(service.app.current().exit().await, Exit::Code(0));
}

#[tokio::test]
async fn idle_timeout_after_a_move_ends_the_connection() {
    let service = Service::new(&format!("{TLS} idle_timeout=2000ms")).await;
    let mut clients = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        get_by(&mut client, service.app.pid()).await;
        clients.push(client);
    }
    restart_and_leave(&service).await;
    for client in &mut clients {
        ends(client).await;
    }
    all_leave_cleanly(&service).await;
}

/// A client that is gone leaves nothing behind.
#[tokio::test]
async fn client_that_goes_without_a_word_is_forgotten() {
    let service = Service::new(TLS).await;
    let mut before = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        get_by(&mut client, service.app.pid()).await;
        before.push(client);
    }
    restart_and_leave(&service).await;
    settled(&service).await;
    let current = service.app.current();
    let with = current.descriptors();
    drop(before);
    eventually("their descriptors to close", || current.descriptors() <= with - SUITES.len()).await;
    all_leave_cleanly(&service).await;
}

/// The successor seals its alert under the key that moved: otherwise the client could not read it.
#[tokio::test]
async fn forged_record_after_a_move_gets_an_alert() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        get_by(&mut client, service.app.pid()).await;
        let mut record = client.wire().seal(get("/ping"));
        // The first half before the move, the wrong byte after it.
        let (first, rest) = record.split_at_mut(30);
        client.wire().pass(first).await.unwrap();
        rest[10] ^= 1;
        clients.push((client, rest.to_vec()));
    }
    settled(&service).await;
    restart_and_leave(&service).await;
    for (client, rest) in &mut clients {
        client.wire().pass(rest).await.unwrap();
        let failure = client.reply().await.unwrap_err();
        assert!(failure.detail.contains("received fatal alert: BadRecordMac"), "{failure}");
    }
    all_leave_cleanly(&service).await;
}

/// A record that is sent twice is not authentic: the successor knows the number of the next record.
#[tokio::test]
async fn repeated_record_after_a_move_is_refused() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        let record = client.wire().seal(get("/ping"));
        client.wire().pass(&record).await.unwrap();
        answered_by(&mut client, service.app.pid()).await;
        clients.push((client, record));
    }
    restart_and_leave(&service).await;
    for (client, record) in &mut clients {
        client.wire().pass(record).await.unwrap();
        let failure = client.reply().await.unwrap_err();
        assert!(failure.detail.contains("received fatal alert: BadRecordMac"), "{failure}");
    }
    all_leave_cleanly(&service).await;
}
