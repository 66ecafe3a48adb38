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
use std::time::Duration;

use tests::bench::contestant::{self, Contestant, OURS};
use tests::bench::handover::{HandOver, Live};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::security::{Security, Version};
use tests::bench::statistics::Spread;

/// What the clients speak. The idle ones resume their sessions, since a full handshake for each would take long.
const CLIENTS: [(&str, Security); 3] = [
    ("plain", Security::Plain),
    ("tls-1.2", Security::Tls { version: Version::Tls12, resumes: true }),
    ("tls-1.3", Security::Tls { version: Version::Tls13, resumes: true }),
];

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
        let figure = HandOver::measure(contestant, &live, connections).await?;
        let HandOver { accepts, holds, slowest, before, cpu, mebibytes } = figure;
        println!(
            "{restart:7}   {accepts:10.0}   {holds:12.0}   {:15.1}, {:11.1}   {:8.1}, {:7.1}   {cpu:6.0}   {mebibytes:3.0}",
            slowest[0], slowest[1], before[0], before[1]
        );
        figures.push(figure);
        Idle::of(contestant)?.ask_all(&mut clients)?;
        contestant.app.predecessors_exit().await;
    }
    live.stop()?;
    let spread = |of: fn(&HandOver) -> f64| Spread::of(figures.iter().map(of));
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
