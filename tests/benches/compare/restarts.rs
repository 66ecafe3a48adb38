//! What a restart costs: until the successor answers, while connections move, and on connections that have moved.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::Generation;
use tests::bench::contestant::{Contestant, OURS, Server};
use tests::bench::handover::{HandOver, Live};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::peers::ECDYSIS;
use tests::bench::process::{cpu_time, descriptors};
use tests::bench::security::Security;
use tests::bench::socket::answering_pid;
use tests::bench::statistics::Spread;
use tests::patience::eventually;

use crate::report::{Report, Table, Target, Unit};
use crate::setting::Setting;

/// How long the predecessor watches its successor: short where it is only in the way, long where it is what matters.
const STANDBY: &str = "GRACEHTTP_STANDBY";

/// The pause between two looks at who answers.
const LOOK: Duration = Duration::from_micros(100);

/// How long a successor may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The connections of the standby.
const MOVED: usize = 64;

/// From the signal to the first answer of the successor, on a new connection.
pub(crate) async fn first_answer(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let servers: [Server; 2] = [OURS, ECDYSIS];
    let mut contestants = Vec::new();
    for server in servers {
        let environment = [(STANDBY, "100ms")];
        contestants
            .push(Contestant::start_with(server, Security::Plain, setting.threads, &environment).await);
    }
    let restarts = if setting.quick { 5 } else { 2 * setting.rounds };
    let mut rows = Vec::new();
    for restart in 0..restarts {
        let mut row = [0.0; 2];
        for place in [restart % 2, (restart + 1) % 2] {
            row[place] = restart_until_answer(&contestants[place]).await?;
        }
        rows.push(row);
    }
    report.goal(
        [
            "signal to the successor's first answer / ecdysis with hyper",
            "从信号到后继进程首个应答 / ecdysis 加 hyper",
        ],
        Spread::of(rows.iter().map(|row| row[0] / row[1])),
        Unit::Ratio,
        Some(Target::AtMost(1.0)),
    );
    let mut table = Table::new(
        format!("Milliseconds from the signal to the first answer, {restarts} restarts:"),
        &["server", "ms"],
    );
    for (place, contestant) in contestants.iter().enumerate() {
        let spread = Spread::of(rows.iter().map(|row| row[place]));
        table.row(vec![contestant.name.to_owned(), format!("{spread:.1}")]);
    }
    report.table(table);
    Ok(())
}

