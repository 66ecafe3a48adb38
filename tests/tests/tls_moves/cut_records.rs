//! Records and heads that have come in part: the rest comes after the move.

use std::time::Duration;

use tests::client::{Pause, get, post_head};
use tests::tls::{Record, SUITES};

use super::*;

/// Places in a record of this length: in its header, at its end, in the body, before the tag, and in it.
fn places(length: usize) -> Vec<usize> {
    const HEADER: usize = 5;
    const TAG: usize = 16;
    // TLS 1.2 has a part of the nonce before the body, which one of these places cuts.
    vec![1, 3, HEADER, HEADER + 1, HEADER + 4, length / 2, length - TAG, length - TAG / 2, length - 1]
}

#[tokio::test]
async fn record_that_is_cut_anywhere_moves() {
    let service = Service::new(TLS).await;
    let mut cut = Vec::new();
    for suite in SUITES {
        for place in
            places(Record::all(&client_with(&service, suite).await.wire().seal(get("/ping")))[0].length)
        {
            let mut client = client_with(&service, suite).await;
            // Every second connection has been at rest before.
            if place % 2 == 0 {
                get_by(&mut client, service.app.pid()).await;
            }
            let record = client.wire().seal(get("/ping"));
            client.wire().pass(&record[..place]).await.unwrap();
            cut.push((client, record[place..].to_vec(), format!("{suite:?} cut at {place}")));
        }
    }
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for (mut client, rest, what) in cut {
        client.wire().pass(&rest).await.unwrap();
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_eq!((reply.pid(), reply.closes()), (Some(pid), false), "{what}: {reply:?}");
        get_by(&mut client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// Each of the three processes gets one part.
#[tokio::test]
async fn record_that_is_cut_twice_moves_twice() {
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    let mut rests = Vec::new();
    for client in &mut clients {
        let record = client.wire().seal(get("/ping"));
        let parts: Vec<_> = record.chunks(record.len() / 3 + 1).map(<[u8]>::to_vec).collect();
        client.wire().pass(&parts[0]).await.unwrap();
        rests.push(parts);
    }
    for number in 1..3 {
        settled(&service).await;
        restart_and_leave(&service).await;
        for (client, parts) in clients.iter_mut().zip(&rests) {
            client.wire().pass(&parts[number]).await.unwrap();
        }
    }
    for client in &mut clients {
        answered_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn half_a_head_in_a_whole_record_moves() {
    let service = Service::new(TLS).await;
    let mut waiting = Vec::new();
    for suite in SUITES {
        for half in ["G", "GET /ping HT", "GET /ping HTTP/1.1\r\nHost: localhost\r\n"] {
            let mut client = client_with(&service, suite).await;
            client.send(half).await.unwrap();
            let whole = get("/ping");
            waiting.push((client, whole.strip_prefix(half).expect("its beginning").to_owned()));
        }
    }
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for (client, rest) in &mut waiting {
        client.send(&rest[..1]).await.unwrap();
        client.send(&rest[1..]).await.unwrap();
        answered_by(client, pid).await;
        get_by(client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// Half a head in whole records, and behind it a record that is cut.
#[tokio::test]
async fn head_over_several_records_moves_with_a_part_of_the_next() {
    let service = Service::new(TLS).await;
    let mut waiting = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        let records: Vec<u8> =
            get("/ping").as_bytes().chunks(7).flat_map(|part| client.wire().seal(part)).collect();
        // In the third one, and in the last one.
        for place in [2 * records.len() / 5, records.len() - 20] {
            let mut other = client_with(&service, suite).await;
            let records: Vec<u8> =
                get("/ping").as_bytes().chunks(7).flat_map(|part| other.wire().seal(part)).collect();
            other.wire().pass(&records[..place]).await.unwrap();
            waiting.push((other, records[place..].to_vec()));
        }
        // Between two of them.
        let between: usize = Record::all(&records).iter().take(3).map(|record| record.length).sum();
        client.wire().pass(&records[..between]).await.unwrap();
        waiting.push((client, records[between..].to_vec()));
    }
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for (client, rest) in &mut waiting {
        client.wire().pass(rest).await.unwrap();
        answered_by(client, pid).await;
        get_by(client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// Three requests in one write, and half of the record of the fourth. The predecessor answers what is whole.
#[tokio::test]
async fn pipelined_requests_are_answered_and_the_cut_one_moves() {
    let service = Service::new(TLS).await;
    let old = service.app.pid();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        let pid = service.app.pid();
        let mut bytes = Vec::new();
        for number in 1..=3 {
            let request = get(&format!("/numbered?number={number}"));
            let (one, two) = request.split_at(11 * number);
            bytes.extend(client.wire().seal(one));
            bytes.extend(client.wire().seal(two));
        }
        let last = client.wire().seal(get("/numbered?number=4"));
        bytes.extend(&last[..last.len() / 3]);
        client.wire().pass(&bytes).await.unwrap();
        for number in 1..=3 {
            let reply = client.reply().await.unwrap();
            assert_eq!((reply.header("number"), reply.pid()), (Some(&*number.to_string()), Some(pid)));
        }
        settled(&service).await;
        let next = restart_and_leave(&service).await;
        client.wire().pass(&last[last.len() / 3..]).await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.header("number"), reply.pid()), (Some("4"), Some(next)));
        get_by(&mut client, next).await;
    }
    assert_ne!(old, service.app.pid());
    all_leave_cleanly(&service).await;
}

/// The first request keeps the predecessor busy; those behind it are in several records, the last of which is cut.
#[tokio::test]
async fn pipelined_requests_behind_a_slow_one_are_answered_in_order_and_the_cut_one_moves() {
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    let mut rests = Vec::new();
    for client in &mut clients {
        let mut bytes = client.wire().seal(get("/slow?ms=1000"));
        for number in 2..=15 {
            bytes.extend(client.wire().seal(get(&format!("/numbered?number={number}"))));
        }
        let last = client.wire().seal(get("/numbered?number=16"));
        bytes.extend(&last[..last.len() / 2]);
        client.wire().pass(&bytes).await.unwrap();
        rests.push(last[last.len() / 2..].to_vec());
    }
    eventually("both in the handler", || service.app.log.count(0, "slow begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        for number in 1..=15 {
            let reply = client.reply().await.unwrap_or_else(|failure| panic!("answer {number}: {failure}"));
            assert!(reply.pid().is_some() && !reply.closes(), "answer {number}: {reply:?}");
            let expected = (number > 1).then(|| number.to_string());
            assert_eq!(reply.header("number"), expected.as_deref(), "answer {number}");
        }
    }
    service.app.predecessors_leave_cleanly().await;
    let pid = service.app.pid();
    for (client, rest) in clients.iter_mut().zip(&rests) {
        client.wire().pass(rest).await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.header("number"), reply.pid()), (Some("16"), Some(pid)));
        get_by(client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// A record of the largest size, of which all but the last byte has come.
#[tokio::test]
async fn large_cut_record_moves() {
    // With its head, nearly the most that a record holds.
    const LENGTH: usize = (1 << 14) - 100;
    let service = Service::new(TLS).await;
    let mut waiting = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        let body = vec![b'x'; LENGTH];
        let request = [post_head("/count", body.len()).as_bytes(), &body].concat();
        let record = client.wire().seal(request);
        assert_eq!(Record::all(&record).len(), 1);
        client.wire().pass(&record[..record.len() - 1]).await.unwrap();
        waiting.push((client, record));
    }
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for (client, record) in &mut waiting {
        client.wire().pass(&record[record.len() - 1..]).await.unwrap();
        assert_eq!(client.reply().await.unwrap().text(), LENGTH.to_string());
        get_by(client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// A client that sends a record byte by byte has as little time as one that sends a head byte by byte, also over a
/// move.
#[tokio::test]
async fn cut_record_has_the_time_of_a_head() {
    let service = Service::new(&format!("{TLS} header_read_timeout=1500ms")).await;
    let mut clients = clients(&service).await;
    for client in &mut clients {
        let record = client.wire().seal(get("/ping"));
        client.wire().pass(&record[..record.len() / 2]).await.unwrap();
    }
    settled(&service).await;
    service.restart().await;
    for client in &mut clients {
        // An answer with the reason may come before.
        let ended = client.pause(Duration::from_secs(10)).await;
        assert_ne!(ended, Pause::Open, "the time of a head is over");
        if let Pause::Failed(failure) = ended {
            assert!(failure.detail.contains("HTTP/1.1 408"), "{failure}");
        }
    }
    all_leave_cleanly(&service).await;
}

/// Heads of any size, of which most has come, in whole records and a part of the next.
#[tokio::test]
async fn most_of_a_long_head_moves() {
    let service = Service::new(TLS).await;
    let mut waiting = Vec::new();
    for suite in SUITES {
        for length in [1000, 10_000, 16_384, 20_000, 40_000, 60_000] {
            let mut client = client_with(&service, suite).await;
            let field = format!("X: {}\r\n", "x".repeat(1000));
            let fields = field.repeat(length / field.len());
            let head = get("/ping").replacen("\r\n\r\n", &format!("\r\n{fields}\r\n"), 1);
            let records = client.wire().seal(head);
            // In the tag of the last record.
            client.wire().pass(&records[..records.len() - 3]).await.unwrap();
            waiting.push((client, records, length));
        }
    }
    settled(&service).await;
    let pid = restart_and_leave(&service).await;
    for (client, records, length) in &mut waiting {
        client.wire().pass(&records[records.len() - 3..]).await.unwrap();
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{length}: {failure}"));
        assert_eq!((reply.pid(), reply.closes()), (Some(pid), false), "{length}: {reply:?}");
        get_by(client, pid).await;
    }
    all_leave_cleanly(&service).await;
}
