//! The cost of an idle connection, plain and over TLS: in memory while it is parked, and in CPU time when it wakes.
//!
//! ```text
//! cargo bench -p tests --bench parking
//! cargo bench -p tests --bench parking -- memory --connections 5000
//! cargo bench -p tests --bench parking -- memory --over tls-1.3
//! ```
//!
//! Bare hyper, with tokio-rustls, is the comparison. It parks nothing: there an idle connection keeps its task, parser
//! and buffers, and its TLS session's.

use std::alloc::System;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tests::bench::contestant::{self, BARE, Contestant, OURS, Server};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::process::{cpu_time, resident};
use tests::bench::security::{Security, Version};
use tests::bench::socket::learn_number;
use tests::bench::statistics::Spread;
use tests::bench::waking::{RATE, Waking};

/// Counts what the servers, which are processes of this program, hold on their heaps.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the clients speak. They resume their sessions, since a full handshake for each would take minutes.
const CLIENTS: [(&str, Security); 3] = [
    ("plain", Security::Plain),
    ("tls-1.2", Security::Tls { version: Version::Tls12, resumes: true }),
    ("tls-1.3", Security::Tls { version: Version::Tls13, resumes: true }),
];

/// Longer than gracehttp waits before it parks a connection, and before it gives memory back once more.
const SETTLED: Duration = Duration::from_secs(6);

/// A turn of a server in the rounds of `cpu`.
const TURN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    contestant::main(&[OURS, BARE], run)
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> Result<(), String> {
    let connections = options.value("connections", 10_000);
    let rounds = options.value("rounds", 5);
    println!("parking: {}; {connections} connections, {rounds} rounds", machine::describe());
    let threads = contestant::threads(options);
    let over: String = options.value("over", String::new());
    for (kind, security) in CLIENTS.into_iter().filter(|(kind, _)| over.is_empty() || over == *kind) {
        println!("\nover {kind}");
        let setting = Setting { security, connections, rounds, threads };
        if options.wants("memory") {
            setting.memory().await?;
        }
        if options.wants("wake") {
            setting.wake().await?;
        }
        if options.wants("cpu") {
            setting.cpu().await?;
        }
    }
    Ok(())
}

struct Setting {
    security: Security,
    connections: usize,
    rounds: usize,
    threads: usize,
}

impl Setting {
    /// The memory of each connection that has been idle since its one request, or since its handshake.
    async fn memory(&self) -> Result<(), String> {
        println!("\nmemory of an idle connection, bytes: growth of resident memory, and of the heap");
        let arrivals = [
            (Arrival::OneByOne, "one by one"),
            (Arrival::AtOnce, "all at once"),
            (Arrival::Silent, "no request"),
        ];
        for (arrival, name) in arrivals {
            for server in [OURS, BARE] {
                let (mut residents, mut heaps) = (Vec::new(), Vec::new());
                for _ in 0..self.rounds {
                    let (resident, heap) = self.growth(server, arrival).await?;
                    residents.push(resident);
                    heaps.push(heap);
                }
                println!("{name:12} {:10} {:.0}   {:.0}", server.0, Spread::of(residents), Spread::of(heaps));
            }
        }
        Ok(())
    }

    async fn growth(&self, server: Server, arrival: Arrival) -> Result<(f64, f64), String> {
        let contestant = Contestant::start(server, self.security, self.threads).await;
        let (idle, endpoint, pid) = (Idle::of(&contestant)?, &contestant.endpoint, contestant.pid());
        // The first request for it is one of the process's own beginnings.
        learn_number(endpoint, "/allocated")?;
        let before = (resident(pid), learn_number(endpoint, "/allocated")?);
        let clients = idle.gather(self.connections, arrival)?;
        std::thread::sleep(SETTLED);
        let after = (resident(pid), learn_number(endpoint, "/allocated")?);
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / clients.len() as f64;
        Ok((each(before.0, after.0), each(before.1, after.1)))
    }

    /// The time until all idle connections have their answers, when all send requests at once.
    async fn wake(&self) -> Result<(), String> {
        println!(
            "\nall idle connections ask at once: milliseconds until the last answer, CPU µs per request"
        );
        // The servers run one after the other, since there are not enough descriptors for the clients of both.
        for server in [OURS, BARE] {
            let contestant = Contestant::start(server, self.security, self.threads).await;
            let idle = Idle::of(&contestant)?;
            let mut clients = idle.gather(self.connections, Arrival::OneByOne)?;
            let (mut times, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
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
    async fn cpu(&self) -> Result<(), String> {
        println!("\nCPU µs per request at {RATE} requests/s");
        let costs = Waking::measure(&[OURS, BARE], self.security, self.threads, self.rounds, TURN).await?;
        for (state, of) in [("awake", Waking::awake as fn(&Waking) -> &[f64]), ("parked", Waking::parked)] {
            for cost in &costs {
                println!("{state:7} {:10} {:.1}", cost.name, Spread::of(of(cost).iter().copied()));
            }
            let ratios = of(&costs[0]).iter().zip(of(&costs[1])).map(|(ours, bare)| ours / bare);
            println!("{state:7} ratio      {:.2}", Spread::of(ratios));
        }
        Ok(())
    }
}
