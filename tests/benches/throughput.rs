//! Requests per second and CPU time per request, against bare hyper on the same machine at the same time.
//!
//! ```text
//! cargo bench -p tests --bench throughput
//! cargo bench -p tests --bench throughput -- keep-alive --rounds 20 --seconds 3 --threads 1
//! ```
//!
//! Each contestant is a separate process. The rounds alternate between them, so other work of the machine affects
//! both. The load generator shares the cores with the servers: CPU time per request is the steadier figure, and the
//! ratio of each pair of rounds says more than any absolute number.

use std::process::ExitCode;
use std::time::Duration;

use tests::bench::answer::Answer;
use tests::bench::contestant::{self, BARE, Contestant, OURS};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::process::cpu_time;
use tests::bench::statistics::Spread;
use tests::bench::traffic::Traffic;

/// The result of one round of one contestant.
#[derive(Clone, Copy)]
struct Figure {
    per_second: f64,
    cpu_microseconds: f64,
}

fn main() -> ExitCode {
    contestant::main(&[OURS, BARE], run)
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> Result<(), String> {
    let rounds: usize = options.value("rounds", 10);
    let time = Duration::from_secs_f64(options.value("seconds", 2.0));
    let threads = contestant::threads(options);
    println!("throughput: {}; {rounds} rounds of {time:?}, {threads} worker threads", machine::describe());

    let connections = options.value("connections", 64);
    let cases = [
        Traffic::keep_alive(connections),
        Traffic::pipelined(connections, options.value("depth", 16)),
        Traffic::renewed(connections),
        Traffic::echo(connections, 1024),
    ];
    for case in cases.iter().filter(|case| options.wants(case.name)) {
        let ours = Contestant::start(OURS, threads).await;
        let bare = Contestant::start(BARE, threads).await;
        compare(case, [&ours, &bare], rounds, time)?;
    }
    Ok(())
}

fn compare(case: &Traffic, pair: [&Contestant; 2], rounds: usize, time: Duration) -> Result<(), String> {
    let [ours, bare] = pair;
    let answers = [case.learn(ours.address, ours.pid())?, case.learn(bare.address, bare.pid())?];
    assert_eq!(answers[0].fields(), answers[1].fields(), "both do the same work");
    for (contestant, answer) in pair.into_iter().zip(&answers) {
        measure(case, contestant, answer, time / 4)?;
    }

    println!("\n{}, {} connections, {} at once", case.name, case.connections, case.depth);
    println!("round   gracehttp req/s  CPU µs   bare hyper req/s  CPU µs   throughput ratio  CPU ratio");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let mut figures = [Figure { per_second: 0.0, cpu_microseconds: 0.0 }; 2];
        // The first contestant alternates, so that neither always runs after the other.
        for turn in [round % 2, 1 - round % 2] {
            figures[turn] = measure(case, pair[turn], &answers[turn], time)?;
        }
        let [a, b] = figures;
        let ratio = (a.per_second / b.per_second, a.cpu_microseconds / b.cpu_microseconds);
        println!(
            "{round:5}   {:15.0}  {:6.2}   {:16.0}  {:6.2}   {:16.3}  {:9.3}",
            a.per_second, a.cpu_microseconds, b.per_second, b.cpu_microseconds, ratio.0, ratio.1
        );
        ratios.push(ratio);
    }
    println!("{}: throughput ratio {:.3}", case.name, Spread::of(ratios.iter().map(|ratio| ratio.0)));
    println!("{}: CPU time ratio   {:.3}", case.name, Spread::of(ratios.iter().map(|ratio| ratio.1)));
    Ok(())
}

fn measure(
    case: &Traffic,
    contestant: &Contestant,
    answer: &Answer,
    time: Duration,
) -> Result<Figure, String> {
    let before = cpu_time(contestant.pid());
    let tally = case
        .drive(contestant.address, answer, time)
        .map_err(|failure| format!("{} under {}: {failure}", contestant.name, case.name))?;
    let used = cpu_time(contestant.pid()) - before;
    Ok(Figure {
        per_second: tally.answers as f64 / tally.elapsed.as_secs_f64(),
        cpu_microseconds: used.as_secs_f64() * 1e6 / tally.answers as f64,
    })
}
