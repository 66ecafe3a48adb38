//! Clients that keep connections for their next requests; each kind detects a closed connection in its own way.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Client, Pause};
use crate::load::Style;
use crate::load::worker::Worker;

/// The most requests at once.
const AT_ONCE: usize = 3;

impl Worker {
    /// Rounds of requests, on one pool, until the load stops.
    pub(super) async fn pool(&mut self) {
        // Go keeps two connections to one host, Java any number.
        let kept = if self.style == Style::GoPool { 2 } else { AT_ONCE };
        let mut pool: Vec<Client> = Vec::new();
        while !self.shared.stopping() {
            pool = self.ask(pool).await;
            pool.truncate(kept);
            pool = self.rest(pool).await;
        }
    }

    /// Sends several requests at once, on the connections used last and on new ones, and returns the reusable
    /// connections.
    async fn ask(&mut self, mut pool: Vec<Client>) -> Vec<Client> {
        let mut asked = JoinSet::new();
        for _ in 0..self.author.some(AT_ONCE) {
            let kept = pool.pop();
            let fresh = kept.is_none();
            let Some(mut client) = (match kept {
                Some(client) => Some(client),
                None => self.connect().await,
            }) else {
                continue;
            };
            let script = self.author.request(fresh);
            asked.spawn(async move {
                let start = Instant::now();
                let outcome = script.run(&mut client).await;
                (client, script, outcome, start)
            });
        }
        while let Some(done) = asked.join_next().await {
            let (mut client, script, outcome, start) = done.expect("clients do not panic");
            if self.judge(&mut client, &script, &outcome, start).await.is_ok() {
                pool.push(client);
            }
        }
        pool
    }

    /// Pauses: Go watches its idle connections meanwhile, Java checks them afterwards.
    async fn rest(&mut self, pool: Vec<Client>) -> Vec<Client> {
        let pause = self.author.pause();
        let watched = if self.style == Style::GoPool && !pool.is_empty() { pause } else { Duration::ZERO };
        if watched.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let mut resting = JoinSet::new();
        for mut client in pool {
            resting.spawn(async move {
                let seen = client.pause(watched).await;
                (client, seen)
            });
        }
        let mut pool = Vec::new();
        while let Some(done) = resting.join_next().await {
            let (client, seen): (Client, Pause) = done.expect("clients do not panic");
            if self.stays(seen).is_ok() {
                pool.push(client);
            }
        }
        pool
    }
}
