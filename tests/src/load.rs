//! Many strict clients at once, until they are told to stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Client, Pause, Reply, Target, get, post_head};
use crate::fault::{Failure, Kind};
use crate::h2::{Http2, Outcome};
use crate::patience::{PATIENCE, within};
use crate::random::Random;
use crate::report::{Incident, Mark, Report};

/// What a client does, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// GETs on one connection, with pauses.
    Get,
    /// POSTs on one connection, the body in several writes.
    Post,
    /// A new connection for each GET.
    Fresh,
    /// A new connection for each GET, which says nothing for a while.
    Silent,
    /// GETs on one connection, each head sent in two halves.
    HalfHead,
    /// GETs on one connection, two in one write, each with a number that comes back.
    Pipelined,
    /// HTTP/2: three streams at once on one connection, with pauses.
    Http2,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    pause: Duration,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    report: Mutex<Report>,
    answers: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// A load without clients yet.
    pub fn on(target: &Target) -> Self {
        let shared = Shared {
            target: target.clone(),
            report: Mutex::new(Report::new()),
            answers: watch::Sender::new(0),
            stop: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared), clients: JoinSet::new(), pause: Duration::from_millis(20) }
    }

    /// The longest pause of the clients that are added after this.
    pub fn pause(mut self, longest: Duration) -> Self {
        self.pause = longest;
        self
    }

    /// Adds clients, which begin at once.
    pub fn clients(mut self, count: usize, style: Style) -> Self {
        for _ in 0..count {
            let number = self.clients.len();
            let worker = Worker {
                shared: Arc::clone(&self.shared),
                style,
                number,
                random: Random::new(number as u64),
                pause: self.pause,
                sent: 0,
            };
            self.clients.spawn(worker.run());
        }
        self
    }

    /// Notes what happens to the application, so that the report can tell what failed near it.
    pub fn mark(&self, what: impl Into<String>) {
        self.shared.report().marks.push(Mark { at: Instant::now(), what: what.into() });
    }

    /// Awaits `count` more answers.
    pub async fn answers(&self, count: u64) {
        let mut answers = self.shared.answers.subscribe();
        let goal = *answers.borrow_and_update() + count;
        let reached = async {
            // The sender lives in `shared`, so this ends only when the goal is reached.
            _ = answers.wait_for(|answers| *answers >= goal).await;
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("waited {PATIENCE:?} in vain for {count} answers\n{}", self.shared.report());
        }
    }

    /// What has been seen so far.
    pub fn so_far(&self) -> Report {
        self.shared.report().clone()
    }

    /// Lets every client finish what it does, and returns the counts.
    pub async fn stop(mut self) -> Report {
        self.shared.stop.send_replace(true);
        within(PATIENCE * 2, "the clients' end", async {
            while let Some(end) = self.clients.join_next().await {
                end.expect("clients do not panic");
            }
        })
        .await;
        let report = self.shared.report().clone();
        println!("{report}");
        report
    }
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Why a client leaves its connection.
struct Leave;

struct Worker {
    shared: Arc<Shared>,
    style: Style,
    number: usize,
    random: Random,
    pause: Duration,
    sent: u64,
}

impl Worker {
    async fn run(mut self) {
        while !self.shared.stopping() {
            if self.style == Style::Http2 {
                self.http2_connection().await;
            } else {
                self.http1_connection().await;
            }
        }
    }

    /// One connection, from its begin to its end.
    async fn http1_connection(&mut self) {
        let mut client = match Client::connect(&self.shared.target).await {
            Ok(client) => client,
            Err(failure) => return self.failed_to_connect(failure).await,
        };
        self.shared.report().connections += 1;
        let stays = !matches!(self.style, Style::Fresh | Style::Silent);
        let mut first = true;
        while !self.shared.stopping() {
            if (!first || self.style == Style::Silent) && self.idle(&mut client).await.is_err() {
                return;
            }
            first = false;
            if self.round(&mut client).await.is_err() || !stays {
                return;
            }
        }
    }

