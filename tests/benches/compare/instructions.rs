//! Instructions of the hot paths, counted by callgrind, beside those of the file `instructions.toml`.
//!
//! A count depends on the compiler and the processor's features, but hardly on the load of the machine: a difference of
//! one per cent is a change in the code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tests::bench::contestant::{Contestant, OURS, ROUTED, Server, logging_to};
use tests::bench::foreign::{self, output};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::multiplexed::Multiplexed;
use tests::bench::security::{Security, Version};
use tests::bench::socket::answering_pid;
use tests::bench::traffic::Traffic;
use tests::{Launch, Scratch, Signal};

use crate::report::{Report, Table};
use crate::setting::Setting;

/// What may be more before it is marked, in per cent.
const TOLERANCE: f64 = 2.0;

/// Connections that stay awake, and how often each of them asks. All ask at once, as under load.
const AWAKE: usize = 8;
const TIMES: usize = 50;

/// HTTP/2 connections, and streams on each of them.
const MULTIPLEXED: usize = 4;
const STREAMS: usize = 8;

/// Connections of one request each.
const NEW: usize = 100;

/// How often each of these is counted.
const COUNTS: usize = 5;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Connections that park.
const CONNECTIONS: usize = 200;

/// How often all of them wake.
const WAKES: usize = 5;

/// Under callgrind all that was begun ends within this time, and all that can park does.
const SETTLED: Duration = Duration::from_millis(1500);

/// The file.
#[derive(Debug, Deserialize)]
struct Known {
    compiler: String,
    instructions: BTreeMap<String, u64>,
}

/// Counts all paths. With `--bless` the counts become those of the file.
pub(crate) async fn run(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let (Some(valgrind), Some(vgdb)) = (foreign::needed("valgrind"), foreign::needed("vgdb")) else {
        return Ok(());
    };
    let counts = count_all(&valgrind, &vgdb).await?;
    let compiler = output("rustc", &["--version"]).trim().to_owned();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml");
    let known = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let known: Known = toml::from_str(&known).map_err(|error| format!("{}: {error}", path.display()))?;
    if known.compiler != compiler {
        foreign::missing(
            "a fair comparison",
            &format!("the file is of {}, and this is {compiler}", known.compiler),
        );
    }
    report.table(table(&counts, &known));
    if setting.bless {
        fs::write(&path, text(&counts, &compiler)).map_err(|error| format!("{}: {error}", path.display()))?;
        eprintln!("{} has these counts now", path.display());
    }
    Ok(())
}

async fn count_all(valgrind: &Path, vgdb: &Path) -> Result<Vec<(&'static str, u64)>, String> {
    let handler = Callgrind::start(valgrind, vgdb, OURS).await;
    let mut counts =
        vec![("keep-alive", handler.keep_alive()?), ("new connection", handler.new_connection()?)];
    let idle = Idle::of(&handler.contestant)?;
    handler.reset()?;
    let mut clients = idle.gather(CONNECTIONS, Arrival::OneByOne)?;
    std::thread::sleep(SETTLED);
    counts.push(("new connection, one request, parked", handler.count()? / CONNECTIONS as u64));
    handler.reset()?;
    for _ in 0..WAKES {
        idle.ask_all(&mut clients)?;
        std::thread::sleep(SETTLED);
    }
    counts.push(("woken, one request, parked again", handler.count()? / (CONNECTIONS * WAKES) as u64));
    drop(clients);
    counts.insert(1, ("keep-alive, access log", Callgrind::start_logged(valgrind, vgdb).await.keep_alive()?));
    counts.insert(1, ("routed", Callgrind::start(valgrind, vgdb, ROUTED).await.keep_alive()?));
    counts.push(("HTTP/2 over TLS", Callgrind::start_secure(valgrind, vgdb).await.multiplexed().await?));
    Ok(counts)
}

/// A server with one worker under callgrind.
struct Callgrind {
    contestant: Contestant,
    vgdb: PathBuf,
    files: Scratch,
}

impl Callgrind {
    async fn start(valgrind: &Path, vgdb: &Path, server: Server) -> Self {
        Self::start_with(valgrind, vgdb, server, Security::Plain, |launch, _| launch).await
    }

    async fn start_secure(valgrind: &Path, vgdb: &Path) -> Self {
        Self::start_with(valgrind, vgdb, OURS, Security::tls(Version::Tls13), |launch, _| launch).await
    }

    /// Starts gracehttp with an access log, whose writer is counted, too.
    async fn start_logged(valgrind: &Path, vgdb: &Path) -> Self {
        let change = |launch, files: &Scratch| logging_to(launch, &files.join("access.log"));
        Self::start_with(valgrind, vgdb, OURS, Security::Plain, change).await
    }

