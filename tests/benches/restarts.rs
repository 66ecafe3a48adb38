//! The effect of a restart on clients: gracehttp beside other methods, under the same strict load.
//!
//! ```text
//! cargo bench -p tests --bench restarts
//! cargo bench -p tests --bench restarts -- gracehttp ecdysis --restarts 100
//! cargo bench -p tests --bench restarts -- gracehttp --over tls
//! ```
//!
//! The clients come over plain text, over TLS with a full handshake for each connection, and over TLS with sessions
//! that they resume (`--over plain`, `tls`, `resuming`).
//!
//! Every contestant passes its listener to its successor, waits until the successor is ready, then stops accepting and
//! shuts its connections down as its library provides, for ten seconds at most. The clients retry nothing: a written
//! request without an answer is a failed one, whatever closed the connection.

use std::process::ExitCode;
use std::time::Duration;

use tests::bench::contestant::{self, Contestant, OURS, Server};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::peers::{AXUM, ECDYSIS, HYPER};
use tests::bench::security::{Security, Version};
use tests::load::Style;
use tests::{Load, Report};

/// The contestants, in the order of the table.
const CONTESTANTS: [Server; 4] = [OURS, HYPER, AXUM, ECDYSIS];

/// What the clients speak, in the order of the table.
const CLIENTS: [(&str, Security); 3] = [
    ("plain", Security::Plain),
    ("tls", Security::Tls { version: Version::Tls13, resumes: false }),
    ("resuming", Security::Tls { version: Version::Tls13, resumes: true }),
];

fn main() -> ExitCode {
    contestant::main(&CONTESTANTS, run)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run(options: &Options) -> Result<(), String> {
    let restarts: u32 = options.value("restarts", 20);
    let interval = Duration::from_secs_f64(options.value("interval", 1.0));
    let threads = contestant::threads(options);
    let over: String = options.value("over", String::new());
    let mut rows = Vec::new();
    for (kind, security) in CLIENTS.into_iter().filter(|(kind, _)| over.is_empty() || over == *kind) {
        for server in CONTESTANTS.into_iter().filter(|(name, _)| options.wants(name)) {
            println!("--- {} over {kind}", server.0);
            let contestant = Contestant::start(server, security, threads).await;
            let report = restart_under_load(&contestant, security, restarts, interval).await;
            rows.push(Row { server: server.0, kind, report });
        }
    }
    print_table(&rows, restarts, interval);
    Ok(())
}

async fn restart_under_load(
    contestant: &Contestant,
    security: Security,
    restarts: u32,
    interval: Duration,
) -> Report {
    let load = Load::on(&contestant.endpoint.target());
    let load = if resumes(security) { load.resuming() } else { load };
    // Some connections are busy, some pause for up to three seconds, and some come and go.
    let load = load
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

fn resumes(security: Security) -> bool {
    matches!(security, Security::Tls { resumes: true, .. })
}

struct Row {
    server: &'static str,
    kind: &'static str,
    report: Report,
}

fn print_table(rows: &[Row], restarts: u32, interval: Duration) {
    println!("\n{restarts} restarts, {interval:?} apart, 300 clients; {}", machine::describe());
    println!(
        "New connections: of the 280 clients that keep theirs, for each restart, and how many resumed a session\n"
    );
    println!(
        "| server | over | requests | failed | closed while idle | `Connection: close` | new connections | longest gap |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for Row { server, kind, report } in rows {
        let each = |count: u64| count as f64 / f64::from(restarts);
        println!(
            "| {server} | {kind} | {} | {} | {} | {} | {:.1} ({:.1}) | {:.0} ms |",
            report.requests,
            report.incidents.len() as u64 + report.raced(),
            report.closed_idle,
            report.promised_closes,
            each(report.reconnections),
            each(report.resumed_reconnections),
            report.longest_gap.0.as_secs_f64() * 1e3,
        );
    }
}
