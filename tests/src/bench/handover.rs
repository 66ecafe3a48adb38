//! The hand-over of many idle connections, and what live clients notice of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::bench::contestant::Contestant;
use crate::bench::process::{cpu_time, descriptors, resident};
use crate::process::RESTARTED;
use crate::{Client, Target};

/// Live clients on connections of their own.
const STEADY: usize = 4;

/// The pause between two clients that connect, send one request and leave.
const ARRIVALS: Duration = Duration::from_millis(2);

/// How long the successor may take until it holds all connections.
const LIMIT: Duration = Duration::from_secs(60);

/// One restart, in milliseconds from the signal.
#[derive(Debug)]
pub struct HandOver {
    /// Until the successor accepts.
    pub accepts: f64,
    /// Until it holds all the connections.
    pub holds: f64,
    /// The slowest answer meanwhile, on steady connections and on new ones.
    pub slowest: [f64; 2],
    /// The same in a period of the same length before the signal.
    pub before: [f64; 2],
    /// CPU time of both processes between the first two of these times.
    pub cpu: f64,
    /// The successor's memory when it holds all.
    pub mebibytes: f64,
}

impl HandOver {
    /// Restarts a server that has this many idle connections beside the live ones.
    pub async fn measure(contestant: &Contestant, live: &Live, connections: usize) -> Result<Self, String> {
        let app = &contestant.app;
        let (begin, predecessor) = (app.log.end(), app.current());
        let signal = Instant::now();
        app.signal(Signal::USR2);
        app.log.line(begin, RESTARTED).await;
        let accepts = signal.elapsed();
        let successor = app.successor_since(begin).await;
        let both = || cpu_time(predecessor.pid()) + cpu_time(successor.pid());
        let cpu = both();
        while descriptors(successor.pid()) < connections as u64 {
            if signal.elapsed() > LIMIT {
                return Err(format!("not all connections moved within {LIMIT:?}:\n{}", app.log));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let holds = signal.elapsed();
        let cpu = both().saturating_sub(cpu);
        let memory = resident(successor.pid());
        // An answer to a request of this time may come a little later.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(Self {
            accepts: millis(accepts),
            holds: millis(holds),
            slowest: live.slowest(signal, signal + holds),
            before: live.slowest(signal - holds, signal),
            cpu: millis(cpu),
            mebibytes: memory as f64 / f64::from(1 << 20),
        })
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Clients that send requests all the time, and their results.
#[derive(Debug)]
pub struct Live {
    tasks: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The start of each request and the time of its answer: on steady connections, and on new ones.
    answers: [Vec<(Instant, Duration)>; 2],
    failure: Option<String>,
}

impl Live {
    /// Starts them: some keep their connections, one has a new one for each request.
    pub fn start(target: &Target) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let steady = (0..STEADY).map(|_| tokio::spawn(ask_steadily(target.clone(), Arc::clone(&seen))));
        let mut tasks: Vec<_> = steady.collect();
        tasks.push(tokio::spawn(ask_on_new_connections(target.clone(), Arc::clone(&seen))));
        Self { tasks, seen }
    }

    /// The slowest answers to requests that were open in this time, in milliseconds.
    pub fn slowest(&self, from: Instant, to: Instant) -> [f64; 2] {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = |answers: &Vec<(Instant, Duration)>| {
            let under_way = answers.iter().filter(|(begun, took)| *begun < to && *begun + *took > from);
            under_way.map(|(_, took)| millis(*took)).fold(0.0, f64::max)
        };
        [slowest(&seen.answers[0]), slowest(&seen.answers[1])]
    }

    /// Ends the clients; an error if any of them had one.
    pub fn stop(self) -> Result<(), String> {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).failure.take().map_or(Ok(()), Err)
    }
}

async fn ask_steadily(target: Target, seen: Arc<Mutex<Seen>>) {
    let outcome = async {
        let mut client = Client::connect(&target).await?;
        loop {
            let begun = Instant::now();
            client.get("/ping").await?;
            note(&seen, 0, begun);
        }
    };
    note_failure(&seen, outcome.await);
}

async fn ask_on_new_connections(target: Target, seen: Arc<Mutex<Seen>>) {
    let outcome = async {
        loop {
            let begun = Instant::now();
            Client::connect(&target).await?.get("/ping").await?;
            note(&seen, 1, begun);
            tokio::time::sleep(ARRIVALS).await;
        }
    };
    note_failure(&seen, outcome.await);
}

fn note(seen: &Mutex<Seen>, kind: usize, begun: Instant) {
    let took = begun.elapsed();
    seen.lock().unwrap_or_else(PoisonError::into_inner).answers[kind].push((begun, took));
}

fn note_failure(seen: &Mutex<Seen>, outcome: Result<std::convert::Infallible, crate::Failure>) {
    let Err(failure) = outcome;
    seen.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(failure.to_string());
}