    async fn start_with(
        valgrind: &Path,
        vgdb: &Path,
        server: Server,
        security: Security,
        change: impl FnOnce(Launch, &Scratch) -> Launch,
    ) -> Self {
        let files = Scratch::new();
        let out = format!("--callgrind-out-file={}", files.join("out").display());
        let callgrind = change(Launch::program(valgrind).arg("--tool=callgrind").arg(out), &files);
        let contestant = Contestant::start_under(callgrind, server, security).await;
        Self { contestant, vgdb: vgdb.to_owned(), files }
    }

    fn keep_alive(&self) -> Result<u64, String> {
        let (traffic, endpoint) = (Traffic::keep_alive(AWAKE), &self.contestant.endpoint);
        let answer = traffic.learn(endpoint, &self.contestant.pong())?;
        let mut clients = traffic.open(endpoint)?;
        let server = self.contestant.app.current();
        let each = self.counted(TIMES, || {
            // How many requests come together makes a difference: a server that is stopped finds all of them at once.
            server.signal(Signal::STOP);
            for key in 0..AWAKE {
                clients.ask(key, &traffic.request, 1)?;
            }
            server.signal(Signal::CONT);
            let mut missing = AWAKE;
            while missing > 0 {
                for key in clients.ready(LIMIT)? {
                    missing -= clients.read(key, &answer)?.0;
                }
            }
            Ok(())
        })?;
        Ok(each / AWAKE as u64)
    }

    /// All streams of a connection ask again once they have their answers, as those of a busy proxy do.
    async fn multiplexed(&self) -> Result<u64, String> {
        let load = Multiplexed::keep_alive(MULTIPLEXED, STREAMS);
        let connected = load.open(&self.contestant.endpoint).await?;
        let pong = self.contestant.pong();
        load.ask(&connected, &pong, TIMES / 10).await?;
        let mut least = u64::MAX;
        for _ in 0..COUNTS {
            self.reset()?;
            load.ask(&connected, &pong, TIMES).await?;
            least = least.min(self.count()?);
        }
        Ok(least / (MULTIPLEXED * STREAMS * TIMES) as u64)
    }

    fn new_connection(&self) -> Result<u64, String> {
        self.counted(NEW, || answering_pid(&self.contestant.endpoint).map(drop))
    }

    /// The instructions of one time, after some for warming up: the least of several counts, since on a busy machine a
    /// connection waits so long for its next request that it is parked.
    fn counted(&self, times: usize, mut what: impl FnMut() -> Result<(), String>) -> Result<u64, String> {
        for _ in 0..times / 10 {
            what()?;
        }
        let mut least = u64::MAX;
        for _ in 0..COUNTS {
            self.reset()?;
            for _ in 0..times {
                what()?;
            }
            least = least.min(self.count()? / times as u64);
        }
        Ok(least)
    }

    fn reset(&self) -> Result<(), String> {
        self.command("zero")
    }

    /// All instructions since the reset.
    fn count(&self) -> Result<u64, String> {
        self.command("dump")?;
        let entries = fs::read_dir(self.files.path()).map_err(|error| error.to_string())?;
        let mut dumps: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        // Each dump has the next number behind its name.
        dumps.sort_by_key(|path| {
            path.extension().and_then(|number| number.to_str()?.parse::<u32>().ok()).unwrap_or(0)
        });
        let text = dumps.last().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let line =
            text.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
        line.and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| "callgrind has dumped no count".to_owned())
    }

    fn command(&self, command: &str) -> Result<(), String> {
        let pid = format!("--pid={}", self.contestant.pid());
        let text = output(&self.vgdb, &[&pid, command]);
        // A refused ptrace, for example.
        if text.contains("error") { Err(format!("vgdb {command}: {text}")) } else { Ok(()) }
    }
}

fn table(counts: &[(&'static str, u64)], known: &Known) -> Table {
    let title =
        "Instructions in user mode by callgrind, one worker, beside those of the file `instructions.toml`:";
    let mut table = Table::new(title, &["path", "now", "in the file", "change"]);
    for &(name, now) in counts {
        let (before, change) = match known.instructions.get(name) {
            None => (String::new(), String::new()),
            Some(&before) => {
                let change = (now as f64 / before as f64 - 1.0) * 100.0;
                let mark = if change > TOLERANCE { " **costs more**" } else { "" };
                (before.to_string(), format!("{change:+.1} %{mark}"))
            }
        };
        table.row(vec![name.to_owned(), now.to_string(), before, change]);
    }
    table
}

fn text(counts: &[(&'static str, u64)], compiler: &str) -> String {
    let mut text = format!(
        "# Instructions of the hot paths, of each request or connection, as callgrind counts them in a release build.\n\
         # `cargo bench -p tests --bench compare -- instructions` compares with them; `--bless` rewrites this file.\n\
         compiler = {compiler:?}\n\n[instructions]\n"
    );
    for (name, count) in counts {
        _ = writeln!(text, "{name:?} = {count}");
    }
    text
}
