//! The memory of idle connections, each of which has sent one request in the same burst as all others.

use std::time::Duration;

use tests::bench::contestant::{BARE, Contestant, OURS};
use tests::bench::idle::{Arrival, Idle};
use tests::bench::machine;
use tests::bench::process::KernelMemory;
use tests::bench::security::{Security, Version};
use tests::bench::statistics::Spread;
use tests::bench::traffic::Clients;

use crate::report::{Report, Table, Target, Unit, Words};
use crate::setting::{Peer, Setting};

const OWN: Peer = Peer::Own(OURS);
const PLAIN: Security = Security::Plain;
const TLS: Security = Security::Tls { version: Version::Tls13, resumes: true };

/// What this process keeps of its descriptors for other things than clients.
const RESERVE: usize = 300;

/// Longer than gracehttp waits before it parks a connection, and before it gives memory back once more.
const SETTLED: Duration = Duration::from_secs(6);

/// The sizes that no single process of most machines can try.
const EXTRAPOLATED: [usize; 2] = [100_000, 1_000_000];

/// A server with this many idle connections.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    peer: Peer,
    security: Security,
    connections: usize,
    goal: Option<(Words, Target)>,
    in_quick_mode: bool,
}

const fn crowd(peer: Peer, security: Security, connections: usize) -> Crowd {
    let in_quick_mode = matches!(security, Security::Plain) && connections == 5000;
    Crowd { peer, security, connections, goal: None, in_quick_mode }
}

const fn own(security: Security, connections: usize, name: Words, limit: f64) -> Crowd {
    let goal = Some((name, Target::AtMost(limit)));
    Crowd { goal, in_quick_mode: true, ..crowd(OWN, security, connections) }
}

const HYPER: Peer = Peer::Own(BARE);
const NGINX: Peer = Peer::Nginx;

#[rustfmt::skip]
const CROWDS: [Crowd; 15] = [
    own(PLAIN, 1000, ["RSS of an idle connection, 1 000 of them", "空闲连接的 RSS，共 1 000 个"], 160.0),
    own(PLAIN, 5000, ["RSS of an idle connection, 5 000 of them", "空闲连接的 RSS，共 5 000 个"], 64.0),
    own(PLAIN, 10_000, ["RSS of an idle connection, 10 000 of them", "空闲连接的 RSS，共 10 000 个"], 64.0),
    own(PLAIN, 15_000, ["RSS of an idle connection, 15 000 of them", "空闲连接的 RSS，共 15 000 个"], 64.0),
    own(TLS, 5000, ["RSS of an idle TLS connection, 5 000 of them", "空闲 TLS 连接的 RSS，共 5 000 个"], 300.0),
    crowd(HYPER, PLAIN, 1000), crowd(HYPER, PLAIN, 5000), crowd(HYPER, PLAIN, 10_000), crowd(HYPER, PLAIN, 15_000),
    crowd(HYPER, TLS, 5000),
    crowd(NGINX, PLAIN, 1000), crowd(NGINX, PLAIN, 5000), crowd(NGINX, PLAIN, 10_000), crowd(NGINX, PLAIN, 15_000),
    crowd(NGINX, TLS, 5000),
];

/// A crowd that has gathered.
struct Gathered {
    contestant: Contestant,
    clients: Clients,
    before: u64,
    kernel: [f64; 2],
}

/// What one connection takes, in bytes.
#[derive(Debug, Default)]
struct Figures {
    name: &'static str,
    resident: Vec<f64>,
    slab: Vec<f64>,
    buffers: Vec<f64>,
}

/// Measures all crowds. Those that fit into the descriptors of this process wait for their rest together.
pub(crate) async fn run(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let crowds: Vec<Crowd> =
        CROWDS.into_iter().filter(|crowd| crowd.in_quick_mode || !setting.quick).collect();
    let rounds = if setting.quick { 1 } else { setting.rounds.min(5) };
    let mut figures: Vec<Figures> = crowds.iter().map(|_| Figures::default()).collect();
    for _ in 0..rounds {
        for batch in batches(&crowds) {
            measure(&crowds, &batch, setting, &mut figures).await?;
        }
    }
    for (crowd, figures) in crowds.iter().zip(&figures) {
        if let Some((name, target)) = crowd.goal {
            report.goal(name, Spread::of(figures.resident.iter().copied()), Unit::Bytes, Some(target));
        }
    }
    report.table(table(&crowds, &figures, rounds));
    report.table(extrapolated(&crowds, &figures));
    Ok(())
}

