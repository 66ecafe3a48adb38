//! Long pipelines: a restart comes anywhere in them.

use tests::client::get;
use tests::patience::{PATIENCE, within};
use tests::random::Random;
use tests::tls::SUITES;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;

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
