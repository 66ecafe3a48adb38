//! What honest clients notice of an attack, and its cost for the server.

use std::fmt;
use std::time::Duration;

use crate::attack::{Addresses, Attack, Tally, floods, slow};
use crate::bench::process::{cpu_time, descriptors, resident};
use crate::load::Style;
use crate::patience::GLANCE;
use crate::{App, Launch, Load, Report, Scratch};

/// The size of an attack, and its length.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Slow clients of each kind.
    pub slow: usize,
    /// Floods of each kind at once.
    pub floods: usize,
    /// How long the honest clients run alone, before the attack.
    pub quiet: Duration,
    /// The time within which the attackers arrive.
    pub arrival: Duration,
    /// How long the attack continues after all have arrived.
    pub attack: Duration,
    /// The time after the attack within which all attackers have to be gone; `None` where the server's limits are
    /// longer than a test.
    pub end: Option<Duration>,
    /// Options of the servers, in the words of the plan of `app`.
    pub limits: &'static str,
}

/// The most lines that all attackers together may cause in the server's log.
const LINES: usize = 100;

/// The honest clients, with counts by kind.
const HONEST: [&str; 4] = ["HTTP/1.1", "TLS", "HTTP/2 over TLS", "new connections"];

/// The measurements.
#[derive(Debug)]
pub struct Outcome {
    /// Each kind of honest client, before the attack and in it.
    pub honest: Vec<(&'static str, Report, Report)>,
    /// Each kind of attacker at the end.
    pub attackers: Vec<(String, Tally)>,
    /// Descriptors of the server above those that it had before the attack.
    pub leaked: i64,
    /// The server's resident memory before the attack, two thirds into it, and at its end.
    pub resident: [u64; 3],
    /// The memory of the system's TCP sockets at the same times.
    pub kernel: [u64; 3],
    /// The cores that the server used before the attack, and in it.
    pub cores: [f64; 2],
    /// The cores that the attackers used.
    pub attackers_cores: f64,
    /// The lines that the server wrote during the attack and after.
    pub lines: Vec<String>,
}

impl Outcome {
    /// The slowest hundredth of a kind's answers: the ratio of its time in the attack to the time before.
    pub fn ratio(quiet: &Report, attacked: &Report) -> f64 {
        attacked.percentile(0.99).as_secs_f64() / quiet.percentile(0.99).as_secs_f64()
    }

    /// The faults of the attack, except those of the answers' times.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, _, attacked) in &self.honest {
            let (lost, cut) = (attacked.incidents.len(), attacked.closed_idle);
            if lost > 0 || cut > 0 || attacked.answers == 0 {
                faults
                    .push(format!("{name}: {lost} requests were lost and {cut} connections cut\n{attacked}"));
            }
        }
        let [_, warm, end] = self.resident;
        if end > warm + warm / 4 {
            faults.push(format!("resident memory has grown from {warm} to {end} bytes"));
        }
        if self.lines.len() > LINES {
            faults.push(format!("{} lines in the log, such as {:#?}", self.lines.len(), &self.lines[..10]));
        }
        faults
    }

    /// The faults that remain after an attack.
    pub fn remains(&self) -> Vec<String> {
        let left = self.attackers.iter().filter(|(_, tally)| tally.held > 0);
        let mut remains: Vec<String> =
            left.map(|(name, tally)| format!("{name}: {} are left", tally.held)).collect();
        if self.leaked > 0 {
            remains.push(format!("{} descriptors are left", self.leaked));
        }
        remains
    }
}