    /// A refusal is counted once, not a thousand times in a row.
    async fn failed_to_connect(&mut self, failure: Failure) {
        self.shared.report().requests += 1;
        self.incident(failure);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// A pause in which the server may close, and nothing else.
    async fn idle(&mut self, client: &mut Client) -> Result<(), Leave> {
        match client.pause(self.random.pause(self.pause)).await {
            Pause::Open => return Ok(()),
            Pause::Closed => self.shared.report().closed_idle += 1,
            Pause::Failed(failure) => self.incident(failure),
        }
        Err(Leave)
    }

    /// One request and its answer, or a pipelined pair.
    async fn round(&mut self, client: &mut Client) -> Result<(), Leave> {
        let pair = if self.style == Style::Pipelined { 2 } else { 1 };
        let mut echo = None;
        let start = Instant::now();
        self.shared.report().requests += pair;
        let written = match self.style {
            Style::Post => {
                echo = Some(self.body());
                self.write_post(client, echo.as_deref().unwrap_or_default()).await
            }
            Style::HalfHead => self.write_in_halves(client).await,
            Style::Pipelined => {
                self.sent += pair;
                let numbered = |number| get(&format!("/numbered?number={number}"));
                client.send(numbered(self.sent - 1) + &numbered(self.sent)).await
            }
            _ => client.send(get("/ping")).await,
        };
        if let Err(failure) = written {
            return self.lost(&failure, pair);
        }
        for position in 1..=pair {
            let reply = match client.reply().await {
                Ok(reply) => reply,
                Err(mut failure) => {
                    if pair == 2 {
                        failure.detail += &format!(" (number {position} of a pipelined pair)");
                    }
                    return self.lost(&failure, pair + 1 - position);
                }
            };
            let number = self.sent + position - pair;
            if pair == 2 && reply.header("number") != Some(&number.to_string()) {
                let what = format!("not the answer to request {number}: {reply:?}");
                self.incident(Failure::new(Kind::Unexpected, what));
                return Err(Leave);
            }
            self.check(&reply, echo.as_deref(), start);
            // A pair's first answer that closes leaves the second request without an answer: the next read
            // finds that, and counts it.
            if reply.closes() {
                self.shared.report().promised_closes += 1;
                if position == pair {
                    if let Err(failure) = client.closed().await {
                        self.incident(failure);
                    }
                    return Err(Leave);
                }
            }
        }
        Ok(())
    }

    async fn write_post(&mut self, client: &mut Client, body: &[u8]) -> Result<(), Failure> {
        client.send(post_head("/echo", body.len())).await?;
        for piece in body.chunks(body.len() / 3 + 1) {
            let short = self.random.pause(self.pause / 4);
            tokio::time::sleep(short).await;
            client.send(piece).await?;
        }
        Ok(())
    }

    async fn write_in_halves(&mut self, client: &mut Client) -> Result<(), Failure> {
        let head = get("/ping");
        let middle = 1 + self.random.below(head.len() as u64 - 2) as usize;
        client.send(&head[..middle]).await?;
        match client.pause(self.random.pause(self.pause)).await {
            Pause::Open => client.send(&head[middle..]).await,
            Pause::Closed => Err(Failure::new(Kind::Unanswered, "closed with half a head written")),
            Pause::Failed(failure) => Err(failure),
        }
    }

    /// A body that no other request has.
    fn body(&mut self) -> Vec<u8> {
        self.sent += 1;
        let word = format!("client {} request {};", self.number, self.sent);
        word.repeat(1 + self.random.below(64) as usize).into_bytes()
    }

    async fn http2_connection(&mut self) {
        let mut client = match Http2::connect(&self.shared.target).await {
            Ok(client) => client,
            Err(failure) => return self.failed_to_connect(failure).await,
        };
        self.shared.report().connections += 1;
        while !self.shared.stopping() {
            if !client.is_open().await {
                self.shared.report().goaways += 1;
                return;
            }
            let start = Instant::now();
            let (mut one, mut two, mut three) = (client.clone(), client.clone(), client.clone());
            let body = Bytes::from(self.body());
            let outcomes =
                tokio::join!(one.get("/ping"), two.post("/echo", body.clone()), three.get("/ping"));
            let outcomes = [(outcomes.0, None), (outcomes.1, Some(&body[..])), (outcomes.2, None)];
            for (outcome, echo) in outcomes {
                match outcome {
                    Ok(Outcome::NotSent) => continue,
                    Ok(Outcome::Reply(reply)) => self.check(&reply, echo, start),
                    Err(failure) => self.incident(failure),
                }
                self.shared.report().requests += 1;
            }
            let pause = self.random.pause(self.pause);
            tokio::time::sleep(pause).await;
        }
    }

    /// Counts an answer, if it is the expected one.
    fn check(&mut self, reply: &Reply, echo: Option<&[u8]>, start: Instant) {
        let right = match echo {
            Some(body) => reply.body == body,
            None => reply.pid().is_some(),
        };
        if reply.status != 200 || !right {
            let what = format!("status {} with {:?}", reply.status, reply.text());
            return self.incident(Failure::new(Kind::Unexpected, what));
        }
        let mut report = self.shared.report();
        report.answered(start.elapsed(), reply.pid());
        self.shared.answers.send_replace(report.answers);
    }

    /// Notes the loss of the last `requests` requests.
    fn lost(&mut self, failure: &Failure, requests: u64) -> Result<(), Leave> {
        for _ in 0..requests {
            self.incident(failure.clone());
        }
        Err(Leave)
    }

    fn incident(&mut self, failure: Failure) {
        let client = format!("{:?} {}", self.style, self.number);
        self.shared.report().incidents.push(Incident { at: Instant::now(), client, failure });
    }
}
