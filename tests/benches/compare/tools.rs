//! The same servers under the load of other people's tools: wrk, and h2load over HTTP/2.

use tests::bench::contestant::{BARE, Contestant, OURS};
use tests::bench::foreign;
use tests::bench::peers::AXUM;
use tests::bench::security::{Security, Version};
use tests::bench::statistics::Spread;

use crate::report::{Report, Table};
use crate::setting::{Peer, Setting};

/// wrk with 64 connections on plain text.
pub(crate) async fn wrk(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let Some(program) = foreign::needed("wrk") else { return Ok(()) };
    let peers = [Peer::Own(OURS), Peer::Own(BARE), Peer::Own(AXUM), Peer::Actix, Peer::Nginx];
    let ask = |contestant: &Contestant, seconds: &str| {
        let url = format!("http://{}/ping", contestant.endpoint.address);
        let text = foreign::output(&program, &["-t1", "-c64", &format!("-d{seconds}s"), &url]);
        let wrong = ["Non-2xx", "Socket errors"].iter().any(|words| text.contains(words));
        number_after(&text, "Requests/sec:").filter(|_| !wrong).ok_or(text)
    };
    compare("wrk, 64 connections", &peers, Security::Plain, setting, report, ask).await
}

/// h2load with 8 connections of 8 streams over TLS.
pub(crate) async fn h2load(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let Some(program) = foreign::needed("h2load") else { return Ok(()) };
    let peers = [Peer::Own(OURS), Peer::Own(BARE), Peer::Nginx];
    let ask = |contestant: &Contestant, seconds: &str| {
        let url = format!("https://{}/ping", contestant.endpoint.address);
        let text = foreign::output(&program, &["-D", seconds, "-c", "8", "-m", "8", &url]);
        let right = text.contains(" 0 failed, 0 errored");
        number_before(&text, " req/s").filter(|_| right).ok_or(text)
    };
    let security = Security::tls(Version::Tls13);
    compare("h2load, 8 connections of 8 streams over TLS", &peers, security, setting, report, ask).await
}

async fn compare(
    title: &str,
    peers: &[Peer],
    security: Security,
    setting: &Setting,
    report: &mut Report,
    ask: impl Fn(&Contestant, &str) -> Result<f64, String>,
) -> Result<(), String> {
    // Both tools count whole seconds.
    let seconds = setting.time.as_secs_f64().ceil().to_string();
    let rounds = if setting.quick { 1 } else { setting.rounds };
    let mut contestants = Vec::new();
    for &peer in peers {
        contestants.extend(setting.start(peer, security).await);
    }
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for _ in 0..rounds {
        let asked = contestants.iter().map(|contestant| {
            ask(contestant, &seconds).map_err(|text| format!("{title} against {}:\n{text}", contestant.name))
        });
        rows.push(asked.collect::<Result<_, _>>()?);
    }
    let title = format!("{title}, {rounds} rounds of {seconds} s:");
    let mut table = Table::new(title, &["server", "requests/s", "gracehttp / it"]);
    for (place, contestant) in contestants.iter().enumerate() {
        table.row(vec![
            contestant.name.to_owned(),
            format!("{:.0}", Spread::of(rows.iter().map(|row| row[place]))),
            format!("{:.2}", Spread::of(rows.iter().map(|row| row[0] / row[place]))),
        ]);
    }
    report.table(table);
    Ok(())
}

fn number_after(text: &str, words: &str) -> Option<f64> {
    text.split_once(words)?.1.split_whitespace().next()?.parse().ok()
}

fn number_before(text: &str, words: &str) -> Option<f64> {
    text.split_once(words)?.0.split_whitespace().last()?.parse().ok()
}