/// Starts a server, attacks it, and measures it.
pub async fn measure(scale: &Scale) -> Outcome {
    let scratch = Scratch::new();
    let limits = scale.limits;
    let plan = format!("server web 127.0.0.1:0 {limits}\nserver tls 127.0.0.1:0 tls=self_signed {limits}");
    let app = Launch::app(&scratch, &plan).start("tls").await;
    // The server makes its large responses once, before the measurement.
    _ = crate::client::get_once(&app.target("web").await, "/large").await.expect("a large response");

    let before = (cpu_time(app.pid()), descriptors(app.pid()));
    let quiet = while_they_ask(&app, scale.quiet).await;
    let quiet_cores = (cpu_time(app.pid()) - before.0).as_secs_f64() / scale.quiet.as_secs_f64();
    let mut memory = vec![(resident(app.pid()), kernel_memory())];

    let first_line = app.log.end();
    let addresses = Addresses { plain: app.address("web").await, tls: app.address("tls").await };
    let kinds = slow().into_iter().map(|kind| (kind, scale.slow));
    let kinds = kinds.chain(floods().into_iter().map(|kind| (kind, scale.floods)));
    let attack = Attack::begin(addresses, kinds.collect(), scale.arrival);
    tokio::time::sleep(scale.arrival).await;

    let cpu = cpu_time(app.pid());
    let (attacked, ()) = tokio::join!(while_they_ask(&app, scale.attack), async {
        // By then the server has cut the most patient clients once, and they have returned.
        tokio::time::sleep(scale.attack * 2 / 3).await;
        memory.push((resident(app.pid()), kernel_memory()));
    });
    let cores = (cpu_time(app.pid()) - cpu).as_secs_f64() / scale.attack.as_secs_f64();
    memory.push((resident(app.pid()), kernel_memory()));

    attack.over();
    if let Some(end) = scale.end {
        let gone = async {
            while attack.held() > 0 || descriptors(app.pid()) > before.1 {
                tokio::time::sleep(GLANCE * 10).await;
            }
        };
        // The caller judges whether all are gone.
        _ = tokio::time::timeout(end, gone).await;
    }
    let attackers = attack.tallies();
    let leaked = descriptors(app.pid()) as i64 - before.1 as i64;
    let lasted = scale.arrival + scale.attack;
    let attackers_cores = attack.dismiss().as_secs_f64() / lasted.as_secs_f64();
    app.catch_up().await;
    Outcome {
        honest: quiet
            .into_iter()
            .zip(attacked)
            .map(|((name, quiet), (_, attacked))| (name, quiet, attacked))
            .collect(),
        attackers,
        leaked,
        resident: std::array::from_fn(|at| memory[at].0),
        kernel: std::array::from_fn(|at| memory[at].1),
        cores: [quiet_cores, cores],
        attackers_cores,
        lines: app.log.since(first_line).into_iter().filter(|line| !line.contains(" begins")).collect(),
    }
}

/// Runs the honest clients for a while.
async fn while_they_ask(app: &App, time: Duration) -> Vec<(&'static str, Report)> {
    let (web, tls) = (app.target("web").await, app.target("tls").await);
    let pause = Duration::from_millis(400);
    let clients =
        [(&web, 16, Style::Get), (&tls, 16, Style::Get), (&tls, 4, Style::Http2), (&web, 16, Style::Silent)];
    let loads = clients.map(|(target, count, style)| Load::on(target).pause(pause).clients(count, style));
    tokio::time::sleep(time).await;
    let mut reports = Vec::new();
    for (name, load) in HONEST.into_iter().zip(loads) {
        reports.push((name, load.stop().await));
    }
    reports
}

/// The bytes that all TCP sockets of the system hold.
fn kernel_memory() -> u64 {
    let sockstat = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:"));
    let pages = tcp.and_then(|line| line.rsplit_once("mem ")?.1.trim().parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "| honest clients | requests | failed | closed while idle | p50, ms | p99, ms | p99 quiet, ms | ratio |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for (name, quiet, attacked) in &self.honest {
            writeln!(
                f,
                "| {name} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
                attacked.requests,
                attacked.incidents.len(),
                attacked.closed_idle,
                millis(attacked.percentile(0.5)),
                millis(attacked.percentile(0.99)),
                millis(quiet.percentile(0.99)),
                Self::ratio(quiet, attacked)
            )?;
        }
        writeln!(f, "\n| attackers | connections | held longest, s | left |")?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for (name, tally) in &self.attackers {
            let longest = tally.longest.as_secs_f64();
            writeln!(f, "| {name} | {} | {longest:.1} | {} |", tally.connections, tally.held)?;
        }
        let [before, warm, end] = self.resident.map(mib);
        writeln!(f, "\n| what | before | warm | at the end |")?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        writeln!(f, "| resident memory of the server, MiB | {before:.0} | {warm:.0} | {end:.0} |")?;
        let [before, warm, end] = self.kernel.map(mib);
        writeln!(f, "| memory of all TCP sockets, MiB | {before:.0} | {warm:.0} | {end:.0} |")?;
        let [quiet, attacked] = self.cores;
        writeln!(f, "| cores used by the server | {quiet:.2} | | {attacked:.2} |")?;
        writeln!(f, "| cores used by the attackers | | | {:.2} |", self.attackers_cores)?;
        writeln!(f, "| lines in the log | | | {} |", self.lines.len())?;
        writeln!(f, "| descriptors left | | | {} |", self.leaked)
    }
}
