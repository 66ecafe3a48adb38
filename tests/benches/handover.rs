//! How long the hand-over of many idle connections takes, and its effect on live traffic.
//!
//! ```text
//! cargo bench -p tests --bench handover
//! cargo bench -p tests --bench handover -- --connections 5000 --restarts 10
//! ```
//!
//! The benchmark takes three times from the signal on: until the successor accepts (its predecessor logs it), until it
//! holds all the connections (a count of its descriptors from outside, every millisecond), and the slowest answer of
//! any live client meanwhile, including the connect. The same clients' slowest answer in a period of the same length
//! before the signal shows the share of the machine itself. Afterwards every idle connection sends a request to the
//! successor, which would reveal a lost one.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::bench::contestant::{self, Contestant, OURS};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::process::descriptors;
use tests::bench::statistics::Spread;
use tests::process::RESTARTED;
use tests::{Client, Target};
use tokio::task::JoinHandle;

/// Live clients on connections of their own.
const STEADY: usize = 4;

/// The pause between two clients that connect, send one request and leave.
const ARRIVALS: Duration = Duration::from_millis(2);

/// How long the successor may take until it holds all connections.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    contestant::main(&[OURS], run)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run(options: &Options) -> Result<(), String> {
    let connections = options.value("connections", 10_000);
    let restarts = options.value("restarts", 5);
    let contestant = Contestant::start(OURS, contestant::threads(options)).await;
    println!("handover: {}; {connections} idle connections, {restarts} restarts", machine::describe());
    println!("milliseconds from the signal until");
    println!("restart   it accepts   it holds all   slowest answer (steady, new)   before the signal");

    let mut clients = Idle::of(&contestant)?.gather(connections, Arrival::OneByOne)?;
    let live = Live::start(contestant.address);
    let mut figures = Vec::new();
    for restart in 1..=restarts {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let figure = measure(&contestant, &live, connections).await?;
        let Figure { accepts, holds, slowest, before } = figure;
        println!(
            "{restart:7}   {accepts:10.0}   {holds:12.0}   {:15.1}, {:11.1}   {:8.1}, {:7.1}",
            slowest[0], slowest[1], before[0], before[1]
        );
        figures.push(figure);
        Idle::of(&contestant)?.ask_all(&mut clients)?;
        contestant.app.predecessors_exit().await;
    }
    live.stop()?;
    let spread = |of: fn(&Figure) -> f64| Spread::of(figures.iter().map(of));
    println!("until the successor accepts          {:.0} ms", spread(|figure| figure.accepts));
    println!("until it holds all connections       {:.0} ms", spread(|figure| figure.holds));
    println!("slowest answer, steady connections   {:.1} ms", spread(|figure| figure.slowest[0]));
    println!("slowest answer, new connections      {:.1} ms", spread(|figure| figure.slowest[1]));
    println!(
        "the same without a restart           {:.1} ms",
        spread(|figure| figure.before[0].max(figure.before[1]))
    );
    Ok(())
}

/// One restart, in milliseconds.
struct Figure {
    accepts: f64,
    holds: f64,
    slowest: [f64; 2],
    before: [f64; 2],
}

async fn measure(contestant: &Contestant, live: &Live, connections: usize) -> Result<Figure, String> {
    let app = &contestant.app;
    let begin = app.log.end();
    let signal = Instant::now();
    app.signal(Signal::USR2);
    app.log.line(begin, RESTARTED).await;
    let accepts = signal.elapsed();
    let successor = app.successor_since(begin).await;
    while descriptors(successor.pid()) < connections as u64 {
        if signal.elapsed() > LIMIT {
            return Err(format!("not all connections moved within {LIMIT:?}:\n{}", app.log));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let holds = signal.elapsed();
    // An answer to a request of this time may come a little later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(Figure {
        accepts: millis(accepts),
        holds: millis(holds),
        slowest: live.slowest(signal, signal + holds),
        before: live.slowest(signal - holds, signal),
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Clients that send requests all the time, and their results.
struct Live {
    tasks: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The start of each request and the time of its answer: on steady connections, and on new ones.
    answers: [Vec<(Instant, Duration)>; 2],
    failure: Option<String>,
}

impl Live {
    fn start(address: std::net::SocketAddr) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let steady = (0..STEADY).map(|_| tokio::spawn(ask_steadily(address, Arc::clone(&seen))));
        let mut tasks: Vec<_> = steady.collect();
        tasks.push(tokio::spawn(ask_on_new_connections(address, Arc::clone(&seen))));
        Self { tasks, seen }
    }

    /// The slowest answers to requests that were open in this time, in milliseconds.
    fn slowest(&self, from: Instant, to: Instant) -> [f64; 2] {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = |answers: &Vec<(Instant, Duration)>| {
            let under_way = answers.iter().filter(|(begun, took)| *begun < to && *begun + *took > from);
            under_way.map(|(_, took)| millis(*took)).fold(0.0, f64::max)
        };
        [slowest(&seen.answers[0]), slowest(&seen.answers[1])]
    }

    /// Ends the clients; an error if any of them had one.
    fn stop(self) -> Result<(), String> {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).failure.take().map_or(Ok(()), Err)
    }
}

async fn ask_steadily(address: std::net::SocketAddr, seen: Arc<Mutex<Seen>>) {
    let outcome = async {
        let mut client = Client::connect(&Target::Plain(address)).await?;
        loop {
            let begun = Instant::now();
            client.get("/ping").await?;
            note(&seen, 0, begun);
        }
    };
    note_failure(&seen, outcome.await);
}

async fn ask_on_new_connections(address: std::net::SocketAddr, seen: Arc<Mutex<Seen>>) {
    let outcome = async {
        loop {
            let begun = Instant::now();
            Client::connect(&Target::Plain(address)).await?.get("/ping").await?;
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

fn note_failure(seen: &Mutex<Seen>, outcome: Result<std::convert::Infallible, tests::Failure>) {
    let Err(failure) = outcome;
    seen.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(failure.to_string());
}
