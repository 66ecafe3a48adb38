//! Honest clients beside attackers of every kind. `cargo bench -p tests --bench attacked` runs the same test with
//! hundreds of clients for a minute and prints the figures.

use std::time::Duration;

use tests::attack::measure::{Scale, measure};

/// A slow answer up to this time is no fault, because the machine also does other work.
const BUSY_MACHINE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn honest_clients_are_answered_beside_slow_clients_and_floods() {
    let outcome = measure(&Scale {
        slow: 40,
        floods: 1,
        quiet: Duration::from_secs(3),
        arrival: Duration::from_secs(1),
        attack: Duration::from_secs(9),
        // The time-outs of bodies and responses are longer than this test.
        end: None,
        limits: "handshake_timeout=2000ms header_read_timeout=2000ms idle_timeout=4000ms",
    })
    .await;
    println!("{outcome}\n{:#?}", outcome.lines);
    assert_eq!(outcome.faults(), [] as [String; 0]);
    for (name, quiet, attacked) in &outcome.honest {
        let most = BUSY_MACHINE.max(quiet.percentile(0.99) * 4);
        assert!(attacked.percentile(0.99) < most, "{name}, quiet:\n{quiet}\nattacked:\n{attacked}");
    }
    for (name, tally) in &outcome.attackers {
        assert!(tally.connections > 0, "{name} did not attack");
    }
    // Each of these attackers has a limit of 2 s, or a limit of 4 s after its request.
    let limits = [
        ("says nothing", 2),
        ("a byte of its head a second", 2),
        ("half a TLS handshake", 2),
        ("half an HTTP/2 preface", 2),
        ("idle after one request", 4),
    ];
    for (name, seconds) in limits {
        let (_, tally) = outcome.attackers.iter().find(|(known, _)| *known == name).expect("a kind");
        let longest = Duration::from_secs(seconds) + Duration::from_secs(6);
        assert!(tally.longest > Duration::ZERO && tally.longest < longest, "{name}: {tally:?}");
    }
}
