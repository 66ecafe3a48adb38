//! What it costs that a connection rests between its requests.

use std::time::Duration;

use tests::bench::contestant::{BARE, OURS};
use tests::bench::security::Security;
use tests::bench::statistics::Spread;
use tests::bench::waking::{RATE, Waking};

use crate::report::{Report, Table, Target, Unit};
use crate::setting::Setting;

/// Measures gracehttp, which parks such a connection, and hyper, which keeps it as it is.
pub(crate) async fn run(setting: &Setting, report: &mut Report) -> Result<(), String> {
    // A turn has to be longer than the pause of one connection.
    let turn = setting.time.max(Duration::from_millis(500));
    let costs =
        Waking::measure(&[OURS, BARE], Security::Plain, setting.threads, setting.rounds, turn).await?;
    report.goal(
        [
            "CPU of a request that wakes a parked connection, more than on an awake one",
            "唤醒停放连接的请求比活跃连接多用的 CPU",
        ],
        Spread::of(costs[0].difference()),
        Unit::Microseconds,
        Some(Target::AtMost(5.0)),
    );
    let mut table = Table::new(
        format!(
            "CPU µs per request at {RATE} requests/s, {} rounds of {turn:?}. Parked means one request in 250 ms on each \
             connection; hyper parks none:",
            setting.rounds
        ),
        &["server", "awake", "parked", "difference in the same round"],
    );
    for cost in &costs {
        let spread = |figures: &[f64]| format!("{:.1}", Spread::of(figures.iter().copied()));
        let difference = format!("{:.1}", Spread::of(cost.difference()));
        table.row(vec![cost.name.to_owned(), spread(cost.awake()), spread(cost.parked()), difference]);
    }
    report.table(table);
    Ok(())
}
