//! Contestants under the same load, in rounds that alternate between them.

use std::time::Duration;

use crate::bench::answer::Answer;
use crate::bench::contestant::Contestant;
use crate::bench::multiplexed::Multiplexed;
use crate::bench::security::Security;
use crate::bench::statistics::Spread;
use crate::bench::traffic::{Tally, Traffic};

/// What the clients do, and over what.
#[derive(Debug)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// What lies below HTTP.
    pub security: Security,
    /// The load.
    pub work: Work,
}

/// A load.
#[derive(Debug)]
pub enum Work {
    /// Over HTTP/1.1.
    Http1(Traffic),
    /// Over HTTP/2.
    Http2(Multiplexed),
}

/// The result of one round of one contestant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figure {
    /// Requests per second.
    pub per_second: f64,
    /// CPU time of the server for each request, user and system.
    pub cpu_microseconds: f64,
}

/// A server, and over HTTP/1 the answer that it gives.
#[derive(Debug)]
pub struct Entrant {
    /// The server.
    pub contestant: Contestant,
    answer: Option<Answer>,
}

impl Entrant {
    /// Learns the server's answer.
    pub fn new(case: &Case, contestant: Contestant) -> Result<Self, String> {
        let answer = match &case.work {
            Work::Http1(traffic) => Some(traffic.learn(&contestant.endpoint, &contestant.pong())?),
            Work::Http2(_) => None,
        };
        Ok(Self { contestant, answer })
    }

    /// The fields of its answer: those of one case have to do the same work.
    pub fn fields(&self) -> Vec<String> {
        self.answer.as_ref().map(Answer::fields).unwrap_or_default()
    }

    /// Sends requests for this time. What it takes to open connections counts only where each request has one.
    pub async fn measure(&self, case: &Case, time: Duration) -> Result<(Figure, Tally), String> {
        let failed = |failure| format!("{} under {}: {failure}", self.contestant.name, case.name);
        let (used, tally) = self.drive(case, time).await.map_err(failed)?;
        let figure = Figure {
            per_second: tally.answers as f64 / tally.elapsed.as_secs_f64(),
            cpu_microseconds: used.as_secs_f64() * 1e6 / tally.answers as f64,
        };
        Ok((figure, tally))
    }

    /// The same: the CPU time that it took, and what came of it.
    async fn drive(&self, case: &Case, time: Duration) -> Result<(Duration, Tally), String> {
        let Contestant { endpoint, .. } = &self.contestant;
        match (&case.work, &self.answer) {
            (Work::Http1(traffic), Some(answer)) => {
                let clients = traffic.open(endpoint)?;
                let before = self.contestant.cpu_time();
                let tally = traffic.drive(clients, endpoint, answer, time)?;
                Ok((self.contestant.cpu_time() - before, tally))
            }
            (Work::Http2(streams), _) => {
                let connected = streams.open(endpoint).await?;
                let before = self.contestant.cpu_time();
                let tally = streams.drive(&connected, &self.contestant.pong(), time).await?;
                Ok((self.contestant.cpu_time() - before, tally))
            }
            (Work::Http1(_), None) => Err("no answer to compare with".to_owned()),
        }
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
}

/// Figures of several entrants, a row for each round.
#[derive(Debug)]
pub struct Rounds(Vec<Vec<Figure>>);

impl Rounds {
    /// Measures: after a warm-up, each entrant has one turn a round. `each` sees every row.
    pub async fn measure(
        case: &Case,
        entrants: &[Entrant],
        rounds: usize,
        time: Duration,
        mut each: impl FnMut(usize, &[Figure]),
    ) -> Result<Self, String> {
        // So long, that each connection has got a ticket if it resumes sessions.
        for entrant in entrants {
            entrant.measure(case, time.min(Duration::from_millis(500))).await?;
        }
        let mut rows = Vec::new();
        for round in 1..=rounds {
            let mut figures = vec![Figure::default(); entrants.len()];
            // The first entrant changes, so that none always runs after another.
            for turn in (0..entrants.len()).map(|turn| (turn + round) % entrants.len()) {
                figures[turn] = entrants[turn].checked(case, time).await?;
            }
            each(round, &figures);
            rows.push(figures);
        }
        Ok(Self(rows))
    }

    /// A figure of one entrant, over all rounds.
    pub fn spread(&self, place: usize, figure: fn(&Figure) -> f64) -> Spread {
        Spread::of(self.0.iter().map(|row| figure(&row[place])))
    }

    /// A figure of one entrant to that of another in the same round.
    pub fn ratio(&self, place: usize, peer: usize, figure: fn(&Figure) -> f64) -> Spread {
        Spread::of(self.0.iter().map(|row| figure(&row[place]) / figure(&row[peer])))
    }
}
