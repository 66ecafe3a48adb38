//! Many strict clients at once, until the test stops them.

mod pool;
mod script;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Target;
use crate::load::worker::Worker;
use crate::patience::{PATIENCE, within};
use crate::report::{Mark, Report};

/// The action that a client repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// GETs on one connection, with pauses.
    Get,
    /// POSTs on one connection, the body in several writes.
    Post,
    /// A new connection for each GET.
    Fresh,
    /// A new connection for each GET, which stays silent for a while first.
    Silent,
    /// GETs on one connection, each head sent in two halves.
    HalfHead,
    /// GETs on one connection, two in one write, each with a number that the answer returns.
    Pipelined,
    /// GETs and POSTs in turn on one connection; the first request offers HTTP/2 by `Upgrade: h2c`, as Java's
    /// HttpClient does.
    OffersH2c,
    /// GETs and POSTs in turn on one connection; each offers `Upgrade: TLS/1.2`, as Apache HttpClient does.
    OffersTls,
    /// POSTs on one connection to a handler that takes no body; the body follows in a separate packet, up to 20 ms
    /// after the head.
    LateBody,
    /// POSTs of 1 to 5 MB to a handler that answers at once; the client reads the answer after it has written
    /// everything.
    EarlyAnswer,
    /// A new connection for each GET; the client closes its sending direction after the request.
    HalfClose,
    /// Up to three requests at once on kept connections, which the client checks when it reuses them; each connection
    /// offers HTTP/2 with its first request.
    JavaPool,
    /// Up to three requests at once; the client keeps two connections for them and watches these all the time.
    GoPool,
    /// GETs of 300 kB on one connection, with pauses.
    Large,
    /// HTTP/2: three streams at once on one connection, with pauses.
    Http2,
}

impl Style {
    /// Whether a client keeps one connection for all its requests, as long as the server does.
    fn keeps_connections(self) -> bool {
        !matches!(self, Self::Fresh | Self::Silent | Self::HalfClose | Self::JavaPool | Self::GoPool)
    }
}

/// How a client's bytes come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Smooth,
    /// Over TLS, each new connection of a client resumes its last session.
    Resuming,
    /// Over TLS, as [`Ragged`](crate::tls::Ragged) has it, with pauses up to this.
    Ragged(Duration),
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    pause: Duration,
    manner: Manner,
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
        Self {
            shared: Arc::new(shared),
            clients: JoinSet::new(),
            pause: Duration::from_millis(20),
            manner: Manner::Smooth,
        }
    }

    /// The longest pause of the clients that are added after this.
    pub fn pause(mut self, longest: Duration) -> Self {
        self.pause = longest;
        self
    }

    /// The clients that are added after this resume their TLS sessions.
    pub fn resuming(mut self) -> Self {
        self.manner = Manner::Resuming;
        self
    }

    /// The clients that are added after this cut their TLS records anywhere, with pauses up to this at the cuts. They
    /// renew their keys, and read slowly.
    pub fn ragged(mut self, longest: Duration) -> Self {
        self.manner = Manner::Ragged(longest);
        self
    }

    /// Adds clients, which begin at once.
    pub fn clients(mut self, count: usize, style: Style) -> Self {
        for _ in 0..count {
            let worker = Worker::new(&self.shared, style, self.clients.len(), self.pause, self.manner);
            self.clients.spawn(worker.run());
        }
        self
    }

    /// Notes an event of the application, so that the report can show the events near a failure.
    pub fn mark(&self, what: impl Into<String>) {
        self.shared.report().marks.push(Mark { at: Instant::now(), what: what.into() });
    }

    /// Waits for `count` more answers.
    pub async fn answers(&self, count: u64) {
        let mut answers = self.shared.answers.subscribe();
        let goal = *answers.borrow_and_update() + count;
        let reached = async {
            // The sender lives in `shared`, so this ends only at the goal.
            _ = answers.wait_for(|answers| *answers >= goal).await;
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("waited {PATIENCE:?} in vain for {count} answers\n{}", self.shared.report());
        }
    }

    /// The counts so far.
    pub fn so_far(&self) -> Report {
        self.shared.report().clone()
    }

    /// Lets every client finish its work, and returns the counts.
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
