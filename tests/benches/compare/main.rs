//! gracehttp beside its peers, in one command: load, memory of idle connections, restarts, and the targets of each.
//!
//! ```text
//! cargo bench -p tests --bench compare
//! cargo bench -p tests --bench compare -- --quick
//! cargo bench -p tests --bench compare -- keep-alive idle --rounds 20 --seconds 3
//! cargo bench -p tests --bench compare -- build
//! cargo bench -p tests --bench compare -- instructions --bless
//! ```
//!
//! Each server is a process of its own, built with the same profile, with as many threads as the others and with the
//! same answer, which is compared. The rounds alternate between the servers, so other work of the machine affects all
//! of them. Each figure is a median with its range. A ratio is one of two servers in the same round. CPU time is what
//! the kernel counts for the server's processes, user and system. `build` and `instructions` run only if they are named.
//!
//! The tables are Markdown on the standard output, and in `target/compare.md`; with `--readme` the table of the targets
//! goes into both READMEs. actix-web is built from the package `tests/peers`; nginx, wrk, h2load and valgrind are
//! used where they are installed. What is missing is named and skipped.

mod hello;
mod idle;
mod instructions;
mod load;
mod report;
mod restarts;
mod setting;
mod tools;
mod versions;
mod wake;

use std::process::ExitCode;
use std::time::Instant;

use tests::bench::contestant::{self, BARE, OURS, ROUTED};
use tests::bench::foreign::target_directory;
use tests::bench::options::Options;
use tests::bench::peers::{AXUM, ECDYSIS};

use crate::report::Report;
use crate::setting::Setting;

/// The cases that run if none is named, in the order of the table.
const CASES: [&str; 15] = [
    load::CASES[0],
    load::CASES[1],
    load::CASES[2],
    load::CASES[3],
    load::CASES[4],
    load::CASES[5],
    load::CASES[6],
    load::CASES[7],
    "idle",
    "wake",
    "standby",
    "restart",
    "handover",
    "wrk",
    "h2load",
];

/// The cases that take minutes.
const LONG: [&str; 2] = ["build", "instructions"];

/// The cases that actix-web takes part in.
const WITH_ACTIX: [&str; 4] = ["keep-alive", "pipelined", "new-connections", "wrk"];

fn main() -> ExitCode {
    contestant::main(&[OURS, ROUTED, BARE, AXUM, ECDYSIS], run)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run(options: &Options) -> Result<(), String> {
    let named = options.named();
    if let Some(unknown) = named.iter().find(|name| !CASES.contains(name) && !LONG.contains(name)) {
        return Err(format!("no case is named {unknown:?}; there are {CASES:?} and {LONG:?}"));
    }
    let chosen: Vec<&'static str> = match named.is_empty() {
        true => CASES.to_vec(),
        false => CASES.into_iter().chain(LONG).filter(|case| named.contains(case)).collect(),
    };
    let setting = Setting::new(options, chosen.iter().any(|case| WITH_ACTIX.contains(case)));
    let (begun, mut report, mut failures) = (Instant::now(), Report::default(), Vec::new());
    for case in chosen {
        eprintln!("--- {case}, after {:.0} s", begun.elapsed().as_secs_f64());
        if let Err(failure) = measure(case, &setting, &mut report).await {
            eprintln!("*** {case} FAILED: {failure}");
            failures.push(case);
        }
    }
    let text = report.markdown(&versions::preface(&setting));
    print!("{text}");
    let path = target_directory().join("compare.md");
    std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    if !failures.is_empty() {
        return Err(format!("failed: {}", failures.join(", ")));
    }
    if options.has("readme") { versions::write_readmes(&report) } else { Ok(()) }
}

async fn measure(case: &'static str, setting: &Setting, report: &mut Report) -> Result<(), String> {
    match case {
        "idle" => idle::run(setting, report).await,
        "wake" => wake::run(setting, report).await,
        "standby" => restarts::standby(setting, report).await,
        "restart" => restarts::first_answer(setting, report).await,
        "handover" => restarts::handed_over(setting, report).await,
        "wrk" => tools::wrk(setting, report).await,
        "h2load" => tools::h2load(setting, report).await,
        "build" => hello::run(setting, report),
        "instructions" => instructions::run(setting, report).await,
        load => load::run(load, setting, report).await,
    }
}
