//! Requests per second and CPU time per request, against bare hyper on the same machine at the same time: over plain
//! text, and over TLS against bare hyper with tokio-rustls.
//!
//! ```text
//! cargo bench -p tests --bench throughput
//! cargo bench -p tests --bench throughput -- keep-alive --rounds 20 --seconds 3 --threads 1
//! cargo bench -p tests --bench throughput -- tls-keep-alive tls-handshakes --tls 1.2
//! cargo bench -p tests --bench throughput -- tls-download --other ../base/target/release/deps/throughput-0123
//! ```
//!
//! Each contestant is a separate process. The rounds alternate between them, so other work of the machine affects
//! all of them. The load generator shares the cores with the servers: CPU time per request is the steadier figure, and
//! the ratios within a round say more than any absolute number. `--other` adds gracehttp as it is in another build of
//! this benchmark.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tests::bench::contestant::{self, BARE, Contestant, OURS};
use tests::bench::entrant::{Case, Entrant, Figure, Rounds, Work};
use tests::bench::machine;
use tests::bench::multiplexed::Multiplexed;
use tests::bench::options::Options;
use tests::bench::security::{Security, Version};
use tests::bench::traffic::{GIFT, Traffic};

fn main() -> ExitCode {
    contestant::main(&[OURS, BARE], run)
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> Result<(), String> {
    let rounds: usize = options.value("rounds", 10);
    let time = Duration::from_secs_f64(options.value("seconds", 2.0));
    let threads = contestant::threads(options);
    let other = contestant::other_build(options);
    println!("throughput: {}; {rounds} rounds of {time:?}, {threads} worker threads", machine::describe());
    for case in cases(options).iter().filter(|case| options.wants(case.name)) {
        compare(case, other.as_deref(), threads, rounds, time).await?;
    }
    Ok(())
}

fn cases(options: &Options) -> Vec<Case> {
    let connections = options.value("connections", 64);
    let version = options.value("tls", Version::Tls13);
    let (full, resumed) = (Security::tls(version), Security::resumed(version));
    // A few connections are enough for large bodies, and for many streams.
    let few = options.value("few", 8);
    let http1 = |name, security, traffic| Case { name, security, work: Work::Http1(traffic) };
    let http2 = |name, streams| Case { name, security: full, work: Work::Http2(streams) };
    vec![
        http1("keep-alive", Security::Plain, Traffic::keep_alive(connections)),
        http1("pipelined", Security::Plain, Traffic::pipelined(connections, options.value("depth", 16))),
        http1("new-connections", Security::Plain, Traffic::renewed(connections)),
        http1("post-echo", Security::Plain, Traffic::echo(connections, 1024)),
        http1("upload", Security::Plain, Traffic::upload(few, GIFT)),
        http1("download", Security::Plain, Traffic::download(few)),
        http1("tls-keep-alive", full, Traffic::keep_alive(connections)),
        http1("tls-upload", full, Traffic::upload(few, GIFT)),
        http1("tls-download", full, Traffic::download(few)),
        http1("tls-handshakes", full, Traffic::renewed(connections)),
        http1("tls-resumptions", resumed, Traffic::renewed(connections)),
        http2("tls-http2-keep-alive", Multiplexed::keep_alive(few, 8)),
        http2("tls-http2-upload", Multiplexed::upload(few, 1, GIFT)),
        http2("tls-http2-download", Multiplexed::download(few, 1)),
    ]
}

async fn compare(
    case: &Case,
    other: Option<&Path>,
    threads: usize,
    rounds: usize,
    time: Duration,
) -> Result<(), String> {
    let mut entrants = Vec::new();
    for server in [OURS, BARE] {
        entrants.push(Entrant::new(case, Contestant::start(server, case.security, threads).await)?);
    }
    if let Some(build) = other {
        entrants.push(Entrant::new(case, Contestant::start_other(build, case.security, threads).await)?);
    }
    let first = entrants[0].fields();
    assert!(entrants.iter().all(|entrant| entrant.fields() == first), "all do the same work");

    print_title(case, &entrants);
    let figures = Rounds::measure(case, &entrants, rounds, time, print_round).await?;
    for (place, entrant) in entrants.iter().enumerate().skip(1) {
        let (name, peer) = (case.name, entrant.contestant.name);
        let throughput = figures.ratio(0, place, |figure| figure.per_second);
        let cpu = figures.ratio(0, place, |figure| figure.cpu_microseconds);
        println!("{name}, gracehttp / {peer}: throughput ratio {throughput:.3}");
        println!("{name}, gracehttp / {peer}: CPU time ratio   {cpu:.3}");
    }
    Ok(())
}

fn print_title(case: &Case, entrants: &[Entrant]) {
    let (connections, depth) = match &case.work {
        Work::Http1(traffic) => (traffic.connections, traffic.depth),
        Work::Http2(streams) => (streams.connections, streams.streams),
    };
    println!("\n{}, {connections} connections, {depth} at once", case.name);
    print!("round");
    for entrant in entrants {
        print!("   {:>15}  {:>8}", entrant.contestant.name, "CPU µs");
    }
    println!("   (requests/s, and for each request)");
}

fn print_round(round: usize, figures: &[Figure]) {
    print!("{round:5}");
    for Figure { per_second, cpu_microseconds } in figures {
        print!("   {per_second:15.0}  {cpu_microseconds:8.2}");
    }
    println!();
}
