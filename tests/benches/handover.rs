//! How long the hand-over of many idle connections takes, plain and over TLS, its effect on live traffic, and its
//! cost.
//!
//! ```text
//! cargo bench -p tests --bench handover
//! cargo bench -p tests --bench handover -- --connections 5000 --restarts 10
//! cargo bench -p tests --bench handover -- tls-1.3
//! ```
//!
//! The benchmark takes three times from the signal on: until the successor accepts (its predecessor logs it), until it
//! holds all the connections (a count of its descriptors from outside, every millisecond), and the slowest answer of
//! any live client meanwhile, including the connect. The same clients' slowest answer in a period of the same length
//! before the signal shows the share of the machine itself. The CPU time is that of both processes together, between
//! the first two of these times, and the memory is the successor's when it holds all. Afterwards every idle connection
//! sends a request to the successor, which would reveal a lost one.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::bench::contestant::{self, Contestant, OURS};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::process::{cpu_time, descriptors, resident};
use tests::bench::security::{Security, Version};
use tests::bench::statistics::Spread;
use tests::process::RESTARTED;
use tests::{Client, Target};
use tokio::task::JoinHandle;

/// What the clients speak. The idle ones resume their sessions, since a full handshake for each would take long.
const CLIENTS: [(&str, Security); 3] = [
    ("plain", Security::Plain),
    ("tls-1.2", Security::Tls { version: Version::Tls12, resumes: true }),
    ("tls-1.3", Security::Tls { version: Version::Tls13, resumes: true }),
];

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
    let threads = contestant::threads(options);
    println!("handover: {}; {connections} idle connections, {restarts} restarts", machine::describe());
    for (kind, security) in CLIENTS.into_iter().filter(|(kind, _)| options.wants(kind)) {
        let contestant = Contestant::start(OURS, security, threads).await;
        println!("\nover {kind}, milliseconds from the signal until");
        println!(
            "restart   it accepts   it holds all   slowest answer (steady, new)   before the signal   CPU ms   MiB"
        );
        hand_over(&contestant, connections, restarts).await?;
    }
    Ok(())
}

async fn hand_over(contestant: &Contestant, connections: usize, restarts: usize) -> Result<(), String> {
    let mut clients = Idle::of(contestant)?.gather(connections, Arrival::OneByOne)?;
    let live = Live::start(&contestant.endpoint.target());
    let mut figures = Vec::new();
    for restart in 1..=restarts {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let figure = measure(contestant, &live, connections).await?;
        let Figure { accepts, holds, slowest, before, cpu, mebibytes } = figure;
        println!(
            "{restart:7}   {accepts:10.0}   {holds:12.0}   {:15.1}, {:11.1}   {:8.1}, {:7.1}   {cpu:6.0}   {mebibytes:3.0}",
            slowest[0], slowest[1], before[0], before[1]
        );
        figures.push(figure);
        Idle::of(contestant)?.ask_all(&mut clients)?;
        contestant.app.predecessors_exit().await;
    }
    live.stop()?;
    let spread = |of: fn(&Figure) -> f64| Spread::of(figures.iter().map(of));
    println!("until the successor accepts          {:.0} ms", spread(|figure| figure.accepts));
    println!("until it holds all connections       {:.0} ms", spread(|figure| figure.holds));
    println!("from there on, that is              {:.0} ms", spread(|figure| figure.holds - figure.accepts));
    println!("CPU time of that                     {:.0} ms", spread(|figure| figure.cpu));
    println!("the successor's memory               {:.1} MiB", spread(|figure| figure.mebibytes));
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
    cpu: f64,
    mebibytes: f64,
}

async fn measure(contestant: &Contestant, live: &Live, connections: usize) -> Result<Figure, String> {
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
    let cpu = both() - cpu;
    let memory = resident(successor.pid());
    // An answer to a request of this time may come a little later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(Figure {
        accepts: millis(accepts),
        holds: millis(holds),
        slowest: live.slowest(signal, signal + holds),
        before: live.slowest(signal - holds, signal),
        cpu: millis(cpu),
        mebibytes: memory as f64 / f64::from(1 << 20),
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
    fn start(target: &Target) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let steady = (0..STEADY).map(|_| tokio::spawn(ask_steadily(target.clone(), Arc::clone(&seen))));
        let mut tasks: Vec<_> = steady.collect();
        tasks.push(tokio::spawn(ask_on_new_connections(target.clone(), Arc::clone(&seen))));
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

fn note_failure(seen: &Mutex<Seen>, outcome: Result<std::convert::Infallible, tests::Failure>) {
    let Err(failure) = outcome;
    seen.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(failure.to_string());
}
