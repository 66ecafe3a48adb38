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

use tests::bench::answer::Answer;
use tests::bench::contestant::{self, BARE, Contestant, OURS};
use tests::bench::machine;
use tests::bench::multiplexed::Multiplexed;
use tests::bench::options::Options;
use tests::bench::process::cpu_time;
use tests::bench::security::{Security, Version};
use tests::bench::statistics::Spread;
use tests::bench::traffic::{GIFT, Tally, Traffic};

/// So long, that each connection has got a ticket if it resumes sessions.
const WARM_UP: Duration = Duration::from_millis(500);

/// A row: what the clients do, and over what.
struct Case {
    name: &'static str,
    security: Security,
    work: Work,
}

enum Work {
    Http1(Traffic),
    Http2(Multiplexed),
}

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
    let mut contestants = vec![
        Entrant::start(case, Contestant::start(OURS, case.security, threads).await)?,
        Entrant::start(case, Contestant::start(BARE, case.security, threads).await)?,
    ];
    if let Some(build) = other {
        let other = Contestant::start_other(build, case.security, threads).await;
        contestants.push(Entrant::start(case, other)?);
    }
    let work = |entrant: &Entrant| entrant.answer.as_ref().map(Answer::fields);
    assert!(contestants.iter().all(|entrant| work(entrant) == work(&contestants[0])), "all do the same work");
    for entrant in &contestants {
        entrant.measure(case, WARM_UP).await?;
    }

    print_title(case, &contestants);
    let mut rows = Vec::new();
    for round in 1..=rounds {
        let mut figures = vec![Figure { per_second: 0.0, cpu_microseconds: 0.0 }; contestants.len()];
        // The first contestant changes, so that none always runs after another.
        for turn in (0..contestants.len()).map(|turn| (turn + round) % contestants.len()) {
            figures[turn] = contestants[turn].checked(case, time).await?;
        }
        print!("{round:5}");
        for Figure { per_second, cpu_microseconds } in &figures {
            print!("   {per_second:15.0}  {cpu_microseconds:8.2}");
        }
        println!();
        rows.push(figures);
    }
    for (place, entrant) in contestants.iter().enumerate().skip(1) {
        let ratios =
            |of: fn(&Figure) -> f64| Spread::of(rows.iter().map(|row| of(&row[0]) / of(&row[place])));
        let (name, peer) = (case.name, entrant.contestant.name);
        println!("{name}, gracehttp / {peer}: throughput ratio {:.3}", ratios(|figure| figure.per_second));
        println!(
            "{name}, gracehttp / {peer}: CPU time ratio   {:.3}",
            ratios(|figure| figure.cpu_microseconds)
        );
    }
    Ok(())
}

fn print_title(case: &Case, contestants: &[Entrant]) {
    let (connections, depth) = match &case.work {
        Work::Http1(traffic) => (traffic.connections, traffic.depth),
        Work::Http2(streams) => (streams.connections, streams.streams),
    };
    println!("\n{}, {connections} connections, {depth} at once", case.name);
    print!("round");
    for entrant in contestants {
        print!("   {:>15}  {:>8}", entrant.contestant.name, "CPU µs");
    }
    println!("   (requests/s, and for each request)");
}

/// A server, and over HTTP/1 the answer that it gives.
struct Entrant {
    contestant: Contestant,
    answer: Option<Answer>,
}

impl Entrant {
    fn start(case: &Case, contestant: Contestant) -> Result<Self, String> {
        let answer = match &case.work {
            Work::Http1(traffic) => Some(traffic.learn(&contestant.endpoint, contestant.pid())?),
            Work::Http2(_) => None,
        };
        Ok(Self { contestant, answer })
    }

    /// One round. After the first ones, there is a ticket for each connection that shall resume a session.
    async fn checked(&self, case: &Case, time: Duration) -> Result<Figure, String> {
        let (figure, tally) = self.measure(case, time).await?;
        match (case.security, tally.full_handshakes) {
            (Security::Tls { resumes: true, .. }, 1..) => Err(format!(
                "{} did not resume {} of its sessions",
                self.contestant.name, tally.full_handshakes
            )),
            _ => Ok(figure),
        }
    }

    async fn measure(&self, case: &Case, time: Duration) -> Result<(Figure, Tally), String> {
        let Contestant { endpoint, name, .. } = &self.contestant;
        let pid = self.contestant.pid();
        let before = cpu_time(pid);
        let tally = match (&case.work, &self.answer) {
            (Work::Http1(traffic), Some(answer)) => traffic.drive(endpoint, answer, time),
            (Work::Http2(streams), _) => streams.drive(endpoint, pid, time).await,
            (Work::Http1(_), None) => Err("no answer to compare with".to_owned()),
        };
        let tally = tally.map_err(|failure| format!("{name} under {}: {failure}", case.name))?;
        let used = cpu_time(pid) - before;
        let figure = Figure {
            per_second: tally.answers as f64 / tally.elapsed.as_secs_f64(),
            cpu_microseconds: used.as_secs_f64() * 1e6 / tally.answers as f64,
        };
        Ok((figure, tally))
    }
}
