//! The cost of an idle connection: in memory while it is parked, and in CPU time when it wakes.
//!
//! ```text
//! cargo bench -p tests --bench parking
//! cargo bench -p tests --bench parking -- memory --connections 5000
//! ```
//!
//! Bare hyper is the comparison. It parks nothing: there an idle connection keeps its task, parser and buffers.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tests::bench::contestant::{self, BARE, Contestant, OURS};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::process::{cpu_time, resident};
use tests::bench::statistics::Spread;

/// Much longer than gracehttp waits before it parks a connection.
const SETTLED: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    contestant::main(&[OURS, BARE], run)
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> Result<(), String> {
    let connections = options.value("connections", 10_000);
    let rounds = options.value("rounds", 5);
    println!("parking: {}; {connections} connections, {rounds} rounds", machine::describe());
    let threads = contestant::threads(options);
    if options.wants("memory") {
        memory(connections, rounds, threads).await?;
    }
    if options.wants("wake") {
        wake(connections, rounds, threads).await?;
    }
    if options.wants("cpu") {
        cpu(rounds, threads).await?;
    }
    Ok(())
}

/// Growth of resident memory for each connection that has been idle since its one request.
async fn memory(connections: usize, rounds: usize, threads: usize) -> Result<(), String> {
    println!("\nmemory of an idle connection, bytes (growth of resident memory)");
    for (arrival, name) in [(Arrival::OneByOne, "one by one"), (Arrival::AtOnce, "all at once")] {
        for server in [OURS, BARE] {
            let mut figures = Vec::new();
            for _ in 0..rounds {
                let contestant = Contestant::start(server, threads).await;
                let idle = Idle::of(&contestant)?;
                let before = resident(contestant.pid());
                let clients = idle.gather(connections, arrival)?;
                std::thread::sleep(SETTLED);
                let grown = resident(contestant.pid()).saturating_sub(before);
                figures.push(grown as f64 / clients.len() as f64);
            }
            println!("{name:12} {:10} {:.0}", server.0, Spread::of(figures));
        }
    }
    Ok(())
}

/// The time until all idle connections have their answers, when all send requests at once.
async fn wake(connections: usize, rounds: usize, threads: usize) -> Result<(), String> {
    println!("\nall idle connections ask at once: milliseconds until the last answer, CPU µs per request");
    // The servers run one after the other, since there are not enough descriptors for the clients of both.
    for server in [OURS, BARE] {
        let contestant = Contestant::start(server, threads).await;
        let idle = Idle::of(&contestant)?;
        let mut clients = idle.gather(connections, Arrival::OneByOne)?;
        let (mut times, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            std::thread::sleep(SETTLED);
            let before = cpu_time(contestant.pid());
            let start = Instant::now();
            idle.ask_all(&mut clients)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            // The answer comes before its connection parks again; the cost of that belongs to the request.
            std::thread::sleep(Duration::from_millis(100));
            let used = cpu_time(contestant.pid()) - before;
            costs.push(used.as_secs_f64() * 1e6 / clients.len() as f64);
        }
        println!("{:10} {:.0} ms, {:.1} µs", contestant.name, Spread::of(times), Spread::of(costs));
    }
    Ok(())
}

/// CPU time of a request at one and the same rate, on connections that are awake and on connections that are parked
/// before each of their requests.
async fn cpu(rounds: usize, threads: usize) -> Result<(), String> {
    const RATE: u32 = 4000;
    // One request every 5 ms on each connection, and one every 250 ms.
    let cases = [("awake", 20), ("parked", 1000)];
    println!("\nCPU µs per request at {RATE} requests/s");
    for (name, connections) in cases {
        let mut contestants = Vec::new();
        for server in [OURS, BARE] {
            let contestant = Contestant::start(server, threads).await;
            let idle = Idle::of(&contestant)?;
            let clients = idle.gather(connections, Arrival::OneByOne)?;
            contestants.push((contestant, idle, clients, Vec::new()));
        }
        for _ in 0..rounds {
            for (contestant, idle, clients, costs) in &mut contestants {
                let before = cpu_time(contestant.pid());
                let answers = idle.pace(clients, RATE, Duration::from_secs(2))?;
                let used = cpu_time(contestant.pid()) - before;
                costs.push(used.as_secs_f64() * 1e6 / answers as f64);
            }
        }
        for (contestant, _, _, costs) in &contestants {
            println!("{name:7} {:10} {:.1}", contestant.name, Spread::of(costs.iter().copied()));
        }
        let ratios = contestants[0].3.iter().zip(&contestants[1].3).map(|(ours, bare)| ours / bare);
        println!("{name:7} ratio      {:.2}", Spread::of(ratios));
    }
    Ok(())
}
