//! The effect of a restart on clients: gracehttp beside other methods, under the same strict load.
//!
//! ```text
//! cargo bench -p tests --bench restarts
//! cargo bench -p tests --bench restarts -- gracehttp ecdysis --restarts 100
//! ```
//!
//! Every contestant passes its listener to its successor, waits until the successor is ready, then stops accepting and
//! shuts its connections down as its library provides, for ten seconds at most. The clients retry nothing: a written
//! request without an answer is a failed one, whatever closed the connection.

mod axum_serve;
mod ecdysis_hyper;
mod hyper_graceful;
mod inherit;

use std::process::ExitCode;
use std::time::Duration;

use tests::bench::contestant::{self, Contestant, OURS, Server};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::load::Style;
use tests::{Load, Report, Target};

/// The contestants, in the order of the table.
const CONTESTANTS: [Server; 4] =
    [OURS, ("hyper", hyper_graceful::serve), ("axum", axum_serve::serve), ("ecdysis", ecdysis_hyper::serve)];

fn main() -> ExitCode {
    contestant::main(&CONTESTANTS, run)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run(options: &Options) -> Result<(), String> {
    let restarts: u32 = options.value("restarts", 20);
    let interval = Duration::from_secs_f64(options.value("interval", 1.0));
    let threads = contestant::threads(options);
    let mut rows = Vec::new();
    for server in CONTESTANTS.into_iter().filter(|(name, _)| options.wants(name)) {
        println!("--- {}", server.0);
        let contestant = Contestant::start(server, threads).await;
        rows.push((contestant.name, restart_under_load(&contestant, restarts, interval).await));
    }
    print_table(&rows, restarts, interval);
    Ok(())
}

async fn restart_under_load(contestant: &Contestant, restarts: u32, interval: Duration) -> Report {
    // Some connections are busy, some pause for up to three seconds, and some come and go.
    let load = Load::on(&Target::Plain(contestant.address))
        .pause(Duration::from_millis(20))
        .clients(100, Style::Get)
        .clients(40, Style::Post)
        .clients(20, Style::Fresh)
        .pause(Duration::from_secs(3))
        .clients(100, Style::Get)
        .clients(40, Style::Post);
    tokio::time::sleep(interval).await;
    for restart in 1..=restarts {
        load.mark(format!("restart {restart}"));
        contestant.app.restart().await;
        tokio::time::sleep(interval).await;
    }
    // When the clients stop, fewer and fewer send requests: the gaps of that time are their own.
    let longest_gap = load.so_far().longest_gap;
    let mut report = load.stop().await;
    report.longest_gap = longest_gap;
    report
}

fn print_table(rows: &[(&str, Report)], restarts: u32, interval: Duration) {
    println!("\n{restarts} restarts, {interval:?} apart, 300 clients; {}\n", machine::describe());
    println!("| server | requests | failed | closed while idle | `Connection: close` | longest gap |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (name, report) in rows {
        println!(
            "| {name} | {} | {} | {} | {} | {:.0} ms |",
            report.requests,
            report.incidents.len(),
            report.closed_idle,
            report.promised_closes,
            report.longest_gap.0.as_secs_f64() * 1e3,
        );
    }
}
