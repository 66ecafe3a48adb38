//! The counts of a load, and an explanation of each failure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::fault::{Failure, Kind};

/// An event of the application during the load.
#[derive(Debug, Clone)]
pub struct Mark {
    /// The time of the event.
    pub at: Instant,
    /// The event.
    pub what: String,
}

/// A failure, with its client and its time.
#[derive(Debug, Clone)]
pub struct Incident {
    /// When the client noticed.
    pub at: Instant,
    /// The client's action: `Get 3`.
    pub client: String,
    /// The failure.
    pub failure: Failure,
}

/// The counts of a load.
#[derive(Debug, Clone)]
pub struct Report {
    /// When it began.
    pub began: Instant,
    /// Requests written, or begun.
    pub requests: u64,
    /// Answers as expected.
    pub answers: u64,
    /// Connections opened.
    pub connections: u64,
    /// Connections that clients opened although they keep one for all their requests: they had lost it.
    pub reconnections: u64,
    /// Those of them that resumed a TLS session. The others had a full handshake, or no TLS.
    pub resumed_reconnections: u64,
    /// Connections that the server closed between requests, without an announcement.
    pub closed_idle: u64,
    /// Requests that crossed such a close, on a connection that had been idle for a while: every idle time-out loses
    /// these.
    pub races: Vec<Incident>,
    /// The times at which idle connections closed, and their clients.
    pub closings: Vec<(Instant, String)>,
    /// Answers with `Connection: close`.
    pub promised_closes: u64,
    /// HTTP/2 connections that took no more requests.
    pub goaways: u64,
    /// All failures.
    pub incidents: Vec<Incident>,
    /// The events of the application.
    pub marks: Vec<Mark>,
    /// Answers by the pid of their process.
    pub pids: BTreeMap<u32, u64>,
    /// The longest time without any answer, and its end.
    pub longest_gap: (Duration, Instant),
    /// The slowest answer.
    pub slowest: Duration,
    /// The microseconds that each answer took.
    micros: Vec<u32>,
    last_answer: Option<Instant>,
}

impl Report {
    pub(crate) fn new() -> Self {
        let began = Instant::now();
        Self {
            began,
            requests: 0,
            answers: 0,
            connections: 0,
            reconnections: 0,
            resumed_reconnections: 0,
            closed_idle: 0,
            races: Vec::new(),
            closings: Vec::new(),
            promised_closes: 0,
            goaways: 0,
            incidents: Vec::new(),
            marks: Vec::new(),
            pids: BTreeMap::new(),
            longest_gap: (Duration::ZERO, began),
            slowest: Duration::ZERO,
            micros: Vec::new(),
            last_answer: None,
        }
    }

    pub(crate) fn closed_while_idle(&mut self, client: String) {
        self.closed_idle += 1;
        self.closings.push((Instant::now(), client));
    }

    pub(crate) fn answered(&mut self, took: Duration, pid: Option<u32>) {
        let now = Instant::now();
        self.answers += 1;
        self.slowest = self.slowest.max(took);
        self.micros.push(took.as_micros().try_into().unwrap_or(u32::MAX));
        if let Some(pid) = pid {
            *self.pids.entry(pid).or_default() += 1;
        }
        let gap = self.last_answer.map_or(Duration::ZERO, |last| now - last);
        if gap > self.longest_gap.0 {
            self.longest_gap = (gap, now);
        }
        self.last_answer = Some(now);
    }

    /// The time within which this share of all answers came: 0.99 of them, for example.
    pub fn percentile(&self, part: f64) -> Duration {
        let mut micros = self.micros.clone();
        micros.sort_unstable();
        let place = (micros.len() as f64 * part).ceil() as usize;
        Duration::from_micros(micros.get(place.saturating_sub(1)).copied().unwrap_or_default().into())
    }

    /// How many failures of this kind there were.
    pub fn count(&self, kind: Kind) -> usize {
        self.incidents.iter().filter(|incident| incident.failure.kind == kind).count()
    }

    /// How many requests crossed the close of an idle connection.
    pub fn raced(&self) -> u64 {
        self.races.len() as u64
    }

    /// Panics with the whole report unless every request got the expected answer, except those that crossed the close
    /// of an idle connection.
    #[track_caller]
    pub fn assert_lossless(&self) {
        assert!(self.incidents.is_empty(), "requests were lost\n{self}");
        assert!(self.answers > 0, "no request was answered\n{self}");
        assert_eq!(self.requests, self.answers + self.raced(), "requests and answers\n{self}");
    }

    /// The same, and no connection closed without an announcement in its last answer.
    #[track_caller]
    pub fn assert_polite(&self) {
        self.assert_lossless();
        assert_eq!(self.closed_idle + self.raced(), 0, "idle connections were cut\n{self}");
    }

    /// The same, and the server ended no connection.
    #[track_caller]
    pub fn assert_unnoticed(&self) {
        self.assert_polite();
        assert_eq!(self.promised_closes + self.goaways, 0, "connections were ended\n{self}");
    }

    /// An incident's time, and its distance from the application's events before and after it.
    fn place(&self, at: Instant) -> String {
        let mut place = format!("{:8.3} s", (at - self.began).as_secs_f64());
        if let Some(mark) = self.marks.iter().rev().find(|mark| mark.at <= at) {
            place += &format!(", {:.1} ms after {:?}", millis(at - mark.at), mark.what);
        }
        if let Some(mark) = self.marks.iter().find(|mark| mark.at > at) {
            place += &format!(", {:.1} ms before {:?}", millis(mark.at - at), mark.what);
        }
        place
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} requests on {} connections: {} answered, {} failed; closed while idle {} (crossed by {}), \
             Connection: close {}, GOAWAY {}",
            self.requests,
            self.connections,
            self.answers,
            self.incidents.len(),
            self.closed_idle,
            self.raced(),
            self.promised_closes,
            self.goaways
        )?;
        let (gap, end) = self.longest_gap;
        writeln!(
            f,
            "longest gap {:.1} ms (until {}), slowest answer {:.1} ms, {} processes answered",
            millis(gap),
            self.place(end),
            millis(self.slowest),
            self.pids.len()
        )?;
        for incident in self.incidents.iter().take(40) {
            writeln!(f, "  {} | {} | {}", self.place(incident.at), incident.client, incident.failure)?;
        }
        if self.incidents.len() > 40 {
            writeln!(f, "  … and {} more", self.incidents.len() - 40)?;
        }
        for race in self.races.iter().take(20) {
            writeln!(f, "  {} | {} | crossed a close | {}", self.place(race.at), race.client, race.failure)?;
        }
        for (at, client) in self.closings.iter().take(20) {
            writeln!(f, "  {} | {client} | closed while idle", self.place(*at))?;
        }
        Ok(())
    }
}
