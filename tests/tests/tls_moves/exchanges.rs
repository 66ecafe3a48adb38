//! Requests in flight: the predecessor answers them, then their connections move.

use tests::client::{get, post_head};
use tests::patience::{PATIENCE, within};
use tests::random::Random;
use tests::tls::SUITES;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn request_in_the_handler_is_answered_before_its_connection_moves() {
    let service = Service::new(TLS).await;
    let old = service.app.pid();
    let mut clients = clients(&service).await;
    for client in &mut clients {
        client.send(get("/slow?ms=1500")).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "slow begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        answered_by(client, old).await;
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The body ends after the restart, in the middle of a record.
#[tokio::test]
async fn upload_in_flight_is_answered_before_its_connection_moves() {
    let service = Service::new(TLS).await;
    let mut uploads = Vec::new();
    for suite in SUITES {
        let mut client = client_with(&service, suite).await;
        client.send(post_head("/echo", 20)).await.unwrap();
        client.send("01234").await.unwrap();
        let record = client.wire().seal("56789abcdefghij");
        client.wire().pass(&record[..record.len() / 2]).await.unwrap();
        uploads.push((client, record));
    }
    settled(&service).await;
    service.restart().await;
    for (client, record) in &mut uploads {
        client.wire().pass(&record[record.len() / 2..]).await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!((&*reply.text(), reply.closes()), ("0123456789abcdefghij", false));
    }
    service.app.predecessors_leave_cleanly().await;
    for (client, _) in &mut uploads {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The client has sent the whole next request, or a part of its record, before it has its answer.
#[tokio::test]
async fn next_request_waits_behind_the_one_in_flight() {
    let service = Service::new(TLS).await;
    let mut clients = Vec::new();
    for suite in VERSIONS {
        for part in [2, 1] {
            let mut client = client_with(&service, suite).await;
            let mut bytes = client.wire().seal(get("/slow?ms=1000"));
            let next = client.wire().seal(get("/numbered?number=2"));
            let (first, rest) = next.split_at(part * next.len() / 2);
            bytes.extend(first);
            client.wire().pass(&bytes).await.unwrap();
            clients.push((client, rest.to_vec()));
        }
    }
    eventually("four in the handler", || service.app.log.count(0, "slow begins") == 4).await;
    service.restart().await;
    service.app.predecessors_leave_cleanly().await;
    let pid = service.app.pid();
    for (client, rest) in &mut clients {
        let first = client.reply().await.unwrap();
        assert_eq!((first.pid(), first.closes()), (Some(service.app.first().pid()), false));
        client.wire().pass(rest).await.unwrap();
        let second = client.reply().await.unwrap();
        assert_eq!((second.header("number"), second.closes()), (Some("2"), false), "{second:?}");
        get_by(client, pid).await;
    }
    all_leave_cleanly(&service).await;
}

/// The server still holds most of the response when the restart comes, since the client does not read.
#[tokio::test]
async fn response_to_a_slow_reader_completes_before_its_connection_moves() {
    const LENGTH: usize = 20_000_000;
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    for client in &mut clients {
        client.send(get(&format!("/big?bytes={LENGTH}"))).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "big begins") == 2).await;
    settled(&service).await;
    service.restart().await;
    for client in &mut clients {
        let reply = client.reply().await.unwrap();
        assert!(reply.body.len() == LENGTH && reply.body.iter().all(|byte| *byte == b'x'));
        assert!(!reply.closes());
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The response waits in the server, and the next request in its record, half of it.
#[tokio::test]
async fn slow_reader_sends_half_its_next_record() {
    const LENGTH: usize = 10_000_000;
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    let mut rests = Vec::new();
    for client in &mut clients {
        client.send(get(&format!("/big?bytes={LENGTH}"))).await.unwrap();
        let next = client.wire().seal(get("/ping"));
        client.wire().pass(&next[..20]).await.unwrap();
        rests.push(next[20..].to_vec());
    }
    eventually("both in the handler", || service.app.log.count(0, "big begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        assert_eq!(client.reply().await.unwrap().body.len(), LENGTH);
    }
    service.app.predecessors_leave_cleanly().await;
    for (client, rest) in clients.iter_mut().zip(&rests) {
        client.wire().pass(rest).await.unwrap();
        answered_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

#[tokio::test]
async fn stream_in_flight_completes_before_its_connection_moves() {
    let service = Service::new(TLS).await;
    let mut clients = clients(&service).await;
    for client in &mut clients {
        client.send(get("/stream?pieces=25")).await.unwrap();
    }
    eventually("both in the handler", || service.app.log.count(0, "stream begins") == 2).await;
    service.restart().await;
    for client in &mut clients {
        assert_eq!(client.reply().await.unwrap().text().lines().count(), 25);
    }
    service.app.predecessors_leave_cleanly().await;
    for client in &mut clients {
        get_by(client, service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}

/// The bytes of many pipelined requests, in records of any size.
struct Pipeline {
    sealed: Vec<u8>,
    /// Where each record ends, and how many requests are whole with it.
    ends: Vec<(usize, usize)>,
    random: Random,
}

impl Pipeline {
    fn new(client: &mut Client<Wire>, count: usize, seed: u64) -> Self {
        let (mut text, mut whole) = (String::new(), Vec::new());
        for number in 0..count {
            text += &get(&format!("/numbered?number={number}"));
            whole.push(text.len());
        }
        let mut pipeline = Self { sealed: Vec::new(), ends: Vec::new(), random: Random::new(seed) };
        let mut from = 0;
        while from < text.len() {
            let to = text.len().min(from + 1 + pipeline.random.below(900) as usize);
            pipeline.sealed.extend(client.wire().seal(&text[from..to]));
            let requests = whole.partition_point(|end| *end <= to);
            pipeline.ends.push((pipeline.sealed.len(), requests));
            from = to;
        }
        pipeline
    }

    /// Sends everything, each part when the requests before it are answered; the parts end anywhere.
    async fn run(mut self, client: &mut Client<Wire>, answered: &watch::Sender<usize>) {
        let (mut sent, mut number) = (0, 0);
        while sent < self.sealed.len() {
            let to = self.sealed.len().min(sent + 1 + self.random.below(5000) as usize);
            client.wire().pass(&self.sealed[sent..to]).await.expect("room for a part");
            sent = to;
            let records = self.ends.partition_point(|(end, _)| *end <= sent);
            let requests = records.checked_sub(1).map_or(0, |last| self.ends[last].1);
            while number < requests {
                let reply = client.reply().await.unwrap_or_else(|failure| panic!("{number}: {failure}"));
                assert_eq!(reply.header("number"), Some(&*number.to_string()), "{reply:?}");
                assert!(!reply.closes(), "{number}: {reply:?}");
                number += 1;
                answered.send_modify(|answered| *answered += 1);
            }
        }
    }
}

/// A restart comes anywhere in a long pipeline: between two requests, in one, and in a record.
#[tokio::test]
async fn long_pipeline_is_answered_in_order_over_three_restarts() {
    const COUNT: usize = 2000;
    let service = Service::new(TLS).await;
    let mut asking = JoinSet::new();
    let (answered, mut progress) = watch::channel(0);
    for (seed, suite) in SUITES.into_iter().enumerate() {
        let mut client = client_with(&service, suite).await;
        let pipeline = Pipeline::new(&mut client, COUNT, seed as u64);
        let answered = answered.clone();
        asking.spawn(async move {
            pipeline.run(&mut client, &answered).await;
            client
        });
    }
    for number in 1..=3 {
        let enough = progress.wait_for(|answered| *answered > number * SUITES.len() * COUNT / 5);
        within(PATIENCE, "answers", enough).await.expect("clients that ask");
        service.app.restart().await;
    }
    while let Some(end) = asking.join_next().await {
        end.expect("all answers").moves_to(service.app.pid()).await;
    }
    all_leave_cleanly(&service).await;
}
