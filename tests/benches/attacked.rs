//! Load during an attack: the effect of 500 slow clients of each kind and of a flood of each kind on honest clients,
//! and the cost for the server.
//!
//! ```text
//! cargo bench -p tests --bench attacked
//! cargo bench -p tests --bench attacked -- --slow 100 --floods 2 --seconds 20
//! ```
//!
//! It fails unless every honest request gets its answer, the slowest hundredth of them within twice its time without
//! the attack, the memory stays flat, all attackers are gone in the end, and the log stays short. A test, `attacked`,
//! runs a small one.

use std::process::ExitCode;
use std::time::Duration;

use tests::attack::measure::{Outcome, Scale, measure};
use tests::bench::machine;
use tests::bench::options::Options;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    machine::raise_descriptor_limit();
    let options = Options::of_process();
    let scale = Scale {
        slow: options.value("slow", 500),
        floods: options.value("floods", 1),
        quiet: Duration::from_secs(options.value("quiet", 20)),
        arrival: Duration::from_secs(5),
        attack: Duration::from_secs(options.value("seconds", 60)),
        // The longest limit is that of an idle connection, 75 s.
        end: Some(Duration::from_secs(100)),
        limits: "",
    };
    println!(
        "attacked: {}; {} slow clients and {} floods of each kind, {:?}",
        machine::describe(),
        scale.slow,
        scale.floods,
        scale.attack
    );
    let outcome = measure(&scale).await;
    println!("\n{outcome}");
    for line in outcome.lines.iter().take(20) {
        println!("log: {line}");
    }
    let mut faults = [outcome.faults(), outcome.remains()].concat();
    for (name, quiet, attacked) in &outcome.honest {
        let ratio = Outcome::ratio(quiet, attacked);
        if ratio > 2.0 {
            faults.push(format!("{name}: the 99th percentile is {ratio:.2} times the quiet one"));
        }
    }
    for fault in &faults {
        eprintln!("FAULT: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
