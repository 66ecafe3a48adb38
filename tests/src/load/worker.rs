//! One client of a load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::TlsConnector;

use crate::client::{Client, Pause};
use crate::fault::Failure;
use crate::h2::{self, Http2};
use crate::load::script::{Author, Expected, Outcome, Script, unexpected};
use crate::load::{Manner, Shared, Style};
use crate::report::Incident;
use crate::tls::{self, Ragged};

/// Why a client leaves its connection.
pub(super) struct Leave;

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) style: Style,
    pub(super) author: Author,
    number: usize,
    manner: Manner,
    /// The client's TLS sessions, if it resumes them.
    sessions: TlsConnector,
    /// Whether it has opened a connection before.
    has_connected: bool,
}

impl Worker {
    pub(super) fn new(
        shared: &Arc<Shared>,
        style: Style,
        number: usize,
        pause: Duration,
        manner: Manner,
    ) -> Self {
        let author = Author::new(style, number, pause);
        let sessions = tls::connector(&["http/1.1"]);
        Self { shared: Arc::clone(shared), style, author, number, manner, sessions, has_connected: false }
    }

    pub(super) async fn run(mut self) {
        while !self.shared.stopping() {
            match self.style {
                Style::Http2 => self.http2_connection().await,
                Style::JavaPool | Style::GoPool => self.pool().await,
                _ => self.http1_connection().await,
            }
        }
    }

    /// One connection, from its start to its end.
    async fn http1_connection(&mut self) {
        let Some(mut client) = self.connect().await else { return };
        let stays = self.style.keeps_connections();
        let mut first = true;
        while !self.shared.stopping() {
            if (!first || self.style == Style::Silent) && self.idle(&mut client).await.is_err() {
                return;
            }
            if self.round(&mut client, first).await.is_err() || !stays {
                return;
            }
            first = false;
        }
    }

    /// Opens a new connection. It counts a refusal once, not a thousand times in a row.
    pub(super) async fn connect(&mut self) -> Option<Client> {
        let client = match self.manner {
            Manner::Smooth => Client::connect(&self.shared.target).await,
            Manner::Resuming => Client::connect_with(&self.shared.target, &self.sessions).await,
            Manner::Ragged(pause) => Ragged::connect(&self.shared.target, self.number, pause).await,
        };
        match client {
            Ok(client) => {
                let again =
                    std::mem::replace(&mut self.has_connected, true) && self.style.keeps_connections();
                let resumed = client.is_resumed();
                let mut report = self.shared.report();
                report.connections += 1;
                report.reconnections += u64::from(again);
                report.resumed_reconnections += u64::from(again && resumed);
                drop(report);
                Some(client)
            }
            Err(failure) => {
                self.failed_to_connect(failure).await;
                None
            }
        }
    }

    async fn failed_to_connect(&mut self, failure: Failure) {
        self.shared.report().requests += 1;
        self.incident(failure);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Pauses; meanwhile the server may close the connection, but do nothing else.
    async fn idle(&mut self, client: &mut Client) -> Result<(), Leave> {
        let pause = client.pause(self.author.pause()).await;
        self.stays(pause)
    }

    /// Whether a connection is still there after a pause.
    pub(super) fn stays(&mut self, pause: Pause) -> Result<(), Leave> {
        match pause {
            Pause::Open => return Ok(()),
            Pause::Closed => self.shared.report().closed_while_idle(self.name()),
            Pause::Failed(failure) => self.incident(failure),
        }
        Err(Leave)
    }

    /// One request and its answer, or a pipelined pair.
    async fn round(&mut self, client: &mut Client, fresh: bool) -> Result<(), Leave> {
        let script = self.author.request(fresh);
        let start = Instant::now();
        let outcome = script.run(client).await;
        self.judge(client, &script, &outcome, start).await
    }

    /// Counts the answers of a script and the missing ones, and checks a promised end.
    pub(super) async fn judge(
        &mut self,
        client: &mut Client,
        script: &Script,
        outcome: &Outcome,
        start: Instant,
    ) -> Result<(), Leave> {
        self.shared.report().requests += script.expected.len() as u64;
        let mut right = true;
        for (expected, reply) in script.expected.iter().zip(&outcome.replies) {
            if expected.is(reply) {
                self.answered(start, reply.pid());
                self.shared.report().promised_closes += u64::from(reply.closes());
            } else {
                right = false;
                self.incident(unexpected(expected, reply));
            }
        }
        if let Some(failure) = outcome.raced() {
            let race = Incident { at: Instant::now(), client: self.name(), failure: failure.clone() };
            self.shared.report().races.extend(std::iter::repeat_n(race, script.expected.len()));
            return Err(Leave);
        }
        if let Some(failure) = &outcome.failure {
            for _ in outcome.replies.len()..script.expected.len() {
                self.incident(failure.clone());
            }
            return Err(Leave);
        }
        let last = outcome.replies.last().is_some_and(|reply| reply.closes()) || script.half_closes;
        if last && let Err(failure) = client.closed().await {
            self.incident(failure);
        }
        if last || !right { Err(Leave) } else { Ok(()) }
    }

    async fn http2_connection(&mut self) {
        let mut client = match Http2::connect(&self.shared.target).await {
            Ok(client) => client,
            Err(failure) => return self.failed_to_connect(failure).await,
        };
        self.shared.report().connections += 1;
        while !self.shared.stopping() {
            if !client.is_open().await {
                self.shared.report().goaways += 1;
                return;
            }
            let start = Instant::now();
            let (mut one, mut two, mut three) = (client.clone(), client.clone(), client.clone());
            let body = self.author.body();
            let outcomes =
                tokio::join!(one.get("/ping"), two.post("/echo", body.clone()), three.get("/ping"));
            let outcomes = [
                (outcomes.0, Expected::Pong),
                (outcomes.1, Expected::Echo(body)),
                (outcomes.2, Expected::Pong),
            ];
            for (outcome, expected) in outcomes {
                match outcome {
                    Ok(h2::Outcome::NotSent) => continue,
                    Ok(h2::Outcome::Reply(reply)) if expected.is(&reply) => self.answered(start, reply.pid()),
                    Ok(h2::Outcome::Reply(reply)) => self.incident(unexpected(&expected, &reply)),
                    Err(failure) => self.incident(failure),
                }
                self.shared.report().requests += 1;
            }
            tokio::time::sleep(self.author.pause()).await;
        }
    }

    fn answered(&mut self, start: Instant, pid: Option<u32>) {
        let mut report = self.shared.report();
        report.answered(start.elapsed(), pid);
        self.shared.answers.send_replace(report.answers);
    }

    fn incident(&mut self, failure: Failure) {
        let client = self.name();
        self.shared.report().incidents.push(Incident { at: Instant::now(), client, failure });
    }

    /// In reports.
    fn name(&self) -> String {
        format!("{:?} {}", self.style, self.number)
    }
}
