//! Many restarts, one after the other.

use tests::client::get;
use tests::tls::SUITES;
use tokio_rustls::rustls::version::TLS13;

use super::*;

/// One connection of every suite answers requests over twenty restarts; some of them renew their keys, some have sent
/// half a record whenever they move.
#[tokio::test]
async fn twenty_restarts_keep_every_connection() {
    let service = Service::with(TLS, |launch| launch.env("GRACEHTTP_STANDBY", "0s")).await;
    let mut asking = Vec::new();
    let mut idle = Vec::new();
    let mut cut = Vec::new();
    for suite in SUITES {
        asking.push(client_with(&service, suite).await);
        idle.push(client_with(&service, suite).await);
        cut.push((client_with(&service, suite).await, suite));
    }
    let mut early = 0;
    for number in 0..20 {
        let mut rests = Vec::new();
        for (client, suite) in &mut cut {
            let mut bytes = Vec::new();
            if suite.version() == &TLS13 && number % 3 == 0 {
                bytes.extend(client.wire().key_update());
            }
            bytes.extend(client.wire().seal(get("/ping")));
            let place = 1 + (number * 37) % (bytes.len() - 1);
            client.wire().pass(&bytes[..place]).await.unwrap();
            rests.push(bytes.split_off(place));
        }
        settled(&service).await;
        let predecessor = service.app.current();
        let pid = service.app.restart().await.pid();
        assert_eq!(predecessor.exit().await, Exit::Code(0), "restart {number}\n{}", service.app.log);
        for client in &mut asking {
            get_by(client, pid).await;
        }
        for ((client, _), rest) in cut.iter_mut().zip(&rests) {
            client.wire().pass(rest).await.unwrap();
            answered_by(client, pid).await;
        }
        if number == 2 {
            settled(&service).await;
            early = service.app.current().descriptors();
        }
    }
    let last = service.app.current();
    eventually("no more descriptors than after three restarts", || last.descriptors() <= early).await;
    for client in &mut idle {
        get_by(client, service.app.pid()).await;
    }
    assert_eq!(service.app.generations(), 21);
    all_leave_cleanly(&service).await;
}

/// The next restart comes while the predecessor is in standby.
#[tokio::test]
async fn restarts_in_quick_succession_keep_every_connection() {
    let service = Service::new(TLS).await;
    let mut all = Vec::new();
    for suite in SUITES {
        all.push(client_with(&service, suite).await);
    }
    for _ in 0..8 {
        let successor = service.app.restart().await;
        for client in &mut all {
            client.moves_to(successor.pid()).await;
        }
    }
    all_leave_cleanly(&service).await;
}
