//! What metrics cost: the same service with them and without, on the same machine at the same time.
//!
//! ```text
//! cargo bench -p tests --bench metrics
//! cargo bench -p tests --bench metrics -- instructions --requests 4000
//! cargo bench -p tests --bench metrics -- cpu-time --rounds 30 --requests 200000
//! ```
//!
//! `instructions` counts those of a request outside of the kernel, with callgrind: the figure is the same whatever else
//! the machine does. `cpu-time` is that of a whole request, as the kernel accounts it, by the ratios within rounds that
//! alternate.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tests::Launch;
use tests::bench::contestant::{self, COUNTED, Contestant, Server, UNCOUNTED};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::process::cpu_time;
use tests::bench::security::Security;
use tests::bench::statistics::Spread;
use tests::bench::traffic::Traffic;
use tests::process::tool;
use tests::scratch::Scratch;

fn main() -> ExitCode {
    contestant::main(&[COUNTED, UNCOUNTED], run)
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> Result<(), String> {
    println!("metrics: {}", machine::describe());
    if options.wants("instructions") {
        instructions(options).await?;
    }
    if options.wants("cpu-time") {
        cpu_times(options).await?;
    }
    Ok(())
}

/// Prints how many instructions a request takes outside of the kernel.
async fn instructions(options: &Options) -> Result<(), String> {
    if !tool("valgrind") {
        return Ok(());
    }
    let requests = options.value("requests", 2000);
    let traffic = Traffic::keep_alive(options.value("connections", 16));
    let mut of_request = Vec::new();
    for server in [COUNTED, UNCOUNTED] {
        // The difference of two runs has no start, no connections and no end.
        let few = executed(server, &traffic, requests).await?;
        let many = executed(server, &traffic, 3 * requests).await?;
        of_request.push((many - few) as f64 / (2 * requests) as f64);
        println!("instructions of a request, {}: {:.0}", server.0, of_request[of_request.len() - 1]);
    }
    let (counted, uncounted) = (of_request[0], of_request[1]);
    let percent = (counted / uncounted - 1.0) * 100.0;
    println!("instructions of metrics: {:.0}, which is {percent:.2} %", counted - uncounted);
    Ok(())
}

/// All instructions of a process that gives this many answers.
async fn executed(server: Server, traffic: &Traffic, answers: u64) -> Result<u64, String> {
    let scratch = Scratch::new();
    let counts = scratch.join("counts");
    let callgrind = Launch::program("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.display()));
    let contestant = Contestant::start_under(callgrind, server, Security::Plain).await;
    let answer = traffic.learn(&contestant.endpoint, &contestant.pong())?;
    traffic.drive_to(traffic.open(&contestant.endpoint)?, &contestant.endpoint, &answer, answers)?;
    contestant.app.stop().await;
    total(&counts)
}

/// The total in a file of callgrind.
fn total(counts: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(counts).map_err(|error| format!("{}: {error}", counts.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.ok_or_else(|| format!("{} has no total", counts.display()))
}

/// Prints how much CPU time a request takes.
async fn cpu_times(options: &Options) -> Result<(), String> {
    let rounds: usize = options.value("rounds", 20);
    let requests = options.value("requests", 100_000);
    let threads = contestant::threads(options);
    let traffic = Traffic::keep_alive(options.value("connections", 64));
    let mut contestants = Vec::new();
    for server in [COUNTED, UNCOUNTED] {
        let contestant = Contestant::start(server, Security::Plain, threads).await;
        let answer = traffic.learn(&contestant.endpoint, &contestant.pong())?;
        let clients = traffic.open(&contestant.endpoint)?;
        traffic.drive_to(clients, &contestant.endpoint, &answer, requests / 10)?;
        contestants.push((contestant, answer));
    }
    println!("CPU time of a request, {rounds} rounds of {requests}, {threads} worker threads");
    println!("round   {:>15}   {:>15}   (µs)", COUNTED.0, UNCOUNTED.0);
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let mut used = [Duration::ZERO; 2];
        // The first contestant changes, so that none always runs after the other.
        for turn in [round % 2, (round + 1) % 2] {
            let (contestant, answer) = &contestants[turn];
            let clients = traffic.open(&contestant.endpoint)?;
            let before = cpu_time(contestant.pid());
            traffic.drive_to(clients, &contestant.endpoint, answer, requests)?;
            used[turn] = cpu_time(contestant.pid()) - before;
        }
        let [counted, uncounted] = used.map(|used| used.as_secs_f64() * 1e6 / requests as f64);
        println!("{round:5}   {counted:15.3}   {uncounted:15.3}");
        ratios.push(counted / uncounted);
    }
    println!(
        "CPU time ratio: {:.4}; standard error {:.4}",
        Spread::of(ratios.iter().copied()),
        error(&ratios)
    );
    Ok(())
}

/// The standard error of the mean.
fn error(figures: &[f64]) -> f64 {
    let count = figures.len() as f64;
    let mean = figures.iter().sum::<f64>() / count;
    let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}
