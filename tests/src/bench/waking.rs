//! What a request costs on a connection that is awake, and on one that rests before each of its requests.

use std::time::Duration;

use crate::bench::contestant::{Contestant, Server};
use crate::bench::idle::{Arrival, Idle};
use crate::bench::security::Security;

/// Requests per second, on any number of connections.
pub const RATE: u32 = 4000;

/// So many that each has a request every 5 ms, less than gracehttp waits before it parks.
const AWAKE: usize = 20;

/// So many that each has a request every 250 ms.
const PARKED: usize = 1000;

/// CPU µs per request of one server, for each round.
#[derive(Debug)]
pub struct Waking {
    /// The server's name.
    pub name: &'static str,
    awake: Vec<f64>,
    parked: Vec<f64>,
}

impl Waking {
    /// Measures these servers in turn.
    pub async fn measure(
        servers: &[Server],
        security: Security,
        threads: usize,
        rounds: usize,
        turn: Duration,
    ) -> Result<Vec<Self>, String> {
        let mut stages = Vec::new();
        for &server in servers {
            for connections in [AWAKE, PARKED] {
                let contestant = Contestant::start(server, security, threads).await;
                let idle = Idle::of(&contestant)?;
                let clients = idle.gather(connections, Arrival::OneByOne)?;
                stages.push((contestant, idle, clients, Vec::new()));
            }
        }
        for _ in 0..rounds {
            for (contestant, idle, clients, costs) in &mut stages {
                let before = contestant.cpu_time();
                let answers = idle.pace(clients, RATE, turn)?;
                let used = contestant.cpu_time() - before;
                costs.push(used.as_secs_f64() * 1e6 / answers as f64);
            }
        }
        let mut costs = stages.into_iter().map(|(_, _, _, costs)| costs);
        let each = servers.iter().map(|(name, _)| Self {
            name,
            awake: costs.next().unwrap_or_default(),
            parked: costs.next().unwrap_or_default(),
        });
        Ok(each.collect())
    }

    /// On connections that are awake.
    pub fn awake(&self) -> &[f64] {
        &self.awake
    }

    /// On connections that rest before each request.
    pub fn parked(&self) -> &[f64] {
        &self.parked
    }

    /// How much more the latter cost in the same round.
    pub fn difference(&self) -> impl Iterator<Item = f64> {
        self.awake.iter().zip(&self.parked).map(|(awake, parked)| parked - awake)
    }
}
