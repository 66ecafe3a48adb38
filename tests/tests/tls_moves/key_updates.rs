//! KeyUpdates (RFC 8446 section 4.6.3) around moves. The client asks the server to renew its key, too; the server does
//! so with its next record, and this debt moves with the session.

use tests::client::get;
use tests::tls::SUITES;
use tokio_rustls::rustls::version::TLS13;

use super::*;

/// One client for each suite of TLS 1.3, which has had an answer.
async fn clients_of_tls13(service: &Service) -> Vec<Client<Wire>> {
    let mut clients = Vec::new();
    for suite in SUITES.into_iter().filter(|suite| suite.version() == &TLS13) {
        let mut client = client_with(service, suite).await;
        get_by(&mut client, service.app.pid()).await;
        clients.push(client);
    }
    assert_eq!(clients.len(), 3);
    clients
}

#[tokio::test]
async fn debt_from_before_the_move_is_paid_after_it() {
    let service = Service::new(TLS).await;
    let mut clients = clients_of_tls13(&service).await;
    for client in &mut clients {
        let update = client.wire().key_update();
        client.wire().pass(&update).await.unwrap();
    }
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for client in &mut clients {
        get_by(client, pid).await;
        assert_eq!(client.wire().received().key_updates(), 1, "the server has renewed its key");
        get_by(client, pid).await;
        assert_eq!(client.wire().received().key_updates(), 1, "once");
    }
    all_leave_cleanly(&service).await;
}

/// The client asks for a new key and for an answer as fast as it can, while it moves.
#[tokio::test]
async fn key_updates_at_every_moment_of_a_restart_are_obeyed() {
    let service = Service::new(TLS).await;
    let mut asking = tokio::task::JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for mut client in clients_of_tls13(&service).await {
        let stopped = stopped.clone();
        asking.spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                let update = client.wire().key_update();
                client.wire().pass(&update).await.unwrap();
                let reply = client.get("/ping").await.unwrap_or_else(|failure| panic!("{count}: {failure}"));
                assert!(reply.pid().is_some() && !reply.closes(), "{reply:?}");
                count += 1;
                // The answer may have left before the server has read the KeyUpdate, which then waits for the next.
                assert!(count - client.wire().received().key_updates() <= 1);
            }
            (client, count)
        });
    }
    for _ in 0..5 {
        restart_and_leave(&service).await;
    }
    stop.send_replace(true);
    while let Some(end) = asking.join_next().await {
        let (mut client, count) = end.unwrap();
        assert!(count > 5);
        get_by(&mut client, service.app.pid()).await;
        assert_eq!(client.wire().received().key_updates(), count);
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn key_updates_between_moves_are_obeyed() {
    let service = Service::new(TLS).await;
    let mut clients = clients_of_tls13(&service).await;
    let mut expected = 0;
    for round in 0..4 {
        for client in &mut clients {
            let update = client.wire().key_update();
            client.wire().pass(&update).await.unwrap();
            // Every second one is paid before the move.
            if round % 2 == 0 {
                get_by(client, service.app.pid()).await;
            }
        }
        expected += 1;
        settled(&service).await;
        let pid = restart_and_leave(&service).await;
        for client in &mut clients {
            get_by(client, pid).await;
            assert_eq!(client.wire().received().key_updates(), expected);
        }
    }
    all_leave_cleanly(&service).await;
}

/// The client renews its key again and again, and the server owes one answer to all of that.
#[tokio::test]
async fn key_updates_in_a_row_over_two_moves_are_obeyed() {
    let service = Service::new(TLS).await;
    let mut clients = clients_of_tls13(&service).await;
    for _ in 0..2 {
        for client in &mut clients {
            for _ in 0..3 {
                let update = client.wire().key_update();
                client.wire().pass(&update).await.unwrap();
            }
        }
        settled(&service).await;
        restart_and_leave(&service).await;
    }
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
        assert_eq!(client.wire().received().key_updates(), 1);
    }
    all_leave_cleanly(&service).await;
}

/// The next request is under the new key, and a part of it is here.
#[tokio::test]
async fn cut_key_update_moves() {
    let service = Service::new(TLS).await;
    let pieces: [(usize, &str); 3] = [(3, "in its header"), (13, "in its body"), (24, "in its tag")];
    let mut waiting = Vec::new();
    for (place, what) in pieces {
        for mut client in clients_of_tls13(&service).await {
            let mut bytes = client.wire().key_update();
            assert_eq!(bytes.len(), 27);
            bytes.extend(client.wire().seal(get("/ping")));
            client.wire().pass(&bytes[..place]).await.unwrap();
            waiting.push((client, bytes[place..].to_vec(), what));
        }
    }
    for mut client in clients_of_tls13(&service).await {
        let mut bytes = client.wire().key_update();
        bytes.extend(client.wire().seal(get("/ping")));
        client.wire().pass(&bytes[..40]).await.unwrap();
        waiting.push((client, bytes[40..].to_vec(), "behind it"));
    }
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for (client, rest, what) in &mut waiting {
        client.wire().pass(rest).await.unwrap();
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_eq!((reply.pid(), reply.closes()), (Some(pid), false), "{what}");
        assert_eq!(client.wire().received().key_updates(), 1, "{what}");
    }
    all_leave_cleanly(&service).await;
}

/// It arrives in the middle of a head, and behind a request that the predecessor still answers.
#[tokio::test]
async fn key_update_inside_a_request_is_obeyed() {
    let service = Service::new(TLS).await;
    let mut halves = clients_of_tls13(&service).await;
    for client in &mut halves {
        let mut bytes = client.wire().seal("GET /ping HT");
        bytes.extend(client.wire().key_update());
        bytes.extend(client.wire().seal("TP/1.1\r\nHost: local"));
        client.wire().pass(&bytes).await.unwrap();
    }
    let mut slow = clients_of_tls13(&service).await;
    for client in &mut slow {
        let mut bytes = client.wire().seal(get("/slow?ms=1000"));
        bytes.extend(client.wire().key_update());
        client.wire().pass(&bytes).await.unwrap();
    }
    eventually("three in the handler", || service.app.log.count(0, "slow begins") == 3).await;
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for client in &mut halves {
        client.send("host\r\n\r\n").await.unwrap();
        answered_by(client, pid).await;
    }
    for client in &mut slow {
        answered_by(client, service.app.first().pid()).await;
    }
    for client in halves.iter_mut().chain(&mut slow) {
        get_by(client, pid).await;
        assert_eq!(client.wire().received().key_updates(), 1);
    }
    all_leave_cleanly(&service).await;
}

/// It arrives in the middle of a response that the client does not read: the rest of it is under the new key.
#[tokio::test]
async fn key_update_inside_a_response_is_obeyed() {
    const LENGTH: usize = 10_000_000;
    let service = Service::new(TLS).await;
    let mut clients = clients_of_tls13(&service).await;
    for client in &mut clients {
        client.send(get(&format!("/big?bytes={LENGTH}"))).await.unwrap();
    }
    eventually("three in the handler", || service.app.log.count(0, "big begins") == 3).await;
    service.restart().await;
    for client in &mut clients {
        let update = client.wire().key_update();
        client.wire().pass(&update).await.unwrap();
        assert_eq!(client.reply().await.unwrap().body.len(), LENGTH);
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
        assert_eq!(client.wire().received().key_updates(), 1);
    }
    all_leave_cleanly(&service).await;
}
