//! Requests against the moment at which a connection is parked, woken, handed over or half closed. Each client checks
//! every byte of its answers, and never repeats a request.
//!
//! The normal run is short. `GRACEHTTP_LONG=1` runs some millions of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::client::{Target, get, post_head};
use tests::random::Random;
use tests::{Client, Service};

const PLANS: [&str; 2] = ["server web 127.0.0.1:0", "server web 127.0.0.1:0 tls=self_signed"];

/// More than both kernels hold.
const LARGE: usize = 3_000_000;

const CLIENTS: u64 = 24;

fn is_long() -> bool {
    std::env::var_os("GRACEHTTP_LONG").is_some()
}

/// A length of the pauses between two requests of a connection.
#[derive(Clone, Copy, Debug)]
enum Pauses {
    /// The next request comes while the last answer is on its way, or right after.
    None,
    /// About as long as a connection stays awake.
    AboutPatience,
    /// About as long as it has to rest to count as rarely used.
    AboutLong,
}

impl Pauses {
    fn next(self, random: &mut Random) -> Duration {
        let micros = match self {
            Self::None => random.below(300),
            Self::AboutPatience => 18_000 + random.below(4_000),
            Self::AboutLong => 90_000 + random.below(130_000),
        };
        Duration::from_micros(micros)
    }
}

/// A client, its connection, and what it has asked.
struct Racer {
    target: Target,
    client: Client,
    random: Random,
    pauses: Pauses,
    asked: u64,
}

impl Racer {
    async fn new(target: Target, number: u64) -> Self {
        let pauses = [Pauses::None, Pauses::AboutPatience, Pauses::AboutLong][number as usize % 3];
        let client = Client::connect(&target).await.expect("a connection");
        Self { target, client, random: Random::new(number), pauses, asked: number << 32 }
    }

    async fn pause(&mut self) {
        let pause = self.pauses.next(&mut self.random);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// A body that no other request has.
    fn body(&mut self) -> String {
        self.asked += 1;
        format!("{:016x}", self.asked)
    }

    async fn round(&mut self) {
        match self.random.below(10) {
            0..=3 => self.echo().await,
            4..=5 => self.echo_in_pieces().await,
            6..=7 => self.pipelined().await,
            8 => self.half_closed().await,
            _ => self.large_after_half_close().await,
        }
    }

    async fn expect(&mut self, body: &str) {
        let reply =
            self.client.reply().await.unwrap_or_else(|failure| panic!("{:?}: {failure}", self.pauses));
        assert_eq!((reply.status, reply.text().as_str()), (200, body), "{:?}", self.pauses);
    }

    /// The server closes its side after the last answer to a client that has closed its own.
    async fn expect_end(&mut self) {
        self.client.closed().await.unwrap_or_else(|failure| panic!("{:?}: {failure}", self.pauses));
    }

    async fn echo(&mut self) {
        let body = self.body();
        self.client.send(post_head("/echo", body.len()) + &body).await.expect("it is sent");
        self.expect(&body).await;
    }

    /// The pieces come as long after each other as the requests.
    async fn echo_in_pieces(&mut self) {
        let body = self.body();
        let bytes = post_head("/echo", body.len()) + &body;
        let (first, second) = bytes.split_at(1 + self.random.below(bytes.len() as u64 - 1) as usize);
        self.client.send(first).await.expect("it is sent");
        self.pause().await;
        self.client.send(second).await.expect("it is sent");
        self.expect(&body).await;
    }

    /// The second request comes while the first is answered.
    async fn pipelined(&mut self) {
        let bodies = [self.body(), self.body(), self.body()];
        let request = |body: &String| post_head("/echo", body.len()) + body;
        self.client.send(request(&bodies[0])).await.expect("it is sent");
        self.client.send(request(&bodies[1]) + &request(&bodies[2])).await.expect("it is sent");
        for body in &bodies {
            self.expect(body).await;
        }
    }

    async fn half_closed(&mut self) {
        let body = self.body();
        self.client.send(post_head("/echo", body.len()) + &body).await.expect("it is sent");
        self.client.half_close().await.expect("half a close");
        self.expect(&body).await;
        self.expect_end().await;
        self.connect_again().await;
    }

    /// The answer is larger than the buffers, and the client begins late to read it.
    async fn large_after_half_close(&mut self) {
        self.client.send(get(&format!("/big?bytes={LARGE}"))).await.expect("it is sent");
        let closes = self.random.below(2) == 0;
        if closes {
            self.client.half_close().await.expect("half a close");
        }
        self.pause().await;
        let reply =
            self.client.reply().await.unwrap_or_else(|failure| panic!("{:?}: {failure}", self.pauses));
        assert_eq!((reply.status, reply.body.len()), (200, LARGE), "{:?}", self.pauses);
        if closes {
            self.expect_end().await;
        }
        self.connect_again().await;
    }

    async fn connect_again(&mut self) {
        self.client = Client::connect(&self.target).await.expect("a connection");
    }
}

/// How many clients race for how long, and how often the service restarts meanwhile.
async fn race(plan: &str, restarts: u32, time: Duration) {
    let service = Service::with(plan, |launch| {
        launch.env("GRACEHTTP_STANDBY", "300ms").env("GRACEHTTP_DRAIN_TIMEOUT", "30s")
    })
    .await;
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let racers = (0..CLIENTS).map(|number| {
        let (target, is_over, answered) = (service.target.clone(), is_over.clone(), answered.clone());
        tokio::spawn(async move {
            let mut racer = Racer::new(target, number).await;
            while !is_over.load(Ordering::Relaxed) {
                racer.round().await;
                racer.pause().await;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let racers: Vec<_> = racers.collect();
    let end = Instant::now() + time;
    for _ in 0..restarts {
        tokio::time::sleep(time / (restarts + 1)).await;
        service.restart().await;
    }
    tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
    is_over.store(true, Ordering::Relaxed);
    for racer in racers {
        racer.await.expect("no request failed");
    }
    println!("{plan}: {} rounds, {restarts} restarts", answered.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_lost_or_crossed_when_connections_park_and_wake() {
    let time = Duration::from_secs(if is_long() { 300 } else { 3 });
    for plan in PLANS {
        race(plan, 0, time).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_lost_or_crossed_when_they_are_handed_over() {
    let (restarts, time) = if is_long() { (200, 300) } else { (3, 4) };
    for plan in PLANS {
        race(plan, restarts, Duration::from_secs(time)).await;
    }
}