async fn restart_until_answer(contestant: &Contestant) -> Result<f64, String> {
    let predecessor = contestant.pid();
    let begin = contestant.app.log.end();
    let signal = Instant::now();
    contestant.app.signal(Signal::USR2);
    // A peer may reset a connection in a restart; that shows elsewhere.
    while answering_pid(&contestant.endpoint).is_ok_and(|pid| pid == predecessor) {
        if signal.elapsed() > LIMIT {
            return Err(format!("{}: no answer of a successor within {LIMIT:?}", contestant.name));
        }
        std::thread::sleep(LOOK);
    }
    let elapsed = signal.elapsed();
    contestant.app.successor_since(begin).await;
    contestant.app.predecessors_exit().await;
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// The CPU time of a request on a connection that has moved, while the predecessor stands by.
pub(crate) async fn standby(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let mut rows = Vec::new();
    for _ in 0..setting.rounds {
        rows.push(moved_and_unmoved(setting).await?);
    }
    report.goal(
        [
            "CPU of a request in standby, moved connection / unmoved one",
            "待命期间请求的 CPU，移交的连接 / 未移交的连接",
        ],
        Spread::of(rows.iter().map(|[unmoved, moved]| moved / unmoved)),
        Unit::Ratio,
        Some(Target::AtMost(1.05)),
    );
    let mut table = Table::new(
        format!(
            "CPU µs per request of all processes, {MOVED} connections that ask at once, {} rounds:",
            setting.rounds
        ),
        &["connections", "µs"],
    );
    for (place, name) in ["unmoved", "moved, predecessor in standby"].into_iter().enumerate() {
        let spread = Spread::of(rows.iter().map(|row| row[place]));
        table.row(vec![name.to_owned(), format!("{spread:.1}")]);
    }
    report.table(table);
    Ok(())
}

async fn moved_and_unmoved(setting: &Setting) -> Result<[f64; 2], String> {
    let contestant = Contestant::start_with(OURS, Security::Plain, setting.threads, &[(STANDBY, "5m")]).await;
    let idle = Idle::of(&contestant)?;
    let mut clients = idle.gather(MOVED, Arrival::OneByOne)?;
    let predecessor = contestant.app.current();
    let cost = |pids: &[&Generation], requests: &mut dyn FnMut(Duration) -> Result<u64, String>| {
        requests(setting.time / 4)?;
        let used = || pids.iter().map(|generation| cpu_time(generation.pid())).sum::<Duration>();
        let before = used();
        let answers = requests(setting.time)?;
        Ok::<f64, String>((used() - before).as_secs_f64() * 1e6 / answers as f64)
    };
    let unmoved = cost(&[&predecessor], &mut |time| idle.keep_asking(&mut clients, time))?;
    let successor = contestant.app.restart().await;
    eventually("all to move", || descriptors(successor.pid()) >= MOVED as u64).await;
    // The answers are those of the successor from here on.
    let idle = Idle::of(&contestant)?;
    let both = [&*predecessor, &*successor];
    let moved = cost(&both, &mut |time| idle.keep_asking(&mut clients, time))?;
    Ok([unmoved, moved])
}

/// 10 000 idle connections, and live ones beside them.
pub(crate) async fn handed_over(setting: &Setting, report: &mut Report) -> Result<(), String> {
    const CONNECTIONS: usize = 10_000;
    let restarts = if setting.quick { 3 } else { setting.rounds.min(5) };
    // Its predecessor has to live until the count is over.
    let environment = [(STANDBY, "1s")];
    let contestant = Contestant::start_with(OURS, Security::Plain, setting.threads, &environment).await;
    let mut clients = Idle::of(&contestant)?.gather(CONNECTIONS, Arrival::OneByOne)?;
    let live = Live::start(&contestant.endpoint.target());
    let mut figures = Vec::new();
    for _ in 0..restarts {
        tokio::time::sleep(Duration::from_secs(1)).await;
        figures.push(HandOver::measure(&contestant, &live, CONNECTIONS).await?);
        // A lost connection would show here.
        Idle::of(&contestant)?.ask_all(&mut clients)?;
        contestant.app.predecessors_exit().await;
    }
    live.stop()?;
    let spread = |of: fn(&HandOver) -> f64| Spread::of(figures.iter().map(of));
    report.goal(
        ["10 000 connections handed over, from the signal", "移交 10 000 个连接，从信号算起"],
        spread(|figure| figure.holds),
        Unit::Milliseconds,
        Some(Target::AtMost(50.0)),
    );
    report.goal(
        ["longest stall of another connection meanwhile", "其间其他连接的最长停顿"],
        spread(|figure| figure.slowest[0].max(figure.slowest[1])),
        Unit::Milliseconds,
        Some(Target::AtMost(5.0)),
    );
    let mut table = Table::new(
        format!("{CONNECTIONS} idle connections, beside 5 busy clients, {restarts} restarts, in ms:"),
        &[
            "signal until the successor accepts",
            "until it holds all",
            "CPU of that",
            "slowest answer before the signal",
        ],
    );
    table.row(vec![
        format!("{:.0}", spread(|figure| figure.accepts)),
        format!("{:.0}", spread(|figure| figure.holds)),
        format!("{:.0}", spread(|figure| figure.cpu)),
        format!("{:.1}", spread(|figure| figure.before[0].max(figure.before[1]))),
    ]);
    report.table(table);
    Ok(())
}