/// Groups of crowds that fit into the descriptors of this process.
fn batches(crowds: &[Crowd]) -> Vec<Vec<usize>> {
    let most = machine::descriptor_limit().saturating_sub(RESERVE);
    let mut batches: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut largest_first: Vec<usize> = (0..crowds.len()).collect();
    largest_first.sort_by_key(|&place| std::cmp::Reverse(crowds[place].connections));
    for place in largest_first {
        let connections = crowds[place].connections;
        match batches.iter_mut().find(|(taken, _)| taken + connections <= most) {
            Some((taken, batch)) => {
                *taken += connections;
                batch.push(place);
            }
            None => batches.push((connections, vec![place])),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}

async fn measure(
    crowds: &[Crowd],
    batch: &[usize],
    setting: &Setting,
    figures: &mut [Figures],
) -> Result<(), String> {
    let mut gathered = Vec::new();
    for &place in batch {
        let Crowd { peer, security, connections, .. } = crowds[place];
        let Some(contestant) = setting.start(peer, security).await else { continue };
        let name = contestant.name;
        let crowd = gather(contestant, connections);
        gathered
            .push((place, crowd.map_err(|failure| format!("{name}, {connections} connections: {failure}"))?));
    }
    tokio::time::sleep(SETTLED).await;
    for (place, Gathered { contestant, clients, before, kernel: [slab, buffers] }) in gathered {
        let grown = contestant.resident().saturating_sub(before);
        let figures = &mut figures[place];
        figures.name = contestant.name;
        figures.resident.push(grown as f64 / clients.len() as f64);
        figures.slab.push(slab);
        figures.buffers.push(buffers);
    }
    Ok(())
}

fn gather(contestant: Contestant, connections: usize) -> Result<Gathered, String> {
    // The first request is one of the process's own beginnings.
    let idle = Idle::of(&contestant)?;
    let (before, kernel) = (contestant.resident(), KernelMemory::now());
    let clients = idle.gather(connections, Arrival::AtOnce)?;
    let now = KernelMemory::now();
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / connections as f64;
    let kernel = [each(kernel.slab, now.slab), each(kernel.buffers, now.buffers)];
    Ok(Gathered { contestant, clients, before, kernel })
}

fn table(crowds: &[Crowd], figures: &[Figures], rounds: usize) -> Table {
    let mut table = Table::new(
        format!(
            "Idle connections, {rounds} rounds, bytes of each. The kernel's memory is that of both ends, and of all \
             that the machine does meanwhile:"
        ),
        &["server", "over", "connections", "resident", "the kernel's objects (slab)", "the kernel's buffers"],
    );
    for (crowd, figures) in crowds.iter().zip(figures).filter(|(_, figures)| !figures.resident.is_empty()) {
        let spread = |figures: &Vec<f64>| format!("{:.0}", Spread::of(figures.iter().copied()));
        table.row(vec![
            figures.name.to_owned(),
            if crowd.security == PLAIN { "plain" } else { "TLS 1.3" }.to_owned(),
            crowd.connections.to_string(),
            spread(&figures.resident),
            spread(&figures.slab),
            spread(&figures.buffers),
        ]);
    }
    table
}

/// What more connections would take, from the growth between the fewest and the most that are certain to be out of the
/// beginnings.
fn extrapolated(crowds: &[Crowd], figures: &[Figures]) -> Table {
    let mut table = Table::new(
        "Computed from the slope between 5 000 and 15 000 plain connections, MiB of resident memory:",
        &["server", "bytes per further connection", "100 000 connections", "1 000 000 connections"],
    );
    let total = |server: &str, connections: usize| {
        let mut all = crowds.iter().zip(figures);
        let found = all.find(|(crowd, figures)| {
            (figures.name, crowd.connections, crowd.security) == (server, connections, PLAIN)
        });
        found.map(|(_, figures)| Spread::of(figures.resident.iter().copied()).median * connections as f64)
    };
    for server in [OURS.0, BARE.0, "nginx"] {
        let (Some(few), Some(many)) = (total(server, 5000), total(server, 15_000)) else { continue };
        let slope = (many - few) / 10_000.0;
        let mebibytes =
            |connections: usize| (many + slope * (connections - 15_000) as f64) / f64::from(1 << 20);
        let [hundred_thousand, million] =
            EXTRAPOLATED.map(|connections| format!("{:.0}", mebibytes(connections)));
        table.row(vec![server.to_owned(), format!("{slope:.0}"), hundred_thousand, million]);
    }
    table
}
